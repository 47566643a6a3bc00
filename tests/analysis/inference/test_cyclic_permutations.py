"""Shuffles shifted along cycles: the scores are scikit-learn's, the test is exact, all is well mixed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import kstest
from sklearn import config_context
from sklearn.metrics import davies_bouldin_score, silhouette_score

from numembed.analysis.inference import cyclic_permutations as module
from numembed.analysis.inference.cyclic_permutations import (
    Cycle,
    cycles,
    cyclic_davies_bouldin,
    cyclic_silhouettes,
    same_make_up,
)
from numembed.analysis.inference.permutation_test import permutation_test
from numembed.analysis.inference.permuted_scores import distances_of
from numembed.analysis.metrics import silhouette
from numembed.analysis.preparation import centred
from numembed.core.errors import Cancelled

WHERE = pytest.mark.parametrize("where", ["free", "within"])
KINDS = pytest.mark.parametrize(
    "kind", ["plain", "outlier", "on one point", "far from the origin", "tiny", "two scales"]
)
LONG = [pytest.param(*size, marks=pytest.mark.slow) for size in ((7, 5), (30, 2), (9, 7))]
SIZES = pytest.mark.parametrize(("windows", "families"), [(10, 6), (2, 3), *LONG])


def _noise(n: int, d: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def _design(windows: int, families: int, where: str = "within") -> tuple[np.ndarray, np.ndarray]:
    """Return labels and groups of make_sequences, family by family; free: one group around all."""
    labels, groups = np.repeat(np.arange(families), windows), np.tile(np.arange(windows), families)
    return labels, groups if where == "within" else np.zeros_like(groups)


def carried(cycle: Cycle) -> Iterator[np.ndarray]:
    """Yield the labels (n,) of each shuffle of a cycle, in the order of its scores."""
    for steps in np.argwhere(cycle.counted):
        labels = np.empty(cycle.order.size, dtype=cycle.labels.dtype)
        labels[cycle.order] = np.roll(cycle.labels, -steps, axis=tuple(range(len(steps))))
        yield labels


def _degenerate(kind: str, n: int) -> np.ndarray:
    matrix = _noise(n, 5)
    if kind == "outlier":
        matrix[3] *= 1e5
    if kind == "on one point":
        matrix[: n * 3 // 4] = matrix[0]
    if kind == "far from the origin":
        matrix += 300
    if kind == "tiny":
        matrix *= np.float32(1e-20)
    if kind == "two scales":
        matrix[: n // 2] *= np.float32(1e-3)
    return matrix


@pytest.mark.slow
@WHERE
@KINDS
@SIZES
def test_each_score_is_that_of_scikit_learn(where: str, kind: str, windows: int, families: int) -> None:
    labels, groups = _design(windows, families, where)
    matrix = _degenerate(kind, len(labels))
    exact = matrix.astype(np.float64) / np.abs(matrix).max()
    apart = cdist(exact, exact)  # 0 between equal points, unlike scikit-learn's own
    with config_context(skip_parameter_validation=True, assume_finite=True):  # half of the time
        for cycle in cycles(labels, groups, len(labels), seed=4):
            shuffles = list(carried(cycle))
            values = cyclic_silhouettes(distances_of(matrix, "euclidean"), [cycle])
            assert len(values) == len(shuffles)
            expected = np.array([silhouette_score(apart, one, metric="precomputed") for one in shuffles])
            assert values == pytest.approx(expected, abs=2e-6)
            indices = cyclic_davies_bouldin(centred(matrix), [cycle])
            expected = np.array([davies_bouldin_score(exact, one) for one in shuffles])
            told = expected < 1e6  # above, two centres lie on each other but for rounding
            assert indices[told] == pytest.approx(expected[told], rel=1e-4)


def test_groups_of_one_score_nothing_and_any_make_up_goes() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    labels = np.concatenate([labels, labels])
    for groups in (np.zeros(14, dtype=np.int64), np.repeat([0, 1], 7)):
        matrix = _noise(14, 3)
        for cycle in cycles(labels, groups, 30):
            expected = [silhouette_score(matrix, one) for one in carried(cycle)]
            assert cyclic_silhouettes(distances_of(matrix, "euclidean"), [cycle]) == pytest.approx(expected, abs=1e-6)
    alone = np.array([0, 0, 0, 1, 1, 1, 2])
    (cycle, *_) = cycles(alone, np.zeros(7, dtype=np.int64), 5)
    values = cyclic_silhouettes(distances_of(matrix[:7], "euclidean"), [cycle])
    assert values == pytest.approx([silhouette_score(matrix[:7], one) for one in carried(cycle)], abs=1e-6)


@pytest.mark.slow
@given(st.integers(1, 8), st.lists(st.integers(0, 3), min_size=2, max_size=6), st.integers(0, 99))
def test_every_shuffle_keeps_the_families_of_each_group(groups: int, families: list[int], seed: int) -> None:
    own = np.unique(np.tile(families, groups), return_inverse=True)[1]
    strata = np.repeat(np.arange(groups), len(families))
    assert same_make_up(own, strata)
    found = cycles(own, strata, 40, seed=seed)
    assert sum(int(cycle.counted.sum()) for cycle in found) >= 40
    for one in (labels for cycle in found for labels in carried(cycle)):
        for group in range(groups):
            assert sorted(one[strata == group]) == sorted(own[strata == group])


def test_unequal_groups_are_distinguished() -> None:
    own = np.array([0, 1, 0, 1, 0, 1])
    assert same_make_up(own, np.array([0, 0, 1, 1, 2, 2]))
    assert not same_make_up(own, np.array([0, 0, 1, 1, 2, 3]))
    assert not same_make_up(own, np.array([0, 1, 0, 1, 2, 2]))


@WHERE
def test_all_cycles_share_one_hub_and_the_first_holds_the_observed_labels(where: str) -> None:
    labels, groups = _design(9, 4, where)
    found = cycles(labels, groups, 200, seed=2)
    hubs = []
    for cycle in found:
        hub = np.empty_like(labels)
        hub[cycle.order] = cycle.labels
        hubs.append(hub.tolist())
        missing = np.argwhere(~cycle.counted).tolist()
        assert len(missing) == (2 if cycle is found[0] else 1)  # the hub, and in the first what was observed
        assert not any(missing[0])
    assert all(hub == hubs[0] for hub in hubs) and hubs[0] != labels.tolist()
    first = found[0]
    steps = np.argwhere(~first.counted)[1].tolist()
    back = np.empty_like(labels)
    back[first.order] = np.roll(first.labels, [-step for step in steps], axis=tuple(range(len(steps))))
    assert back.tolist() == labels.tolist()


@WHERE
def test_shuffles_are_as_mixed_as_drawn_ones(where: str) -> None:
    """Every family comes everywhere alike; two steps of a cycle agree in as many places as two drawn shuffles."""
    labels, groups = _design(20, 5, where)
    shuffles = np.stack(
        [one for seed in range(150) for cycle in cycles(labels, groups, 1, seed=seed) for one in carried(cycle)]
    )
    for family in range(5):
        assert (shuffles == family).mean(axis=0) == pytest.approx(np.full(100, 0.2), abs=0.02)
    of_rings = shuffles.reshape(150, -1, 100)
    agree = [(cycle[one] == cycle[other]).mean() for cycle in of_rings for one, other in ((0, 1), (0, 7), (3, 40))]
    drawn = np.random.default_rng(0)
    columns = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    expected = []
    for _ in range(450):
        pair = np.empty((2, 100), dtype=np.int64)
        for column in columns:
            pair[:, column] = drawn.permuted(np.stack([labels[column]] * 2), axis=1)
        expected.append((pair[0] == pair[1]).mean())
    assert np.mean(agree) == pytest.approx(np.mean(expected), abs=0.015)  # 19/99: no label stays
    assert np.std(agree) == pytest.approx(np.std(expected), rel=0.15)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cycles for the small sets of these tests, too."""
    monkeypatch.setattr("numembed.analysis.inference.permutation_test._PRODUCTS_UP_TO", 3)


