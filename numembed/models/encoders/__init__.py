"""Loaded models and endpoints that turn texts into vectors: checked, batched, with their weights exchanged in memory.

What is stored already is read in ``models.embedding``.
"""
