"""Generalise: whether one model knows the families or only the sequences it was shown."""
