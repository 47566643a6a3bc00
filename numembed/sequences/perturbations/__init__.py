"""Changes to sequences: of their text and of their terms, one registered function each.

What a change does to a score is examined in ``examinations.stress``.
"""
