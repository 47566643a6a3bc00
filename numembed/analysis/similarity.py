"""How far two sets of vectors for the same texts differ: row i of both matrices is the same text or sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.clusters.neighbours import distances
from numembed.analysis.inference.intervals import Difference
from numembed.analysis.preparation import Distance
from numembed.core.arrays import Labels, Matrix, unit_rows

Doubles = NDArray[np.float64]
FEWEST = 4  # texts below which the debiased CKA is undefined
NORMALISATIONS = ("unit length", "centred", "standardised")
ROUNDING = 1e-5  # of scores: vectors in single precision tell no smaller change
_ROUNDING = 1e-12
_BLOCK = 8  # texts left out one by one that are looked at together


def cka(one: Matrix, other: Matrix, *, debiased: bool = True) -> float:
    """Return the linear CKA of vectors (n, d) and (n, e): 1 where they are alike up to turning and scaling.

    Debiased, vectors that share nothing score 0 on average and may fall below; without that, with few texts and many
    dimensions they score nearly 1 (24 random vectors of 384 numbers: 0.94). NaN for fewer than 4 texts and where all
    vectors are equal. Kornblith 2019; Székely and Rizzo 2014 for the unbiased estimate; Murphy 2024.
    """
    if len(one) != len(other):
        raise ValueError(f"vectors of the same texts come in pairs, got {len(one)} and {len(other)}")
    if len(one) < FEWEST:
        return math.nan
    first, second = (_kernel(matrix) for matrix in (one, other))
    alike = _unbiased if debiased else _biased
    both, own = alike(first, second), alike(first, first) * alike(second, second)
    return both / math.sqrt(own) if own > 0 else math.nan


def similarities(matrix: Matrix) -> Doubles:
    """Return the cosines of all pairs of rows, (n (n − 1) / 2,); 0 with a zero row."""
    unit = unit_rows(matrix)
    upper: Doubles = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    return upper


def spread(matrix: Matrix) -> float:
    """Return the standard deviation of the cosines of all pairs of rows; NaN for fewer than three.

    Of all pairs, not their range: one odd text would widen the range by itself, and ranks need most pairs to differ.
    """
    return float(similarities(matrix).std()) if len(matrix) >= 3 else math.nan


def similarity_agreement(one: Matrix, other: Matrix) -> float:
    """Return Spearman's correlation between the cosines of all pairs in one model and in the other.

    NaN for fewer than three texts and where all pairs are equally alike.
    """
    if len(one) != len(other):
        raise ValueError(f"vectors of the same texts come in pairs, got {len(one)} and {len(other)}")
    if len(one) < 3:
        return math.nan
    return _ranked_alike(*(np.round(similarities(matrix), 9) for matrix in (one, other)))


def _ranked_alike(one: Doubles, other: Doubles) -> float:
    """Return Spearman's correlation of two rows of numbers; NaN where one is all equal."""
    from scipy.stats import rankdata

    centred = [ranks - ranks.mean() for ranks in (rankdata(one), rankdata(other))]
    length = math.sqrt(float((centred[0] ** 2).sum()) * float((centred[1] ** 2).sum()))
    return float(centred[0] @ centred[1]) / length if length > _ROUNDING else math.nan


def agreement_interval(one: Matrix, other: Matrix, *, level: float = 0.95) -> tuple[float, float]:
    """Return where :func:`similarity_agreement` would lie for other texts of the kind, with probability ``level``.

    A jackknife: each text is left out in turn with all its pairs, and the rest ranked anew. The standard error is taken
    on Fisher's scale, atanh, where Spearman's correlation is about as uncertain everywhere. Of 120 texts drawn from
    1,500, such intervals held the value of all of them in 95 to 99%. NaN below four texts and where it is undefined.
    """
    if len(one) != len(other):
        raise ValueError(f"vectors of the same texts come in pairs, got {len(one)} and {len(other)}")
    n = len(one)
    whole = similarity_agreement(one, other)
    if n < FEWEST or math.isnan(whole):
        return math.nan, math.nan
    if abs(whole) > 1 - _ROUNDING:  # the same order, whoever is left out
        return whole, whole
    left_out = agreements_without(one, other)
    if not np.isfinite(left_out).all():
        return math.nan, math.nan
    from scipy.special import stdtrit

    scaled = np.arctanh(np.clip(left_out, -1 + _ROUNDING, 1 - _ROUNDING))
    error = math.sqrt(n - 1) * float(scaled.std())
    wide = float(stdtrit(n - 1, (1 + level) / 2)) * error
    return math.tanh(math.atanh(whole) - wide), math.tanh(math.atanh(whole) + wide)


