"""Scores of the same vectors under many labellings, by matrix products; the distances are computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.preparation import ONE_CENTRE, Distance, centred, cosine_parts, rescaled
from numembed.core.arrays import Matrix
from numembed.core.progress import Progress, silent

TIE = np.float32(1e-6)  # single precision: equal up to rounding counts as "at least as large"
_BLOCK_NUMBERS = 1 << 16  # n × b of one block of b labellings: stays in the processor's cache
_STRETCH_BYTES = 64 * 2**20  # of the distances computed at once
_FAR, _TINY = np.float32(np.inf), np.float32(1e-30)


def part_of(progress: Progress, at: int, count: int) -> Progress:
    """Return the progress of part number ``at`` of ``count`` parts that take about as long."""
    return lambda done, total, note: progress(at * total + done, count * total, note)


def permuted_silhouettes(
    matrix: Matrix,
    labellings: NDArray[np.integer],
    *,
    distance: Distance = "euclidean",
    by_group: bool = False,
    progress: Progress = silent,
) -> NDArray[np.float64]:
    """Return the silhouette (b,) of each of b shuffles (b, n) of the same labels, for the same vectors.

    ``by_group``: the mean silhouette of each of k groups instead, (b, k), in the order of their labels.
    Distances are computed once; the sums to one group, for a whole block of shuffles, are one matrix product.
    """
    groups, sizes = np.unique(labellings[0], return_counts=True)
    n = labellings.shape[1]
    block = max(64, _BLOCK_NUMBERS // n)
    sums_to = _summed_distances(matrix, distance)
    values = np.empty((len(labellings), len(groups) if by_group else 1))
    for start in range(0, len(labellings), block):
        part = np.ascontiguousarray(labellings[start : start + block].T)
        each = _block_silhouettes(sums_to, part, groups, sizes)
        of = [part == group for group in groups] if by_group else [None]
        means = [each.mean(axis=0, dtype=np.float64, where=True if own is None else own) for own in of]
        values[start : start + part.shape[1]] = np.stack(means, axis=1)
        progress(start + part.shape[1], len(labellings), "score")
    return values if by_group else values[:, 0]


def _block_silhouettes(
    sums_to: Callable[[NDArray[np.float32], int], NDArray[np.float32]],
    own: NDArray[np.integer],
    groups: NDArray[np.integer],
    sizes: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return each point's silhouettes (n, b) in labellings ``own`` (n, b), computed group by group."""
    within = np.zeros(own.shape, dtype=np.float32)
    nearest = np.full(own.shape, np.inf, dtype=np.float32)
    alone = groups[sizes == 1]
    for group, size in zip(groups, sizes.tolist(), strict=True):
        member = np.asarray(own == group, dtype=np.float32)
        sums = sums_to(member, size)
        within += sums * member * np.float32(1 / max(size - 1, 1))
        sums *= np.float32(1 / size)
        np.minimum(nearest, np.where(member, _FAR, sums), out=nearest)
    widest = np.maximum(within, nearest)
    values = np.asarray((nearest - within) / np.maximum(widest, _TINY), dtype=np.float32)
    if len(alone):
        values[np.isin(own, alone)] = 0
    return values


