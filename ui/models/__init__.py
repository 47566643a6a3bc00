"""Models: the catalogue, a card a model, and models of one's own."""
