"""All scores of one model: complete, as JSON and back, and a value for every small or degenerate set."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from numembed.analysis.labels import kmeans
from numembed.analysis.metrics import METRICS
from numembed.analysis.scores import Score, score_all
from numembed.core.serialization import as_plain, from_plain

EXPECTED = [
    ("silhouette", "families"),
    ("davies_bouldin", "families"),
    ("silhouette", "kmeans"),
    ("davies_bouldin", "kmeans"),
    ("ari", "kmeans"),
    ("ami", "kmeans"),
]
SETS = {
    "one family": (np.random.default_rng(0).standard_normal((6, 4)), [0] * 6),
    "one sequence per family": (np.random.default_rng(0).standard_normal((6, 4)), list(range(6))),
    "identical sequences": (np.ones((8, 4)), [0, 0, 1, 1, 2, 2, 3, 3]),
    "identical sequences per family": (np.eye(4)[[0, 0, 1, 1, 2, 2, 3, 3]], [0, 0, 1, 1, 2, 2, 3, 3]),
    "zero vectors": (np.zeros((6, 4)), [0, 0, 1, 1, 2, 2]),
    "one number a vector": (np.arange(8.0)[:, None], [0, 0, 1, 1, 2, 2, 3, 3]),
    "two families, one alone": (np.random.default_rng(0).standard_normal((5, 3)), [0, 1, 1, 1, 1]),
    "fewer vectors than families": (np.eye(2, 4)[[0, 1] * 4], [0, 0, 1, 1, 2, 2, 3, 3]),
}


def _scores(matrix: np.ndarray, labels: list[int], **choices: object) -> dict[tuple[str, str], Score]:
    found, _ = score_all(matrix.astype(np.float32), np.array(labels), model="m", permutations=49, **choices)  # type: ignore[arg-type]
    return {(score.metric, score.labels): score for score in found}


def test_every_score_once_with_registered_metrics() -> None:
    matrix, labels = np.random.default_rng(0).standard_normal((24, 8)), [i % 6 for i in range(24)]
    scores, clusters = score_all(matrix.astype(np.float32), np.array(labels), model="m", permutations=49)
    assert [(score.metric, score.labels) for score in scores] == EXPECTED
    assert {score.metric for score in scores} == set(METRICS.names)
    assert clusters.shape == (24,)
    assert all(score.model == "m" and not score.note for score in scores)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_values_are_scikit_learns(distance: str) -> None:
    matrix = np.random.default_rng(1).standard_normal((24, 8)).astype(np.float32)
    labels = np.arange(24) % 6
    clusters = kmeans(matrix, labels, seed=2)
    found = _scores(matrix, labels.tolist(), distance=distance, seed=2)
    expected = [
        sklearn_metrics.silhouette_score(matrix, labels, metric=distance),
        sklearn_metrics.davies_bouldin_score(matrix, labels),
        sklearn_metrics.silhouette_score(matrix, clusters, metric=distance),
        sklearn_metrics.davies_bouldin_score(matrix, clusters),
        sklearn_metrics.adjusted_rand_score(labels, clusters),
        sklearn_metrics.adjusted_mutual_info_score(labels, clusters),
    ]
    assert [found[place].value for place in EXPECTED] == pytest.approx(expected, abs=1e-6)


def test_only_scores_with_the_families_are_tested_against_chance() -> None:
    found = _scores(np.random.default_rng(0).standard_normal((24, 8)), [i % 6 for i in range(24)])
    first = found.pop(("silhouette", "families"))
    assert first.p is not None and 0 < first.p <= 1
    assert first.chance_low is not None and first.chance_mean is not None and first.chance_high is not None
    assert -1 <= first.chance_low <= first.chance_mean <= first.chance_high <= 1
    index = found.pop(("davies_bouldin", "families"))
    assert index.p is not None and 0 < index.p <= 1
    assert index.chance_low is not None and index.chance_mean is not None and index.chance_high is not None
    assert 0 <= index.chance_low <= index.chance_mean <= index.chance_high
    assert all(score.p is None and score.chance_mean is None for score in found.values())


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("name", SETS)
def test_degenerate_sets_have_a_value_or_a_reason(name: str, distance: str) -> None:
    matrix, labels = SETS[name]
    found = _scores(matrix, labels, distance=distance)
    assert list(found) == EXPECTED
    for score in found.values():
        low, high = METRICS[score.metric].facts["bounds"]
        assert math.isnan(score.value) == bool(score.note) or score.note.startswith("two groups share one centre")
        assert score.note or low <= score.value <= high
    assert (found["silhouette", "families"].p is None) == bool(found["silhouette", "families"].note)


@pytest.mark.parametrize("families", [1, 2, 3, 10])
@pytest.mark.parametrize("n", range(1, 11))
def test_every_small_n_has_scores(n: int, families: int) -> None:
    matrix = np.random.default_rng(n).standard_normal((n, 5))
    labels = [i % families for i in range(n)]
    for score in _scores(matrix, labels).values():
        assert math.isnan(score.value) == bool(score.note) or score.note.startswith("two groups share one centre")


def test_the_reasons_are_plain_words() -> None:
    one_family = _scores(*SETS["one family"])
    assert one_family["silhouette", "families"].note == "needs 2 to n − 1 groups, got 1 for n = 6"
    assert one_family["ari", "kmeans"].note == "needs at least 2 families"
    assert _scores(*SETS["identical sequences"])["davies_bouldin", "families"].note == "all vectors are equal"


@pytest.mark.parametrize("name", SETS)
def test_json_and_back(name: str) -> None:
    for score in _scores(*SETS[name]).values():
        plain = json.loads(json.dumps(as_plain(score), allow_nan=False))
        back = from_plain(Score, plain)
        assert as_plain(back) == as_plain(score)
        assert math.isnan(back.value) == math.isnan(score.value)


def test_equal_seeds_give_equal_scores() -> None:
    matrix, labels = np.random.default_rng(0).standard_normal((24, 8)), [i % 6 for i in range(24)]
    assert _scores(matrix, labels, seed=4) == _scores(matrix, labels, seed=4)


@pytest.mark.parametrize("n", [24, 600])
def test_every_permutation_test_reports_its_progress(n: int) -> None:
    matrix, labels = np.random.default_rng(0).standard_normal((n, 8)).astype(np.float32), np.arange(n) % 6
    shares: list[float] = []
    found, _ = score_all(
        matrix,
        labels,
        model="m",
        windows=np.arange(n) // 6 % 4,
        permutations=49,
        progress=lambda done, total, note: shares.append(done / total),
    )
    tests = sum((score.p is not None) + (score.p_within is not None) for score in found)
    assert tests == 4 and shares == sorted(shares) and shares[-1] == 1
    for test in range(tests):
        assert any(test < share * tests <= test + 1 for share in shares), f"nothing of test {test + 1}"
