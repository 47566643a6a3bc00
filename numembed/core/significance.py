"""The significance level, and the adjustment of several p values that are judged together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

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


class Judged(NamedTuple):
    """One test among all tests of a page; NaN where it was not made."""

    p: float  # adjusted for all of them
    least_p: float  # that it could have had, adjusted as well: above LEVEL nothing can be concluded

    @property
    def sure(self) -> bool:
        """True where it may be claimed, together with all other such tests of the page."""
        return self.p <= LEVEL

    @property
    def few(self) -> bool:
        """True where there was too little to find anything."""
        return not self.sure and self.least_p > LEVEL


def judged(tests: Sequence[tuple[float, float]]) -> tuple[Judged, ...]:
    """Return all tests of a page, each a p and the least p that it could have had, judged together (Holm 1979).

    A test that cannot reach LEVEL even alone can claim nothing, so it does not count (Tarone 1990).

    >>> [one.p for one in judged([(0.01, 0.001), (0.04, 0.001), (0.2, 0.2), (math.nan, math.nan)])]
    [0.02, 0.04, 0.2, nan]
    """
    counts = [not math.isnan(p) and least <= LEVEL for p, least in tests]
    adjusted = holm([p if own else None for (p, _), own in zip(tests, counts, strict=True)])
    left = max(1, sum(p is not None and p > LEVEL for p in adjusted))
    return tuple(
        Judged(p if together is None else together, min(1.0, least * (left if own else 1)))
        for (p, least), together, own in zip(tests, adjusted, counts, strict=True)
    )
