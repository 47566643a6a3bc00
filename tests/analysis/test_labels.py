"""Groupings: the families as they are, and KMeans."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from numembed.analysis.labels import families, kmeans


def _three_clouds() -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(30) % 3
    noise = np.random.default_rng(0).standard_normal((30, 5)) * 0.1
    return (noise + np.eye(3, 5)[labels] * 10).astype(np.float32), labels


def test_families_are_the_labels() -> None:
    matrix, labels = _three_clouds()
    assert families(matrix, labels) is labels


def test_kmeans_finds_clear_groups_whatever_their_numbers() -> None:
    matrix, labels = _three_clouds()
    found = kmeans(matrix, labels)
    assert found.dtype == np.int64
    assert len({(a, b) for a, b in zip(labels.tolist(), found.tolist(), strict=True)}) == 3


def test_kmeans_is_scikit_learns_with_ten_restarts() -> None:
    matrix = np.random.default_rng(1).standard_normal((40, 8)).astype(np.float32)
    labels = np.arange(40) % 4
    expected = KMeans(n_clusters=4, n_init=10, random_state=7).fit_predict(matrix)
    assert kmeans(matrix, labels, seed=7).tolist() == expected.tolist()
    assert kmeans(matrix, labels, seed=7).tolist() == kmeans(matrix, labels, seed=7).tolist()


@pytest.mark.parametrize("n", range(1, 11))
def test_kmeans_of_equal_vectors_is_one_group(n: int) -> None:
    assert kmeans(np.ones((n, 3), dtype=np.float32), np.arange(n)).tolist() == [0] * n


def test_kmeans_has_at_most_as_many_clusters_as_distinct_vectors() -> None:
    matrix = np.repeat(np.eye(2, dtype=np.float32), 4, axis=0)
    assert len(np.unique(kmeans(matrix, np.arange(8) % 4))) == 2


def test_kmeans_with_one_family_is_one_group() -> None:
    assert kmeans(np.eye(4, dtype=np.float32), np.zeros(4, dtype=np.int64)).tolist() == [0] * 4


def test_wide_and_double_numbers_give_the_groups_of_scikit_learn_on_single_ones() -> None:
    for seed in range(25):
        matrix = np.random.default_rng(seed).standard_normal((24, 64)).astype(np.float32)
        theirs = KMeans(n_clusters=6, n_init=10, random_state=seed).fit_predict(matrix)
        assert kmeans(matrix, np.arange(24) % 6, seed=seed).tolist() == theirs.tolist()
