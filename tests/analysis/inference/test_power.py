"""The smallest difference that a test would have seen: with that true difference it is found in four cases of five."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from numembed.analysis.clusters.neighbours import nearest_alike
from numembed.analysis.inference.intervals import paired_difference
from numembed.analysis.inference.permutation_test import permutation_test
from numembed.analysis.inference.power import (
    sd_above,
    sd_of_band,
    smallest_beyond,
    smallest_change,
    smallest_difference,
    smallest_share,
)
from numembed.analysis.metrics import silhouette
from numembed.core.arrays import Matrix
from numembed.core.wording import would_have_seen

LABELS = np.repeat(np.arange(6), 6)


@pytest.mark.parametrize(("designs", "comparisons"), [(3, 1), (30, 1), (10, 6)])
def test_a_paired_comparison_finds_its_smallest_difference_in_four_cases_of_five(
    designs: int, comparisons: int
) -> None:
    least = smallest_difference(0.04, designs, comparisons=comparisons)
    assert least is not None
    drawn = np.random.default_rng(designs).normal(least, 0.04, (1_500, designs))
    found = [paired_difference(row, np.zeros(designs)).p <= 0.05 / comparisons for row in drawn]
    assert 0.77 <= np.mean(found) <= 0.83


def test_more_designs_see_smaller_differences_and_one_sees_none() -> None:
    seen = [smallest_difference(0.1, designs) or math.inf for designs in (2, 5, 30, 1_000)]
    assert seen == sorted(seen, reverse=True) and seen[-1] == pytest.approx(2.8 * 0.1 / math.sqrt(1_000), rel=0.01)
    assert smallest_difference(0.1, 1) is None and smallest_difference(math.nan, 9) is None
    assert smallest_difference(0.0, 9) == 0
    assert (smallest_difference(0.1, 9, comparisons=10) or 0) > (smallest_difference(0.1, 9) or 0)


def test_an_interval_tells_the_same_as_the_differences_that_it_was_made_from() -> None:
    differences = np.random.default_rng(3).normal(0.1, 0.3, 12)
    one = paired_difference(differences, np.zeros(12))
    least = smallest_difference(float(differences.std(ddof=1)), 12, comparisons=4)
    assert smallest_change(one.low, one.high, freedom=11, comparisons=4) == pytest.approx(least)
    assert smallest_change(-0.196, 0.196) == pytest.approx(0.28, abs=0.001)  # 2.8 standard errors of 0.1
    assert smallest_change(math.nan, 0.1) is None and smallest_change(0.0, 0.1, freedom=0) is None


def _spread_for(wanted: float, mean: Callable[[float], float]) -> float:
    """Return how far apart families lie where the mean value is the wanted one."""
    low, high = 0.0, 6.0
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (middle, high) if mean(middle) < wanted else (low, middle)
    return high


def _families(apart: float, seed: int) -> Matrix:
    """Families whose centres lie equally far from each other, in unit noise."""
    noise = np.random.default_rng(seed).normal(size=(len(LABELS), 16))
    return np.asarray(noise + apart * np.eye(16)[LABELS], dtype=np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("comparisons", [1, 3])
def test_the_silhouette_that_would_be_seen_is_found_in_four_cases_of_five(comparisons: int) -> None:
    null = [permutation_test(_families(0, seed), LABELS, permutations=199, seed=seed) for seed in range(20)]
    least = np.mean(
        [
            smallest_beyond(one.null_mean, sd_above(one.null_mean, one.null_high), comparisons=comparisons)
            for one in null
        ]
    )
    apart = _spread_for(
        float(least), lambda apart: float(np.mean([silhouette(_families(apart, s), LABELS) for s in range(60)]))
    )
    found = [
        permutation_test(_families(apart, 100 + seed), LABELS, permutations=499, seed=seed).p <= 0.05 / comparisons
        for seed in range(200)
    ]
    assert 0.7 <= np.mean(found) <= 0.9, np.mean(found)  # 0.8, and room for the luck of 200 draws


@pytest.mark.slow
def test_the_share_that_would_be_seen_is_found_in_four_cases_of_five() -> None:
    null = nearest_alike(_families(0, 0), LABELS, permutations=499)
    least = smallest_share(null.chance, null.null_sd)
    assert least is not None and least > null.chance + 2 * null.null_sd
    apart = _spread_for(
        least,
        lambda apart: float(
            np.mean([nearest_alike(_families(apart, s), LABELS, permutations=1).share for s in range(100)])
        ),
    )
    found = [nearest_alike(_families(apart, 100 + seed), LABELS, permutations=199).p <= 0.05 for seed in range(200)]
    assert 0.7 <= np.mean(found) <= 0.9, np.mean(found)  # 0.8, and room for the luck of 200 draws


def test_a_share_beyond_1_is_never_promised() -> None:
    assert (
        smallest_share(0.5, 0.4) is None and smallest_share(0.5, math.nan) is None and smallest_share(0.0, 0.1) is None
    )
    assert 0.9 < (smallest_share(0.5, 0.2) or 0) <= 1
    assert smallest_beyond(0.0, math.nan) is None and math.isnan(sd_of_band(None, 0.2))
    assert would_have_seen("x") == "This design would have seen x (80% power)."
