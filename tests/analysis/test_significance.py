"""The permutation test: equal to scikit-learn shuffle by shuffle, uniform on noise, reproducible."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.metrics import silhouette_score

from numembed.analysis import significance
from numembed.analysis.metrics import silhouette
from numembed.analysis.significance import default_permutations, permutation_test, permuted_silhouettes
from numembed.errors import Cancelled

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
    monkeypatch.setattr(significance, "_BLOCK_NUMBERS", 1)
    monkeypatch.setattr(significance, "_STRETCH_BYTES", 1)
    pieces = permutation_test(matrix, labels, distance=distance, permutations=400)
    assert pieces.p == whole.p
    assert pieces.null_mean == pytest.approx(whole.null_mean, abs=1e-9)


def test_relabelling_the_groups_changes_nothing() -> None:
    matrix, labels = _noise(24, 8), np.arange(24) % 6
    renamed = np.array([40, 7, 19, 3, 2, 11])[labels]
    names = np.unique(renamed, return_inverse=True)[1]
    assert permutation_test(matrix, renamed, permutations=99) == permutation_test(matrix, names, permutations=99)


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
    assert counts == [9_999, 9_999, 999, 999, 199, 199]


def test_progress_is_told_and_stops_the_test() -> None:
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
