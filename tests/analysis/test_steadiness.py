"""Rounded distances: nearly the same distances, and the same to the last bit for vectors that differ by rounding."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from threadpoolctl import threadpool_limits

from numembed.analysis.labels import kmeans
from numembed.analysis.maps.projections import project
from numembed.analysis.steadiness import ROUNDED_UP_TO, with_rounded_distances
from numembed.core.arrays import Matrix


def _vectors(n: int = 24, d: int = 384, *, seed: int = 0) -> Matrix:
    """Return vectors of length 1 around a common direction, as models give them."""
    rows = np.random.default_rng(seed).standard_normal((n, d)) + 2
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _in_other_batches(matrix: Matrix, seed: int) -> Matrix:
    """Return vectors that differ as those of a real model did in other batches: by 1e-7 at most."""
    noise = np.random.default_rng((seed, 1)).normal(scale=2e-8, size=matrix.shape)
    return (matrix + noise.clip(-1e-7, 1e-7)).astype(np.float32)


@pytest.mark.parametrize(("n", "d"), [(2, 5), (3, 2), (24, 384), (24, 4096), (60, 3), (120, 32)])
@pytest.mark.parametrize("size", [1e-20, 1.0, 1e15])
def test_distances_stay_to_a_500th_of_the_largest(n: int, d: int, size: float) -> None:
    matrix = _vectors(n, d) * np.float32(size)
    own = pdist(matrix.astype(np.float64))
    kept = pdist(with_rounded_distances(matrix).astype(np.float64))
    kept *= own.max() / kept.max()  # of no unit
    assert np.abs(kept - own).max() < own.max() / 500


def test_other_batches_nearly_always_have_the_same_points() -> None:
    equal = [
        np.array_equal(with_rounded_distances(_in_other_batches(matrix, seed)), with_rounded_distances(matrix))
        for seed in range(60)
        for matrix in [_vectors(seed=seed)]
    ]
    assert sum(equal) >= 55


def test_other_batches_change_vectors_that_are_not_rounded() -> None:
    matrix = _vectors()
    assert not np.array_equal(matrix, _in_other_batches(matrix, 0))


@pytest.mark.slow
def test_the_same_map_is_drawn_of_other_batches() -> None:
    for method in ("tsne", "pca"):
        maps = [project(matrix, method)[0] for matrix in (_vectors(), _in_other_batches(_vectors(), 0))]
        size = np.ptp(maps[0], axis=0).max()  # PCA rounds nothing: less than a tenth of a pixel of a picture
        assert np.abs(maps[0] - maps[1]).max() <= (0 if method == "tsne" else size * 1e-4)


@pytest.mark.slow
def test_groups_stay_with_other_batches_and_threads() -> None:
    for seed in range(10):
        matrix, families = _vectors(seed=seed), np.arange(24) % 6
        with threadpool_limits(2):
            others = kmeans(_in_other_batches(matrix, seed), families)
        assert kmeans(matrix, families).tolist() == others.tolist()


def test_equal_rows_stay_equal_and_rounding_joins_rows() -> None:
    matrix = _vectors(6)
    matrix[3] = matrix[1]
    matrix[5] = matrix[1] + np.float32(1e-7)
    points = with_rounded_distances(matrix)
    assert (points[3] == points[1]).all() and (points[5] == points[1]).all()
    assert (squareform(pdist(points))[0, 1:] > 0).all()


def test_vectors_that_differ_by_rounding_alone_have_no_map() -> None:
    points, used = project(_in_other_batches(np.repeat(_vectors(1), 8, axis=0), 0), "tsne")
    assert not points.any() and used == {"note": "all vectors are equal"}


def test_many_rows_and_single_ones_stay_as_they_are() -> None:
    for n in (0, 1, ROUNDED_UP_TO + 1):
        matrix = _vectors(n, 4)
        assert with_rounded_distances(matrix) is matrix


@pytest.mark.slow
@pytest.mark.parametrize("n", [ROUNDED_UP_TO - 100, ROUNDED_UP_TO + 100])
def test_threads_do_not_decide_a_map(n: int) -> None:
    maps = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            maps.append([project(_vectors(n), method, dims=2)[0].tolist() for method in ("tsne", "pca")])
    assert maps[0] == maps[1]
