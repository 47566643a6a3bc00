"""Robustness across merges: the named models of an experiment on changed texts, compared with paired intervals.

The changes are those of a stress test (``sequences.perturbations``).
"""
