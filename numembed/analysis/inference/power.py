"""What a test would have seen: the smallest true difference that it finds in four cases of five."""

from __future__ import annotations

import math
from statistics import NormalDist

from numembed.core.significance import LEVEL

POWER = 0.8
_BAND = 0.95  # of the shuffles that lie between the two ends that are stored
_HALVINGS = 60
_WIDER = 1.35  # so many times as far as shuffles do scores of a model spread that has something
_WIDER_SHARES = 1.5  # shares of cases that depend on each other, beyond √(p (1 − p)), and in steps


def smallest_difference(
    sd: float, designs: int, *, comparisons: int = 1, power: float = POWER, level: float = LEVEL
) -> float | None:
    """Return the smallest mean difference that a paired t test over ``designs`` finds with probability ``power``.

    ``sd`` is that of the differences on the same designs. Exact for normal differences (noncentral t, two-sided). Of
    several ``comparisons`` each is tested at its part of ``level`` (Bonferroni): Holm's rule, which is used, finds
    somewhat more. None with fewer than 2 designs. Cohen 1988, chapter 2.

    >>> round(smallest_difference(1.0, 30), 3)
    0.529
    """
    if designs < 2 or not math.isfinite(sd):
        return None
    return _noncentrality(designs - 1, level / max(1, comparisons), power) * sd / math.sqrt(designs)


def smallest_change(
    low: float, high: float, *, freedom: float = math.inf, comparisons: int = 1, power: float = POWER
) -> float | None:
    """Return the smallest change that the test behind a 95% t interval from ``low`` to ``high`` would have seen.

    As :func:`smallest_difference`, with the interval's own standard error; without ``freedom`` that of the normal.
    """
    if not (math.isfinite(low) and math.isfinite(high)) or freedom < 1:
        return None
    error = (high - low) / 2 / _quantile(1 - LEVEL / 2, freedom)
    return _noncentrality(freedom, LEVEL / max(1, comparisons), power) * error


def smallest_beyond(mean: float, sd: float, *, comparisons: int = 1, power: float = POWER) -> float | None:
    """Return the smallest true value that a right-tailed test by shuffles would have seen.

    ``mean`` and ``sd`` are those of the shuffles. An approximation: shuffles spread about normally, and the value of
    a model that has something spreads a third wider. Of several ``comparisons`` each has its part of the level.
    """
    if not (math.isfinite(mean) and math.isfinite(sd)):
        return None
    return mean + (_quantile(1 - LEVEL / max(1, comparisons)) + _WIDER * _quantile(power)) * sd


def smallest_share(chance: float, sd: float, *, comparisons: int = 1, power: float = POWER) -> float | None:
    """Return the smallest true share that a right-tailed test by shuffles would have seen; None where not even 1.

    As :func:`smallest_beyond`, but a share of p spreads with √(p (1 − p)), as of as many independent cases as the
    spread ``sd`` of the shuffles around ``chance`` is worth (Fleiss 1981, chapter 3), and half as far again: cases
    depend on each other, and few of them come in steps.
    """
    if not (math.isfinite(sd) and 0 < chance < 1):
        return None
    limit = chance + _quantile(1 - LEVEL / max(1, comparisons)) * sd
    worth = _WIDER_SHARES * _quantile(power) * sd / math.sqrt(chance * (1 - chance))
    if limit > 1:
        return None
    low, high = limit, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if middle >= limit + worth * math.sqrt(middle * (1 - middle)) else (middle, high)
    return high


def sd_of_band(low: float | None, high: float | None) -> float:
    """Return the standard deviation of shuffles of which 95% lie between two ends; NaN where these are unknown."""
    return math.nan if low is None or high is None else (high - low) / (2 * _quantile((1 + _BAND) / 2))


def sd_above(mean: float | None, high: float | None) -> float:
    """Return the standard deviation of shuffles towards the better side, where 2.5% lie above ``high``; NaN if unknown.

    Silhouettes of shuffles spread farther upwards than downwards.
    """
    return math.nan if mean is None or high is None else (high - mean) / _quantile((1 + _BAND) / 2)


def _noncentrality(freedom: float, level: float, power: float) -> float:
    """Return how many standard errors from 0 a two-sided t test finds with probability ``power``, on the right side."""
    limit = _quantile(1 - level / 2, freedom)
    if math.isinf(freedom):
        return limit + _quantile(power)
    from scipy.special import nctdtr

    def found(apart: float) -> float:
        return float(1 - nctdtr(freedom, apart, limit))

    low, high = 0.0, 2 * limit + 10
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) >= power else (middle, high)
    return high


def _quantile(p: float, freedom: float = math.inf) -> float:
    if math.isinf(freedom):
        return NormalDist().inv_cdf(p)  # pages need it without scipy
    from scipy.special import stdtrit

    return float(stdtrit(freedom, p))
