"""Intervals hold what they say as often as they say, and differences are claimed no oftener than by chance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student
from scipy.stats import ttest_rel
from sklearn.metrics import silhouette_score

from numembed.analysis.inference import intervals
from numembed.analysis.inference.intervals import (
    Difference,
    jackknife,
    leave_one_out,
    mean_interval,
    paired_difference,
    redrawing_interval,
    sequences_needed,
)
from numembed.analysis.inference.permutation_test import permutation_test
from numembed.analysis.metrics import silhouette
from numembed.models.catalogue.names import model
from numembed.models.embedding import embed
from numembed.models.encoders.loaded import LoadedModel
from numembed.paper.protocol import PAPER_FAMILIES
from numembed.sequences.sets import SequenceSet, make_sequences, redrawn
from numembed.storage.vectors import VectorStore
from tests.offline import OFFLINE

Distance = Literal["euclidean", "cosine"]
DISTANCES = pytest.mark.parametrize("distance", ["euclidean", "cosine"])
scores = st.lists(st.floats(-1, 1), min_size=3, max_size=30)


def _noise(n: int, d: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def _naive_without(matrix: np.ndarray, labels: np.ndarray, distance: Distance) -> list[float]:
    rows = np.arange(len(labels))
    return [
        silhouette_score(matrix[rows != out].astype(np.float64), labels[rows != out], metric=distance) for out in rows
    ]


@DISTANCES
@pytest.mark.parametrize("groups", [[4] * 6, [2, 2, 2], [9, 3, 2], [1, 5, 4], [1, 1, 2, 3], [20, 21], [2, 1, 2]])
@pytest.mark.parametrize("stretch", [1, 16 * 2**20])
def test_leaving_one_out_equals_a_loop(
    groups: list[int], distance: Distance, stretch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "_STRETCH_BYTES", stretch)
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(groups)), groups)) * 3 + 1
    matrix = _noise(len(labels), 5) + 0.5 * _noise(40, 5, seed=1)[labels]
    without = leave_one_out(matrix, labels, distance=distance)
    assert without == pytest.approx(np.array(_naive_without(matrix, labels, distance)), abs=2e-6)


@DISTANCES
def test_leaving_one_out_with_equal_and_zero_vectors_equals_a_loop(distance: Distance) -> None:
    labels = np.arange(12) % 3
    matrix = np.eye(4, dtype=np.float32)[np.array([0, 1, 2, 0, 1, 2, 0, 1, 3, 3, 1, 2])]
    matrix[5] = 0
    without = leave_one_out(matrix, labels, distance=distance)
    assert without == pytest.approx(np.array(_naive_without(matrix, labels, distance)), abs=2e-6)


@DISTANCES
def test_the_jackknife_equals_its_definition(distance: Distance) -> None:
    labels = np.arange(24) % 6
    matrix = _noise(24, 8)
    score = silhouette_score(matrix.astype(np.float64), labels, metric=distance)
    pseudo = 24 * score - 23 * np.array(_naive_without(matrix, labels, distance))
    half = student.ppf(0.975, 23) * pseudo.std(ddof=1) / math.sqrt(24)
    found = jackknife(matrix, labels, distance=distance)
    assert (found.low, found.high) == pytest.approx((score - half, score + half), abs=1e-5)
    assert (found.level, found.note) == (0.95, "")
    narrower = jackknife(matrix, labels, distance=distance, level=0.5)
    assert found.low < narrower.low < narrower.high < found.high


def test_the_jackknife_does_not_depend_on_order_or_unit() -> None:
    matrix, labels, order = _noise(30, 6), np.arange(30) % 5, np.random.default_rng(2).permutation(30)
    one = jackknife(matrix, labels)
    for other in (jackknife(matrix[order], labels[order]), jackknife(matrix * 1e-20, labels)):
        assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=1e-5)


def test_the_jackknife_stays_within_what_a_silhouette_can_be() -> None:
    labels = np.arange(12) % 3
    alike = jackknife(np.eye(3, dtype=np.float32)[labels], labels)
    assert (alike.low, alike.high) == pytest.approx((1, 1))
    few = jackknife(_noise(4, 2), np.array([0, 0, 1, 1]))
    assert few.low >= -1 and few.high <= 1


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 0, 0, 0, 0], "needs 2 to n − 1 groups"),
        ([0, 1, 2, 3, 4], "needs 2 to n − 1 groups"),
        ([0, 0, 0, 0, 1], "without one of the sequences"),  # without the last there is one group
        ([0, 0, 1, 2, 3], "without one of the sequences"),  # without the first all are alone
    ],
)
def test_an_undefined_jackknife_is_nan_with_its_reason(labels: list[int], words: str) -> None:
    found = jackknife(_noise(5, 3), np.array(labels))
    assert math.isnan(found.low) and math.isnan(found.high)
    assert words in found.note


def test_a_jackknife_that_needs_its_only_other_vector_is_undefined() -> None:
    matrix = np.ones((6, 2), dtype=np.float32)
    matrix[0] = 5
    assert "without one of the sequences" in jackknife(matrix, np.arange(6) % 2).note


def test_a_jackknife_of_too_many_sequences_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "MOST_LEFT_OUT", 20)
    assert jackknife(_noise(21, 3), np.arange(21) % 3).note.startswith("more than 20 sequences")


def _coverage(d: int, apart: float, families: int, per: int, *, common: float = 0) -> float:
    """Return how many of 300 jackknife intervals hold the expected score, itself the mean of 2,000 fresh sets."""
    drawn = np.random.default_rng(7)
    labels, windows = np.repeat(np.arange(families), per), np.tile(np.arange(per), families)
    centres = apart * drawn.standard_normal((families, d)) / d**0.25

    def fresh() -> np.ndarray:
        shared = common * drawn.standard_normal((per, d))[windows] / d**0.25
        matrix = centres[labels] + shared + drawn.standard_normal((len(labels), d))
        return np.asarray(matrix, dtype=np.float32)

    truth = np.mean([silhouette_score(fresh(), labels) for _ in range(2_000)])
    found = [jackknife(fresh(), labels) for _ in range(300)]
    return float(np.mean([one.low <= truth <= one.high for one in found]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "low", "high"),
    [
        ((16, 1.5, 6, 4), 0.94, 0.999),
        pytest.param((16, 4, 6, 16), 0.93, 0.99, marks=pytest.mark.campaign),
        pytest.param((16, 4, 2, 2), 0.90, 0.97, marks=pytest.mark.campaign),
        ((16, 0, 6, 4), 0.98, 1.0),  # overlapping groups: too wide, never too narrow
        pytest.param((384, 1.5, 6, 4), 0.97, 1.0, marks=pytest.mark.campaign),
    ],
)
def test_the_jackknife_covers_the_expected_score(setting: tuple[int, float, int, int], low: float, high: float) -> None:
    assert low <= _coverage(*setting) <= high


@pytest.mark.campaign
def test_the_jackknife_covers_less_where_windows_share_much() -> None:
    assert 0.60 <= _coverage(16, 8, 12, 8, common=4) <= 0.85
    assert _coverage(16, 8, 12, 8) >= 0.93


@pytest.mark.parametrize("count", [3, 5, 30])
def test_a_redrawing_interval_holds_the_next_design(count: int) -> None:
    drawn = np.random.default_rng(3).normal(-0.1, 0.02, (2_000, count + 1))
    found = [(redrawing_interval(row[:-1]), row[-1]) for row in drawn]
    held = np.mean([one.low <= new <= one.high for one, new in found])
    assert held == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("count", [3, 5, 30])
def test_a_mean_interval_holds_the_mean(count: int) -> None:
    drawn = np.random.default_rng(4).normal(-0.1, 0.02, (2_000, count))
    held = np.mean([one.low <= -0.1 <= one.high for one in map(mean_interval, drawn)])
    assert held == pytest.approx(0.95, abs=0.015)


@pytest.mark.campaign
def test_intervals_hold_for_silhouettes_of_drawn_sets() -> None:
    labels, drawn = np.arange(24) % 6, np.random.default_rng(5)
    centres = 1.5 * drawn.standard_normal((6, 16)) / 2
    values = np.array(
        [
            silhouette(np.asarray(centres[labels] + drawn.standard_normal((24, 16)), dtype=np.float32), labels)
            for _ in range(330 * 11)
        ]
    ).reshape(330, 11)
    truth = values.mean()
    assert 0.90 <= np.mean([i.low <= v[-1] <= i.high for v in values for i in [redrawing_interval(v[:-1])]]) <= 0.99
    assert 0.90 <= np.mean([i.low <= truth <= i.high for v in values for i in [mean_interval(v[:-1])]]) <= 0.99


def test_intervals_by_hand() -> None:
    new, mean = redrawing_interval([1, 2, 3, 4]), mean_interval([1, 2, 3, 4])
    sd, quantile = math.sqrt(5 / 3), 3.182446305
    assert (new.low, new.high) == pytest.approx(
        (2.5 - quantile * sd * math.sqrt(1.25), 2.5 + quantile * sd * 1.25**0.5)
    )
    assert (mean.low, mean.high) == pytest.approx((2.5 - quantile * sd / 2, 2.5 + quantile * sd / 2))
    assert "one new design" in new.method and "mean over designs" in mean.method
    assert redrawing_interval([1, 2, 3, 4], level=0.5).level == 0.5
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_interval([1, 2, 3], level=95)


@pytest.mark.parametrize("interval", [redrawing_interval, mean_interval])
def test_too_few_or_undefined_designs_have_no_interval(interval: type[redrawing_interval]) -> None:  # type: ignore[valid-type]
    for values in ([], [0.1], [0.1, 0.2]):
        found = interval(values)
        assert math.isnan(found.low) and math.isnan(found.high)
        assert found.note == f"needs the scores of at least 3 designs, got {len(values)}"
    assert interval([0.1, math.nan, 0.2, 0.3]).note == "1 of 4 designs have no score"


@given(scores)
def test_the_interval_of_one_design_is_wider_than_that_of_the_mean(values: list[float]) -> None:
    new, mean = redrawing_interval(values), mean_interval(values)
    assert new.low <= mean.low <= mean.high <= new.high


def test_a_paired_difference_is_the_paired_t_test() -> None:
    drawn = np.random.default_rng(6)
    a = drawn.normal(0.1, 0.05, 30)
    b = a - drawn.normal(0.02, 0.03, 30)
    expected, found = ttest_rel(a, b), paired_difference(a, b)
    low, high = expected.confidence_interval(0.95)
    assert (found.p, found.low, found.high) == pytest.approx((expected.pvalue, low, high))
    assert found.mean == pytest.approx(np.mean(a - b))
    assert found.distinguishable == (found.p < 0.05)


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=3, max_size=30))
def test_a_paired_difference_is_symmetric(pairs: list[tuple[float, float]]) -> None:
    a, b = zip(*pairs, strict=True)
    one, other = paired_difference(a, b), paired_difference(b, a)
    assert (other.mean, other.low, other.high) == pytest.approx((-one.mean, -one.high, -one.low))
    assert (other.p, other.distinguishable) == (one.p, one.distinguishable)
    assert one.sentence("A", "B") == other.sentence("B", "A") or not one.distinguishable


def test_equal_models_are_distinguished_in_five_percent_of_cases() -> None:
    drawn = np.random.default_rng(8)
    designs = drawn.normal(0, 0.03, (2_000, 30))  # what both models share
    a, b = (designs + drawn.normal(0, 0.02, designs.shape) for _ in range(2))
    apart = np.mean([paired_difference(x, y).distinguishable for x, y in zip(a, b, strict=True)])
    assert apart == pytest.approx(0.05, abs=0.015)


def test_what_the_designs_share_cancels_in_the_pairs() -> None:
    drawn = np.random.default_rng(9)
    designs = drawn.normal(0, 0.3, 30)
    a, b = designs + 0.05 + drawn.normal(0, 0.02, 30), designs + drawn.normal(0, 0.02, 30)
    found = paired_difference(a, b)
    assert found.distinguishable and found.low < 0.05 < found.high
    assert mean_interval(a).low < mean_interval(b).high  # seen one by one they are not apart


def test_the_same_scores_twice_are_no_difference() -> None:
    same = paired_difference([0.1, 0.2, 0.3], [0.1, 0.2, 0.1 + 0.2])
    assert (same.mean, same.low, same.high, same.p, same.distinguishable) == (0, 0, 0, 1, False)
    steady = paired_difference([2, 3, 4], [1, 2, 3])
    assert (steady.low, steady.high, steady.p, steady.distinguishable) == (1, 1, 0, True)


@pytest.mark.parametrize(
    ("difference", "sentence"),
    [
        (Difference(0.05, 0.03, 0.07, 0.001, True), "X is above Y by 0.03 to 0.07."),
        (Difference(-0.05, -0.07, -0.03, 0.001, True), "Y is above X by 0.03 to 0.07."),
        (Difference(0.01, 0.0012, 0.02, 0.04, True), "X is above Y by 0.0012 to 0.0200."),
        (Difference(0.01, -0.01, 0.03, 0.4, False), "X and Y are not distinguishable at this size."),
        (paired_difference([1], [2]), "X and Y cannot be compared: needs the scores of at least 3 designs, got 1."),
        (paired_difference([1, 2, math.nan], [2, 2, 2]), "X and Y cannot be compared: 1 of 3 designs have no score."),
    ],
)
def test_a_difference_in_words(difference: Difference, sentence: str) -> None:
    assert difference.sentence("X", "Y") == sentence


def test_unpaired_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="got 3 and 4"):
        paired_difference([1, 2, 3], [1, 2, 3, 4])


def test_sequences_needed_by_hand() -> None:
    # (1.95996 + 0.84162)² · (0.02 / 0.02)² · 4 = 31.4
    assert sequences_needed(0.02, 0.02, 4) == 32
    assert sequences_needed(-0.02, 0.02, 4) == 32
    assert sequences_needed(0.5, 0.001, 4) == sequences_needed(0.5, 0, 4) == 2
    assert sequences_needed(0, 0.02, 4) is None
    assert sequences_needed(math.nan, 0.02, 4) is sequences_needed(0.02, math.nan, 4) is None
    assert sequences_needed(0.001, 0.02, 4) is None  # 12,557
    with pytest.raises(ValueError, match="between 0 and 1"):
        sequences_needed(0.02, 0.02, 4, power=80)


@given(
    st.floats(1e-3, 1),
    st.floats(1e-3, 1),
    st.integers(2, 2_000),
    st.floats(0.5, 0.99),
    st.sampled_from([1, 3, 30]),
    st.floats(1, 3),
)
def test_more_sequences_are_needed_for_harder_questions(
    difference: float, sd: float, per: int, power: float, designs: int, more: float
) -> None:
    def needed(d: float = difference, s: float = sd, w: float = power, c: int = designs) -> float:
        found = sequences_needed(d, s, per, power=w, designs=c)
        assert found is None or 2 <= found <= 2_000
        return math.inf if found is None else found

    assert needed(d=difference * more) <= needed() <= needed(s=sd * more)
    assert needed() <= needed(w=min(0.995, power * more))
    assert needed(c=4 * designs) <= needed()


@pytest.mark.parametrize(("designs", "difference", "sd"), [(10, 0.02, 0.06), (30, 0.01, 0.03)])
def test_as_many_sequences_as_needed_tell_two_models_apart(designs: int, difference: float, sd: float) -> None:
    needed = sequences_needed(difference, sd, 4, designs=designs)
    assert needed is not None
    drawn = np.random.default_rng(10).normal(difference, sd * math.sqrt(4 / needed), (2_000, designs))
    found = np.mean([paired_difference(row, np.zeros(designs)).distinguishable for row in drawn])
    assert found == pytest.approx(0.8, abs=0.05)


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[VectorStore, LoadedModel]]:
    with VectorStore(tmp_path_factory.mktemp("intervals") / "cache.db") as store:
        yield store, LoadedModel(OFFLINE)


def _vectors(bundled: tuple[VectorStore, LoadedModel], sequences: SequenceSet) -> np.ndarray:
    store, loaded = bundled
    return embed(model("all-MiniLM-L6-v2"), sequences, store=store, loaded=loaded).matrix


@pytest.mark.slow
def test_the_bundled_model_on_the_papers_sequences(bundled: tuple[VectorStore, LoadedModel]) -> None:
    sequences = make_sequences(PAPER_FAMILIES)
    matrix = _vectors(bundled, sequences)
    free = permutation_test(matrix, sequences.labels)
    held = permutation_test(matrix, sequences.labels, within=sequences.windows)
    assert 0.15 <= free.p <= 0.22 and 0.03 <= held.p <= 0.09
    assert free.null_mean == pytest.approx(-0.109, abs=0.005)
    assert free.z == pytest.approx(0.82, abs=0.05) and held.z == pytest.approx(1.66, abs=0.08)
    found = jackknife(matrix, sequences.labels)
    assert (found.low, found.high) == pytest.approx((-0.158, -0.027), abs=0.003)


@pytest.mark.slow
def test_the_bundled_models_score_moves_with_the_windows(bundled: tuple[VectorStore, LoadedModel]) -> None:
    sequences = make_sequences(PAPER_FAMILIES)
    values = [silhouette(_vectors(bundled, one), one.labels) for one in redrawn(sequences, 15)]
    assert 0.010 <= np.std(values, ddof=1) <= 0.035
    found = redrawing_interval(values)
    assert found.low < silhouette(_vectors(bundled, sequences), sequences.labels) < found.high
