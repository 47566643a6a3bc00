"""How far a score may be trusted: intervals, and whether two models can be told apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.inference.permuted_scores import row_distances
from numembed.analysis.preparation import Distance, undefined_reason
from numembed.analysis.silhouettes import silhouettes
from numembed.core.arrays import Labels, Matrix
from numembed.core.settings import LIMITS
from numembed.core.significance import LEVEL

Doubles = NDArray[np.float64]
FEWEST = 3  # scores below which no standard deviation is estimated
MOST_LEFT_OUT = 5_000  # sequences; they take some 5 seconds, and four times as long for twice as many
_STRETCH_BYTES = 16 * 2**20  # of the distances looked at together
_ROUNDING = 1e-9  # as a share: what is left of a sum when all of it is taken away; of scores: what is no difference


@dataclass(frozen=True)
class Interval:
    """Where a score lies with probability ``level``, by ``method``. NaN with a note: undefined here, and why."""

    low: float
    high: float
    level: float
    method: str
    note: str = ""


@dataclass(frozen=True)
class Difference:
    """How far the scores of one model lie above those of another on the same designs, with a 95% interval."""

    mean: float
    low: float
    high: float
    p: float  # two-sided
    distinguishable: bool  # the interval leaves out 0
    note: str = ""

    def sentence(self, name_a: str, name_b: str) -> str:
        """Return what may be said of the two in one sentence.

        >>> Difference(0.05, 0.03, 0.07, 0.001, True).sentence("Qwen3", "MiniLM")
        'Qwen3 is above MiniLM by 0.03 to 0.07.'
        """
        if self.note:
            return f"{name_a} and {name_b} cannot be compared: {self.note}."
        if not self.distinguishable:
            return f"{name_a} and {name_b} are not distinguishable at this size."
        upper, lower = (name_a, name_b) if self.mean > 0 else (name_b, name_a)
        least, most = sorted((abs(self.low), abs(self.high)))
        digits = 2 if least >= 0.005 else 4
        return f"{upper} is above {lower} by {least:.{digits}f} to {most:.{digits}f}."


def jackknife(matrix: Matrix, labels: Labels, *, distance: Distance = "euclidean", level: float = 0.95) -> Interval:
    """Return an interval of the silhouette that fresh sets of as many sequences have on average.

    Each sequence is left out once. The standard error is that of the n pseudo-values n·s − (n − 1)·s₋ᵢ, the interval
    is s ± t(n − 1) standard errors, inside −1 to 1. It lies around the score s and not around the mean of the
    pseudo-values, which aims at the score of endlessly many sequences: of synthetic sets of 6 × 4 to 6 × 16 such
    intervals held the expected score in 30 to 99% of cases only. Around s, 95% hold it in 96 to 100%: close where
    the groups lie apart, too wide where they overlap.

    It under-covers where sequences are not drawn independently of each other: what all families of a window share,
    such as the size of the numbers, does not change when one is left out. Of synthetic sets of 12 × 8 with families
    far apart and much in common in each window, it held the expected score in 72 to 76%. Then redraw the windows and
    use :func:`redrawing_interval`. For 2 × 2 it holds in 93 to 95%. NaN with a note above 5,000 sequences.
    Tukey 1958; Efron and Tibshirani 1993, chapter 11.
    """
    n, method = len(labels), "jackknife over sequences, Student's t"
    if reason := undefined_reason(matrix, labels, distance=distance):
        return Interval(math.nan, math.nan, level, method, reason)
    if n > MOST_LEFT_OUT:
        note = f"more than {MOST_LEFT_OUT:,} sequences are not left out one by one; redraw the windows"
        return Interval(math.nan, math.nan, level, method, note)
    without = leave_one_out(matrix, labels, distance=distance)
    if np.isnan(without).any():
        note = "without one of the sequences the score is undefined"
        return Interval(math.nan, math.nan, level, method, note)
    (score,) = silhouettes(matrix, labels, distance=distance)
    error = (n - 1) * float(without.std(ddof=1)) / math.sqrt(n)  # pseudo-values differ as these do, n − 1 times as far
    half = _t_quantile(level, n - 1) * error
    return Interval(max(-1.0, score - half), min(1.0, score + half), level, method)


def leave_one_out(matrix: Matrix, labels: Labels, *, distance: Distance = "euclidean") -> NDArray[np.float64]:
    """Return (n,) the silhouette without each sequence in turn; NaN where the rest has no silhouette.

    Leaving one out changes mean distances to its own group only, so that all n cost little more than one.
    """
    n, own = len(labels), np.unique(labels, return_inverse=True)[1]
    sizes = np.bincount(own)
    members = np.eye(len(sizes))[own]
    distances_from, step = row_distances(matrix, distance), max(1, _STRETCH_BYTES // (8 * n))
    stretches = [np.arange(start, min(start + step, n)) for start in range(0, n, step)]
    sums = np.concatenate([_without_own(distances_from, rows) @ members for rows in stretches])
    others = _nearest_others(sums / sizes, own)
    return np.concatenate(
        [_means_without(rows, _without_own(distances_from, rows), sums, others, own, sizes) for rows in stretches]
    )


def _without_own(distances_from: Callable[[slice], NDArray[np.floating]], rows: NDArray[np.intp]) -> Doubles:
    """Return the distances (m, n) from some rows to all, 0 to themselves."""
    distances = np.array(distances_from(slice(rows[0], rows[-1] + 1)), dtype=np.float64)
    distances[np.arange(len(rows)), rows] = 0
    return distances


def _nearest_others(means: Doubles, own: NDArray[np.intp]) -> Doubles:
    """Return (n, k) each sequence's mean distance to the group nearest to it, its own and group k left aside."""
    means[np.arange(len(own)), own] = np.inf
    nearest, second = np.sort(means, axis=1)[:, :2].T
    is_nearest = np.arange(means.shape[1]) == means.argmin(axis=1)[:, None]
    others: Doubles = np.where(is_nearest, second[:, None], nearest[:, None])
    return others


