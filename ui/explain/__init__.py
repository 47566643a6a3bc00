"""Explain: what the clusters of one model encode."""
