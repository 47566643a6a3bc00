"""Vectors that differ by rounding only count as equal, whatever is computed from them."""

from __future__ import annotations

import numpy as np
import pytest

from numembed.analysis.inference.intervals import jackknife
from numembed.analysis.inference.permutation_test import permutation_test
from numembed.analysis.maps.projections import project
from numembed.analysis.preparation import Distance, all_equal, equalised
from numembed.analysis.scores import plain_scores, score_all
from numembed.core.arrays import Labels, Matrix

LABELS: Labels = np.arange(24) // 4
DISTANCES: list[Distance] = ["euclidean", "cosine"]


def rounding(shape: tuple[int, ...], size: float = 1e-7, seed: int = 0) -> np.ndarray:
    """Return factors that change a number by a last bit or so."""
    return 1 + np.random.default_rng(seed).uniform(-size, size, shape)


def few_places() -> Matrix:
    """Return 24 vectors at four places."""
    return np.random.default_rng(1).normal(size=(4, 384)).astype(np.float32)[np.arange(24) % 4]


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_all_vectors_equal_up_to_the_last_bit_have_no_score(distance: Distance, scale: float) -> None:
    pattern = np.where(LABELS[:, None] % 2, 3e-8, 0) * (np.arange(384) % 2)
    matrix = ((0.18 + pattern) * scale).astype(np.float32)
    assert len(np.unique(matrix, axis=0)) == 2 and all_equal(matrix)
    scores, clusters = score_all(matrix, LABELS, model="it", distance=distance, permutations=99)
    assert [score.value for score in scores if score.value == score.value] == []
    assert {score.note for score in scores} == {"all vectors are equal", "KMeans found no two clusters"} | (
        {"needs 2 to n − 1 groups, got 1 for n = 24"}
    )
    assert not clusters.any()
    assert not project(matrix, "pca")[0].any()


@pytest.mark.parametrize("distance", DISTANCES)
def test_rounding_changes_no_score(distance: Distance) -> None:
    exact = few_places()
    rounded = (exact * rounding(exact.shape)).astype(np.float32)
    assert len(np.unique(rounded, axis=0)) == 24
    labels = np.arange(24) // 2 % 3
    scores, other = (plain_scores(rows, labels, distance=distance) for rows in (exact, rounded))
    assert list(scores.values()) == pytest.approx(list(other.values()), abs=1e-6)
    one, two = (permutation_test(rows, labels, distance=distance, permutations=199) for rows in (exact, rounded))
    assert (one.p, one.null_mean) == pytest.approx((two.p, two.null_mean), abs=1e-6)
    one, two = (jackknife(rows, labels, distance=distance) for rows in (exact, rounded))
    assert (one.low, one.high) == pytest.approx((two.low, two.high), abs=1e-6)


def test_a_family_of_texts_that_are_cut_to_the_same_tokens_lies_on_one_point() -> None:
    """Two families at one place, apart by rounding: no silhouette may come from the rounding."""
    rows = np.repeat(np.random.default_rng(2).normal(size=(3, 32)), 8, axis=0).astype(np.float32)
    rows[8:16] = rows[0]
    labels = np.arange(24) // 8
    noisy = (rows * rounding((24, 1))).astype(np.float32)
    exact, other = (plain_scores(one, labels) for one in (rows, noisy))
    assert list(exact.values()) == pytest.approx(list(other.values()), abs=1e-6)


@pytest.mark.parametrize(("count", "width"), [(2, 1), (24, 384), (700, 16), (700, 2)])
def test_each_row_becomes_the_first_that_it_equals(count: int, width: int) -> None:
    drawn = np.random.default_rng(3)
    places = drawn.normal(size=(max(2, count // 3), width)).astype(np.float32)
    own = drawn.integers(len(places), size=count)
    noisy = (places[own] * rounding((count, 1))).astype(np.float32)
    first = np.array([np.flatnonzero(own == one)[0] for one in own])
    assert np.array_equal(equalised(noisy), noisy[first])


def test_crowded_rows_are_compared_one_by_one() -> None:
    """Where all rows lie close to each other, a few directions do not part them."""
    drawn = np.random.default_rng(4)
    crowd = (1 + drawn.normal(size=(300, 64)) * 2e-6).astype(np.float32)
    twice = np.concatenate([crowd, crowd * np.float32(1 + 1.2e-7)])
    equal = equalised(twice)
    assert np.array_equal(equal[:300], crowd) and np.array_equal(equal[300:], crowd)


def test_rows_that_differ_stay_as_they_are() -> None:
    matrix = np.random.default_rng(5).normal(size=(500, 8)).astype(np.float32)
    assert equalised(matrix) is matrix
    close = matrix.copy()
    close[1] = close[0] * np.float32(1 + 1e-5)
    assert equalised(close) is close and not all_equal(close[:2])