def _means_without(
    out: NDArray[np.intp],
    distances: Doubles,  # (m, n) from those left out
    sums: Doubles,  # (n, k) of the distances from each to each group
    others: Doubles,  # (n, k)
    own: NDArray[np.intp],
    sizes: NDArray[np.intp],
) -> Doubles:
    """Return (m,) the mean silhouette of all sequences but one, for each of the m left out."""
    n, of_out = len(own), own[out]
    fellow = own == of_out[:, None]  # (m, n), as all that follow
    left = sizes[of_out][:, None] - 1
    rest = sums[:, of_out].T - distances
    rest[rest < _ROUNDING * sums[:, of_out].T] = 0
    inside = sums[np.arange(n), own] / np.maximum(sizes[own] - 1, 1)
    inside = np.where(fellow, rest / np.maximum(left - 1, 1), inside)
    to_out = np.where(fellow | (left == 0), np.inf, rest / np.maximum(left, 1))
    nearest = np.minimum(others[:, of_out].T, to_out)
    widest = np.maximum(inside, nearest)
    counted = (np.where(fellow, left, sizes[own]) > 1) & (widest > 0) & np.isfinite(widest)  # alone in a group: 0
    values = np.divide(nearest - inside, widest, out=np.zeros_like(widest), where=counted)
    values[np.arange(len(out)), out] = widest[np.arange(len(out)), out] = 0
    groups = len(sizes) - (left[:, 0] == 0)
    defined = (groups >= 2) & (groups <= n - 2) & widest.any(axis=1)
    return np.where(defined, values.sum(axis=1) / (n - 1), np.nan)


def redrawing_interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """Return where the score of one more design falls: the prediction interval around scores of redrawn designs.

    mean ± t(m − 1) · sd · √(1 + 1/m) of the m scores, for designs drawn in the same way as these and scores spread
    about normally. It answers "how different could this one score have been with other windows" and hardly narrows
    with m; :func:`mean_interval` answers where the mean over all such designs lies. A design that was not drawn in
    this way, such as the first windows of each family, may well lie outside. NaN with a note for fewer than 3 scores.
    Hahn and Meeker 1991, section 4.7.
    """
    return _student_interval(values, level, "prediction interval of one new design, Student's t", one_more=True)


def mean_interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """Return where the mean score over all designs lies, from the scores of redrawn ones.

    mean ± t(m − 1) · sd / √m: it narrows with the root of m and says nothing about any one design. NaN with a note
    for fewer than 3 scores.
    """
    return _student_interval(values, level, "confidence interval of the mean over designs, Student's t", one_more=False)


