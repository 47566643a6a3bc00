"""All claims of the stress tests judged together: the plain score, the changes, and the control of other families."""

from __future__ import annotations

import math

from numembed.analysis.inference.power import smallest_beyond, smallest_change
from numembed.core.significance import LEVEL
from numembed.core.wording import decimal, would_have_seen
from numembed.examinations.stress.compute import Plain, Stress, TrialResult
from numembed.sequences.perturbations.terms import PERTURBATIONS

_PLAIN = 0.8  # of the level that the page may err at; the rest goes to what is asked of the changed texts
_CONTROL = 0.2  # of what is left for the changed texts, and of everything once the plain score is above chance


def plain_p(result: Plain) -> float | None:
    """Return p of the plain score, adjusted for what else the page claims."""
    return None if result.p is None else min(1.0, result.p / _PLAIN)


def above_chance(result: Plain) -> bool:
    """Return whether the plain score is better than shuffled families."""
    p = plain_p(result)
    return p is not None and p <= LEVEL and result.value is not None and result.chance is not None


def p_page(stress: Stress, one: TrialResult) -> float | None:
    """Return p of one variant, adjusted for all claims of the page; None where it was not tested.

    The plain score is tested at four fifths of the level. Only where it is above chance do the changes and the control
    have all of it, else the last fifth: on noise 5% of pages claim anything (Bretz and others 2009).
    """
    control = bool(PERTURBATIONS[one.perturbation].facts.get("other_families"))
    share = (_CONTROL if control else 1 - _CONTROL) * (1.0 if above_chance(stress.plain) else 1 - _PLAIN)
    p = one.p_chance if control else one.p_holm
    return None if p is None else min(1.0, p / share)


def told(stress: Stress, one: TrialResult) -> bool:
    """Return whether a sentence may claim what was found with one variant."""
    p = p_page(stress, one)
    return p is not None and p <= LEVEL


def smallest_plain(stress: Stress) -> float | None:
    """Return the smallest plain score that its test would have seen; None where an older version stored no spread."""
    plain = stress.plain
    if plain.chance is None or plain.null_sd is None:
        return None
    return smallest_beyond(plain.chance, plain.null_sd / math.sqrt(max(1, stress.designs)), comparisons=1)


def plain_seen(stress: Stress) -> str:
    """Return which plain score would have been above chance, where it is not; "" where nobody knows."""
    least = None if above_chance(stress.plain) else smallest_plain(stress)
    return "" if least is None else would_have_seen(f"a plain silhouette of about {decimal(least)}")


def smallest_seen(stress: Stress, one: TrialResult) -> float | None:
    """Return the smallest change that the test of a variant would have seen; of the control, the smallest score."""
    if PERTURBATIONS[one.perturbation].facts.get("other_families"):
        known = one.chance is not None and one.null_sd is not None
        return smallest_beyond(one.chance or 0.0, one.null_sd or 0.0, comparisons=_tests(stress, 1)) if known else None
    if one.low is None or one.high is None or one.p is None:
        return None
    count = sum(other.p is not None for other in stress.tried)
    n = max((len(other.ratios) for other in stress.tried), default=0)
    freedom = stress.designs - 1 if stress.designs else n - 1 if n else math.inf
    return smallest_change(one.low, one.high, freedom=freedom, comparisons=_tests(stress, count))


def _tests(stress: Stress, count: int) -> int:
    """Return how many tests would share the whole level, were each to have what these have."""
    share = (_CONTROL if count == 1 else 1 - _CONTROL) * (1.0 if above_chance(stress.plain) else 1 - _PLAIN)
    return math.ceil(count / share)
