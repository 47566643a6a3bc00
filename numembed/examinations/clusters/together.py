"""All tests behind the sentences about a model's clusters, judged together."""

from __future__ import annotations

import math
from collections.abc import Mapping

from numembed.analysis.clusters.agreement import Agreement
from numembed.core.significance import Judged, judged
from numembed.examinations.clusters.compute import Explanation
from numembed.examinations.clusters.grouping import Factor

AGREES, HOLDS, NEAREST, MATCHED = "agreement", "share", "nearest", "matched"
Test = tuple[str, str]  # what is tested, and of which attribute


def tests_of(explanation: Explanation) -> dict[Test, Judged]:
    """Return every test that a sentence rests on, adjusted for all of them: on noise 5% of pages claim anything.

    The least p of tests by shuffling is that of the best shuffle, not of the best there could be: it stays unadjusted.
    """
    plain = {(AGREES, one.attribute): (one.p, one.least_p) for one in explanation.agreements}
    plain |= {(HOLDS, one.name): (one.p, one.least_p) for one in explanation.shares if one.name != "rest"}
    plain |= {
        (NEAREST, name): (one.p, one.least_p)
        for name, one in (("family", explanation.same_family), ("window", explanation.same_window))
    }
    p = math.nan if math.isnan(explanation.matched) else explanation.matched_p
    plain[MATCHED, "family"] = (p, explanation.matched_least_p)
    tests = dict(zip(plain, judged(list(plain.values())), strict=True))
    return {at: one if at[0] == HOLDS else one._replace(least_p=plain[at][1]) for at, one in tests.items()}


def followed(explanation: Explanation) -> tuple[Agreement, ...]:
    """Return the agreements beyond chance, all tests judged together, the best first."""
    tests = tests_of(explanation)
    return tuple(one for one in explanation.agreements if tests[AGREES, one.attribute].sure and one.ari > 0)


def found_of(explanation: Explanation) -> dict[str, float]:
    """Return for each attribute the smallest adjusted p of all tests that are about it."""
    least: dict[str, float] = {}
    for (_, attribute), one in tests_of(explanation).items():
        if not math.isnan(one.p):
            least[attribute] = min(one.p, least.get(attribute, 1.0))
    return least


def of_way(factor: Factor, attribute: str, found: Mapping[str, float] | None) -> float:
    """Return the p of another way of grouping as the page judges it: no smaller than that of ``found``.

    Other ways only repeat a question: what one of them follows may be claimed where one of the page's own tests finds
    that attribute too. So they add no chance of a false claim. None: the way stands alone.
    """
    return factor.p if found is None or math.isnan(factor.p) else max(factor.p, found.get(attribute, 1.0))
