"""Simple classifiers that are asked about held-out vectors."""
