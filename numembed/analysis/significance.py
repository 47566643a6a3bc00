"""Is a score more than chance? Permutation tests, vectorised and seeded."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.metrics import (
    ONE_CENTRE,
    Distance,
    Labels,
    Matrix,
    centred,
    cosine_parts,
    davies_bouldin,
    davies_bouldin_note,
    rescaled,
    silhouette,
    undefined_reason,
)
from numembed.progress import Progress, silent

Metric = Literal["silhouette", "davies_bouldin"]  # with a test of its own
_BLOCK_NUMBERS = 1 << 16  # n × b of one block of b labellings: stays in the processor's cache
_STRETCH_BYTES = 64 * 2**20  # of the distances computed at once
_FAR, _TINY = np.float32(np.inf), np.float32(1e-30)
_TIE = np.float32(1e-6)  # single precision: equal up to rounding counts as "at least as large"
_NOTHING_TO_SHUFFLE = (
    "each group holds sequences of one family only, so that no shuffle inside a group changes anything"
)


@dataclass(frozen=True)
class PermutationTest:
    """A score held against the same vectors with shuffled families."""

    observed: float
    p: float  # share of shuffles, the observed one included, that score at least as well
    null_mean: float
    null_low: float  # 2.5 % of the shuffles lie below
    null_high: float  # 2.5 % above
    permutations: int
    note: str = ""
    z: float = math.nan  # (observed − null_mean) / standard deviation of the shuffles; NaN where they are all equal


def permutation_test(
    matrix: Matrix,
    labels: Labels,
    *,
    distance: Distance = "euclidean",
    permutations: int | None = None,
    seed: int = 0,
    within: Labels | None = None,
    metric: Metric = "silhouette",
    progress: Progress = silent,
) -> PermutationTest:
    """Return the permutation test of a score, towards its better side; NaN with a note where it is undefined.

    A silhouette is better higher, a Davies–Bouldin index (of Euclidean distances, whatever ``distance``) lower. Where
    two groups share one centre the latter leaves them out and has no test; shuffles that come near this give it a long
    tail, so that its p tells more than its z.

    ``within`` (n,) names a group of each sequence, such as its window: families then change places only inside a
    group, and what the groups stand for, such as the size of the numbers, is the same in every shuffle.
    Phipson and Smyth 2010 (the observed labelling counts); Anderson and ter Braak 2003 (restricted shuffles).
    """
    if metric == "davies_bouldin":
        distance = "euclidean"
    reason = undefined_reason(matrix, labels, distance=distance)
    if reason or (metric == "davies_bouldin" and (reason := davies_bouldin_note(matrix, labels))):
        return PermutationTest(math.nan, math.nan, math.nan, math.nan, math.nan, 0, reason)
    rounds = permutations or default_permutations(len(labels))
    _, own = np.unique(labels, return_inverse=True)
    strata = np.zeros_like(own) if within is None else _groups_of(within, len(own))
    if not _any_change(own, strata):
        observed = (
            silhouette(matrix, labels, distance=distance) if metric == "silhouette" else davies_bouldin(matrix, labels)
        )
        return PermutationTest(observed, math.nan, math.nan, math.nan, math.nan, 0, _NOTHING_TO_SHUFFLE)
    repeated = shuffled(own.astype(np.int32), strata, rounds, seed=seed)
    if metric == "silhouette":
        values = permuted_silhouettes(matrix, repeated, distance=distance, progress=progress)
        as_good = values[1:] >= values[0] - _TIE
    else:
        values = permuted_davies_bouldin(matrix, repeated, progress=progress)
        as_good = values[1:] <= values[0] * (1 + _TIE)
    observed, null = float(values[0]), values[1:]
    low, high = np.quantile(null, (0.025, 0.975))
    p = (1 + int(np.count_nonzero(as_good))) / (1 + rounds)
    mean, spread = float(null.mean()), float(null.std())
    z = (observed - mean) / spread if spread > _TIE else math.nan
    return PermutationTest(observed, p, mean, float(low), float(high), rounds, z=z)


def shuffled(
    labels: NDArray[np.int32], within: NDArray[np.integer], rounds: int, *, seed: int = 0
) -> NDArray[np.int32]:
    """Return (1 + rounds, n): the labels as they are, then shuffled inside each group of ``within`` (n,)."""
    repeated = np.broadcast_to(labels, (1 + rounds, len(labels))).copy()
    drawn = np.random.default_rng(seed)
    for group in np.unique(within):
        columns = np.flatnonzero(within == group)
        repeated[1:, columns] = drawn.permuted(repeated[1:, columns], axis=1)
    return repeated


def _groups_of(within: Labels, n: int) -> NDArray[np.integer]:
    if len(within) != n:
        raise ValueError(f"one group is needed for each of {n} sequences, got {len(within)}")
    return np.asarray(np.unique(within, return_inverse=True)[1])


def _any_change(own: NDArray[np.integer], strata: NDArray[np.integer]) -> bool:
    """Return whether some group holds two families, so that a shuffle can differ from what was observed."""
    pairs = np.unique(np.stack([strata, own]), axis=1)
    return bool(len(np.unique(pairs[0])) < pairs.shape[1])


def holm(ps: Sequence[float | None]) -> tuple[float | None, ...]:
    """Return the p values adjusted for their number, in the same order; None stays None and does not count.

    All that stay at or below 0.05 may be believed together: the chance of even one false one is at most 5 %,
    however the tests depend on each other. Holm 1979.

    >>> holm([0.01, 0.04, None, 0.03])
    (0.03, 0.06, None, 0.06)
    """
    given = [(p, at) for at, p in enumerate(ps) if p is not None and not math.isnan(p)]
    if any(not 0 <= p <= 1 for p, _ in given):
        raise ValueError(f"p values lie between 0 and 1, got {[p for p, _ in given]}")
    adjusted, highest = list(ps), 0.0
    for rank, (p, at) in enumerate(sorted(given)):
        highest = max(highest, min(1.0, (len(given) - rank) * p))
        adjusted[at] = highest
    return tuple(adjusted)


def smallest_p(labels: Labels, within: Labels | None = None) -> float:
    """Return the smallest p that shuffles of these labels (n,), inside groups (n,), can give, however clear it is.

    It is the share of shuffles that part the same from the same as the labels do: where families are as large, one
    may stand for the other. Above 0.05 there are too few sequences to tell anything.

    >>> round(smallest_p(np.array([0, 0, 1, 1])), 2), round(smallest_p(np.arange(24) // 4), 9)
    (0.33, 0.0)
    """
    _, own = np.unique(labels, return_inverse=True)
    strata = np.zeros_like(own) if within is None else _groups_of(within, len(own))
    counts = np.zeros((int(strata.max(initial=0)) + 1, int(own.max(initial=0)) + 1), dtype=np.int64)
    np.add.at(counts, (strata, own), 1)
    alike = np.unique(counts, axis=1, return_counts=True)[1]  # families with as many sequences in every group
    ways = sum(_log_factorial(row.sum()) - sum(map(_log_factorial, row)) for row in counts)
    return round(math.exp(min(0.0, sum(map(_log_factorial, alike)) - ways)), 12)


def _log_factorial(count: int) -> float:
    return math.lgamma(int(count) + 1)


def default_permutations(n: int) -> int:
    """Return how many shuffles n sequences get: fewer where one costs more, so that a test stays within seconds.

    >>> default_permutations(24), default_permutations(1_000), default_permutations(20_000)
    (9999, 999, 199)
    """
    return 9_999 if n <= 500 else 999 if n <= 5_000 else 199


def permuted_silhouettes(
    matrix: Matrix, labellings: NDArray[np.integer], *, distance: Distance = "euclidean", progress: Progress = silent
) -> NDArray[np.float64]:
    """Return the silhouette (b,) of each of b shuffles (b, n) of the same labels, for the same vectors.

    Distances are computed once; the sums to one group, for a whole block of shuffles, are one matrix product.
    """
    groups, sizes = np.unique(labellings[0], return_counts=True)
    n = labellings.shape[1]
    block = max(64, _BLOCK_NUMBERS // n)
    sums_to = _summed_distances(matrix, distance)
    values = np.empty(len(labellings))
    for start in range(0, len(labellings), block):
        part = np.ascontiguousarray(labellings[start : start + block].T)
        values[start : start + part.shape[1]] = _block_silhouettes(sums_to, part, groups, sizes)
        progress(start + part.shape[1], len(labellings), "score")
    return values


def _block_silhouettes(
    sums_to: Callable[[NDArray[np.float32], int], NDArray[np.float32]],
    own: NDArray[np.integer],
    groups: NDArray[np.integer],
    sizes: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the silhouettes (b,) of labellings ``own`` (n, b), group by group."""
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
    values = (nearest - within) / np.maximum(widest, _TINY)
    if len(alone):
        values[np.isin(own, alone)] = 0
    means: NDArray[np.float64] = values.mean(axis=0, dtype=np.float64)
    return means


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
        gaps = squares - 2 * (centre @ rows.T) + np.einsum("ij,ij->i", centre, centre)[:, None]
        widths.append(np.einsum("ij,ij->i", member, np.sqrt(np.maximum(gaps, 0))) / size)
        centres.append(centre)
    worst, one_centre = np.zeros((len(groups), len(own))), ONE_CENTRE * np.abs(rows).max()
    for one, other in combinations(range(len(groups)), 2):
        apart = np.linalg.norm(centres[one] - centres[other], axis=1)
        apart[apart <= one_centre] = np.inf
        ratio = (widths[one] + widths[other]) / apart
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
            told: NDArray[np.float32] = np.where(sums > _TIE * most, sums, 0) - to_itself * members
            return told

        return sums_to
    distances = np.empty((n, n), dtype=np.float32)
    distances_from = row_distances(matrix, distance)
    step = max(1, _STRETCH_BYTES // (8 * n))
    for start in range(0, n, step):
        stretch = slice(start, start + step)
        distances[stretch] = distances_from(stretch)
    np.fill_diagonal(distances, 0)
    return lambda members, size: distances @ members


def row_distances(matrix: Matrix, distance: Distance) -> Callable[[slice], NDArray[np.floating]]:
    """Return a function from a stretch of m rows to their distances from all, (m, n); those to itself are rounding."""
    if distance == "cosine":
        centred, halves = cosine_parts(matrix)

        def cosine(stretch: slice) -> NDArray[np.floating]:
            most = halves[stretch, None] + halves
            distances = most - centred[stretch] @ centred.T
            return np.asarray(np.where(distances > _TIE * most, distances, 0))

        return cosine
    from sklearn.metrics.pairwise import euclidean_distances

    rows = np.asarray(rescaled(matrix), dtype=np.float64)
    return lambda stretch: np.asarray(euclidean_distances(rows[stretch], rows))
