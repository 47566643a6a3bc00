"""Estimates: equal to scipy's where it has them, and intervals that cover the truth as often as they say."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from numembed.analysis.inference.estimates import MOST_DEALS, Estimate, difference, rank_correlation


def test_the_rank_correlation_is_scipys() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    for ties in (100, 4):
        first, second = rng.integers(0, ties, 20).tolist(), rng.integers(0, ties, 20).tolist()
        assert rank_correlation(first, second).value == pytest.approx(spearmanr(first, second).statistic)
    assert rank_correlation([1, 1, 1, 1, 1], [1, 2, 3, 4, 5]) == Estimate(0.0, -1.0, 1.0, 1.0)
    assert rank_correlation([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]).sign == 1


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [5, 6, pytest.param(7, marks=pytest.mark.slow)])
def test_the_p_of_few_pairs_is_that_of_all_orders(n: int, ties: bool) -> None:
    from scipy.stats import permutation_test, rankdata, zscore

    def ranked(values: np.ndarray, axis: int) -> np.ndarray:
        return zscore(rankdata(values, axis=axis), axis)  # Spearman is their mean product

    rng = np.random.default_rng(n)
    for _ in range(3):
        first, second = rng.normal(size=n), rng.integers(0, 3, n) if ties else rng.normal(size=n)
        found = rank_correlation(first.tolist(), second.tolist())
        exact = permutation_test(
            (first,),
            lambda one, axis, other=ranked(second, 0): abs((ranked(one, axis) * other).mean(axis)),
            permutation_type="pairings",
            vectorized=True,
            n_resamples=np.inf,
            alternative="greater",
        )
        assert found.p == pytest.approx(exact.pvalue)


def test_a_perfect_order_of_few_is_no_certainty() -> None:
    for order, sign in (([1, 2, 3, 4, 5], 1), ([5, 4, 3, 2, 1], -1)):
        found = rank_correlation([1, 2, 3, 4, 5], order)
        assert found.value == pytest.approx(sign) and found.p == pytest.approx(2 / 120)
        assert found.high - found.low > 0.5 and found.sign == sign
    assert rank_correlation([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]).words == ("+1.00, 95% interval +0.13 to +1.00, p 0.017")
    assert rank_correlation([1, 2, 3, 4], [1, 2, 3, 4]).sign == 0, "p cannot be below 2 in 24"


@pytest.mark.slow
@pytest.mark.parametrize("n", [4, 5, 6, 7])
def test_no_more_than_one_order_in_twenty_of_few_is_called_a_link(n: int) -> None:
    found = [rank_correlation(range(n), order) for order in itertools.permutations(range(n))]
    assert np.mean([one.sign != 0 for one in found]) <= 0.05
    assert all(one.p <= 0.05 for one in found if one.sign) and all(one.low <= one.value <= one.high for one in found)


@pytest.mark.parametrize("n", [5, 6, 8, 14])
def test_the_interval_of_a_rank_correlation_covers_the_truth(n: int) -> None:
    rng, true = np.random.default_rng(5), 6 / math.pi * math.asin(0.7 / 2)  # Pearson 0.7
    inside = 0
    for _ in range(400):
        first, rest = rng.normal(size=(2, n))
        found = rank_correlation(first.tolist(), (0.7 * first + math.sqrt(1 - 0.49) * rest).tolist())
        inside += found.low <= true <= found.high
    assert inside / 400 >= 0.92


def test_the_difference_has_the_exact_permutation_p_of_scipy() -> None:
    from scipy.stats import permutation_test

    rng = np.random.default_rng(0)
    for size in (3, 4, 7):
        first, second = rng.normal(0.8, 1, size), rng.normal(0, 1, 14 - size)
        exact = permutation_test((first, second), lambda a, b: a.mean() - b.mean(), n_resamples=np.inf)
        assert difference(first.tolist(), second.tolist()).p == pytest.approx(exact.pvalue)


def test_the_interval_holds_just_the_shifts_that_the_test_does_not_reject() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(1, 1, 5).tolist(), rng.normal(0, 1, 9).tolist()
    found = difference(first, second)
    for shift, rejected in (
        (found.low - 0.01, True),
        (found.low + 0.01, False),
        (found.high - 0.01, False),
        (found.high + 0.01, True),
    ):
        assert (difference([value - shift for value in first], second).p <= 0.05) == rejected


@pytest.mark.slow
@pytest.mark.parametrize(("size", "n"), [(4, 14), (12, 40)], ids=["exact", "sampled"])
def test_the_interval_covers_the_truth_19_times_in_20(size: int, n: int) -> None:
    assert (math.comb(n, size) > MOST_DEALS) == (n == 40)
    rng, inside, tries = np.random.default_rng(4), 0, 300 if n == 14 else 60
    for _ in range(tries):
        found = difference(rng.normal(0.5, 1, size).tolist(), rng.normal(0, 1, n - size).tolist())
        inside += found.low <= 0.5 <= found.high
    assert 0.91 <= inside / tries <= 0.99 + 0.01 * (n == 40)


def test_groups_too_small_for_an_interval_say_so() -> None:
    found = difference([1.0], [2.0, 3.0, 4.0])
    assert math.isinf(found.low) and math.isinf(found.high) and found.sign == 0 and "no interval" in found.words
