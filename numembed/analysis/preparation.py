"""Vectors and groups as the scores take them: rescaled, around their mean, as parts of cosine distances, counted."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from numembed.core.arrays import Labels, Matrix, level_rows

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
    norms = np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64))[:, None]
    if (level := level_rows(matrix, norms[:, 0])) is not matrix:
        return cosine_parts(np.asarray(level, dtype=np.float32))
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


def undefined_reason(matrix: Matrix, labels: Labels, *, distance: Distance = "euclidean") -> str:
    """Return why separation is undefined here, in plain words, or "" where it is defined."""
    if reason := _groups_reason(labels):
        return reason
    if all_equal(matrix):
        return "all vectors are equal"
    if distance == "cosine" and one_direction(cosine_parts(matrix)[1]):
        return "all vectors point the same way"
    return ""


def davies_bouldin_note(matrix: Matrix, labels: Labels) -> str:
    """Return why Davies–Bouldin is undefined here, or what flatters it, or ""."""
    if reason := undefined_reason(matrix, labels):
        return reason
    centres = np.stack([matrix[labels == group].mean(axis=0, dtype=np.float64) for group in np.unique(labels)])
    gaps = [np.linalg.norm(centres[i + 1 :] - centres[i], axis=1).min() for i in range(len(centres) - 1)]
    return "two groups share one centre; that pair is left out" if min(gaps) <= SAME * np.abs(matrix).max() else ""


def agreement_undefined_reason(labels: Labels, clusters: Labels) -> str:
    """Return why agreement is undefined here, or ""; with one sequence per family any clusters would match."""
    if len(np.unique(labels)) < 2:
        return "needs at least 2 families"
    if reason := _groups_reason(labels):
        return reason
    return "KMeans found no two clusters" if len(np.unique(clusters)) < 2 else ""


def one_direction(halves: NDArray[np.float32]) -> bool:
    """Return whether vectors with these parts of cosine distances all point the same way."""
    return bool(halves.max() < 1e-12)  # closer to the common direction than single precision can tell


def _groups_reason(labels: Labels) -> str:
    n, groups = len(labels), len(np.unique(labels))
    return "" if 2 <= groups <= n - 1 else f"needs 2 to n − 1 groups, got {groups} for n = {n}"
