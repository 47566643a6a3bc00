"""Merges of models: methods on tensors, whole folders, whether models fit, angles between weights.

Which merges are compared, and how, stands in ``merge_experiment``.
"""
