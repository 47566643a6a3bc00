"""Whether a model knows the families, or only these sequences."""
