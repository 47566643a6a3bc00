from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness as sklearn_trustworthiness
from sklearn.metrics.pairwise import cosine_distances, euclidean_distances

from numembed.analysis.labels import kmeans
from numembed.analysis.maps.faithfulness import (
    Faithfulness,
    Groups,
    chance_stability,
    clearest_scatter,
    distances,
    faithfulness,
    groups_in,
    groups_warning,
    map_faithfulness,
    noise_reference,
    procrustes_stability,
    warning,
)
from numembed.analysis.maps.projections import project
from numembed.analysis.metrics import silhouette


def _normal(n: int, d: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def _labels(n: int, groups: int = 6) -> NDArray[np.int64]:
    return np.arange(n) % groups


def _groups(n: int, d: int, gap: float) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Vectors in six groups, ``gap`` spreads apart."""
    labels = _labels(n)
    return (_normal(n, d) + gap * np.eye(6, d)[labels]).astype(np.float32), labels


@pytest.mark.parametrize("n", [3, 4, 5, 12, 24, 101, 400])
@pytest.mark.parametrize("neighbours", [1, 4, 10])
def test_trustworthiness_is_scikit_learns_and_continuity_is_it_swapped(n: int, neighbours: int) -> None:
    matrix, points = _normal(n, 16), _normal(n, 2, seed=1)
    found = faithfulness(matrix, points, _labels(n, 2), neighbours=neighbours)
    count = found.neighbours
    assert count == min(neighbours, (n - 1) // 2) < n / 2
    assert found.trustworthiness == pytest.approx(sklearn_trustworthiness(matrix, points, n_neighbors=count))
    assert found.continuity == pytest.approx(sklearn_trustworthiness(points, matrix, n_neighbors=count))


def test_cosine_is_the_distance_of_the_space_alone() -> None:
    matrix, points = _normal(60, 8) + 2, _normal(60, 2, seed=1)
    found = faithfulness(matrix, points, _labels(60), distance="cosine")
    expected = sklearn_trustworthiness(cosine_distances(matrix), points, metric="precomputed", n_neighbors=10)
    assert found.trustworthiness == pytest.approx(expected)
    assert found.score_in_space == pytest.approx(silhouette(matrix, _labels(60), distance="cosine"), abs=1e-6)
    assert found.score_in_map == pytest.approx(silhouette(points, _labels(60)), abs=1e-6)


def test_neighbour_overlap_is_the_share_in_common() -> None:
    matrix, points = _normal(50, 5), _normal(50, 2, seed=1)
    nearest = [np.argsort(euclidean_distances(rows.astype(float)), axis=1)[:, 1:11] for rows in (matrix, points)]
    shares = [len(set(a) & set(b)) / 10 for a, b in zip(*map(np.ndarray.tolist, nearest), strict=True)]
    assert faithfulness(matrix, points, _labels(50)).neighbour_overlap == pytest.approx(np.mean(shares))


@pytest.mark.parametrize("n", [3, 5, 24, 200])
def test_a_perfect_map_scores_one(n: int) -> None:
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    matrix = _normal(n, 2)
    found = faithfulness(matrix, (7 * matrix @ turn - 3).astype(np.float32), _labels(n, 2))
    assert (found.trustworthiness, found.continuity, found.neighbour_overlap) == (1, 1, 1)
    assert found.score_in_map == pytest.approx(found.score_in_space, abs=1e-4)
    assert found.note == ""


def test_equal_vectors_do_not_make_a_perfect_map_less_than_perfect() -> None:
    matrix = _normal(12, 2)[_labels(60, 12)]
    found = faithfulness(matrix, matrix * 5, _labels(60))
    assert (found.trustworthiness, found.continuity, found.neighbour_overlap) == (1, 1, 1)


def test_a_random_map_is_at_chance() -> None:
    found = [faithfulness(_normal(100, 32, seed), _normal(100, 2, 100 + seed), _labels(100)) for seed in range(20)]
    assert np.mean([one.trustworthiness for one in found]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([one.continuity for one in found]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([one.neighbour_overlap for one in found]) == pytest.approx(10 / 99, abs=0.02)


def test_a_map_that_collapses_groups_is_not_called_trustworthy() -> None:
    matrix, labels = _normal(120, 8), _labels(120)
    points = _normal(6, 2)[labels]  # each group in one place, though the space has none
    for order in (np.arange(120), np.argsort(labels)):
        found = faithfulness(matrix[order], points[order], labels[order])
        assert found.trustworthiness < 0.65
        assert found.score_in_map == pytest.approx(1) and found.score_in_space < 0.1


def test_the_order_of_the_rows_does_not_matter() -> None:
    matrix, points, labels = _normal(80, 6), _normal(80, 2, seed=1), _labels(80)
    order = np.random.default_rng(3).permutation(80)
    one, other = faithfulness(matrix, points, labels), faithfulness(matrix[order], points[order], labels[order])
    for name in ("trustworthiness", "continuity", "neighbour_overlap", "score_in_space", "score_in_map"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-6)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_sequences_have_no_neighbours_but_a_note(n: int) -> None:
    found = faithfulness(_normal(n, 4), _normal(n, 2), _labels(n))
    assert math.isnan(found.trustworthiness) and math.isnan(found.continuity) and math.isnan(found.neighbour_overlap)
    assert math.isnan(found.score_in_space) and math.isnan(found.score_in_map)
    assert found.neighbours == 0
    assert f"neighbours need at least 3 sequences, got {n}" in found.note
    assert "no score: needs 2 to n − 1 groups" in found.note


def test_identical_vectors_and_identical_points_are_said() -> None:
    same = faithfulness(np.ones((10, 4), np.float32), _normal(10, 2), _labels(10, 2))
    assert math.isnan(same.trustworthiness) and math.isnan(same.score_in_space)
    assert same.note == "all vectors are equal; no score: all vectors are equal"
    flat = faithfulness(_normal(10, 4), np.zeros((10, 2), np.float32), _labels(10, 2))
    assert math.isnan(flat.continuity) and math.isnan(flat.score_in_map) and not math.isnan(flat.score_in_space)
    assert flat.note == "all points of the map are equal"


def test_one_family_leaves_the_neighbours_and_says_why_there_is_no_score() -> None:
    found = faithfulness(_normal(10, 2), _normal(10, 2), _labels(10, 1))
    assert found.trustworthiness == 1 and math.isnan(found.score_in_space)
    assert found.note == "no score: needs 2 to n − 1 groups, got 1 for n = 10"


def test_too_many_neighbours_are_lowered_and_that_is_said() -> None:
    found = faithfulness(_normal(12, 3), _normal(12, 2), _labels(12), neighbours=30)
    assert found.neighbours == 5
    assert found.note.startswith("5 neighbours instead of 30")


@pytest.mark.slow
def test_many_sequences_are_sampled_with_a_note() -> None:
    matrix, labels = _groups(3_500, 8, 4)
    points = matrix[:, :2]
    found = faithfulness(matrix, points, labels)
    assert found.note == "computed for 3,000 of the 3,500 sequences"
    assert found == faithfulness(matrix, points, labels)
    other = faithfulness(matrix, points, labels, seed=1)
    assert other != found
    assert other.trustworthiness == pytest.approx(found.trustworthiness, abs=0.02)
    assert found.score_in_space == pytest.approx(silhouette(matrix, labels), abs=0.02)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_distances_are_scikit_learns_and_zero_between_equal_rows(distance: Any) -> None:
    matrix = np.repeat(_normal(10, 6) + 1, 2, axis=0)
    expected = (cosine_distances if distance == "cosine" else euclidean_distances)(matrix.astype(float))
    found = distances(matrix, distance)
    assert found == pytest.approx(expected, abs=1e-5)
    assert (found[np.arange(20), np.arange(20) ^ 1] == 0).all()


def test_turned_mirrored_and_scaled_maps_are_one_map() -> None:
    first = _normal(24, 2)
    turned = (3 * first @ np.array([[0.6, -0.8], [-0.8, -0.6]]) + 5).astype(np.float32)
    aligned, stability = procrustes_stability([first, turned])
    assert stability == pytest.approx(1)
    assert aligned[0].dtype == np.float32 and aligned[0].shape == (24, 2)
    assert aligned[0] == pytest.approx(aligned[1], abs=1e-5)
    assert np.square(aligned[1]).sum() == pytest.approx(1, abs=1e-5)
    assert procrustes_stability([_normal(24, 3)] * 3)[1] == pytest.approx(1)


def test_stability_falls_with_noise_down_to_chance() -> None:
    first = _normal(24, 2)
    values = []
    for share in (0.1, 0.5, 1.0):
        noisy = [first, *((1 - share) * first + share * _normal(24, 2, seed) for seed in range(1, 30))]
        aligned, stability = procrustes_stability(noisy)
        assert len(aligned) == 30 and all(np.square(one).sum() == pytest.approx(1, abs=1e-5) for one in aligned)
        values.append(stability)
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.97
    assert values[-1] == pytest.approx(0.06, abs=0.03)  # as the help says


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_points_or_maps_have_no_stability(n: int) -> None:
    aligned, stability = procrustes_stability([_normal(n, 2), _normal(n, 2, seed=1)])
    assert math.isnan(stability) and [one.shape for one in aligned] == [(n, 2)] * 2
    assert procrustes_stability([])[0] == () and math.isnan(procrustes_stability([])[1])
    assert math.isnan(procrustes_stability([_normal(24, 2)])[1])


def test_collapsed_maps_agree_only_with_each_other() -> None:
    flat, plain = np.full((9, 2), 0.1, np.float32), _normal(9, 2)
    assert procrustes_stability([flat, flat])[1] == 1
    assert procrustes_stability([plain, flat])[1] == procrustes_stability([flat, plain])[1] == 0
    assert all(np.isfinite(one).all() for one in procrustes_stability([flat, plain, flat])[0])


def test_noise_has_unit_length_and_no_structure() -> None:
    noise_vectors = noise_reference(300, 64, 5)
    assert noise_vectors.shape == (300, 64) and noise_vectors.dtype == np.float32
    assert np.linalg.norm(noise_vectors, axis=1) == pytest.approx(np.ones(300), abs=1e-5)
    assert (noise_vectors == noise_reference(300, 64, 5)).all() and (noise_vectors != noise_reference(300, 64, 6)).any()
    assert abs(silhouette(noise_vectors, _labels(300))) < 0.02
    assert noise_reference(0, 4, 0).shape == (0, 4)


def _said(space: float, shown: float, null: list[float], **more: float) -> str:
    return warning(Faithfulness(0.9, 0.9, 0.5, space, shown, 10), null, **more)


def test_the_warning_says_the_three_numbers_and_no_more() -> None:
    assert _said(-0.014, 0.42, [-0.2, -0.1, -0.05]) == (
        "This map shows groups that the vectors do not: the silhouette of the families is 0.42 in the map and −0.01 in "
        "the vectors, and 95% of the maps of pure noise drawn beside it reach no more than −0.06. Do not interpret "
        "groups in this map."
    )


@pytest.mark.parametrize(
    ("space", "shown", "null"),
    [
        (0.0, 0.2, [-0.1] * 9),  # the map shows no groups either
        (0.0, 0.4, [0.5] * 9),  # noise looks the same
        (0.4, 0.8, [-0.1] * 9),  # the groups are there
        (0.08, 0.3, [-0.1] * 9),  # not clearly more than in the space
        (0.0, 0.4, []),  # no noise was drawn
        (math.nan, 0.4, [-0.1]),
        (0.0, math.nan, [-0.1]),
        (0.0, 0.4, [math.nan]),
    ],
)
def test_the_warning_is_silent_where_it_could_claim_too_much(space: float, shown: float, null: list[float]) -> None:
    assert _said(space, shown, null) == ""


def test_weak_groups_above_their_chance_are_not_denied() -> None:
    assert _said(0.05, 0.5, [-0.1] * 9)
    assert _said(0.05, 0.5, [-0.1] * 9, chance_high=0.06)
    assert _said(0.05, 0.5, [-0.1] * 9, chance_high=0.02) == ""


def _noise_scores(n: int, d: int, labels: NDArray[np.int64], method: str, maps: int) -> list[float]:
    points = (project(noise_reference(n, d, 1_000 + seed), method)[0] for seed in range(maps))
    return [silhouette(one, labels) for one in points]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_warning_speaks_for_tsne_of_noise_with_labels_that_were_read_off_it(seed: int) -> None:
    matrix = noise_reference(24, 384, seed)
    points = project(matrix, "tsne")[0]
    tuned = kmeans(points, _labels(24))
    found = faithfulness(matrix, points, tuned)
    null = _noise_scores(24, 384, tuned, "tsne", 5)
    assert found.score_in_map > 0.3 and found.score_in_space < 0.05
    assert warning(found, null).startswith("This map shows groups that the vectors do not")
    assert warning(replace(found, score_in_map=float(np.quantile(null, 0.95))), null) == ""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["tsne", "pca"])
@pytest.mark.parametrize("gap", [0, 3, 6])
def test_faithful_maps_get_no_warning(method: str, gap: float) -> None:
    matrix, labels = _groups(48, 24, gap)
    points = project(matrix, method)[0]
    assert warning(faithfulness(matrix, points, labels), _noise_scores(48, 24, labels, method, 3)) == ""


def test_map_faithfulness_is_faithfulness_with_chance_in_the_map_as_json() -> None:
    matrix, labels = _groups(48, 24, 3)
    points = project(matrix, "pca")[0]
    told, found = map_faithfulness(matrix, points, labels), faithfulness(matrix, points, labels)
    assert told["trustworthiness"] == pytest.approx(found.trustworthiness, abs=1e-4)
    assert told["overlap"] == pytest.approx(found.neighbour_overlap, abs=1e-4)
    assert told["silhouette_map"] == pytest.approx(found.score_in_map, abs=1e-4) and told["neighbours"] == 10
    assert told["chance_map_low"] < told["chance_map_high"] < 0 < told["silhouette_map"]
    assert told["warning"] == "" and json.loads(json.dumps(told)) == told


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_map_faithfulness_of_few_sequences_is_none_with_a_note(n: int) -> None:
    told = map_faithfulness(_normal(n, 4), _normal(n, 2), _labels(n))
    assert told["silhouette_map"] is None and told["chance_map_high"] is None and told["warning"] == ""
    assert told["note"] and json.loads(json.dumps(told, allow_nan=False)) == told


def test_map_faithfulness_warns_of_a_map_that_sorts_noise_by_family() -> None:
    labels = _labels(24)
    matrix, points = noise_reference(24, 384, 0), (_normal(24, 2) + 6 * _normal(6, 2, 1)[labels]).astype(np.float32)
    said = map_faithfulness(matrix, points, labels)["warning"]
    assert said.startswith("This map shows groups that the vectors do not") and "shuffles of the families" in said
    real = map_faithfulness(matrix, points, labels, chance_high=-0.5)
    assert real["warning"] == ""  # the vectors score above what shuffles reach: the groups are there


@pytest.mark.parametrize("gap", [0.5, 2, 6])
@pytest.mark.parametrize("n", [12, 24, 120])
def test_faithful_maps_of_families_get_no_warning(n: int, gap: float) -> None:
    for seed in range(10):
        labels = _labels(n)
        matrix = (_normal(n, 24, seed) + gap * np.eye(6, 24)[labels]).astype(np.float32)
        assert map_faithfulness(matrix, project(matrix, "pca")[0], labels)["warning"] == ""


@pytest.mark.slow
def test_maps_of_noise_are_not_accused_of_showing_families() -> None:
    said = 0
    for seed in range(300):
        n, d = (6, 12, 24, 48)[seed % 4], (2, 16, 384)[seed % 3]
        matrix = noise_reference(n, d, seed)
        said += bool(map_faithfulness(matrix, project(matrix, "pca")[0], _labels(n, (2, 3, 6)[seed % 3]))["warning"])
    assert said <= 3  # the rule is stricter than 95%, most of all from 12 sequences on


def test_four_sequences_are_too_few_for_an_accusation() -> None:
    labels, matrix = np.array([0, 1, 0, 1]), np.eye(4, dtype=np.float32)
    points = np.array([[0, 0], [9, 0], [0, 1], [9, 1]], np.float32)
    told = map_faithfulness(matrix, points, labels)
    assert told["silhouette_map"] > 0.8 and told["silhouette_space"] == 0 and told["warning"] == ""


@pytest.mark.slow
def test_tsne_of_noise_is_not_accused_of_showing_families() -> None:
    for seed in range(30):
        matrix = noise_reference(24, 64, seed)
        assert map_faithfulness(matrix, project(matrix, "tsne")[0], _labels(24))["warning"] == ""


def test_groups_are_read_off_the_map_without_the_families() -> None:
    matrix, labels = _groups(48, 24, 12)
    found = groups_in(matrix, project(matrix, "pca")[0], np.roll(labels, 7))
    again = groups_in(matrix, matrix[:, :2] * 0 + np.eye(6, 2)[labels].astype(np.float32), labels)
    assert found.in_map > 0.3 and found.in_space > 0.1 and again.in_map == pytest.approx(1)


def test_the_warning_of_groups_speaks_where_a_map_tears_noise_into_islands() -> None:
    matrix, labels = noise_reference(96, 384, 0), _labels(96)
    islands = (_normal(6, 2, 2)[np.random.default_rng(1).permutation(labels)] * 9 + _normal(96, 2)).astype(np.float32)
    found, scatter = groups_in(matrix, islands, labels), clearest_scatter(labels)
    noise = [
        groups_in(noise_vectors, project(noise_vectors, "pca")[0], labels).in_space
        for noise_vectors in (noise_reference(96, 384, 9),)
    ]
    said = groups_warning(found, scatter=scatter, noise_in_space=noise)
    assert said.startswith("This map shows groups that the vectors do not: the groups that the eye finds")


@pytest.mark.parametrize(
    ("shown", "space", "scatter", "noise"),
    [
        (0.45, 0.0, 0.5, [0.01]),  # an even scatter looks the same
        (0.7, 0.02, 0.5, [0.01]),  # the vectors have more of them than noise has
        (0.7, 0.3, 0.5, [0.4]),  # the vectors have them, and noise in two or three dimensions too
        (0.7, 0.0, 0.5, []),  # no noise was drawn
        (math.nan, 0.0, 0.5, [0.01]),
        (0.7, 0.0, math.nan, [0.01]),
    ],
)
def test_the_warning_of_groups_is_silent_where_it_could_claim_too_much(
    shown: float, space: float, scatter: float, noise: list[float]
) -> None:
    assert groups_warning(Groups(shown, space), scatter=scatter, noise_in_space=noise) == ""
    assert groups_warning(Groups(0.7, 0.0), scatter=0.5, noise_in_space=[0.01])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pca", pytest.param("tsne", marks=pytest.mark.campaign)])
def test_maps_of_noise_are_rarely_accused_of_showing_groups(method: str) -> None:
    labels = _labels(24)
    scatter = clearest_scatter(labels)
    spaces = [
        groups_in(noise_vectors, project(noise_vectors, method)[0], labels)
        for noise_vectors in (noise_reference(24, 384, 900 + i) for i in range(9))
    ]
    said = 0
    for seed in range(40):
        matrix = noise_reference(24, 384, seed)
        found = groups_in(matrix, project(matrix, method)[0], labels)
        said += bool(groups_warning(found, scatter=scatter, noise_in_space=[one.in_space for one in spaces]))
    assert said <= 2


def test_maps_that_share_nothing_have_their_own_stability() -> None:
    maps = [_normal(24, 2, seed) for seed in range(6)]
    chance, found = chance_stability(maps), procrustes_stability(maps)[1]
    assert 0 < chance < 0.12 and found == pytest.approx(chance, abs=0.08)
    assert chance_stability([maps[0]] * 3) < 0.2 < procrustes_stability([maps[0]] * 3)[1]
    assert math.isnan(chance_stability([maps[0]]))
