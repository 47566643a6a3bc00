"""What do groups of sequences agree with, and how much of the spread does each factor hold?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.inference.permutation_test import smallest_p
from numembed.analysis.preparation import all_equal, rescaled
from numembed.core.arrays import Labels, Matrix
from numembed.core.significance import LEVEL

_BLOCK_NUMBERS = 1 << 20  # of one block of shuffles: stays within some ten megabytes
_TIE = 1e-9  # as a share: sums that differ by less are equal but for rounding
_RANK = 1e-9  # as a share of the largest eigenvalue: less is nothing


@dataclass(frozen=True)
class Agreement:
    """How far clusters match one attribute. NaN with a note: undefined here, and why."""

    attribute: str
    ari: float  # adjusted Rand index: 1 the same groups, 0 chance
    ami: float  # adjusted mutual information: 1 one tells the other, 0 chance
    p: float  # share of shuffled clusters, the observed ones included, whose ARI is at least as high
    classes: int  # of the attribute
    limit: float = math.nan  # to exceed for p ≤ 0.05, all attributes judged together (Holm); NaN: nothing can
    note: str = ""
    least_p: float = 0.0  # share of shuffles that agree best of all: above 0.05 nothing can be concluded
    limit_page: float = math.nan  # as ``limit``, where further tests are judged together with these
    null_mean: float = math.nan  # of the shuffles' ARI
    null_sd: float = math.nan


@dataclass(frozen=True)
class Share:
    """The share of the variance that one factor holds; the last of several is the rest."""

    name: str
    share: float  # 0 to 1, all together 1; NaN where undefined
    p: float  # of the permutation test; NaN for the rest and where undefined
    note: str = ""
    least_p: float = 0.0  # that so few sequences can have: above 0.05 nothing can be concluded
    null_mean: float = math.nan  # of the shuffles' shares
    null_sd: float = math.nan


def ranked_agreement(
    clusters: Labels,
    attributes: Mapping[str, Labels],
    *,
    permutations: int = 999,
    seed: int = 0,
    beside: Sequence[tuple[float, float]] = (),
) -> tuple[Agreement, ...]:
    """Return how far ``clusters`` (n,) match each attribute (n,), best adjusted Rand index first, undefined last.

    The same shuffles of the clusters serve all attributes. With fixed group sizes the index only depends on how many
    pairs fall together, a whole number: ties are exact. They count against the observed clusters, so that p of few
    sequences is rather too large. What a clusterer leaves out as noise counts as one more cluster. ``beside`` are the
    p values, each with the least that it could be, of further tests that are judged together with these.
    Hubert and Arabie 1985; Vinh, Epps and Bailey 2010.
    """
    reasons = {name: _undefined(clusters, labels) for name, labels in attributes.items()}
    codes = {name: _codes(labels) for name, labels in attributes.items() if not reasons[name]}
    squares = _shuffled_squares(_codes(clusters), codes, permutations, seed)
    agreements = {
        name: Agreement(name, math.nan, math.nan, math.nan, len(np.unique(labels)), note=reasons[name])
        if reasons[name]
        else _agreement(name, clusters, labels, squares[name])
        for name, labels in attributes.items()
    }
    own = _squares(clusters)

    def index(squares: Any, name: str) -> NDArray[np.float64]:
        return _ari(np.asarray(squares), own, _squares(attributes[name]), len(clusters))

    ps = {name: agreements[name].p for name in squares}
    for name, highest in _limits(ps, squares).items():
        agreements[name] = replace(agreements[name], limit=float(index(highest, name)))
    possible = {name: p for name, p in ps.items() if agreements[name].least_p <= LEVEL}
    for name, highest in _limits(possible, squares, [p for p, least in beside if least <= LEVEL]).items():
        agreements[name] = replace(agreements[name], limit_page=float(index(highest, name)))
    for name, sums in squares.items():
        null = index(sums[1:], name)
        agreements[name] = replace(agreements[name], null_mean=float(null.mean()), null_sd=float(null.std()))
    return tuple(sorted(agreements.values(), key=lambda one: math.inf if math.isnan(one.ari) else -one.ari))


def _agreement(name: str, clusters: Labels, labels: Labels, squares: NDArray[np.int64]) -> Agreement:
    from sklearn.metrics import adjusted_mutual_info_score

    ari = float(_ari(squares[0], _squares(clusters), _squares(labels), len(labels)))
    p, least = (int(np.count_nonzero(squares >= one)) / len(squares) for one in (squares[0], squares.max()))
    ami = float(adjusted_mutual_info_score(labels, clusters))
    return Agreement(name, ari, ami, p, len(np.unique(labels)), least_p=least)


def _limits(
    ps: Mapping[str, float], values: Mapping[str, NDArray[np.int64]], beside: Sequence[float] = ()
) -> dict[str, np.int64]:
    """Return for each attribute the value that the observed one, the first, has to exceed to be more than chance.

    Holm asks the clearest of m for p ≤ 0.05 / m, the next for 0.05 / (m − 1), up to the first that fails; what that one
    would have needed all others would have needed, too. Observed above the limit and adjusted p ≤ 0.05 are the same.
    Without an entry where no value could be enough. ``beside`` are p values of other tests that count among the m.
    """
    every: list[tuple[float, str]] = [*((p, name) for name, p in ps.items()), *((p, "") for p in beside)]
    limits, left = {}, len(every)
    for p, name in sorted(every, key=lambda one: one[0]):
        if name:
            may_reach = math.floor(LEVEL / left * len(values[name]) + _TIE)  # the observed one among them
            highest = np.sort(values[name][1:])[::-1]
            if 0 < may_reach <= len(highest):
                limits[name] = highest[may_reach - 1]
        left -= left * p <= LEVEL
    return limits


def pairwise_ari(labellings: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the adjusted Rand index (s, s) of each pair of s labellings (s, n) of the same n sequences; n ≥ 2."""
    codes = np.stack([_codes(one) for one in labellings])
    k, n = int(codes.max()) + 1, codes.shape[1]
    members = np.asarray(codes[:, None, :] == np.arange(k)[:, None], dtype=np.float32)  # (s, k, n)
    own = np.asarray(members.sum(axis=2, dtype=np.float64) ** 2).sum(axis=1)
    flat = members.reshape(-1, n)
    rows = [((one @ flat.T).astype(np.float64) ** 2).sum(axis=0).reshape(-1, k).sum(axis=1) for one in members]
    return _ari(np.stack(rows), own[:, None], own[None, :], n)


