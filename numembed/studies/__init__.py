"""A whole experiment as one value, the keys and values of its results, and what stands behind a score.

Carrying it out is in ``runs``; further questions about one model are in ``examinations``.
"""