@pytest.mark.slow
@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("metric", ["silhouette", pytest.param("davies_bouldin", marks=pytest.mark.campaign)])
@WHERE
def test_p_is_uniform_on_noise(where: str, metric: Literal["silhouette", "davies_bouldin"]) -> None:
    labels, windows = _design(4, 6)
    ps = []
    for seed in range(400):
        matrix = _noise(24, 6, seed=seed) + (2 * _noise(4, 6, seed=10_000 + seed)[windows] if where == "within" else 0)
        within = windows if where == "within" else None
        test = permutation_test(matrix, labels, permutations=99, seed=seed, within=within, metric=metric)
        ps.append(test.p - 0.5 / (test.permutations + 1))
    assert kstest(ps, "uniform").pvalue > 0.01


@pytest.mark.slow
@pytest.mark.usefixtures("always")
def test_p_is_exact_even_where_few_shuffles_exist() -> None:
    """Two pairs have three shuffles: p is 1/3 or more in a third of cases, whatever the cycles share."""
    labels = np.array([0, 0, 1, 1])
    tests = [permutation_test(_noise(4, 2, seed=seed), labels, permutations=60, seed=seed) for seed in range(600)]
    ps = np.array([test.p for test in tests])
    for level in (0.1, 0.25, 0.4, 0.7):
        assert np.mean(ps <= level) <= level + 3 * math.sqrt(level / 600)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("metric", ["silhouette", "davies_bouldin"])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@WHERE
