"""What every registered metric promises; a new one is tested the moment it is registered."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from numembed.analysis.inference.cyclic_permutations import cycles
from numembed.analysis.inference.permutation_test import shuffled
from numembed.analysis.labels import LABELLINGS
from numembed.analysis.metrics import METRICS
from numembed.core.progress import silent
from numembed.core.registry import Entry

Metric = Entry[Callable[..., float]]
ENTRIES = pytest.mark.parametrize("entry", METRICS, ids=METRICS.names)
FACTS = {"kind", "higher_is_better", "bounds", "chance"}
FURTHER = {"short", "in_table", "labellings", "note", "untested", "together", "shuffles", "interval"}


def _call(entry: Metric, matrix: np.ndarray, labels: np.ndarray, clusters: np.ndarray) -> float:
    if entry.facts["kind"] == "separation":
        return entry.function(matrix, labels)
    return entry.function(labels, clusters)


def _example(n: int, *, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(seed)
    matrix = drawn.standard_normal((n, 6)).astype(np.float32)
    return matrix, drawn.permutation(np.arange(n) % 4), drawn.permutation(np.arange(n) % 3)


@ENTRIES
def test_every_fact_is_given(entry: Metric) -> None:
    assert FACTS <= set(entry.facts) <= FACTS | FURTHER
    assert entry.facts["kind"] in ("separation", "agreement")
    assert isinstance(entry.facts["higher_is_better"], bool)
    low, high = entry.facts["bounds"]
    assert low < high
    assert entry.facts["chance"] and entry.title and entry.summary.endswith(".")


@ENTRIES
@pytest.mark.parametrize("n", [6, 24, 100])
def test_value_is_a_plain_number_within_its_bounds(entry: Metric, n: int) -> None:
    low, high = entry.facts["bounds"]
    for seed in range(20):
        value = _call(entry, *_example(n, seed=seed))
        assert type(value) is float
        assert low <= value <= high


@ENTRIES
def test_row_order_and_group_numbers_do_not_matter(entry: Metric) -> None:
    matrix, labels, clusters = _example(30, seed=1)
    value = _call(entry, matrix, labels, clusters)
    order = np.random.default_rng(2).permutation(30)
    assert _call(entry, matrix[order], labels[order], clusters[order]) == pytest.approx(value, abs=1e-6)
    assert _call(entry, matrix, 50 - 3 * labels, 7 * clusters + 1) == pytest.approx(value, abs=1e-6)


@ENTRIES
def test_perfect_is_better_than_chance(entry: Metric) -> None:
    labels = np.arange(24) % 4
    matrix = (np.eye(4, 8)[labels] + np.random.default_rng(0).standard_normal((24, 8)) * 0.01).astype(np.float32)
    mixed = np.random.default_rng(1).permutation(labels)
    perfect = _call(entry, matrix, labels, labels)
    chance = _call(entry, matrix, mixed if entry.facts["kind"] == "separation" else labels, mixed)
    assert (perfect > chance) is entry.facts["higher_is_better"]
    assert perfect == pytest.approx(entry.facts["bounds"][1 if entry.facts["higher_is_better"] else 0], abs=0.05)


@ENTRIES
def test_one_group_is_undefined(entry: Metric) -> None:
    matrix, labels, clusters = _example(12, seed=3)
    assert math.isnan(_call(entry, matrix, np.zeros_like(labels), clusters))


@ENTRIES
def test_equal_vectors_give_nan_or_a_value_but_no_error(entry: Metric) -> None:
    _, labels, clusters = _example(12, seed=4)
    value = _call(entry, np.ones((12, 3), dtype=np.float32), labels, clusters)
    assert math.isnan(value) is (entry.facts["kind"] == "separation")


@ENTRIES
def test_the_arguments_are_left_as_they_were(entry: Metric) -> None:
    arguments = _example(24, seed=5)
    before = [argument.copy() for argument in arguments]
    for argument in arguments:
        argument.setflags(write=False)
    _call(entry, *arguments)
    assert all((one == other).all() for one, other in zip(arguments, before, strict=True))


@ENTRIES
def test_functions_for_many_labellings_give_what_the_metric_gives(entry: Metric) -> None:
    matrix, labels, clusters = _example(24, seed=7)
    together, shuffles = entry.facts.get("together"), entry.facts.get("shuffles")
    each = [_call(entry, matrix, labels, clusters), _call(entry, matrix, clusters, clusters)]
    if together:
        assert together(matrix, labels, clusters) == pytest.approx(each, abs=1e-9)
    if shuffles:
        given, repeated = entry.options_from(distance="euclidean"), shuffled(labels, np.zeros(24, dtype=int), 9)
        expected = [entry.function(matrix, one, **given) for one in repeated]
        assert shuffles.products(matrix, repeated, progress=silent, **given) == pytest.approx(expected, abs=1e-5)
        found = cycles(labels, np.zeros(24, dtype=int), 23, seed=1)
        around = shuffles.cycles(matrix, found, progress=silent, **given)
        assert len(around) >= 23 and around.mean() == pytest.approx(np.mean(expected), rel=0.5)


@ENTRIES
def test_an_interval_holds_the_value_and_stays_within_the_bounds(entry: Metric) -> None:
    matrix, labels, clusters = _example(24, seed=8)
    if interval := entry.facts.get("interval"):
        found, (low, high) = interval(matrix, labels), entry.facts["bounds"]
        assert low <= found.low < _call(entry, matrix, labels, clusters) < found.high <= high


@pytest.mark.parametrize("entry", LABELLINGS, ids=LABELLINGS.names)
@pytest.mark.parametrize("n", [*range(1, 11), 24])
def test_every_labelling_gives_one_group_number_a_row(entry: Metric, n: int) -> None:
    matrix, labels, _ = _example(n, seed=6)
    assert set(entry.facts) <= {"phrase", "truth", "untested", "reference"} and entry.title and entry.summary
    found = np.asarray(entry.function(matrix, labels))
    assert found.shape == (n,)
    assert found.dtype == np.int64
    assert len(np.unique(found)) <= len(np.unique(labels))
    assert found.tolist() == np.asarray(entry.function(matrix, labels)).tolist()
