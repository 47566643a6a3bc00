"""The arrays that pass between the parts: n sequences, d dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
"""Vectors, one row a text: (n, d)."""
Labels = NDArray[np.int64]
"""Which group each row belongs to, from 0: (n,)."""
Points = NDArray[np.float32]
"""Places on a map: (n, 2) or (n, 3)."""
Tensor = NDArray[Any]
"""Weights of a model, of any shape and floating type."""


_SQUARED = 1e-15, 1e15  # numbers whose squares, and sums of these, stay within single precision with all their digits


def level_rows(matrix: NDArray[np.floating], lengths: NDArray[np.float64] | None = None) -> NDArray[np.floating]:
    """Return the rows, each whose squares would leave the range of single precision divided by its own power of two.

    No direction changes, and a power of two leaves every digit as it is. Rows of zeros stay. ``lengths`` (n,) are those
    of the rows, where they are known.
    """
    sizes = np.maximum(matrix.max(axis=1, initial=0), -matrix.min(axis=1, initial=0)) if lengths is None else lengths
    far = np.flatnonzero((sizes > 0) & ((sizes < _SQUARED[0]) | (sizes > _SQUARED[1])))
    if not len(far):
        return matrix
    level = np.array(matrix)
    level[far] = np.ldexp(matrix[far], -np.frexp(sizes[far])[1][:, None])
    return level


def unit_rows(matrix: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the rows scaled to length 1 in double precision; zero rows stay."""
    rows = np.asarray(level_rows(matrix), dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)
