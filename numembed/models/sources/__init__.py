"""Where the weights of a model come from, one module a source: what exactly a name means, and the folder of its files.

The table of all kinds of weights stands in ``models.resolve``.
"""
