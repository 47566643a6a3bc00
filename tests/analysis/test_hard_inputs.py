"""Inputs that a model or a visitor can give and that once broke a score or a map."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from numembed.analysis.clusters import neighbours
from numembed.analysis.inference.permutation_test import permutation_test
from numembed.analysis.labels import kmeans
from numembed.analysis.maps import projections
from numembed.analysis.maps.faithfulness import distances
from numembed.analysis.maps.projections import PROJECTIONS, project
from numembed.analysis.metrics import ami, ari, davies_bouldin, silhouette
from numembed.analysis.preparation import Distance, agreement_undefined_reason, cosine_parts, undefined_reason
from numembed.analysis.scores import Score
from numembed.analysis.similarity import gaps, normalised, similarities, similarity_agreement
from numembed.core.arrays import Labels, Matrix, level_rows, unit_rows
from numembed.core.errors import BadChoice
from numembed.core.serialization import as_plain, from_plain
from numembed.core.settings import read_settings
from numembed.models.embedding import reduced

pytestmark = pytest.mark.slow  # together they take long

COMPILED = read_settings().compiled
DISTANCES: list[Distance] = ["euclidean", "cosine"]


def noise(n: int, d: int = 16) -> Matrix:
    return np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)


def clouds() -> tuple[Matrix, Labels]:
    labels = np.arange(24) % 6
    return noise(6, 8)[labels] + noise(24, 8)[::-1], labels


@pytest.mark.parametrize("scale", [1e-25, 1e-10, 1e10, 1e25, 1e37])
def test_no_score_depends_on_the_unit(scale: float) -> None:
    matrix, labels = clouds()
    scaled = (matrix * scale).astype(np.float32)
    for distance in DISTANCES:
        expected = silhouette(matrix, labels, distance=distance)
        assert silhouette(scaled, labels, distance=distance) == pytest.approx(expected, abs=1e-5)
        test = permutation_test(scaled, labels, distance=distance, permutations=9)
        assert test.observed == pytest.approx(expected, abs=1e-5)
    assert davies_bouldin(scaled, labels) == pytest.approx(davies_bouldin(matrix, labels), rel=1e-5)
    assert np.array_equal(kmeans(scaled, labels), kmeans(matrix, labels))


def test_nothing_about_cosines_depends_on_the_length_of_any_row() -> None:
    """Lengths from 1e-25 to 1e25: beside the longest, the shortest rows once became zero."""
    matrix, labels = clouds()
    far = (matrix * 10.0 ** np.linspace(-25, 25, len(matrix))[:, None]).astype(np.float32)
    other = noise(24, 8)
    about: dict[str, Callable[[Matrix], Any]] = {
        "silhouette": lambda rows: silhouette(rows, labels, distance="cosine"),
        "permutation test": lambda rows: permutation_test(rows, labels, distance="cosine", permutations=9).observed,
        "distances of maps": lambda rows: distances(rows, "cosine"),
        "similarities": similarities,
        "agreement": lambda rows: similarity_agreement(rows, other),
        "unit length": lambda rows: normalised(rows, "unit length"),
        "gaps": lambda rows: gaps(rows, other, distance="cosine"),
        "distances of sequences": lambda rows: neighbours.distances(rows, distance="cosine"),
        "first coordinates": lambda rows: reduced(rows, dimensions=4),
    }
    for name, value in about.items():
        assert value(far) == pytest.approx(value(matrix), abs=1e-3), name
    long = labels % 2 == 0  # whole families: the mean of one is that of its longest rows
    by_family = np.where(long[:, None], matrix * np.float32(1e25), matrix * np.float32(1e-25))
    trees = [neighbours.centroid_tree(rows, labels, distance="cosine") for rows in (matrix, by_family)]
    assert trees[1] == pytest.approx(trees[0], abs=1e-5)


def test_rows_of_ordinary_length_keep_every_bit() -> None:
    matrix = noise(24) * np.float32(10) ** np.linspace(-12, 12, 24, dtype=np.float32)[:, None]
    assert level_rows(matrix) is matrix
    assert np.array_equal(unit_rows(matrix), unit_rows(np.ldexp(matrix, 60)))
    for one, other in zip(cosine_parts(matrix), cosine_parts(np.ldexp(matrix, 60)), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("name", PROJECTIONS.names)
@pytest.mark.parametrize("scale", [1e-38, 1e12, 1e37])
def test_maps_of_vectors_of_any_size(name: str, scale: float) -> None:
    """t-SNE ended the process at 1e37."""
    points, _ = project((noise(24) * scale).astype(np.float32), name, cache_folder=COMPILED)
    assert np.isfinite(points).all() and len(np.unique(points, axis=0)) == 24


def test_vectors_of_one_direction_have_no_cosine_silhouette() -> None:
    matrix, labels = np.linspace(1, 3, 12, dtype=np.float32)[:, None] * noise(1, 64), np.arange(12) % 3
    assert undefined_reason(matrix, labels) == ""
    assert undefined_reason(matrix, labels, distance="cosine") == "all vectors point the same way"
    assert math.isnan(silhouette(matrix, labels, distance="cosine"))
    assert permutation_test(matrix, labels, distance="cosine").note == "all vectors point the same way"


def test_one_sequence_per_family_is_no_perfect_agreement() -> None:
    labels = np.arange(5)
    assert agreement_undefined_reason(labels, labels).startswith("needs 2 to n − 1 groups, got 5")
    assert math.isnan(ari(labels, labels)) and math.isnan(ami(labels, labels))


def test_json_keeps_an_empty_model_name() -> None:
    assert from_plain(Score, as_plain(Score("", "ari", "kmeans", 0.0))) == Score("", "ari", "kmeans", 0.0)


@pytest.mark.parametrize(("n", "distinct"), [(7, 2), (16, 4), (23, 7), (29, 8), (60, 20)])
@pytest.mark.parametrize("dims", [2, 3])
def test_umap_of_repeated_vectors_repeats(n: int, distinct: int, dims: int) -> None:
    """Their spectral start makes the solver restart at random, which umap leaves unseeded."""
    matrix = noise(distinct, 8)[np.arange(n) % distinct]
    first = project(matrix, "umap", dims=dims, cache_folder=COMPILED)[0]
    assert all(np.array_equal(first, project(matrix, "umap", dims=dims, cache_folder=COMPILED)[0]) for _ in range(3))


def test_umap_leaves_scipy_as_it_was() -> None:
    from scipy.sparse import linalg

    plain = linalg.eigsh
    project(noise(24), "umap", cache_folder=COMPILED)
    assert linalg.eigsh is plain


@pytest.mark.parametrize("name", PROJECTIONS.names)
@pytest.mark.parametrize("dims", [2, 3])
def test_equal_vectors_have_a_flat_map_that_says_so(name: str, dims: int) -> None:
    points, used = project(np.full((5, 8), 0.1, dtype=np.float32), name, dims=dims, cache_folder=COMPILED)
    assert points.shape == (5, dims) and not points.any() and used["note"] == "all vectors are equal"


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("distinct", [1, 2, 200])
def test_many_vectors_of_few_dimensions(monkeypatch: pytest.MonkeyPatch, d: int, distinct: int) -> None:
    """The string lengths of many sequences, for one."""
    monkeypatch.setattr(projections, "OPENTSNE_POINTS", 199)
    points, _ = project(noise(distinct, d)[np.arange(200) % distinct], "tsne")
    assert points.shape == (200, 2) and np.isfinite(points).all()


def test_wrong_options_are_refused_in_plain_words() -> None:
    with pytest.raises(BadChoice, match="perplexity takes a number from"):
        project(noise(4), "tsne", perplexity=-1)
    with pytest.raises(BadChoice, match="t-SNE has no option 'perplexety'"):
        project(noise(4), "tsne", perplexety=5)
    with pytest.raises(BadChoice, match="2 or 3"):
        project(noise(4), "pca", dims=4)


def test_umap_of_thousands_keeps_groups_together() -> None:
    labels = np.arange(4_200) % 3
    points, _ = project(20 * np.eye(3, 16, dtype=np.float32)[labels] + noise(4_200), "umap", cache_folder=COMPILED)
    centres = np.stack([points[labels == group].mean(axis=0) for group in range(3)])
    nearest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1)
    assert np.mean(nearest == labels) > 0.99
