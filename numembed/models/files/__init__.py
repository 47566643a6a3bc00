"""Folders and tensor files of models on this machine: read safely, digested, published whole or not at all.

Nothing here asks the network or imports torch.
"""
