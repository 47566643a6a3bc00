"""What the tests of a model's clusters would have seen: the smallest true values, found in four cases of five."""

from __future__ import annotations

from numembed.analysis.inference.power import smallest_beyond, smallest_share
from numembed.core.significance import LEVEL
from numembed.core.wording import decimal, percent, signed, would_have_seen
from numembed.examinations.clusters.compute import Explanation
from numembed.examinations.clusters.grouping import FACTORS, Factor, Grouping
from numembed.examinations.clusters.together import AGREES, HOLDS, MATCHED, NEAREST, Test, tests_of


def smallest_seen(explanation: Explanation) -> dict[Test, float | None]:
    """Return for each test the smallest agreement or share that it would have seen; None where it could see nothing."""
    tests = tests_of(explanation)
    count = sum(one.p == one.p and one.least_p <= LEVEL for one in tests.values())
    seen: dict[Test, float | None] = {
        (AGREES, one.attribute): smallest_beyond(one.null_mean, one.null_sd, comparisons=count)
        for one in explanation.agreements
    }
    shares = {(HOLDS, one.name): (one.null_mean, one.null_sd) for one in explanation.shares if one.name != "rest"}
    shares |= {
        (NEAREST, name): (one.chance, one.null_sd)
        for name, one in (("family", explanation.same_family), ("window", explanation.same_window))
    }
    shares[MATCHED, "family"] = explanation.matched_chance, explanation.matched_null_sd
    seen |= {test: smallest_share(*null, comparisons=count) for test, null in shares.items()}
    return {test: value if tests[test].least_p <= LEVEL else None for test, value in seen.items()}


def seen_sentence(explanation: Explanation, kind: str, what: str) -> str:
    """Return what the tests of one kind would have seen, of each that saw nothing; "" where all saw something.

    ``what`` holds {share} and {name}, such as "a share of about {share} for the {name}".
    """
    tests, seen = tests_of(explanation), smallest_seen(explanation)
    missed = [at for at, one in tests.items() if at[0] == kind and one.p == one.p and not one.sure]
    known = [what.format(share=percent(seen[at]), name=at[1]) for at in missed if seen[at] is not None]
    return would_have_seen(" and ".join(known)) if known else ""


def smallest_way(factor: Factor, ways: Grouping) -> float | None:
    """Return the smallest agreement with a factor that one way of grouping would have seen."""
    count = sum(getattr(way, name).p == getattr(way, name).p for way in ways.ways for name in FACTORS)
    return smallest_beyond(factor.null_mean, factor.null_sd, comparisons=count)


def ways_seen(ways: Grouping) -> str:
    """Return which agreements the ways of grouping would have seen; "" where an older version stored no spread."""
    parts = []
    for name in FACTORS:
        known = [value for way in ways.ways if (value := smallest_way(getattr(way, name), ways)) is not None]
        if known:
            parts.append(f"an ARI of about {signed(max(known))} with the {name}")
    return would_have_seen(" and ".join(parts)) if parts else ""


def steps_seen(ways: Grouping) -> str:
    """Return which silhouette of as many groups as families would have stood out of shapeless vectors."""
    step = next((one for one in ways.steps if one.k == ways.families and one.noise_high == one.noise_high), None)
    if step is None:
        return ""
    spread = (step.noise_high - step.noise_low) / _RANGE
    least = smallest_beyond(step.noise_high - 1.645 * spread, spread)
    return would_have_seen(f"{step.k} groups with a silhouette of about {decimal(least)}") if least is not None else ""


_RANGE = 3.69  # standard deviations between the lowest and the highest of 19 normal numbers, on average
