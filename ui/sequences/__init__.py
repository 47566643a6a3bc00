"""Sequences: the families, and what gives them away."""
