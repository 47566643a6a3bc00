"""The significance level, and the adjustment of several p values that are judged together."""

from __future__ import annotations

import math
from collections.abc import Sequence

LEVEL = 0.05  # p at or below it counts as more than chance


def holm(ps: Sequence[float | None]) -> tuple[float | None, ...]:
    """Return the p values adjusted for their number, in the same order; None and NaN stay and do not count.

    All that stay at or below LEVEL may be believed together: the chance of even one false one is at most LEVEL,
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
