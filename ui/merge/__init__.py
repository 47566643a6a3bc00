"""Merge: the merging experiment."""
