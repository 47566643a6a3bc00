"""The silhouette of each sequence and of whole groupings, computed from summed distances to groups."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.preparation import SAME, Distance, centred, cosine_parts, one_direction, undefined_reason
from numembed.core.arrays import Labels, Matrix

_STRETCH_NUMBERS = 1 << 20  # distances looked at together: stay in the processor's cache
_CLOSE = 1e-9  # squared distances, as a share of the squared lengths, that are nearly rounding by the quick formula


def silhouettes(matrix: Matrix, *labellings: Labels, distance: Distance = "euclidean") -> list[float]:
    """Return the silhouette of each labelling (n,) of the same vectors; their distances are computed once."""
    undefined = [bool(undefined_reason(matrix, labels)) for labels in labellings]
    known = [labels for labels, without in zip(labellings, undefined, strict=True) if not without]
    if distance == "cosine":
        values = [float(_cosine_silhouettes(matrix, labels).mean()) for labels in known]
    else:
        values = _euclidean_silhouettes(matrix, known) if known else []
    result = iter(values)
    return [math.nan if without else next(result) for without in undefined]


def group_silhouettes(matrix: Matrix, labels: Labels, *, distance: Distance = "euclidean") -> NDArray[np.float64]:
    """Return the mean silhouette of each group's members, (k,) in the order of their labels; NaN where undefined."""
    groups, own = np.unique(labels, return_inverse=True)
    if undefined_reason(matrix, labels, distance=distance):
        return np.full(len(groups), math.nan)
    if distance == "cosine":
        each = _cosine_silhouettes(matrix, labels)
    else:
        members = np.eye(len(groups))[own]
        each = _each_from(_summed_gaps(centred(matrix), members), own)
    return np.asarray(np.bincount(own, each) / np.bincount(own))


def from_sums(
    sums: NDArray[np.floating], inside: NDArray[np.floating], own: NDArray[np.intp], sizes: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return each point's silhouette and the other group nearest to it, both (m,).

    ``sums`` (m, k) are its summed distances to each of k groups, ``inside`` (m,) those inside its ``own`` group (m,).
    """
    rows, within = np.arange(len(own)), inside / np.maximum(sizes[own] - 1, 1)
    means = sums / sizes
    means[rows, own] = np.inf
    other = means.argmin(axis=1)
    nearest = means[rows, other]
    widest = np.maximum(within, nearest)
    values = np.divide(nearest - within, widest, out=np.zeros(len(own)), where=widest > 0)
    return np.where(sizes[own] > 1, values, 0.0), other


def _cosine_silhouettes(matrix: Matrix, labels: Labels) -> NDArray[np.float64]:
    """Return each point's silhouette (n,) in closed form: the distances of a point to a group follow from its sum.

    No pair of points is compared, so the cost grows with n and not with its square.
    """
    _, own = np.unique(labels, return_inverse=True)
    centred, halves = cosine_parts(matrix)
    if one_direction(halves):
        return np.full(len(own), np.nan)
    sizes, rows = np.bincount(own), np.arange(len(own))
    members = (own == np.arange(len(sizes))[:, None]).astype(np.float32)
    dots = centred @ (members @ centred).T
    most = np.outer(halves, sizes) + np.bincount(own, halves)
    sums = np.where(most - dots > SAME * most, most - dots, 0)  # less is the rounding of equal directions
    to_itself = ~matrix.any(axis=1)  # a zero row is at distance 1 of every other and, by this form, of itself
    return from_sums(sums, sums[rows, own] - to_itself, own, sizes)[0]


def _euclidean_silhouettes(matrix: Matrix, labellings: Sequence[Labels]) -> list[float]:
    """Return the mean silhouette of each labelling, from the summed distances of every point to every group."""
    owns = [np.unique(labels, return_inverse=True)[1] for labels in labellings]
    members = np.hstack([np.eye(int(own.max()) + 1)[own] for own in owns])
    sums, values, first = _summed_gaps(centred(matrix), members), [], 0
    for own in owns:
        groups = int(own.max()) + 1
        to_groups = sums[:, first : first + groups]
        values.append(float(_each_from(to_groups, own).mean()))
        first += groups
    return values


def _each_from(sums: NDArray[np.float64], own: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return each point's silhouette (n,) from its summed distances (n, k) to the groups."""
    return from_sums(sums, sums[np.arange(len(own)), own], own, np.bincount(own))[0]


def _summed_gaps(rows: NDArray[np.float64], members: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the summed distances (n, k) of each of ``rows`` (n, d) to the ``members`` (n, k) of each group."""
    n, squares = len(rows), np.einsum("ij,ij->i", rows, rows)
    step, sums = max(1, _STRETCH_NUMBERS // n), np.zeros(members.shape)
    for start in range(0, n, step):
        stop = min(start + step, n)
        gaps = rows[start:stop] @ rows[start:].T  # those to earlier rows are known already
        gaps *= -2
        gaps += squares[start:stop, None]
        gaps += squares[start:]
        np.fill_diagonal(gaps, np.inf)
        if gaps.min() < 2 * _CLOSE * squares.max():
            _measure_close(gaps, rows[start:stop], rows[start:], squares[start:stop, None] + squares[start:])
        np.fill_diagonal(gaps, 0)
        np.sqrt(gaps, out=gaps)
        sums[start:stop] += gaps @ members[start:]
        sums[stop:] += gaps[:, stop - start :].T @ members[start:stop]
    return sums


def _measure_close(
    gaps: NDArray[np.float64], rows: NDArray[np.float64], others: NDArray[np.float64], lengths: NDArray[np.float64]
) -> None:
    """Put the squared distances of rows that lie close to each other, measured by their differences, into ``gaps``."""
    ones, twos = np.nonzero(gaps < _CLOSE * lengths)
    step = max(1, _STRETCH_NUMBERS // rows.shape[1])
    for start in range(0, len(ones), step):
        one, two = ones[start : start + step], twos[start : start + step]
        differences = rows[one] - others[two]
        gaps[one, two] = np.einsum("ij,ij->i", differences, differences)
