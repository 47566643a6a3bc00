"""Neighbours: equal to scikit-learn and scipy where they have it, and by hand where they have not."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import cdist, pdist
from sklearn import metrics as sk

from numembed.analysis.clusters import neighbours
from numembed.analysis.clusters.neighbours import (
    centroid_tree,
    distances,
    land,
    nearest,
    silhouette_samples,
    similar_order,
    similarity,
)
from numembed.analysis.metrics import silhouette
from numembed.analysis.preparation import Distance
from numembed.core.arrays import Labels, Matrix
from numembed.core.errors import TooLarge

BOTH: list[Distance] = ["euclidean", "cosine"]
DISTANCES = pytest.mark.parametrize("distance", BOTH)


def noise(n: int, d: int = 8, seed: int = 0) -> Matrix:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def clouds(n: int = 30) -> tuple[Matrix, Labels]:
    labels = np.arange(n) % 5
    return noise(n) + 2 * np.eye(5, 8, dtype=np.float32)[labels], labels


def naive(matrix: Matrix, distance: Distance) -> np.ndarray:
    return cdist(matrix.astype(np.float64), matrix.astype(np.float64), distance)


@DISTANCES
@pytest.mark.parametrize("kind", ["plain", "zero rows", "groups of one", "equal rows", "far from the origin"])
def test_silhouettes_are_scikit_learns(distance: Distance, kind: str) -> None:
    matrix, labels = clouds()
    if kind == "zero rows":
        matrix[[0, 7]] = 0
    if kind == "groups of one":
        labels[:3] = (10, 11, 12)
    if kind == "equal rows":
        matrix[10:20] = matrix[10]
    if kind == "far from the origin":
        matrix += 50
    found, _ = silhouette_samples(matrix, labels, distance=distance)
    expected = sk.silhouette_samples(matrix.astype(np.float64), labels, metric=distance)
    assert found == pytest.approx(expected, abs=2e-5)
    assert found.mean() == pytest.approx(silhouette(matrix, labels, distance=distance), abs=2e-5)


@DISTANCES
def test_the_nearest_other_family_has_the_smallest_mean_distance(distance: Distance) -> None:
    matrix, labels = clouds()
    table, names = naive(matrix, distance), np.array([3, 1, 40, 7, 5])[labels]
    for row, found in enumerate(silhouette_samples(matrix, names, distance=distance)[1].tolist()):
        means = {name: table[row, names == name].mean() for name in set(names.tolist()) - {int(names[row])}}
        assert found == min(means, key=lambda name: means[name])


@DISTANCES
def test_no_result_depends_on_how_many_rows_are_taken_at_once(
    monkeypatch: pytest.MonkeyPatch, distance: Distance
) -> None:
    matrix, labels = clouds()
    whole = silhouette_samples(matrix, labels, distance=distance), nearest(matrix, 3, distance=distance)
    monkeypatch.setattr(neighbours, "_STRETCH_NUMBERS", 1)
    assert silhouette_samples(matrix, labels, distance=distance)[0] == pytest.approx(whole[0][0], abs=1e-12)
    assert np.array_equal(nearest(matrix, 3, distance=distance)[0], whole[1][0])


@DISTANCES
@pytest.mark.parametrize("n", [30, 1_200])
def test_nearest_sequences_are_those_at_the_smallest_distance(distance: Distance, n: int) -> None:
    matrix, table = noise(n), naive(noise(n), distance)
    np.fill_diagonal(table, np.inf)
    rows, gaps = nearest(matrix, 4, distance=distance)
    assert np.array_equal(rows, np.argsort(table, axis=1)[:, :4])
    assert gaps == pytest.approx(np.sort(table, axis=1)[:, :4], abs=1e-5)


@pytest.mark.parametrize("n", [20, 1_200])
def test_equal_neighbours_come_in_the_order_of_their_rows(n: int) -> None:
    rows, gaps = nearest(np.repeat(noise(n // 4), 4, axis=0), 3)
    assert rows[0].tolist() == [1, 2, 3] and rows[6].tolist() == [4, 5, 7]
    assert not gaps.any()


def test_there_are_at_most_n_minus_1_neighbours() -> None:
    assert nearest(noise(4), 10)[0].shape == (4, 3)
    assert nearest(noise(1), 10)[0].shape == (1, 0)
    assert nearest(noise(0), 10)[0].shape == (0, 0)
    assert nearest(noise(4), 0)[0].shape == (4, 0)


def test_similarity_is_the_cosine() -> None:
    matrix = noise(20)
    assert similarity(matrix) == pytest.approx(sk.pairwise.cosine_similarity(matrix), abs=1e-5)
    matrix[3] = 0
    assert similarity(matrix)[3].tolist() == pytest.approx([0] * 3 + [1] + [0] * 16, abs=1e-6)


@DISTANCES
def test_no_distance_depends_on_the_unit(distance: Distance) -> None:
    matrix = noise(12)
    labels = np.arange(12) % 3
    expected, _ = silhouette_samples(matrix, labels, distance=distance)
    found, _ = silhouette_samples((matrix * 1e30).astype(np.float32), labels, distance=distance)
    assert found == pytest.approx(expected, abs=1e-5)


def test_the_dendrograms_order_holds_every_row_once_and_puts_similar_ones_side_by_side() -> None:
    assert sorted(similar_order(clouds()[0]).tolist()) == list(range(30))
    labels = np.random.default_rng(1).permutation(np.arange(24) % 4)
    matrix = noise(24) * np.float32(0.1) + 5 * np.eye(4, 8, dtype=np.float32)[labels]
    ordered = labels[similar_order(matrix)].tolist()
    assert sum(one != other for one, other in pairwise(ordered)) == 3


def test_centroids_join_as_in_scipy() -> None:
    matrix, labels = clouds()
    centroids = np.stack([matrix[labels == one].mean(axis=0) for one in range(5)])
    for distance in BOTH:
        found = centroid_tree(matrix, labels, distance=distance)
        assert found == pytest.approx(linkage(pdist(centroids, distance), "average"), abs=1e-5)


@DISTANCES
def test_a_query_is_placed_in_the_family_it_was_drawn_from(distance: Distance) -> None:
    labels = np.arange(40) % 4
    centres = 6 * np.eye(4, 8, dtype=np.float32)
    matrix = noise(40) + centres[labels]
    for family in range(4):
        found = land(centres[family] + noise(1, seed=9)[0], matrix, labels * 10, distance=distance, neighbours=3)
        assert found.family == family * 10
        assert set((labels[found.rows] * 10).tolist()) == {family * 10}
        assert found.distances.tolist() == sorted(found.distances.tolist()) and len(found.rows) == 3


@DISTANCES
def test_the_percentile_is_that_of_each_member_held_against_the_others(distance: Distance) -> None:
    matrix, labels = noise(21) + 3, np.arange(21) % 3
    query = noise(1, seed=5)[0] + 3
    found = land(query, matrix, labels, distance=distance)
    members = matrix[labels == found.family].astype(np.float64)
    gap = cdist(query[None].astype(np.float64), members.mean(axis=0)[None], distance)[0, 0]
    own = [cdist(members[[i]], np.delete(members, i, axis=0).mean(axis=0)[None], distance)[0, 0] for i in range(7)]
    assert found.to_centroid == pytest.approx(gap, abs=1e-5)
    assert found.percentile == pytest.approx(100 * np.mean(np.array(own) <= gap))


@pytest.mark.slow
def test_the_percentile_of_a_new_member_is_uniform() -> None:
    drawn = np.random.default_rng(0)
    found = []
    for _ in range(300):
        cloud = drawn.standard_normal((51, 6)).astype(np.float32)
        found.append(land(cloud[50], cloud[:50], np.zeros(50, np.int64)).percentile)
    assert 45 < np.mean(found) < 55 and 24 < np.std(found) < 34


def test_a_vector_that_is_already_there_is_its_own_nearest() -> None:
    matrix, labels = clouds()
    assert land(matrix[4], matrix, labels).rows[0] == 4
    assert land(matrix[4], matrix, labels).distances[0] == 0


def test_more_than_fits_is_refused_in_words() -> None:
    many = np.zeros((neighbours.LARGEST + 1, 1), dtype=np.float32)
    for call in (lambda: distances(many), lambda: similarity(many), lambda: similar_order(many)):
        with pytest.raises(TooLarge, match="at most 5,000 sequences, got 5,001"):
            call()


@DISTANCES
@pytest.mark.parametrize("n", range(5))
@pytest.mark.parametrize("kind", ["different", "equal", "zero"])
def test_few_or_equal_vectors_never_fail(n: int, kind: str, distance: Distance) -> None:
    matrix = {"different": noise(n), "equal": np.ones((n, 8), np.float32), "zero": np.zeros((n, 8), np.float32)}[kind]
    for labels in (np.zeros(n, np.int64), np.arange(n), np.arange(n) // 2):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            values, others = silhouette_samples(matrix, labels, distance=distance)
            assert values.shape == others.shape == (n,)
            assert (np.isnan(values) == (others < 0)).all()
            assert np.isfinite(nearest(matrix, 2, distance=distance)[1]).all()
            assert np.isfinite(similarity(matrix)).all()
            assert sorted(similar_order(matrix).tolist()) == list(range(n))
            families = len(np.unique(labels))
            tree = centroid_tree(matrix, labels, distance=distance)
            assert tree.shape == (max(0, families - 1), 4)
            landing = land(np.ones(8, np.float32), matrix, labels, distance=distance)
            assert len(landing.rows) == n
            assert math.isnan(landing.percentile) == bool(landing.note)
