"""How far two sets of vectors for the same texts differ."""
