"""Clusterings, what they agree with, and neighbours."""
