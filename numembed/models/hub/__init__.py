"""The model hub: requests, verified downloads, snapshots, and what a model's card says.

Endpoints that encode texts are in ``models.encoders``.
"""
