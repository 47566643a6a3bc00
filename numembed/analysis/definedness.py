"""Where a score is undefined, and why, in plain words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.preparation import SAME, Distance, all_equal, cosine_parts
from numembed.core.arrays import Labels, Matrix


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
