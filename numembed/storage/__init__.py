"""SQLite files that survive kills, full disks and damage: connections, and the vectors of texts by key.

What the stored values mean, and how a key of a result is composed, stands in ``studies``.
"""
