"""The small models of this project's own: how they are made, trained and found."""
