"""Scores against the paper's formulas written naively, against scikit-learn, and by hand."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from numembed.analysis.metrics import ami, ari, davies_bouldin, silhouette
from numembed.analysis.preparation import (
    agreement_undefined_reason,
    cosine_parts,
    davies_bouldin_note,
    undefined_reason,
)
from numembed.analysis.silhouettes import silhouettes

Distance = Literal["euclidean", "cosine"]
DISTANCES = pytest.mark.parametrize("distance", ["euclidean", "cosine"])
SIZES = pytest.mark.parametrize(("n", "d", "k"), [(24, 384, 6), (24, 2, 6), (7, 5, 3), (60, 3, 2), (130, 17, 11)])


def points(n: int, d: int, k: int, *, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return (matrix, labels) of overlapping groups, every group present."""
    drawn = np.random.default_rng(seed)
    labels = drawn.permutation(np.arange(n) % k)
    matrix = drawn.standard_normal((n, d)) + drawn.standard_normal((k, d))[labels]
    return matrix.astype(np.float32), labels


def formula_1(matrix: NDArray[np.float32], labels: NDArray[np.int64], *, distance: Distance = "euclidean") -> float:
    """The mean of formula (1), s = (b − a) / max(a, b), loop by loop."""
    rows = matrix.astype(np.float64)

    def apart(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
        if distance == "euclidean":
            return math.dist(x, y)
        lengths = math.hypot(*x) * math.hypot(*y)
        return 1 - (float(x @ y) / lengths if lengths else 0.0)

    values = []
    for i, x in enumerate(rows):
        to = {
            group: [apart(x, rows[j]) for j in range(len(rows)) if labels[j] == group and j != i]
            for group in set(labels.tolist())
        }
        own = to.pop(int(labels[i]))
        a = sum(own) / len(own) if own else 0.0
        b = min(sum(others) / len(others) for others in to.values())
        values.append((b - a) / max(a, b) if own and max(a, b) > 0 else 0.0)
    return sum(values) / len(values)


def formula_2(matrix: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Formula (2): the mean over groups of the worst (σ_i + σ_j) / d(c_i, c_j)."""
    rows = matrix.astype(np.float64)
    groups = [rows[labels == group] for group in sorted(set(labels.tolist()))]
    centres = [sum(group) / len(group) for group in groups]
    widths = [sum(math.dist(x, c) for x in group) / len(group) for group, c in zip(groups, centres, strict=True)]
    worst = [
        max((widths[i] + widths[j]) / math.dist(centres[i], centres[j]) for j in range(len(groups)) if j != i)
        for i in range(len(groups))
    ]
    return sum(worst) / len(worst)


@SIZES
@DISTANCES
def test_silhouette_is_formula_1(n: int, d: int, k: int, distance: Distance) -> None:
    matrix, labels = points(n, d, k)
    value = silhouette(matrix, labels, distance=distance)
    assert value == pytest.approx(formula_1(matrix, labels, distance=distance), abs=1e-6)


@SIZES
def test_davies_bouldin_is_formula_2(n: int, d: int, k: int) -> None:
    matrix, labels = points(n, d, k)
    assert davies_bouldin(matrix, labels) == pytest.approx(formula_2(matrix, labels), rel=1e-5)


@SIZES
@DISTANCES
def test_silhouette_is_scikit_learns(n: int, d: int, k: int, distance: Distance) -> None:
    matrix, labels = points(n, d, k, seed=1)
    expected = sklearn_metrics.silhouette_score(matrix.astype(np.float64), labels, metric=distance)
    assert silhouette(matrix, labels, distance=distance) == pytest.approx(expected, abs=1e-6)


@SIZES
def test_davies_bouldin_and_the_agreements_are_scikit_learns(n: int, d: int, k: int) -> None:
    matrix, labels = points(n, d, k, seed=2)
    clusters = np.random.default_rng(3).permutation(labels)
    assert davies_bouldin(matrix, labels) == pytest.approx(sklearn_metrics.davies_bouldin_score(matrix, labels))
    assert ari(labels, clusters) == sklearn_metrics.adjusted_rand_score(labels, clusters)
    assert ami(labels, clusters) == pytest.approx(
        sklearn_metrics.adjusted_mutual_info_score(labels, clusters), abs=1e-12
    )


@pytest.mark.parametrize("offset", [0.0, 5.0, 100.0])
@pytest.mark.parametrize("n", [24, 400])
def test_cosine_keeps_its_digits_where_all_vectors_point_the_same_way(n: int, offset: float) -> None:
    matrix, labels = points(n, 64, 4)
    matrix += np.float32(offset) * np.random.default_rng(9).standard_normal(64).astype(np.float32)
    expected = sklearn_metrics.silhouette_score(matrix.astype(np.float64), labels, metric="cosine")
    assert silhouette(matrix, labels, distance="cosine") == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("near", [1e-4, 1e-6, 1e-8, 1e-12])
def test_silhouette_of_groups_that_are_close_beside_their_distance_to_a_third(near: float) -> None:
    """Squared distances from sums of squares lose the small ones: of 1e-9 the silhouette was 0.38 and not 0.75."""
    matrix, labels = points(24, 16, 3)
    matrix[labels == 0] *= near
    matrix[labels == 1] = near * (matrix[labels == 1] + 5)
    assert silhouette(matrix, labels) == pytest.approx(formula_1(matrix, labels), abs=1e-6)


def test_cosine_with_zero_rows_and_single_members_is_scikit_learns() -> None:
    matrix, labels = points(30, 8, 4)
    matrix[[0, 5, 6, 11]] = 0
    labels[0] = labels[5] = 9  # two zero rows make a group of their own
    labels[20] = 7  # a group of one
    expected = sklearn_metrics.silhouette_score(matrix.astype(np.float64), labels, metric="cosine")
    assert silhouette(matrix, labels, distance="cosine") == pytest.approx(expected, abs=1e-6)


def test_cosine_parts_give_every_cosine_distance() -> None:
    matrix, _ = points(20, 6, 3)
    matrix[4] = 0
    centred, halves = cosine_parts(matrix)
    distances = halves[:, None] + halves - centred @ centred.T
    expected = sklearn_metrics.pairwise.cosine_distances(matrix)
    apart = ~np.eye(20, dtype=bool)
    assert distances[apart] == pytest.approx(expected[apart], abs=1e-6)


def test_silhouette_by_hand() -> None:
    matrix = np.array([[0], [1], [10], [12]], dtype=np.float32)
    labels = np.array([0, 0, 1, 1])
    by_hand = ((11 - 1) / 11 + (10 - 1) / 10 + (9.5 - 2) / 9.5 + (11.5 - 2) / 11.5) / 4
    assert silhouette(matrix, labels) == pytest.approx(by_hand)
    assert davies_bouldin(matrix, labels) == pytest.approx((0.5 + 1) / 10.5)


def test_better_separated_groups_score_better() -> None:
    matrix, labels = points(24, 16, 4)
    centres = np.eye(4, 16, dtype=np.float32)[labels]
    near, far = matrix + 5 * centres, matrix + 50 * centres
    assert silhouette(far, labels) > silhouette(near, labels)
    assert silhouette(far, labels, distance="cosine") > silhouette(near, labels, distance="cosine")
    assert davies_bouldin(far, labels) < davies_bouldin(near, labels)


@pytest.mark.parametrize(
    ("matrix", "labels", "reason"),
    [
        (np.eye(3), [0, 0, 0], "needs 2 to n − 1 groups, got 1 for n = 3"),
        (np.eye(3), [0, 1, 2], "needs 2 to n − 1 groups, got 3 for n = 3"),
        (np.eye(1), [0], "needs 2 to n − 1 groups, got 1 for n = 1"),
        (np.ones((4, 2)), [0, 0, 1, 1], "all vectors are equal"),
        (np.eye(4), [0, 0, 1, 1], ""),
    ],
)
def test_undefined_is_nan_with_its_reason(matrix: NDArray[np.float64], labels: list[int], reason: str) -> None:
    vectors, groups = matrix.astype(np.float32), np.array(labels)
    assert undefined_reason(vectors, groups) == reason
    assert math.isnan(silhouette(vectors, groups)) is bool(reason)
    assert math.isnan(silhouette(vectors, groups, distance="cosine")) is bool(reason)
    assert math.isnan(davies_bouldin(vectors, groups)) is bool(reason)


def test_davies_bouldin_of_groups_with_one_centre_is_scikit_learns_and_says_what_flatters_it() -> None:
    matrix = np.array([[-1.1], [1.1], [-2.3], [2.3], [9]], dtype=np.float32)
    for labels in ([0, 0, 1, 1, 2], [0, 0, 1, 1, 1]):
        groups, same = np.array(labels), labels[4] == 2
        told = davies_bouldin_note(matrix, groups)
        assert told == ("two groups share one centre; that pair is left out" if same else "")
        assert davies_bouldin(matrix, groups) == pytest.approx(sklearn_metrics.davies_bouldin_score(matrix, groups))


@pytest.mark.parametrize(
    ("labels", "clusters", "reason"),
    [
        ([0, 0, 0], [0, 1, 1], "needs at least 2 families"),
        ([0, 1, 1], [0, 0, 0], "KMeans found no two clusters"),
        ([0, 1, 1], [1, 0, 0], ""),
    ],
)
def test_agreement_with_one_group_is_undefined(labels: list[int], clusters: list[int], reason: str) -> None:
    one, other = np.array(labels), np.array(clusters)
    assert agreement_undefined_reason(one, other) == reason
    assert math.isnan(ari(one, other)) is bool(reason)
    assert math.isnan(ami(one, other)) is bool(reason)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), n=st.integers(1, 12), d=st.integers(1, 4))
def test_no_small_input_crashes_or_leaves_the_bounds(data: st.DataObject, n: int, d: int) -> None:
    small = st.lists(st.integers(-2, 2), min_size=d, max_size=d)  # equal and zero rows are likely
    matrix = np.array(data.draw(st.lists(small, min_size=n, max_size=n)), dtype=np.float32)
    labels = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    for distance in ("euclidean", "cosine"):
        value = silhouette(matrix, labels, distance=distance)
        if undefined_reason(matrix, labels, distance=distance):
            assert math.isnan(value)
        else:
            assert -1 <= value <= 1
            assert value == pytest.approx(formula_1(matrix, labels, distance=distance), abs=1e-5)
    if undefined_reason(matrix, labels):
        assert math.isnan(davies_bouldin(matrix, labels))
    elif not davies_bouldin_note(matrix, labels):
        assert davies_bouldin(matrix, labels) == pytest.approx(formula_2(matrix, labels), rel=1e-4)


def test_two_labellings_at_once_are_each_alone() -> None:
    matrix = np.random.default_rng(0).standard_normal((40, 9)).astype(np.float32)
    one, other, alone = np.arange(40) % 4, np.arange(40) // 10, np.zeros(40, dtype=np.int64)
    for distance in ("euclidean", "cosine"):
        found = silhouettes(matrix, one, alone, other, distance=distance)
        alone_each = [silhouette(matrix, labels, distance=distance) for labels in (one, other)]
        assert found[::2] == pytest.approx(alone_each, abs=1e-12)
        assert math.isnan(found[1])


@pytest.mark.parametrize("n", [4, 24, 300])
def test_agreement_is_that_of_scikit_learn(n: int) -> None:
    drawn = np.random.default_rng(n)
    for k in range(2, 8):
        for other in (2, 5):
            one, two = drawn.integers(0, k, n), drawn.integers(0, other, n)
            for labels, clusters in ((one, two), (one, one)):
                if not agreement_undefined_reason(labels, clusters):
                    assert ari(labels, clusters) == pytest.approx(adjusted_rand_score(labels, clusters), abs=1e-12)
                    expected = adjusted_mutual_info_score(labels, clusters)
                    assert ami(labels, clusters) == pytest.approx(expected, abs=1e-12)
