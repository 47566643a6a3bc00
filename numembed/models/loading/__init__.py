"""Files to modules in memory: by the recipe, on which device, or with random weights.

Encoding with what was loaded is in ``models.encoders``.
"""
