"""Is a score more than chance? Permutation tests, vectorised and seeded."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.inference.cyclic_permutations import cycles, cyclic_silhouettes, same_make_up
from numembed.analysis.inference.permuted_scores import TIE, distances_of, permuted_silhouettes
from numembed.analysis.metrics import METRICS, note_of
from numembed.analysis.preparation import Distance, counts_of, undefined_reason
from numembed.analysis.silhouettes import group_silhouettes
from numembed.core.arrays import Labels, Matrix
from numembed.core.progress import Progress, silent
from numembed.core.registry import Entry
from numembed.core.settings import LIMITS
from numembed.core.significance import LEVEL

_PRODUCTS_UP_TO, _CYCLES_UP_TO = 500, 5_000  # sequences; between them labels are shifted along cycles
_MOST_NEEDED = 1_000
_NOTHING_TO_SHUFFLE = "each group has sequences of one family only, so no shuffle inside a group changes anything"


@dataclass(frozen=True)
class PermutationTest:
    """A score held against the same vectors with shuffled families."""

    observed: float
    p: float  # share of shuffles, the observed one included, that score at least as well
    null_mean: float
    null_low: float  # 2.5% of the shuffles lie below
    null_high: float  # 2.5% above
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
    metric: str = "silhouette",
    progress: Progress = silent,
) -> PermutationTest:
    """Return the permutation test of a score, towards its better side; NaN with a note where it is undefined.

    ``metric`` names one of METRICS that takes (matrix, labels); its entry says which side is the better one, and
    whether many shuffles are scored at once. Where two groups share one centre, Davies–Bouldin leaves them out and has
    no test; shuffles that come near this give it a long tail, so that its p tells more than its z.

    ``within`` (n,) names a group of each sequence, such as its window: families then change places only inside a
    group, and what the groups stand for, such as the size of the numbers, is the same in every shuffle.
    From 501 to 5,000 sequences labels are shifted along cycles, and there are as many shuffles as whole cycles hold,
    ``permutations`` or more. Phipson and Smyth 2010 (the observed labelling counts); Anderson and ter Braak 2003
    (restricted shuffles).
    """
    entry = METRICS[metric]
    given = entry.options_from(distance=distance)
    if reason := note_of(entry, matrix, labels, **given):
        return PermutationTest(math.nan, math.nan, math.nan, math.nan, math.nan, 0, reason)
    own = np.unique(labels, return_inverse=True)[1]
    strata = np.zeros_like(own) if within is None else _groups_of(within, len(own))
    if not _any_change(own, strata):
        observed = entry.function(matrix, labels, **given)
        return PermutationTest(observed, math.nan, math.nan, math.nan, math.nan, 0, _NOTHING_TO_SHUFFLE)
    observed, null = _shuffles_scored(entry, matrix, own, strata, permutations, seed=seed, progress=progress, **given)
    low, high = np.quantile(null, (0.025, 0.975))
    p = (1 + int(np.count_nonzero(_as_good(entry, observed, null)))) / (1 + len(null))
    mean, spread = float(null.mean()), float(null.std())
    z = (observed - mean) / spread if spread > TIE else math.nan
    return PermutationTest(observed, p, mean, float(low), float(high), len(null), z=z)


@dataclass(frozen=True)
class FamilyTest:
    """The mean silhouette of one family's own sequences, held against shuffled families."""

    value: float
    p: float  # share of shuffles, the observed one included, in which the family's silhouette is as high
    least_p: float  # that so few sequences can have
    within: bool  # whether families were shuffled inside each window only


def family_tests(
    matrix: Matrix,
    labels: Labels,
    *,
    distance: Distance = "euclidean",
    permutations: int | None = None,
    seed: int = 0,
    within: Labels | None = None,
    progress: Progress = silent,
) -> tuple[FamilyTest, ...]:
    """Return the test of each family's own silhouette, in the order of their labels; () where none is defined.

    Shuffles are those of :func:`permutation_test`, inside each group of ``within`` (n,). With few windows these are too
    few for one family of several to reach the level, however far apart it lies: then families are shuffled over all
    windows, which is stricter where windows differ. The p values are not adjusted for the number of families.
    """
    own = np.unique(labels, return_inverse=True)[1]
    free = np.zeros_like(own)
    strata = free if within is None else _groups_of(within, len(own))
    if undefined_reason(matrix, labels, distance=distance) or not _any_change(own, strata):
        return ()
    if _smallest_family_p(own, strata) * (own.max() + 1) > LEVEL:
        strata = free
    even = _goes_around(own, strata)
    rounds = permutations or default_permutations(len(own), even=even)
    given: dict[str, Any] = {"by_group": True, "progress": progress}
    if even:
        items = cycles(own, strata, rounds, seed=seed)
        null = cyclic_silhouettes(distances_of(matrix, distance), items, **given)
        observed = group_silhouettes(matrix, labels, distance=distance)
    else:
        labellings = shuffled(own.astype(np.int32), strata, rounds, seed=seed)
        values = permuted_silhouettes(matrix, labellings, distance=distance, **given)
        observed, null = values[0], values[1:]
    p = (1 + np.count_nonzero(null >= observed - TIE, axis=0)) / (1 + len(null))
    rest = _smallest_family_p(own, strata), within is not None and strata is not free
    return tuple(FamilyTest(float(value), float(share), *rest) for value, share in zip(observed, p, strict=True))