def paired_difference(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Return how far scores ``a`` lie above scores ``b`` of the same designs, with a 95% t interval of the mean.

    What the designs have in common cancels in the pairs. Which of two is better depends on the metric. NaN with a note
    for fewer than 3 designs. "Not distinguishable" is no proof that they are equal. Student 1908.
    """
    if len(a) != len(b):
        raise ValueError(f"scores of the same designs come in pairs, got {len(a)} and {len(b)}")
    differences = np.subtract(a, b, dtype=np.float64)
    if note := _too_few(differences):
        return Difference(math.nan, math.nan, math.nan, math.nan, False, note)
    differences[np.abs(differences) < _ROUNDING] = 0
    count, mean, error = len(a), float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(len(a))
    return _student_difference(mean, error, count - 1)


def jackknife_difference(a: float, b: float, without_a: Sequence[float], without_b: Sequence[float]) -> Difference:
    """Return how far score ``a`` lies above score ``b`` of the same sequences, with a rough 95% interval.

    ``without_a`` and ``without_b`` (n,) are the scores without each sequence in turn, of which the standard error is
    that of :func:`jackknife`, as are its limits: it knows nothing of other windows. NaN with a note where a score is
    undefined.
    """
    differences = np.subtract(without_a, without_b, dtype=np.float64)
    n, mean = len(differences), a - b
    if n < FEWEST or not np.isfinite([mean, *differences]).all():
        return Difference(
            math.nan, math.nan, math.nan, math.nan, False, "without one of the sequences a score is undefined"
        )
    error = (n - 1) * float(differences.std(ddof=1)) / math.sqrt(n)
    mean = 0.0 if abs(mean) < _ROUNDING else mean
    return _student_difference(mean, error, n - 1)


def _student_difference(mean: float, error: float, freedom: int) -> Difference:
    """Return a difference with its 95% t interval and two-sided p."""
    from scipy.special import stdtr

    half = _t_quantile(0.95, freedom) * error
    p = float(2 * stdtr(freedom, -abs(mean / error))) if error > 0 else float(mean == 0)
    return Difference(mean, mean - half, mean + half, p, abs(mean) > half)


def sequences_needed(
    difference: float,
    sd_of_difference: float,
    per_family: int,
    *,
    power: float = 0.8,
    level: float = LEVEL,
    designs: int = 1,
) -> int | None:
    """Return how many sequences per family would tell two models apart; None above 2,000, more than are computed here.

    ``sd_of_difference`` is that of the difference of two scores on one design with ``per_family`` sequences of each
    family, and the comparison would be of the mean over ``designs`` designs, two-sided at ``level``, found with
    probability ``power``. Assumes that the standard deviation falls with the root of the number of sequences while
    the difference stays as it is. Neither is sure: sequences share windows, and more of them reach other numbers, so
    this is an order of magnitude. With one design the deviation counts as known and the quantiles are the normal ones;
    with more they are Student's. Never below 2. Cohen 1988, chapter 2.
    """
    from scipy.special import ndtri, stdtrit

    if designs < 1 or per_family < 1 or not (0 < level < 1 and 0 < power < 1):
        raise ValueError("designs and per_family are at least 1, power and level lie between 0 and 1")
    if not math.isfinite(difference) or not math.isfinite(sd_of_difference) or difference == 0:
        return None
    wanted = [1 - level / 2, power]
    quantiles = ndtri(wanted) if designs == 1 else stdtrit(designs - 1, wanted)
    deviations = float(sum(quantiles)) * abs(sd_of_difference / difference)
    needed = max(2.0, per_family * deviations**2 / designs)
    return math.ceil(needed - _ROUNDING) if needed <= LIMITS.per_family else None


def _student_interval(values: Sequence[float], level: float, method: str, *, one_more: bool) -> Interval:
    scores = np.asarray(values, dtype=np.float64)
    if note := _too_few(scores):
        return Interval(math.nan, math.nan, level, method, note)
    count, mean = len(scores), float(scores.mean())
    spread = float(scores.std(ddof=1)) * math.sqrt(one_more + 1 / count)
    half = _t_quantile(level, count - 1) * spread
    return Interval(mean - half, mean + half, level, method)


def _too_few(scores: Doubles) -> str:
    if len(scores) < FEWEST:
        return f"needs the scores of at least {FEWEST} designs, got {len(scores)}"
    undefined = int(np.count_nonzero(~np.isfinite(scores)))
    return f"{undefined} of {len(scores)} designs have no score" if undefined else ""


def _t_quantile(level: float, freedom: int) -> float:
    """Return how many standard errors to each side hold ``level`` of Student's t."""
    from scipy.special import stdtrit

    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1, got {level}")
    return float(stdtrit(freedom, (1 + level) / 2))