def test_cyclic_shifts_give_the_distribution_of_drawn_shuffles(
    where: str, distance: Literal["euclidean", "cosine"], metric: Literal["silhouette", "davies_bouldin"]
) -> None:
    labels, windows = _design(10, 6)
    matrix = _noise(60, 12) + 0.12 * _noise(6, 12, seed=1)[labels] + 0.5 * _noise(10, 12, seed=2)[windows]
    within = windows if where == "within" else None
    asked = {"distance": distance, "metric": metric, "within": within, "permutations": 9_999}
    around = permutation_test(matrix, labels, **asked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("numembed.analysis.inference.permutation_test._PRODUCTS_UP_TO", 500)
        drawn = permutation_test(matrix, labels, **asked)
    assert around.permutations > drawn.permutations == 9_999
    assert around.observed == pytest.approx(drawn.observed, abs=1e-6)
    spread = (drawn.null_high - drawn.null_low) / 4
    assert around.p == pytest.approx(drawn.p, abs=0.02)
    assert around.z == pytest.approx(drawn.z, abs=0.15)
    assert around.null_mean == pytest.approx(drawn.null_mean, abs=0.06 * spread)
    for end in ("null_low", "null_high"):
        assert getattr(around, end) == pytest.approx(getattr(drawn, end), abs=0.2 * spread)


@pytest.mark.slow
def test_many_sequences_use_cyclic_shifts_and_uneven_windows_do_not() -> None:
    labels, windows = _design(101, 5)
    matrix = _noise(505, 8) + _noise(5, 8, seed=1)[labels]
    free = permutation_test(matrix, labels)
    assert free.permutations == 20 * 504 - 1 and free.p == 1 / (20 * 504)
    assert permutation_test(matrix, labels, permutations=50, within=windows).permutations == 503
    assert permutation_test(matrix, labels, permutations=50, metric="davies_bouldin").permutations == 503
    uneven = windows.copy()
    uneven[0] = 1
    assert permutation_test(matrix, labels, permutations=50, within=uneven).permutations == 50
    assert permutation_test(matrix, labels, within=uneven).permutations == 999
    assert free.observed == silhouette(matrix, labels)
    assert permutation_test(matrix, labels) == free != permutation_test(matrix, labels, seed=1)


def test_p_does_not_depend_on_the_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, windows = _design(10, 6)
    for metric, within in product(("silhouette", "davies_bouldin"), (False, True)):
        (cycle,) = cycles(labels, windows if within else 0 * windows, 50)
        score = cyclic_silhouettes if metric == "silhouette" else cyclic_davies_bouldin
        table = distances_of(_noise(60, 8), "euclidean") if metric == "silhouette" else centred(_noise(60, 8))
        whole = score(table, [cycle])
        monkeypatch.setattr(module, "_STRETCH_NUMBERS", 1)
        assert score(table, [cycle]) == pytest.approx(whole, rel=1e-5, abs=1e-7)
        monkeypatch.undo()


def test_progress_covers_all_cycles_and_can_stop_the_test() -> None:
    labels, _ = _design(101, 5)
    told: list[tuple[int, int]] = []
    permutation_test(
        _noise(505, 4), labels, permutations=1_500, progress=lambda done, total, note: told.append((done, total))
    )
    assert told[-1] == (3 * 505, 3 * 505) and told == sorted(told) and len(told) > 3

    def stop(done: int, total: int, note: str) -> None:
        raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        permutation_test(_noise(505, 4), labels, progress=stop)
