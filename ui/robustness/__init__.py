"""Robustness: what changes do to the score of one model."""
