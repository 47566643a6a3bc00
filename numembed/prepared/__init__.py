"""Results that come with the program, so that its first start answers: what they are, and how they are made.

``python -m numembed.prepared`` computes them and writes ``prepared.zip``, a bundle (``numembed/storage/bundle.py``).
"""

from pathlib import Path

PREPARED = Path(__file__).with_name("prepared.zip")
