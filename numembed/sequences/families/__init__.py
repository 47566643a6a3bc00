"""Families of integers: one registered function each.

Windows of them and their text are made in ``sequences.sets``.
"""
