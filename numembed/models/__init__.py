"""Which model exactly, where its files lie, how they are loaded, checked, trained, merged and saved; texts to vectors.

Scores, maps and anything that looks at vectors belong into ``analysis``.
"""
