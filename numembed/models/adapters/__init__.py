"""LoRA adapters: their recipe, the folders they are saved in, whether they fit a base, and folding into it.

Training them is in ``models.training``.
"""
