"""Paths against paths at equal retention: no difference where there is none, and the one there is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from numembed.merge_experiment.comparisons import Candidates, compare_at_equal_retention, comparisons_of, estimated
from numembed.merge_experiment.results import Candidate
from tests.merge_experiment.bases import made_path, noisy_path
from tests.merge_experiment.made import made_experiment, made_result

LONG = (0.95, 0.9, 0.8, 0.7)


def _line(low: float, high: float, path: str = "a") -> tuple[Candidate, ...]:
    own = np.linspace(0, 0.1, 24)
    return noisy_path(path, tuple(np.linspace(high, low, 5)), own)


def test_paths_that_have_little_retention_in_common_say_so() -> None:
    narrow = compare_at_equal_retention(
        [_line(0.8, 0.82)], [_line(0.8, 0.95)], split="paper", names=("slerp_task", "linear")
    )
    assert narrow.sentence.endswith(
        " Their ranges of retention (0.80 to 0.82 and 0.80 to 0.95) overlap little, on average from 0.800 to 0.820: "
        "the comparison says little. Both paths start and end at the same two models, and they overlap near these."
    )
    wide = compare_at_equal_retention(
        [_line(0.8, 0.9)], [_line(0.8, 0.95)], split="paper", names=("slerp_task", "linear")
    )
    single = compare_at_equal_retention(
        [_line(0.9, 0.9)[:1]], [_line(0.8, 0.95)], split="paper", names=("karcher", "soup")
    )
    assert all("overlap little" not in one.sentence for one in (wide, single))
    others = compare_at_equal_retention([_line(0.8, 0.82)], [_line(0.8, 0.95)], split="paper", names=("soup", "lora"))
    assert "overlap little" in others.sentence and "same two models" not in others.sentence


def test_two_single_models_are_compared_where_they_retain_equally_much() -> None:
    one, near, off = (noisy_path("a", (kept,), np.linspace(0, 0.1, 24)) for kept in (0.9, 0.9004, 0.902))
    found = compare_at_equal_retention([one], [near], split="paper", names=("karcher", "soup_norm_weights"))
    assert found.difference == pytest.approx(0.0004) and found.retention == pytest.approx((0.9002, 0.9002))
    assert "never have the same retention" in compare_at_equal_retention([one], [off], split="paper").sentence


def test_paths_whose_partner_could_not_be_scored_are_left_out_and_no_other_takes_its_place() -> None:
    found = made_result(made_experiment(paths=("linear", "slerp")))
    whole = next(one for one in comparisons_of(found) if one.split == "paper" and one.a == "slerp")
    lacking = replace(
        found, candidates=tuple(candidate for candidate in found.candidates if candidate.path != "linear-0-1")
    )
    without = tuple(candidate for candidate in lacking.candidates if candidate.path != "slerp-0-1")
    kept = next(one for one in comparisons_of(lacking) if one.split == "paper" and one.a == "slerp")
    both = next(
        one for one in comparisons_of(replace(lacking, candidates=without)) if one.split == "paper" and one.a == "slerp"
    )
    assert (kept.difference, kept.retention, kept.over) == (both.difference, both.retention, both.over)
    assert whole.over.startswith("3 pairs of seeds") and kept.over == "24 sequences"


def test_a_path_compared_with_itself_has_no_difference() -> None:
    path = made_path("slerp", LONG, (0.2, 0.5, 1, 1.5))
    found = compare_at_equal_retention([path] * 3, [path] * 3, split="paper", names=("slerp", "linear"))
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1) and not found.distinguishable
    assert found.sentence == (
        "On the paper's 24 sequences, at equal retention, SLERP and Linear differ by less than 0.001: no significant "
        "difference."
    )


def test_paths_are_compared_at_equal_retention_and_not_at_equal_t() -> None:
    slow = made_path("a", (1.0, 0.95, 0.9, 0.85, 0.8), (0, 0.25, 0.5, 0.75, 1.0))
    quick = made_path("b", (1.0, 0.9, 0.8, 0.7, 0.6), (0, 0.5, 1.0, 1.5, 2.0))  # the same trade, twice as far at each t
    found = compare_at_equal_retention([slow], [quick], split="paper")
    assert abs(found.difference) < 0.01 and not found.distinguishable
    assert 0.8 < found.retention[0] < found.retention[1] < 1.0


def test_the_better_path_is_named() -> None:
    better, worse = made_path("a", LONG, (1, 2, 3, 4)), made_path("b", LONG, (0.1, 0.2, 0.3, 0.4))
    for names, paths in ((("slerp", "linear"), (better, worse)), (("linear", "slerp"), (worse, better))):
        found = compare_at_equal_retention([paths[0]], [paths[1]], split="paper", names=names)
        assert found.distinguishable and (found.difference > 0) == (names[0] == "slerp")
        assert "SLERP separates better than Linear by" in found.sentence and "other seeds may differ" in found.sentence


def test_paths_that_never_retain_equally_much_are_not_compared() -> None:
    high, low = made_path("a", (0.99, 0.95), (1, 2)), made_path("b", (0.6, 0.5), (1, 2))
    found = compare_at_equal_retention([high], [low], split="paper", names=("karcher", "soup"))
    assert math.isnan(found.difference) and not found.distinguishable
    assert "cannot be compared" in found.sentence and "0.95 to 0.99 and 0.50 to 0.60" in found.sentence


def test_a_single_candidate_is_compared_with_a_path_at_its_own_retention() -> None:
    path, candidate = made_path("a", LONG, (0.5, 1, 1.5, 2)), made_path("b", (0.85,), (1.25,))
    found = compare_at_equal_retention([candidate], [path], split="paper")
    assert found.retention == (0.85, 0.85) and abs(found.difference) < 0.02


@pytest.mark.slow
def test_noise_is_seldom_taken_for_a_difference() -> None:
    """Two paths of the same models but for noise of their own, three seeds each, many times over."""
    seen = 0
    for number in range(60):
        sides = [
            [
                made_path(
                    "a", LONG, (0.4, 0.5, 0.6, 0.7), seed=1_000 * number + 10 * side + one, noise=0.5, shared=number
                )
                for one in range(3)
            ]
            for side in (0, 1)
        ]
        seen += compare_at_equal_retention(*sides, split="paper", names=("slerp", "linear")).distinguishable
    assert seen <= 4


def _false_alarms(
    sides: Callable[[np.random.Generator], tuple[list[Candidates], list[Candidates]]], names: tuple[str, str]
) -> float:
    """Return how often a difference is seen between two sides that only chance tells apart."""
    rng, rounds = np.random.default_rng(5), 400
    found = [compare_at_equal_retention(*sides(rng), split="paper", names=names) for _ in range(rounds)]
    return sum(one.p <= 0.05 for one in found) / rounds


@pytest.mark.slow
@pytest.mark.parametrize(
    "of_seeds", [0.0, 0.2, *(pytest.param(x, marks=pytest.mark.campaign) for x in (0.1, 0.4, 2.0))]
)
def test_seeds_and_sequences_together_raise_few_false_alarms(of_seeds: float) -> None:
    """Each side has an effect of each seed (as large as the mean over sequences is unsure at 0.2) and sequence."""

    def sides(rng: np.random.Generator) -> tuple[list[Candidates], list[Candidates]]:
        made = []
        for _ in range(2):
            own = rng.standard_normal(24)  # the same sequences for every seed
            made.append([noisy_path("a", LONG, own, seed=of_seeds * rng.standard_normal()) for _ in range(3)])
        return made[0], made[1]

    assert _false_alarms(sides, ("slerp_base", "lora")) <= 0.06


def test_a_path_that_turns_back_is_not_favoured() -> None:
    """It reaches every level twice, and each of its candidates has its own noise: the better would win by chance."""

    rng, apart = np.random.default_rng(6), []
    for _ in range(200):
        there = noisy_path("a", (0.9, 0.85, 0.8, 0.85, 0.9), rng.standard_normal((5, 24)))
        line = noisy_path("b", (0.9, 0.8), rng.standard_normal((2, 24)))
        apart.append(compare_at_equal_retention([there], [line], split="paper").difference)
    assert abs(np.mean(apart)) < 3 * np.std(apart) / math.sqrt(len(apart))


def test_with_one_partner_for_all_seeds_the_interval_is_not_over_seeds() -> None:
    own = np.linspace(0, 0.3, 24)
    seeds = [noisy_path("lora", LONG, own, seed=one) for one in (0.0, 0.2, 0.4)]
    alike = [noisy_path("lora", LONG, own, seed=0.2)] * 3
    soup = [noisy_path("soup", LONG, own[::-1])]
    found, same = (
        compare_at_equal_retention(soup, one, split="paper", names=("soup", "lora")) for one in (seeds, alike)
    )
    assert found.over == same.over == "24 sequences" and "other seeds may differ" in found.sentence
    assert (found.low, found.high, found.p) == pytest.approx((same.low, same.high, same.p)), (
        "their spread is not an error"
    )
    assert compare_at_equal_retention(seeds, alike, split="paper").over == "3 seeds and 24 sequences"


def test_where_a_path_comes_by_twice_the_mean_counts() -> None:
    own = np.zeros((3, 24)) + np.array([[0.0], [0.1], [0.4]])
    turning, line = noisy_path("a", (0.8, 0.9, 0.8), own), noisy_path("b", (0.8, 0.8), own[:1])
    found = compare_at_equal_retention([turning], [line], split="paper")
    assert found.difference == pytest.approx(0.2)


def test_the_interval_holds_the_errors_of_seeds_and_sequences_together() -> None:
    quiet = [np.full(24, 0.1) + 1e-3 * np.arange(24)] * 3
    gaps = [0.0, 0.1, 0.2]
    sequences = estimated([0.1] * 3, quiet)
    seeds = estimated(gaps, [np.full(24, 0.1)] * 3)
    both, pairs, shared = (
        estimated(gaps, quiet, pairs=of == "pairs", seeds=of != "shared") for of in ("", "pairs", "shared")
    )
    assert _wide(both) == pytest.approx(math.hypot(_wide(sequences), _wide(seeds))) and both[3] > seeds[3]
    assert _wide(pairs) == pytest.approx(math.hypot(_wide(sequences), 2 * _wide(seeds)))
    assert shared == pytest.approx(sequences)
    assert estimated(gaps, quiet, bend=0.01)[2] == pytest.approx(both[2] + 0.01)
    assert all(map(math.isnan, estimated([], [])))


def test_p_is_where_the_interval_would_end_at_nothing() -> None:
    from scipy.special import stdtr

    left_out = np.linspace(0.09, 0.11, 24)
    mean, low, high, p = estimated([0.1], [left_out])
    error = 23 * left_out.std(ddof=1) / math.sqrt(24)
    assert p == pytest.approx(2 * stdtr(23, -mean / error)) and (p <= 0.05) == (low > 0 or high < 0)
    assert estimated([0.1], [np.full(24, 0.1)], bend=0.2)[3] == 1


def _wide(found: tuple[float, float, float, float]) -> float:
    return (found[2] - found[1]) / 2
