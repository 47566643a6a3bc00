"""Permutation tests, intervals and effects: how sure a number is."""
