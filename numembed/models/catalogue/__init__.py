"""The models that are known by name, their facts and the options that a name takes.

How a model is found on this machine stands in ``models.resolve``.
"""
