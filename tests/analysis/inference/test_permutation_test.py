"""The permutation test: equal to scikit-learn shuffle by shuffle, uniform on noise, reproducible."""

from __future__ import annotations

import itertools
import math
import random
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from sklearn.metrics import davies_bouldin_score, silhouette_score

from numembed.analysis.inference import permuted_scores as permuted
from numembed.analysis.inference.permutation_test import (
    default_permutations,
    permutation_test,
    shuffled,
    smallest_p,
)
from numembed.analysis.inference.permuted_scores import permuted_davies_bouldin, permuted_silhouettes
from numembed.analysis.metrics import davies_bouldin, silhouette
from numembed.core.errors import Cancelled
from numembed.core.significance import holm

Distance = Literal["euclidean", "cosine"]
DISTANCES = pytest.mark.parametrize("distance", ["euclidean", "cosine"])
# the closed form of the cosine begins above n = 2 d
SHAPES = pytest.mark.parametrize(("n", "d"), [(24, 384), (24, 12), (24, 11), (90, 8), (300, 40)])


def _noise(n: int, d: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def _shuffles(labels: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed)
    return np.stack([drawn.permutation(labels) for _ in range(count)])


@SHAPES
@DISTANCES
@pytest.mark.parametrize("kind", ["plain", "zero rows", "groups of one", "one direction"])
def test_equal_to_scikit_learn_on_the_same_shuffles(n: int, d: int, distance: Distance, kind: str) -> None:
    matrix, labels = _noise(n, d), np.arange(n) % 6
    if kind == "zero rows":
        matrix[[0, 3, 4, 10]] = 0
    if kind == "groups of one":
        labels[:3] = (10, 11, 12)
    if kind == "one direction":
        matrix += 30
    labellings = _shuffles(labels, 12)
    expected = [silhouette_score(matrix.astype(np.float64), one, metric=distance) for one in labellings]
    values = permuted_silhouettes(matrix, labellings, distance=distance)
    assert values == pytest.approx(np.array(expected), abs=1e-6)


@DISTANCES
def test_observed_is_the_silhouette_itself(distance: Distance) -> None:
    matrix, labels = _noise(40, 16), np.arange(40) % 5
    test = permutation_test(matrix, labels, distance=distance, permutations=99)
    assert test.observed == pytest.approx(silhouette(matrix, labels, distance=distance), abs=1e-6)


def test_p_counts_the_shuffles_that_score_as_high_and_the_observed_one() -> None:
    matrix, labels = _noise(20, 4), np.arange(20) % 4
    test = permutation_test(matrix, labels, permutations=199, seed=5)
    own = np.broadcast_to(labels.astype(np.int32), (199, 20)).copy()
    shuffled = np.random.default_rng(5).permuted(own, axis=1)
    null = np.array([silhouette_score(matrix, one) for one in shuffled])
    assert test.p == (1 + np.count_nonzero(null >= test.observed - 1e-6)) / 200
    assert test.null_mean == pytest.approx(null.mean(), abs=1e-6)
    assert (test.null_low, test.null_high) == pytest.approx(tuple(np.quantile(null, (0.025, 0.975))), abs=1e-6)
    assert test.permutations == 199


def test_clear_groups_get_the_smallest_p_and_mixed_ones_a_large_p() -> None:
    labels = np.arange(24) % 4
    apart = _noise(24, 8) + 20 * np.eye(4, 8, dtype=np.float32)[labels]
    assert permutation_test(apart, labels, permutations=499).p == 1 / 500
    spread = _noise(24, 8) + 20 * np.eye(6, 8, dtype=np.float32)[np.arange(24) // 4]  # each group lies everywhere
    assert permutation_test(spread, labels, permutations=499).p > 0.5


def test_p_is_reproducible_with_the_seed_and_moves_with_it() -> None:
    matrix, labels = _noise(24, 8), np.arange(24) % 6
    first = permutation_test(matrix, labels, permutations=300, seed=3)
    assert permutation_test(matrix, labels, permutations=300, seed=3) == first
    assert permutation_test(matrix, labels, permutations=300, seed=4).null_mean != first.null_mean


@DISTANCES
def test_p_does_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch, distance: Distance) -> None:
    matrix, labels = _noise(90, 8), np.arange(90) % 6
    whole = permutation_test(matrix, labels, distance=distance, permutations=400)
    monkeypatch.setattr(permuted, "_BLOCK_NUMBERS", 1)
    monkeypatch.setattr(permuted, "_STRETCH_BYTES", 1)
    pieces = permutation_test(matrix, labels, distance=distance, permutations=400)
    assert pieces.p == whole.p
    assert pieces.null_mean == pytest.approx(whole.null_mean, abs=1e-9)


def test_relabelling_the_groups_changes_nothing() -> None:
    matrix, labels = _noise(24, 8), np.arange(24) % 6
    renamed = np.array([40, 7, 19, 3, 2, 11])[labels]
    names = np.unique(renamed, return_inverse=True)[1]
    assert permutation_test(matrix, renamed, permutations=99) == permutation_test(matrix, names, permutations=99)


@pytest.mark.slow
@DISTANCES
def test_p_is_uniform_on_noise(distance: Distance) -> None:
    labels = np.arange(24) % 6
    found = [
        permutation_test(_noise(24, 6, seed=seed), labels, distance=distance, permutations=99, seed=seed).p
        for seed in range(400)
    ]
    assert kstest(np.array(found) - 0.005, "uniform").pvalue > 0.01  # p takes the values 0.01, 0.02, … 1


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_undefined_is_nan_with_its_reason(labels: list[int]) -> None:
    test = permutation_test(_noise(4, 3), np.array(labels))
    assert math.isnan(test.p) and math.isnan(test.observed)
    assert "groups" in test.note
    assert test.permutations == 0


@DISTANCES
def test_groups_of_equal_vectors(distance: Distance) -> None:
    labels = np.arange(12) % 3
    matrix = np.eye(3, dtype=np.float32)[labels]
    test = permutation_test(matrix, labels, distance=distance, permutations=99)
    assert test.observed == pytest.approx(1.0, abs=1e-6)


def test_fewer_shuffles_where_one_costs_more() -> None:
    counts = [default_permutations(n) for n in (2, 500, 501, 5_000, 5_001, 20_000)]
    assert counts == [9_999, 9_999, 9_999, 9_999, 199, 199]
    assert [default_permutations(n, even=False) for n in (500, 501, 5_001)] == [9_999, 999, 199]
    assert [default_permutations(n, "davies_bouldin") for n in (500, 501, 5_001)] == [9_999, 999, 199]


def test_progress_is_reported_and_can_stop_the_test() -> None:
    told: list[tuple[int, int]] = []
    labels = np.arange(30) % 3
    permutation_test(
        _noise(30, 4), labels, permutations=9_000, progress=lambda done, total, note: told.append((done, total))
    )
    assert told[-1] == (9_001, 9_001)
    assert len(told) > 1
    assert told == sorted(told)

    def stop(done: int, total: int, note: str) -> None:
        raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        permutation_test(_noise(30, 4), labels, permutations=9_000, progress=stop)


def test_a_free_test_is_what_it_always_was() -> None:
    test = permutation_test(_noise(24, 384), np.arange(24) % 6, permutations=400)
    assert test.p == 0.4014962593516209
    found = (test.observed, test.null_mean, test.null_low, test.null_high)
    assert found == pytest.approx((-0.016411963, -0.017591946, -0.027212787, -0.008050080), abs=2e-9)


def test_one_group_around_all_is_the_free_test() -> None:
    matrix, labels = _noise(24, 8), np.arange(24) % 6
    free = permutation_test(matrix, labels, permutations=300, seed=3)
    assert permutation_test(matrix, labels, permutations=300, seed=3, within=np.full(24, 7)) == free


def test_z_is_the_distance_from_the_shuffles_in_their_deviations() -> None:
    matrix, labels = _noise(20, 4), np.arange(20) % 4
    test = permutation_test(matrix, labels, permutations=199, seed=5)
    null = [silhouette_score(matrix, one) for one in shuffled(labels.astype(np.int32), 0 * labels, 199, seed=5)[1:]]
    assert test.z == pytest.approx((test.observed - np.mean(null)) / np.std(null), abs=1e-4)
    two = permutation_test(_noise(4, 3), np.array([0, 0, 0, 1]), permutations=3)
    assert math.isfinite(two.z)
    corners = np.eye(4, dtype=np.float32)  # equally far from each other: every shuffle scores the same
    assert math.isnan(permutation_test(corners, np.array([0, 0, 1, 1]), permutations=50).z)


def _windows(per: int, families: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels and windows of make_sequences: family by family."""
    return np.repeat(np.arange(families), per), np.tile(np.arange(per), families)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3)), min_size=1, max_size=40), st.integers(0, 99))
def test_a_shuffle_within_windows_keeps_the_families_of_each_window(pairs: list[tuple[int, int]], seed: int) -> None:
    labels, within = (np.array(column) for column in zip(*pairs, strict=True))
    rows = shuffled(labels.astype(np.int32), within, 20, seed=seed)
    assert rows[0].tolist() == labels.tolist()
    for window in np.unique(within):
        held = np.sort(rows[:, within == window], axis=1)
        assert (held == held[0]).all()


def test_a_shuffle_within_windows_moves_every_family_of_a_window_everywhere() -> None:
    labels, within = _windows(3, 4)
    rows = shuffled(labels.astype(np.int32), within, 4_000, seed=1)[1:]
    shares = np.stack([(rows == family).mean(axis=0) for family in range(4)])
    assert shares == pytest.approx(np.full((4, 12), 0.25), abs=0.03)
    same = (rows[:, 0] == rows[:, 1]).mean()  # two windows are shuffled independently
    assert same == pytest.approx(0.25, abs=0.03)


@DISTANCES
def test_within_windows_equals_a_loop_over_all_possible_shuffles(distance: Distance) -> None:
    labels, within = _windows(3, 3)
    matrix = _noise(9, 5) + 0.6 * _noise(3, 5, seed=1)[labels] + 2 * _noise(3, 5, seed=2)[within]
    orders = list(itertools.permutations(range(3)))
    every = []
    for chosen in itertools.product(orders, repeat=3):
        one = np.array([chosen[window][family] for family, window in zip(labels, within, strict=True)])
        every.append(silhouette_score(matrix.astype(np.float64), one, metric=distance))
    test = permutation_test(matrix, labels, distance=distance, within=within, permutations=20_000)
    assert test.null_mean == pytest.approx(np.mean(every), abs=0.003)
    assert test.p == pytest.approx(np.mean(np.array(every) >= test.observed - 1e-6), abs=0.012)
    assert 0.02 < test.p < 0.98
    assert permutation_test(matrix, labels, distance=distance, permutations=999).null_mean > test.null_mean + 0.02


@pytest.mark.slow
def test_within_windows_equals_a_plain_loop() -> None:
    labels, within = _windows(4, 6)
    matrix = _noise(24, 8) + 2 * _noise(4, 8, seed=1)[within]
    drawn, null = random.Random(0), []
    for _ in range(800):
        one = labels.copy()
        for window in range(4):
            members = [i for i in range(24) if within[i] == window]
            families = [labels[i] for i in members]
            drawn.shuffle(families)
            for i, family in zip(members, families, strict=True):
                one[i] = family
        null.append(silhouette_score(matrix, one))
    test = permutation_test(matrix, labels, within=within, permutations=5_000)
    error = float(np.std(null)) / math.sqrt(800)
    assert test.null_mean == pytest.approx(np.mean(null), abs=4 * error)
    assert (test.null_low, test.null_high) == pytest.approx(tuple(np.quantile(null, (0.025, 0.975))), abs=10 * error)
    assert test.p == pytest.approx(np.mean(np.array(null) >= test.observed), abs=0.05)


@pytest.mark.slow
@DISTANCES
def test_p_within_windows_is_uniform_where_size_rules(distance: Distance) -> None:
    labels, within = _windows(4, 6)
    free, held = [], []
    for seed in range(300):
        matrix = _noise(24, 6, seed=seed) + 2 * _noise(4, 6, seed=10_000 + seed)[within]
        options = {"distance": distance, "permutations": 99, "seed": seed}
        free.append(permutation_test(matrix, labels, **options).p)
        held.append(permutation_test(matrix, labels, within=within, **options).p)
    assert kstest(np.array(held) - 0.005, "uniform").pvalue > 0.01
    assert kstest(np.array(free) - 0.005, "uniform").pvalue < 0.001  # what the windows share hides the families


def test_a_family_signal_hidden_under_size_is_seen_within_windows() -> None:
    labels, within = _windows(4, 6)
    matrix = _noise(24, 16) + _noise(6, 16, seed=1)[labels] + 2.5 * _noise(4, 16, seed=2)[within]
    assert permutation_test(matrix, labels, permutations=999).p > 0.05
    assert permutation_test(matrix, labels, within=within, permutations=999).p < 0.01


def test_windows_of_one_family_each_leave_nothing_to_shuffle() -> None:
    labels = np.repeat(np.arange(3), 4)
    for within in (labels, np.arange(12)):
        test = permutation_test(_noise(12, 3), labels, within=within)
        assert math.isnan(test.p) and math.isnan(test.z) and "no shuffle" in test.note
        assert test.observed == pytest.approx(silhouette(_noise(12, 3), labels))
    with pytest.raises(ValueError, match="each of 12 sequences, got 3"):
        permutation_test(_noise(12, 3), labels, within=np.arange(3))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.5, 0.6]) == pytest.approx((1.0, 1.0))
    assert holm([None, 0.02, None]) == (None, 0.02, None)
    assert holm([]) == ()
    assert math.isnan(holm([math.nan, 0.02])[0])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.1, 1.2])


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=20), st.randoms())
def test_holm_keeps_order_and_lies_between_p_and_bonferroni(ps: list[float | None], drawn: random.Random) -> None:
    adjusted = holm(ps)
    assert [one is None for one in adjusted] == [p is None for p in ps]
    pairs = sorted((p, q) for p, q in zip(ps, adjusted, strict=True) if p is not None and q is not None)
    assert [q for _, q in pairs] == sorted(q for _, q in pairs)
    assert all(p <= q <= min(1, len(pairs) * p) + 1e-12 for p, q in pairs)
    order = drawn.sample(range(len(ps)), len(ps))
    assert holm([ps[i] for i in order]) == tuple(adjusted[i] for i in order)


def test_holm_keeps_false_finds_rare() -> None:
    found = np.random.default_rng(0).random((4_000, 8))
    wrong = np.mean([min(holm(row)) <= 0.05 for row in found.tolist()])  # type: ignore[type-var]
    assert wrong == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize(
    ("labels", "windows"),
    [
        ([0, 0, 1, 1], None),
        ([0, 0, 0, 1, 1, 1], None),
        ([0, 0, 0, 1, 1], None),
        ([0, 0, 1, 1, 2, 2], None),
        ([0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2]),
        ([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1]),
        ([0, 0, 1, 1, 1], [0, 1, 0, 1, 1]),
    ],
)
def test_the_smallest_p_is_that_of_families_far_apart_among_all_shuffles(
    labels: list[int], windows: list[int] | None
) -> None:
    own, within = np.array(labels), None if windows is None else np.array(windows)
    groups = np.zeros(len(own), np.int64) if within is None else within
    every = [
        own[list(order)] for order in itertools.permutations(range(len(own))) if (groups[list(order)] == groups).all()
    ]
    same = [((one[:, None] == one) == (own[:, None] == own)).all() for one in every]
    assert smallest_p(own, within) == pytest.approx(np.mean(same))


@pytest.mark.parametrize(("n", "d"), [(24, 384), (24, 3), (60, 7), (7, 1)])
def test_every_shuffled_index_is_that_of_scikit_learn(n: int, d: int) -> None:
    matrix, labels = _noise(n, d), (np.arange(n) % 6).astype(np.int32)
    shuffles = shuffled(labels, np.zeros(n, dtype=np.int64), 30)
    ours = permuted_davies_bouldin(matrix, shuffles)
    assert ours == pytest.approx([davies_bouldin_score(matrix, one) for one in shuffles], rel=1e-5)


def test_a_low_index_is_the_good_one() -> None:
    labels = np.repeat(np.arange(3), 4)
    apart = (np.eye(8)[labels] * 5 + _noise(12, 8) * 0.1).astype(np.float32)
    test = permutation_test(apart, labels, permutations=499, metric="davies_bouldin")
    assert test.p == 1 / 500 and test.z < 0 and test.observed < test.null_low < test.null_mean < test.null_high
    assert test.observed == pytest.approx(davies_bouldin(apart, labels))
    spread = np.concatenate([np.eye(6)[:, :4], -np.eye(6)[:, :4]]).astype(np.float32)
    shared = permutation_test(spread, np.arange(12) % 6, permutations=499, metric="davies_bouldin")
    assert math.isnan(shared.p) and shared.note.startswith("two groups share one centre")
    spread += _noise(12, 4) * np.float32(0.1)
    assert permutation_test(spread, np.arange(12) % 6, permutations=499, metric="davies_bouldin").p > 0.5


@pytest.mark.slow
def test_p_of_the_index_is_uniform_on_noise() -> None:
    labels, windows = np.arange(24) % 6, np.arange(24) // 6
    for within in (None, windows):
        ps = [
            permutation_test(
                _noise(24, 6, seed=seed), labels, permutations=99, seed=seed, within=within, metric="davies_bouldin"
            ).p
            for seed in range(200)
        ]
        assert kstest(np.array(ps) - 0.005, "uniform").pvalue > 0.01
