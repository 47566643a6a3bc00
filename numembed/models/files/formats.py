"""Which files of a model are kept, and their digests."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

KEPT = ("*.json", "*.txt", "*.safetensors", "*.model")  # never pickles, never program code
DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_BLOCK_BYTES = 1 << 20


def is_kept(name: str) -> bool:
    """Return True for the files of a repository that are downloaded.

    >>> is_kept("1_Pooling/config.json"), is_kept("pytorch_model.bin"), is_kept("modeling_x.py")
    (True, False, False)
    """
    return any(fnmatchcase(name, pattern) for pattern in KEPT)


def digest_of(file: Path, digest: str, tick: Callable[[], None] = lambda: None) -> str:
    """Return the digest of ``file``, of the same kind as ``digest``."""
    digester = _digester(digest, file.stat().st_size)
    for block in _blocks(file):
        digester.update(block)
        tick()
    return str(digester.hexdigest())


def _digester(digest: str, size: int) -> Any:
    return hashlib.sha256() if len(digest) == 64 else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            yield block


PICKLED = (".bin", ".pt", ".pt2", ".pth", ".ckpt", ".pkl")
