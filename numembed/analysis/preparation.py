"""Vectors and groups as the scores take them: rescaled, around their mean, as parts of cosine distances, counted."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from numembed.core.arrays import Matrix

Distance = Literal["euclidean", "cosine"]
ONE_CENTRE = 1e-12  # as a share of the largest coordinate: centres no farther apart are one
SAME = np.float32(1e-6)  # as a share: what single precision does not tell from nothing


def all_equal(matrix: Matrix) -> bool:
    """Return whether no two rows differ; a look at the first rows answers nearly always."""
    return bool((matrix[:16] == matrix[:1]).all() and (matrix == matrix[:1]).all())


def rescaled(matrix: Matrix) -> Matrix:
    """Return the matrix, divided by a power of two where its squares would leave the range of single precision.

    No score and no layout depends on the unit; a power of two leaves every digit as it is.
    """
    largest = max(float(matrix.max(initial=0)), -float(matrix.min(initial=0)))
    if largest == 0 or 1e-3 < largest < 1e6:
        return matrix
    return np.asarray(np.ldexp(matrix, -math.frexp(largest)[1]), dtype=np.float32)


def centred(matrix: Matrix) -> NDArray[np.float64]:
    """Return the rows around their mean in double precision, where differences lose no digits."""
    rows = np.array(rescaled(matrix), dtype=np.float64)
    rows -= rows.mean(axis=0)
    return rows


def cosine_parts(matrix: Matrix) -> tuple[Matrix, NDArray[np.float32]]:
    """Return (centred (n, d), halves (n,)) with distance(x, y) = halves_x + halves_y − centred_x · centred_y.

    Equal to 1 − cosine. That difference itself loses its digits where all rows point nearly the same way, as those
    of many models do; half the squared distance of the unit rows keeps them. Zero rows are at distance 1 of all.
    """
    matrix = rescaled(matrix)
    norms = np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64))[:, None]
    centred = np.asarray(matrix / np.where(norms > 0, norms, 1).astype(np.float32), dtype=np.float32)
    centred -= centred.mean(axis=0)
    halves = np.einsum("ij,ij->i", centred, centred) / 2
    return centred, np.where(norms[:, 0] > 0, halves, halves + np.float32(0.5))


def counts_of(labels: NDArray[np.integer], clusters: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return how many members each group (rows) has in each cluster (columns), both in the order of their labels."""
    groups, own = np.unique(labels, return_inverse=True)
    result, into = np.unique(clusters, return_inverse=True)
    counts = np.bincount(own * len(result) + into, minlength=len(groups) * len(result))
    return np.asarray(counts.reshape(len(groups), len(result)), dtype=np.int64)