def _ari(squares: NDArray[Any], first: Any, second: Any, n: int) -> NDArray[np.float64]:
    """Return the index from the sums of squared counts: of the cells, of the first groups and of the second."""
    together, first, second = (np.asarray(value - n, dtype=np.float64) for value in (squares, first, second))
    expected = first * second / (n * (n - 1))
    widest = (first + second) / 2 - expected
    values: NDArray[np.float64] = np.ones(np.shape(together))
    np.divide(together - expected, widest, out=values, where=widest > 0)
    return values


def _shuffled_squares(
    clusters: NDArray[np.int64], attributes: Mapping[str, NDArray[np.int64]], permutations: int, seed: int
) -> dict[str, NDArray[np.int64]]:
    """Return the sums (1 + permutations,) of squared cell counts of each attribute, first the observed one."""
    if not attributes:
        return {}
    drawn, n, k = np.random.default_rng(seed), len(clusters), int(clusters.max()) + 1
    sizes = {name: int(codes.max()) + 1 for name, codes in attributes.items()}
    block = max(1, _BLOCK_NUMBERS // max(n, k * max(sizes.values())))
    squares = {name: np.empty(1 + permutations, dtype=np.int64) for name in attributes}
    for start in range(0, 1 + permutations, block):
        count = min(block, 1 + permutations - start)
        shuffled = np.broadcast_to(clusters, (count, n)).copy()
        skip = start == 0  # the observed clusters
        drawn.permuted(shuffled[skip:], axis=1, out=shuffled[skip:])
        cells = np.arange(count)[:, None] * k + shuffled
        for name, codes in attributes.items():
            size = k * sizes[name]
            counts = np.bincount((cells * sizes[name] + codes).ravel(), minlength=count * size).reshape(count, size)
            squares[name][start : start + count] = (counts**2).sum(axis=1)
    return squares


def permanova(
    matrix: Matrix, *factors: tuple[str, Labels], permutations: int = 999, seed: int = 0
) -> tuple[Share, ...]:
    """Return the share of the variance that each (name, labels) factor holds, and last that of the rest.

    Shares are sequential (type I): each factor has what the ones before it have not. In a balanced design, as many
    sequences in every cell, their order does not matter; in an unbalanced one the first takes what is common. What
    two factors do only together (their interaction) counts as rest. p asks whether a factor holds more than chance
    *beyond all others*: its labels are shuffled among the sequences that share all other labels. That is exact in
    either design. Euclidean distance; Anderson 2001, Anderson and ter Braak 2003.
    """
    coordinates = _coordinates(matrix)
    total = float((coordinates**2).sum())
    if len(matrix) < 2 or all_equal(matrix) or not total > 0:
        reason = "all vectors are equal" if len(matrix) > 1 else f"needs at least 2 sequences, got {len(matrix)}"
        return tuple(Share(name, math.nan, math.nan, reason) for name in (*(name for name, _ in factors), "rest"))
    codes = [_codes(labels) for _, labels in factors]
    shares = []
    for i, (name, _) in enumerate(factors):
        before, others = codes[:i], codes[:i] + codes[i + 1 :]
        held = _Held(codes[i], before, coordinates).of(codes[i][None])[0] / total
        p, note, null = _permuted_p(codes[i], others, coordinates, total, permutations, seed)
        least = smallest_p(codes[i], _strata(others, len(codes[i])))
        shares.append(Share(name, float(held), p, note, least, *null))
    return (*shares, Share("rest", 1 - math.fsum(one.share for one in shares), math.nan))


def _permuted_p(
    codes: NDArray[np.int64],
    others: list[NDArray[np.int64]],
    coordinates: NDArray[np.float64],
    total: float,
    permutations: int,
    seed: int,
) -> tuple[float, str, tuple[float, float]]:
    """Return p of a factor beyond the others, why it has none, and mean and deviation of its share in the shuffles.

    All else stays as it is, so that F grows with the factor's own sum.
    """
    held = _Held(codes, others, coordinates)
    strata = _strata(others, len(codes))
    pairs = strata * (int(codes.max()) + 1) + codes
    if not held.freedom or len(np.unique(pairs)) == len(np.unique(strata)):
        note = "is determined by the other factors" if codes.any() else "is the same for all sequences"
        return math.nan, note, (math.nan, math.nan)
    if len(np.unique(codes)) == len(codes):
        return math.nan, "is different for every sequence", (math.nan, math.nan)
    drawn = np.random.default_rng(seed)
    observed = held.of(codes[None])[0]
    block = max(1, _BLOCK_NUMBERS // coordinates.size)
    at_least, drawn_sums = 1, []
    for start in range(0, permutations, block):
        keys = strata + drawn.random((min(block, permutations - start), len(codes)))
        shuffled = np.empty(keys.shape, dtype=np.int64)
        shuffled[:, np.argsort(strata, kind="stable")] = codes[np.argsort(keys, axis=1)]
        sums = held.of(shuffled)
        at_least += int(np.count_nonzero(sums >= observed - _TIE * total))
        drawn_sums.append(sums / total)
    null = np.concatenate(drawn_sums)
    return at_least / (1 + permutations), "", (float(null.mean()), float(null.std()))


def _strata(others: list[NDArray[np.int64]], n: int) -> NDArray[np.int64]:
    """Return the group (n,) of each sequence: those that share all other labels."""
    return _codes(np.stack(others)) if others else np.zeros(n, dtype=np.int64)


class _Held:
    """The sum of squares that one factor holds beyond given ones, for shuffles that leave the given ones as they are.

    It is a quadratic form of the sums of the coordinates over the factor's classes. Only these change from shuffle to
    shuffle, and one sparse product makes those of a whole block; no pair of sequences is compared.
    """

    def __init__(
        self, codes: NDArray[np.int64], given: list[NDArray[np.int64]], coordinates: NDArray[np.float64]
    ) -> None:
        given = given or [np.zeros(len(codes), dtype=np.int64)]
        one, known = _indicators(codes[None]), [_indicators(other[None]) for other in given]
        common = np.hstack([(one @ other.T).toarray() for other in known])
        gram = np.block([[(a @ b.T).toarray() for b in known] for a in known])
        inverse = np.diag(1 / np.diag(gram)) if len(known) == 1 else np.linalg.pinv(gram, rcond=_RANK, hermitian=True)
        weights = common @ inverse
        self.coordinates = coordinates
        self.expected = weights @ np.vstack([other @ coordinates for other in known])
        sizes = np.bincount(codes).astype(np.float64)
        left = np.diag(sizes) - weights @ common.T
        if np.allclose(left, np.diag(sizes) - np.outer(sizes, sizes) / len(codes)):  # balanced: nothing in common
            self.freedom, self.root = len(sizes) - 1, 1 / np.sqrt(sizes)
            return
        values, vectors = np.linalg.eigh((left + left.T) / 2)
        real = values > _RANK * len(codes)
        self.freedom, self.root = int(np.count_nonzero(real)), (vectors[:, real] / np.sqrt(values[real])).T

    def of(self, labellings: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the sum of squares (b,) for each of b labellings (b, n)."""
        sums = _indicators(labellings) @ self.coordinates
        beyond = sums.reshape(len(labellings), len(self.expected), -1) - self.expected
        parts = self.root @ beyond if self.root.ndim == 2 else self.root[:, None] * beyond
        squares: NDArray[np.float64] = (parts**2).sum(axis=(1, 2))
        return squares


def _indicators(labellings: NDArray[np.int64]) -> Any:
    """Return the sparse 0/1 matrix (b · classes, n): which sequence belongs to which class of which labelling."""
    from scipy.sparse import csr_array

    (b, n), classes = labellings.shape, int(labellings.max()) + 1
    rows = (np.arange(b)[:, None] * classes + labellings).ravel()
    return csr_array((np.ones(b * n), (rows, np.tile(np.arange(n), b))), shape=(b * classes, n))


def _coordinates(matrix: Matrix) -> NDArray[np.float64]:
    """Return the centred rows (n, min(n, d)): turned, where there are more dimensions than sequences; lengths stay."""
    rows = np.asarray(rescaled(matrix), dtype=np.float64)
    if len(rows):
        rows = rows - rows.mean(axis=0)
    if not 0 < len(rows) < rows.shape[1]:
        return rows
    upper: NDArray[np.float64] = np.linalg.qr(rows.T, mode="r")  # type: ignore[assignment]
    return upper.T


def _codes(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Return labels (n,) – or columns (m, n) of several – as 0, 1, …"""
    if labels.ndim == 2:
        return np.asarray(np.unique(labels, axis=1, return_inverse=True)[1], dtype=np.int64).ravel()
    return np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.int64)


def _squares(labels: Labels) -> int:
    return int((np.unique(labels, return_counts=True)[1] ** 2).sum())


def _undefined(clusters: Labels, labels: Labels) -> str:
    n, classes, groups = len(labels), len(np.unique(labels)), len(np.unique(clusters))
    if not 2 <= classes <= n - 1:
        return f"needs 2 to n − 1 classes, got {classes} for n = {n}"
    return f"needs 2 to n − 1 clusters, got {groups} for n = {n}" if not 2 <= groups <= n - 1 else ""
