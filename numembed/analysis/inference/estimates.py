"""Numbers of a few models with their 95% intervals: rank correlation and difference of means. Without scipy."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from numembed.core.significance import LEVEL
from numembed.core.wording import p_text, signed, span

MOST_DEALS = 20_000  # ways to deal values out into two groups; where there are more, a seeded sample of them
EXACT_ORDERS = 8  # pairs up to which all orders are counted
_NORMAL = NormalDist()
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval, infinite where there is none, and its two-sided p."""

    value: float
    low: float
    high: float
    p: float

    @property
    def sign(self) -> int:
        """1 or −1 where the whole interval lies above or below zero, else 0."""
        return int(self.low > 0) - int(self.high < 0)

    @property
    def words(self) -> str:
        """The number, its interval and p in words."""
        if math.isinf(self.low) or math.isinf(self.high):
            return f"{signed(self.value)}; groups this small have no interval"
        return f"{signed(self.value)}, 95% interval {span(self.low, self.high, sign=True)}, {p_text(self.p)}"


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Return Spearman's rank correlation of four or more pairs with its p and interval.

    Up to EXACT_ORDERS pairs p is exact: the share of all orders whose correlation is as far from 0. With more it is
    Fisher's. The interval is Fisher's with the standard error of Bonett and Wright 2000; a correlation of ±1, which
    has none, counts as halfway to the next one there can be. Where p is above 0.05 the interval reaches 0. Where one
    side is all equal, nothing can be concluded: 0, −1 to 1.
    """
    ranked, n = np.stack([_ranks(first), _ranks(second)]), len(first)
    if np.ptp(ranked, axis=1).min() == 0:
        return Estimate(0.0, -1.0, 1.0, 1.0)
    value = float(np.clip(np.asarray(np.corrcoef(ranked))[0, 1], -1, 1))
    most = 1 - 6 / (n * (n * n - 1))  # halfway between 1 and the correlation of ranks with two neighbours exchanged
    middle, error = math.atanh(max(-most, min(most, value))), math.sqrt((1 + value**2 / 2) / (n - 3))
    low, high = (math.tanh(middle + side * quantile() * error) for side in (-1, 1))
    p = _exact_p(ranked, value) if n <= EXACT_ORDERS else 2 * (1 - _NORMAL.cdf(abs(middle) / error))
    if p > LEVEL:
        low, high = min(low, 0.0), max(high, 0.0)
    return Estimate(value, -1.0 if value < -most else low, 1.0 if value > most else high, p)


def _exact_p(ranked: NDArray[np.float64], value: float) -> float:
    """Return the share of all orders of the second ranks (2, n) whose correlation is as far from 0 as ``value``."""
    centred = ranked - ranked.mean(axis=1, keepdims=True)
    sums = centred[1][_orders(ranked.shape[1])] @ centred[0]
    scale = math.sqrt(float((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float(np.mean(np.abs(sums) >= (abs(value) - 1e-9) * scale))


@functools.cache
def _orders(n: int) -> NDArray[np.intp]:
    return np.array(list(itertools.permutations(range(n))))


def difference(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Return how much higher the mean of ``first`` is, with the permutation test and the interval that inverts it.

    Exact up to MOST_DEALS ways to deal the values out into groups of these sizes. Each way turns, at one shift of
    ``first``, from less extreme than the true one to more; the interval leaves 2.5% of the turns at either end.
    """
    size, n = len(first), len(first) + len(second)
    values, deals = np.array([*first, *second], dtype=np.float64), _deals(n, size)
    means: NDArray[np.float64] = (deals @ values) / size - (~deals @ values) / (n - size)
    kept = deals[:, :size].sum(axis=1)
    shares = kept / size - (size - kept) / (n - size)
    observed = float(values[:size].mean() - values[size:].mean())
    others = kept < size
    turns = np.sort((observed - means[others]) / (1 - shares[others]))
    total = len(turns) + 1
    cut = math.floor(0.025 * total + _ROUNDING)  # at either end, the true deal among them
    low, high = (float(turns[cut - 1]), float(turns[-cut])) if cut else (-math.inf, math.inf)
    tail = min(np.count_nonzero(turns <= _ROUNDING), np.count_nonzero(turns >= -_ROUNDING))
    return Estimate(observed, low, high, min(1.0, 2 * (1 + int(tail)) / total))


def quantile(comparisons: int = 1) -> float:
    """Return how many standard deviations 95% lie within, widened by Bonferroni's rule for so many comparisons.

    >>> round(quantile(), 2), round(quantile(91), 2)
    (1.96, 3.46)
    """
    return _NORMAL.inv_cdf(1 - 0.025 / comparisons)


def _deals(n: int, size: int) -> NDArray[np.bool_]:
    """Return ways to choose ``size`` of n, (ways, n); all of them, or a seeded sample."""
    if math.comb(n, size) <= MOST_DEALS:
        chosen = np.array(list(itertools.combinations(range(n), size)))
    else:
        chosen = np.argsort(np.random.default_rng(0).random((MOST_DEALS, n)), axis=1)[:, :size]
    deals = np.zeros((len(chosen), n), dtype=np.bool_)
    np.put_along_axis(deals, chosen, True, axis=1)
    return deals


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Return the ranks; equal values share their mean rank."""
    given = np.asarray(values, dtype=np.float64)
    smaller, up_to = (given[:, None] > given).sum(axis=1), (given[:, None] >= given).sum(axis=1)
    return np.asarray((smaller + up_to + 1) / 2, dtype=np.float64)
