"""One estimate with its interval from the paired differences of several seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.similarity import ROUNDING
from numembed.core.significance import LEVEL

FEWEST_SEEDS = 3  # below, nothing is said of other seeds
_HALVINGS = 40  # of the range in which a p value lies
_PAIRS_SHARE = 2.0  # pairs of seeds share seeds: how much that may widen the error of their mean


def estimated(
    gaps: Sequence[float], without: Sequence[Doubles], *, bend: float = 0.0, pairs: bool = False, seeds: bool = True
) -> tuple[float, float, float, float]:
    """Return a mean difference, its 95% interval and p, from one difference a seed and each without every sequence.

    Two errors make the interval: that of the mean over three or more ``seeds`` (unless they share a partner), and the
    jackknife over sequences, both left out of either model at once. Of ``pairs`` each seed is in two, so that their
    spread tells too little: it counts twice. ``bend`` is what interpolation may have added.
    """
    if not gaps:
        return math.nan, math.nan, math.nan, math.nan
    mean, left_out = float(np.mean(gaps)), np.mean(without, axis=0)
    errors = []
    if (n := len(left_out)) >= 3 and np.isfinite(left_out).all():
        errors.append(((n - 1) * float(left_out.std(ddof=1)) / math.sqrt(n), n - 1))
    if seeds and (k := len(gaps)) >= FEWEST_SEEDS:
        widened = _PAIRS_SHARE if pairs else 1.0
        errors.append((widened * float(np.std(gaps, ddof=1)) / math.sqrt(k), k - 1))
    if not errors or not math.isfinite(mean):
        return mean, math.nan, math.nan, math.nan
    if abs(mean) < ROUNDING and max(error for error, _ in errors) < ROUNDING:
        return 0.0, 0.0, 0.0, 1.0
    wide = _half_width(errors, LEVEL) + abs(bend)
    return mean, mean - wide, mean + wide, _chance(errors, max(0.0, abs(mean) - abs(bend)))


def _half_width(errors: Sequence[tuple[float, int]], p: float) -> float:
    """Return half the interval of level 1 − p that holds several errors at once, each with its degrees of freedom."""
    from scipy.special import stdtrit

    return math.hypot(*(float(stdtrit(freedom, 1 - p / 2)) * error for error, freedom in errors))


def _chance(errors: Sequence[tuple[float, int]], distance: float) -> float:
    """Return the p at which an interval as wide as ``distance`` on either side would end."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _half_width(errors, middle) >= distance else (low, middle)
    return high


Doubles = NDArray[np.float64]