def agreements_without(one: Matrix, other: Matrix) -> Doubles:
    """Return :func:`similarity_agreement` without each text in turn, (n,); NaN where undefined.

    Ranks are not sorted anew: each falls by the number of pairs below it that went.
    """
    n, rest = len(one), (len(one) - 1) * (len(one) - 2) // 2
    places = [np.unique(np.round(similarities(matrix), 9), return_inverse=True)[1] for matrix in (one, other)]
    order = np.argsort(places[0], kind="stable")
    x, y = (place[order] for place in places)
    touching = _pairs_of_each(n, order)
    lengths = [_squares_without(place, touching, rest) for place in (x, y)]
    both = np.empty(n)
    for begin in range(0, n, _BLOCK):  # what is looked at together stays in the processor's cache
        gone = touching[begin : begin + _BLOCK]
        both[begin : begin + _BLOCK] = np.einsum(
            "ip,ip->i", _ranks_without(x, gone), _ranks_without(y, gone), dtype=np.float64
        )
    length = np.sqrt(lengths[0] * lengths[1])
    result: Doubles = np.divide(both, length, out=np.full(n, np.nan), where=length > _ROUNDING)
    return result


def _pairs_of_each(n: int, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where the pairs of each text stand in ``order``, (n, n − 1)."""
    at = np.empty_like(order)
    at[order] = np.arange(len(order))
    table = np.zeros((n, n), dtype=np.int64)
    table[np.triu_indices(n, 1)] = at
    table += table.T
    return table[~np.eye(n, dtype=np.bool_)].reshape(n, n - 1)


def _squares_without(place: NDArray[np.int64], touching: NDArray[np.int64], rest: int) -> Doubles:
    """Return the squared length of the centred ranks that are left without each text, (n,); ties make it shorter."""
    counts = np.bincount(place)
    tied = np.flatnonzero(counts > 1)
    column = np.full(len(counts), -1)
    column[tied] = np.arange(len(tied))
    left = np.repeat(counts[tied][None].astype(np.float64), len(touching), axis=0)
    rows, columns = np.nonzero(column[place[touching]] >= 0)
    np.subtract.at(left, (rows, column[place[touching[rows, columns]]]), 1)
    lengths: Doubles = (rest**3 - rest - (left**3 - left).sum(axis=1)) / 12
    return lengths


def _ranks_without(place: NDArray[np.int64], gone: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the centred ranks of all pairs without those of each row of ``gone``, (rows, pairs), for which 0 stands.

    ``place`` says which pairs are equally alike, and in which order; equal ones share their mean rank.
    """
    counts, rows = np.bincount(place).astype(np.float32), np.arange(len(gone))[:, None]  # halves are exact in float32
    left = np.repeat(counts[None], len(gone), axis=0)
    np.subtract.at(left, (rows, place[gone]), np.float32(1))
    middle = np.cumsum(left, axis=1)
    middle -= left / 2 + np.float32((len(place) - gone.shape[1]) / 2)
    ranks = middle if len(counts) == len(place) and place[0] == 0 and (np.diff(place) == 1).all() else middle[:, place]
    ranks[rows, gone] = 0
    return ranks


def paraphrase_margin(matrix: Matrix, pairs: Sequence[tuple[int, int]]) -> float:
    """Return how much larger the mean cosine of ``pairs`` (rows) is than that of all other pairs; NaN without any."""
    n = len(matrix)
    chosen = np.zeros((n, n), dtype=np.bool_)
    for i, j in pairs:
        chosen[min(i, j), max(i, j)] = True
    marked = chosen[np.triu_indices(n, 1)]
    if not marked.any() or marked.all():
        return math.nan
    cosines = similarities(matrix)
    return float(cosines[marked].mean() - cosines[~marked].mean())


def grades_agreement(matrix: Matrix, graded: Sequence[tuple[int, int, float]]) -> float:
    """Return Spearman's correlation between the cosines of graded pairs (rows and grade) and their grades.

    1 where the model puts the pairs into the order of their grades. NaN for fewer than three
    pairs and where all grades or all cosines are equal.
    """
    if len(graded) < 3:
        return math.nan
    unit = unit_rows(matrix)
    cosines = np.array([float(unit[i] @ unit[j]) for i, j, _ in graded])
    return _ranked_alike(np.round(cosines, 9), np.array([grade for *_, grade in graded], dtype=np.float64))


def shift_shares(before: Matrix, after: Matrix, directions: Sequence[int]) -> tuple[float, ...]:
    """Return the share of all squared shifts (n, d) in their first so many directions; NaN where nothing moved.

    The mean shift counts: a model that moves all texts the same way has its whole shift in one direction.
    """
    shift = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    squares = np.linalg.svd(shift, compute_uv=False) ** 2
    total = float(squares.sum())
    if total <= _ROUNDING:
        return tuple(math.nan for _ in directions)
    return tuple(float(squares[:count].sum()) / total for count in directions)


def _kernel(matrix: Matrix) -> Doubles:
    """Return the inner products (n, n) of rows around their mean, which changes neither estimate but the rounding."""
    rows = np.asarray(matrix, dtype=np.float64)
    rows = rows - rows.mean(axis=0)
    kernel: Doubles = rows @ rows.T
    largest = float(np.abs(kernel).max(initial=0))
    return kernel / largest if largest > _ROUNDING else np.zeros_like(kernel)


def _biased(one: Doubles, other: Doubles) -> float:
    return float((one * other).sum())


def _unbiased(one: Doubles, other: Doubles) -> float:
    n = len(one)
    a, b = one.copy(), other.copy()
    np.fill_diagonal(a, 0)
    np.fill_diagonal(b, 0)
    sums = float(a.sum()) * float(b.sum()) / ((n - 1) * (n - 2))
    cross = 2 * float(a.sum(axis=0) @ b.sum(axis=0)) / (n - 2)
    return (float((a * b).sum()) + sums - cross) / (n * (n - 3))


def normalised(matrix: Matrix, how: str) -> Matrix:
    """Return the vectors (n, d) scaled to length 1, moved to mean 0, or with mean 0 and variance 1 in each coordinate.

    Zero vectors and constant coordinates stay 0. ``how`` is one of ``NORMALISATIONS``; ValueError otherwise.
    """
    rows = np.asarray(matrix, dtype=np.float64)
    match how:
        case "unit length":
            rows = unit_rows(rows)
        case "centred":
            rows = rows - rows.mean(axis=0)
        case "standardised":
            spread = rows.std(axis=0)
            rows = (rows - rows.mean(axis=0)) / np.where(spread > 1e-7 * np.abs(rows).max(axis=0), spread, np.inf)
        case _:
            raise ValueError(f"vectors are normalised to one of {', '.join(NORMALISATIONS)}, got {how!r}")
    return np.asarray(rows, dtype=np.float32)


def paired_jackknife(change: float, before: Doubles, after: Doubles) -> Difference:
    """Return a change of a score with its 95% interval and p, from both scores without each sequence in turn, (n,).

    Row i is left out of both sets at once, so that what they have in common cancels. The standard error is that of
    the n pseudo-values n·c − (n − 1)·c₋ᵢ of the change c, the interval c ± t(n − 1) standard errors, p two-sided by
    Student's t; changes below the rounding of single precision count as none. It errs on the side of caution: of
    two synthetic sets of 6 × 4 drawn alike, near or far apart, p was at most 0.05 in 0 to 2% of cases and never below
    0.001. As for one score it may be too narrow where sequences of one window have much in common: then redraw the
    windows. NaN with a note where a score is undefined or n is below 3. Tukey 1958.
    """
    n = len(before)
    without = np.subtract(after, before, dtype=np.float64)
    if n < 3 or not math.isfinite(change) or not np.isfinite(without).all():
        note = "needs at least 3 sequences" if n < 3 else "without one of the sequences the score is undefined"
        return Difference(change, math.nan, math.nan, math.nan, False, note)
    if abs(change) < ROUNDING and np.abs(without).max() < 2 * ROUNDING:
        return Difference(0.0, 0.0, 0.0, 1.0, False)
    from scipy.special import stdtr, stdtrit

    error = (n - 1) * float(without.std(ddof=1)) / math.sqrt(n)
    half = float(stdtrit(n - 1, 0.975)) * error
    p = float(2 * stdtr(n - 1, -abs(change) / error)) if error > 0 else 0.0
    return Difference(change, change - half, change + half, p, abs(change) > half)


def gaps(one: Matrix, other: Matrix, *, distance: Distance = "euclidean") -> Doubles:
    """Return the distance (n,) between row i of one matrix and row i of the other."""
    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if distance == "euclidean":
        return np.asarray(np.linalg.norm(a - b, axis=1))
    units = unit_rows(a), unit_rows(b)
    half = ((units[0] - units[1]) ** 2).sum(axis=1) / 2
    return np.where(a.any(axis=1) & b.any(axis=1), half, 1.0)


def relatives(matrix: Matrix, labels: Labels, *, distance: Distance = "euclidean") -> tuple[Doubles, Doubles]:
    """Return how far from each row its nearest neighbour of the same family lies, and the nearest of others: (n,) each.

    NaN where a row has none. Raises TooLarge above 5,000 sequences.
    """
    pairs = distances(matrix, distance=distance)
    same = labels[:, None] == labels
    np.fill_diagonal(pairs, np.inf)
    return _nearest(matrix, pairs, same, distance), _nearest(matrix, pairs, ~same, distance)


def _nearest(matrix: Matrix, pairs: Doubles, allowed: NDArray[np.bool_], distance: Distance) -> Doubles:
    reach = np.where(allowed, pairs, np.inf)
    rows = reach.argmin(axis=1) if len(matrix) else np.zeros(0, dtype=np.int64)
    result = gaps(matrix, matrix[rows], distance=distance)
    return np.where(np.isfinite(reach.min(axis=1, initial=np.inf)), result, np.nan)
