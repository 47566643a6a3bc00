"""The merging experiment: a base, adapters trained from it, merges of these, and what each gains and loses.

How tensors are merged is in ``models.merging``; its charts are in ``figures.merge``.
"""
