"""How the score of a model changes when its texts are changed."""