def permuted_davies_bouldin(
    matrix: Matrix, labellings: NDArray[np.integer], *, progress: Progress = silent
) -> NDArray[np.float64]:
    """Return the Davies–Bouldin index (b,) of each of b shuffles (b, n) of the same labels, for the same vectors.

    Fewer vectors than they have coordinates are first turned into as many: a rotation, which moves no distance.
    """
    groups, sizes = np.unique(labellings[0], return_counts=True)
    rows = centred(matrix)
    if len(rows) < rows.shape[1]:
        rows = np.asarray(np.linalg.qr(rows.T, mode="r")).T
    block, values = max(64, _BLOCK_NUMBERS // max(rows.shape)), np.empty(len(labellings))
    for start in range(0, len(labellings), block):
        part = labellings[start : start + block]
        values[start : start + len(part)] = _block_davies_bouldin(rows, part, groups, sizes)
        progress(start + len(part), len(labellings), "score")
    return values


def _block_davies_bouldin(
    rows: NDArray[np.float64], own: NDArray[np.integer], groups: NDArray[np.integer], sizes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the Davies–Bouldin indices (b,) of labellings ``own`` (b, n): all groups' centres, then their widths."""
    squares, centres, widths = np.einsum("ij,ij->i", rows, rows), [], []
    for group, size in zip(groups, sizes.tolist(), strict=True):
        member = np.asarray(own == group, dtype=np.float64)
        centre = (member @ rows) / size
        apart = squares - 2 * (centre @ rows.T) + np.einsum("ij,ij->i", centre, centre)[:, None]
        widths.append(np.einsum("ij,ij->i", member, np.sqrt(np.maximum(apart, 0))) / size)
        centres.append(centre)
    gaps = {
        (one, other): np.linalg.norm(centres[one] - centres[other], axis=1)
        for one, other in combinations(range(len(groups)), 2)
    }
    return worst_pairs(widths, gaps, ONE_CENTRE * float(np.abs(rows).max()))


def worst_pairs(
    widths: Sequence[NDArray[np.float64]], gaps: Mapping[tuple[int, int], NDArray[np.float64]], one_centre: float
) -> NDArray[np.float64]:
    """Return Davies–Bouldin indices from the width of each group and the gap of each two centres, arrays of one shape.

    Centres no farther apart than ``one_centre`` are one, and their pair is left out.
    """
    worst = np.zeros((len(widths), *widths[0].shape))
    for (one, other), gap in gaps.items():
        ratio = (widths[one] + widths[other]) / np.where(gap <= one_centre, np.inf, gap)
        np.maximum(worst[one], ratio, out=worst[one])
        np.maximum(worst[other], ratio, out=worst[other])
    return np.asarray(worst.mean(axis=0))


def _summed_distances(matrix: Matrix, distance: Distance) -> Callable[[NDArray[np.float32], int], NDArray[np.float32]]:
    """Return a function of (members (n, b), their number) that gives each point's summed distance to them, (n, b)."""
    n, d = matrix.shape
    parts = cosine_parts(matrix) if distance == "cosine" else None
    if parts is not None and n > 2 * d:  # closed form: no pair of points is compared
        centred, halves = parts
        to_itself = np.asarray(~matrix.any(axis=1), dtype=np.float32)[:, None]  # of zero rows, by this form

        def sums_to(members: NDArray[np.float32], size: int) -> NDArray[np.float32]:
            most = np.float32(size) * halves[:, None] + halves @ members
            sums = most - centred @ (centred.T @ members)
            without_itself: NDArray[np.float32] = np.where(sums > TIE * most, sums, 0) - to_itself * members
            return without_itself

        return sums_to
    distances = distances_of(matrix, distance)
    return lambda members, size: distances @ members


def distances_of(matrix: Matrix, distance: Distance) -> NDArray[np.float32]:
    """Return the distances (n, n) of the sequences, 0 to themselves."""
    n = len(matrix)
    distances, distances_from = np.empty((n, n), dtype=np.float32), row_distances(matrix, distance)
    step = max(1, _STRETCH_BYTES // (8 * n))
    for start in range(0, n, step):
        stretch = slice(start, start + step)
        distances[stretch] = distances_from(stretch)
    np.fill_diagonal(distances, 0)
    return distances


def row_distances(matrix: Matrix, distance: Distance) -> Callable[[slice], NDArray[np.floating]]:
    """Return a function from a stretch of m rows to their distances from all, (m, n); those to itself are rounding."""
    if distance == "cosine":
        centred, halves = cosine_parts(matrix)

        def cosine(stretch: slice) -> NDArray[np.floating]:
            most = halves[stretch, None] + halves
            distances = most - centred[stretch] @ centred.T
            return np.asarray(np.where(distances > TIE * most, distances, 0))

        return cosine
    from sklearn.metrics.pairwise import euclidean_distances

    rows = np.asarray(rescaled(matrix), dtype=np.float64)
    return lambda stretch: np.asarray(euclidean_distances(rows[stretch], rows))