def _smallest_family_p(own: NDArray[np.intp], strata: NDArray[np.integer]) -> float:
    """Return the smallest p that all families can reach: the share of shuffles that give one the members of any."""
    counts = counts_of(strata, own)
    totals, alike = counts.sum(axis=1), np.unique(counts, axis=1, return_inverse=True)[1].ravel()
    ways = [
        sum(_log_choices(n, count) for n, count in zip(totals.tolist(), column, strict=True))
        for column in counts.T.tolist()
    ]
    shares = [np.count_nonzero(alike == alike[at]) * math.exp(-way) for at, way in enumerate(ways)]
    return min(1.0, float(max(shares)))


def _log_choices(n: int, count: int) -> float:
    return _log_factorial(n) - _log_factorial(count) - _log_factorial(n - count)


def _goes_around(own: NDArray[np.intp], strata: NDArray[np.integer]) -> bool:
    """Return whether shuffles are shifts along cycles: many sequences, all groups of the same make-up."""
    some = _PRODUCTS_UP_TO < len(own) <= _CYCLES_UP_TO and own.max() < LIMITS.families
    return bool(some and same_make_up(own, strata))


def _shuffles_scored(
    entry: Entry[Any],
    matrix: Matrix,
    own: NDArray[np.intp],
    strata: NDArray[np.integer],
    permutations: int | None,
    *,
    seed: int,
    **requested: Any,
) -> tuple[float, NDArray[np.float64]]:
    """Return the score of the groups ``own`` (n,), and those of shuffles inside ``strata`` (n,)."""
    fast, even = entry.facts.get("shuffles"), _goes_around(own, strata)
    rounds = permutations or default_permutations(len(own), entry.name, even=even)
    if even and fast:
        values = fast.cycles(matrix, cycles(own, strata, rounds, seed=seed), **requested)
        return entry.function(matrix, own, **entry.options_from(**requested)), values
    scored = fast.products if fast else partial(_one_by_one, entry.function)
    values = scored(matrix, shuffled(own.astype(np.int32), strata, rounds, seed=seed), **requested)
    return float(values[0]), values[1:]


def _one_by_one(
    function: Callable[..., float], matrix: Matrix, labellings: NDArray[np.integer], *, progress: Progress, **given: Any
) -> NDArray[np.float64]:
    values = np.empty(len(labellings))
    for at, labels in enumerate(labellings):
        values[at] = function(matrix, labels, **given)
        progress(at + 1, len(labellings), "score")
    return values


def _as_good(entry: Entry[Any], observed: float, null: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which shuffles score at least as well; where a score has no limit, rounding grows with it."""
    slack = TIE if np.isfinite(entry.facts["bounds"]).all() else TIE * abs(observed)
    return null >= observed - slack if entry.facts["higher_is_better"] else null <= observed + slack


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


def smallest_p(labels: Labels, within: Labels | None = None) -> float:
    """Return the smallest p that shuffles of these labels (n,), inside groups (n,), can give, however clear it is.

    It is the share of shuffles that part the same from the same as the labels do: where families are as large, one
    may stand for the other. Above 0.05 there are too few sequences to tell anything.

    >>> round(smallest_p(np.array([0, 0, 1, 1])), 2), round(smallest_p(np.arange(24) // 4), 9)
    (0.33, 0.0)
    """
    _, own = np.unique(labels, return_inverse=True)
    strata = np.zeros_like(own) if within is None else _groups_of(within, len(own))
    counts = counts_of(strata, own)
    alike = np.unique(counts, axis=1, return_counts=True)[1]  # families with as many sequences in every group
    ways = sum(_log_factorial(row.sum()) - sum(map(_log_factorial, row)) for row in counts)
    return round(math.exp(min(0.0, sum(map(_log_factorial, alike)) - ways)), 12)


def needed_per_family(families: int, *, level: float, shared_windows: bool) -> int | None:
    """Return how many sequences each of some families needs for p to be able to fall to ``level``; None above 1,000.

    ``shared_windows``: families are shuffled inside each window only, and each has one sequence in a window.

    >>> needed_per_family(2, level=0.05, shared_windows=True), needed_per_family(2, level=0.05, shared_windows=False)
    (6, 4)
    """
    if families < 2:
        return None
    orders = _log_factorial(families)
    for count in range(1, _MOST_NEEDED + 1):
        free = _log_factorial(families * count) - families * _log_factorial(count)
        ways = (count * orders if shared_windows else free) - orders
        if -ways <= math.log(level) + 1e-9:
            return count
    return None


def _log_factorial(count: int) -> float:
    return math.lgamma(int(count) + 1)


def default_permutations(n: int, metric: str = "silhouette", *, even: bool = True) -> int:
    """Return how many shuffles n sequences get: fewer where one costs more, so that a test stays within seconds.

    ``even``: whether all groups hold as many sequences of each family, so that cycles can stand for products.

    >>> default_permutations(24), default_permutations(2_400), default_permutations(20_000)
    (9999, 9999, 199)
    """
    shuffles = METRICS[metric].facts.get("shuffles")
    if shuffles is None:  # one by one
        return 999 if n <= _PRODUCTS_UP_TO else 199
    if n <= _PRODUCTS_UP_TO or (even and shuffles.cheap and n <= _CYCLES_UP_TO):
        return 9_999
    return 999 if n <= _CYCLES_UP_TO else 199
