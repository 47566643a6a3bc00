"""The vector store against one file of numpy."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measure import Figure, interleaved
from numembed.storage.vectors import VectorStore

_OLD = np.array([False] + 500 * [True] + 6 * [False])


def store() -> list[Figure]:
    """Reading 10,000 × 1,024 vectors by their texts, beside np.load of the same matrix."""
    matrix = np.random.default_rng(0).standard_normal((10_000, 1_024)).astype(np.float32)
    texts = [", ".join(map(str, range(i, i + 50))) for i in range(len(matrix))]
    with tempfile.TemporaryDirectory() as name:
        np.save(Path(name) / "matrix.npy", matrix)
        with VectorStore(Path(name) / "cache.db") as vectors:
            for start in range(0, len(matrix), 1_000):
                part = slice(start, start + 1_000)
                vectors.add("benchmark", "benchmark", texts[part], matrix[part])
            read = vectors.read("benchmark", texts)[0]
            theirs, ours = interleaved(
                lambda: np.load(Path(name) / "matrix.npy"), lambda: vectors.read("benchmark", texts), rounds=15
            )
            _, result = vectors.read("benchmark", ["new", *texts[:500], *(f"{i} new" for i in range(6))])
    print(f"np.load {theirs * 1000:.1f} ms, store {ours * 1000:.1f} ms of CPU; equal: {np.array_equal(read, matrix)}")
    return [
        Figure("store read", ours / theirs, 10, at_most=True),
        Figure("store partial hit, texts judged wrongly", float((result != _OLD).sum()), 0, at_most=True),
    ]
