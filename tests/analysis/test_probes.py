"""Classifiers on held-out groups: against scikit-learn, on planted classes, and on noise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from numembed.analysis.inference.permutation_test import shuffled
from numembed.analysis.probes import (
    CLASSIFIERS,
    MOST_FOLDS,
    RIDGE,
    assessed,
    balanced,
    family_classes,
    family_orders,
    folds_of,
    grouped_interval,
    held_out_sorter,
    learnable,
    levels,
    sequence_classes,
)
from numembed.core.arrays import Labels, Matrix
from numembed.sequences.sets import make_sequences

K, W = 6, 4
FAMILY, WINDOW = np.repeat(np.arange(K), W), np.tile(np.arange(W), K)


def _vectors(seed: int, d: int = 20, family: float = 0.0, window: float = 0.0) -> Matrix:
    drawn = np.random.default_rng(seed)
    places = family * drawn.normal(size=(K, d))[FAMILY] + window * drawn.normal(size=(W, d))[WINDOW]
    return (places + drawn.normal(size=(K * W, d))).astype(np.float32)


def _shuffles(labels: Labels, rounds: int, seed: int = 0) -> Labels:
    return shuffled(labels.astype(np.int32), WINDOW, rounds, seed=seed).astype(np.int64)


@pytest.mark.parametrize("d", [3, 200])
def test_all_three_name_what_scikit_learn_names(d: int) -> None:
    from sklearn.linear_model import RidgeClassifier
    from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = folds_of(WINDOW)
    halves = FAMILY % 2  # two classes of one size: there the linear probe is the ridge classifier
    same = {"nearest_centroid": NearestCentroid(), "nearest_neighbour": KNeighborsClassifier(1)}
    same["linear_probe"] = make_pipeline(StandardScaler(), RidgeClassifier(alpha=RIDGE * d))
    for seed in range(5):
        mixed = np.random.default_rng(seed).normal(size=(d, d)) * np.geomspace(1, 0.03, d)  # few wide, many narrow
        matrix = np.asarray(_vectors(seed, d, family=0.7) @ mixed.T, dtype=np.float32)
        for name, theirs in same.items():
            labels = halves if name == "linear_probe" else FAMILY
            ours = held_out_sorter(name, matrix, folds)(labels[None], K)[0]
            for train, test in folds:
                assert ours[test].tolist() == theirs.fit(matrix[train], labels[train]).predict(matrix[test]).tolist()


def test_many_labellings_at_once_are_each_as_alone() -> None:
    labellings, folds = _shuffles(FAMILY, 40), folds_of(WINDOW)
    for name in CLASSIFIERS.names:
        sort = held_out_sorter(name, _vectors(1, family=1), folds)
        alone = [sort(one[None], K)[0] for one in labellings]
        assert (sort(labellings, K) == np.array(alone)).all()


@pytest.mark.parametrize("groups", [4, 12, 13, 100])
def test_no_group_is_on_both_sides_and_each_is_held_out_once(groups: int) -> None:
    labels = np.repeat(np.arange(groups), 3)
    folds = folds_of(labels)
    assert len(folds) == min(groups, MOST_FOLDS)
    assert not any(set(labels[train]) & set(labels[test]) for train, test in folds)
    assert sorted(np.concatenate([test for _, test in folds]).tolist()) == list(range(len(labels)))


@pytest.mark.parametrize("name", CLASSIFIERS.names)
def test_families_that_lie_apart_are_all_named(name: str) -> None:
    labellings, folds = _shuffles(FAMILY, 199), folds_of(WINDOW)
    sort = held_out_sorter(name, _vectors(2, 64, family=5), folds)
    found = assessed(sort(labellings, K), labellings, K, groups=FAMILY)
    assert (found.right, found.total, found.value) == (24, 24, 1.0)
    assert found.p == found.least_p == 1 / 200
    assert 0.05 < found.chance < 0.3 and found.null_high < 0.6 and 0.5 < found.low < found.high == 1


@pytest.mark.parametrize("name", CLASSIFIERS.names)
def test_p_is_about_uniform_where_only_the_window_is_in_the_vectors(name: str) -> None:
    folds, ps = folds_of(WINDOW), []
    for seed in range(200):
        labellings = _shuffles(FAMILY, 99, seed)
        sort = held_out_sorter(name, _vectors(seed, 16, window=2), folds)
        ps.append(assessed(sort(labellings, K), labellings, K, groups=FAMILY).p)
    assert np.mean(np.array(ps) <= 0.05) <= 0.1 and np.mean(np.array(ps) <= 0.25) <= 0.35
    assert 0.45 < np.mean(ps) < 0.75, "counts are few, so that ties push p up a little"


def test_a_small_class_is_named_as_often_as_a_large_one_by_chance() -> None:
    labels = np.array([0] * 20 + [1] * 4)
    folds, recalls = folds_of(np.arange(24) % 4), []
    for seed in range(60):
        named = held_out_sorter("linear_probe", _vectors(seed, 300), folds)(labels[None], 2)[0]
        recalls.append([(named[labels == one] == one).mean() for one in (0, 1)])
    assert np.mean(recalls) == pytest.approx(0.5, abs=0.07)
    assert np.mean(recalls, axis=0)[1] > 0.3, "in many dimensions the mean of few lies far out and is never nearest"


def test_what_no_other_group_has_is_left_out_and_each_class_counts_equally() -> None:
    labels, folds = np.array([[0, 0, 1, 0, 0, 1, 2, 0]]), folds_of(np.array([0, 0, 0, 1, 1, 1, 1, 1]))
    counted = learnable(labels, folds, 3)
    assert counted[0].tolist() == [True] * 6 + [False, True]
    right = np.array([[True, True, False, True, True, False, True, True]])
    assert balanced(right & counted, labels, counted, 3)[0] == 0.5


def test_equal_vectors_are_named_by_luck_alone() -> None:
    folds, matrix = folds_of(WINDOW), np.ones((24, 5), np.float32)
    for name in CLASSIFIERS.names:
        labellings = _shuffles(FAMILY, 99)
        found = assessed(held_out_sorter(name, matrix, folds)(labellings, K), labellings, K, groups=FAMILY)
        assert found.right == 4 and found.p == 1


def test_the_interval_is_clopper_and_pearsons_where_answers_are_independent() -> None:
    from scipy.stats import beta

    right = np.arange(40) % 5 == 0
    low, high = grouped_interval(right, np.ones(40), np.arange(40))
    assert (low, high) == pytest.approx((beta.ppf(0.025, 8, 33), beta.ppf(0.975, 9, 32)), abs=0.005)
    wide = grouped_interval(np.repeat(right[:10], 4), np.ones(40), np.repeat(np.arange(10), 4))
    assert wide[0] < low - 0.03 and wide[1] > high + 0.1, "ten answers told four times each"
    sure = grouped_interval(np.ones(24, bool), np.ones(24), np.arange(24) % 4)
    assert sure == (pytest.approx(0.69, abs=0.02), 1.0), "four groups say less than 24 answers, from 0.86 on"
    assert all(math.isnan(end) for end in grouped_interval(right, np.ones(40), np.zeros(40, int)))


def test_the_interval_holds_where_wilsons_does_not() -> None:
    ours, wilsons, rounds = 0, 0, 400
    for seed in range(rounds):
        drawn = np.random.default_rng(seed)
        right = drawn.random(24) < np.repeat(drawn.beta(0.9, 0.9, K), W)  # families differ in how well they are known
        low, high = grouped_interval(right, np.ones(24), FAMILY)
        ours += low <= 0.5 <= high
        share, z = right.mean(), 1.96
        middle, half = share + z * z / 48, z * math.sqrt(share * (1 - share) / 24 + z * z / 2304)
        wilsons += middle - half <= 0.5 * (1 + z * z / 24) <= middle + half
    assert ours / rounds >= 0.92 and wilsons / rounds <= 0.85


def test_whole_families_change_places_in_all_orders_or_in_a_sample() -> None:
    assert len({tuple(one) for one in family_orders(4, 99).tolist()}) == len(family_orders(4, 99)) == 24
    sampled = family_orders(9, 99, seed=3)
    assert sampled.shape == (100, 9) and sampled[0].tolist() == list(range(9))
    assert (np.sort(sampled) == np.arange(9)).all() and (sampled == family_orders(9, 99, seed=3)).all()


def test_two_families_are_too_few_to_tell_a_lucky_assignment_from_knowledge() -> None:
    truth = np.repeat([0, 1], 4)
    found = assessed(truth[None], family_orders(2, 99)[:, truth], 2, groups=truth)
    assert found.value == 1 and found.p == found.least_p == 0.5


def test_families_are_put_into_classes_that_others_share_or_it_is_said_why_not() -> None:
    paper = make_sequences(["consecutive", "even", "odd", "primes", "recaman", "composites"], per_family=2, length=50)
    assert family_classes("odd_share", paper)[0].tolist() == [1, 0, 2, 2, 1, 0]
    few = make_sequences(["even", "odd", "squares"], per_family=2, length=20)
    assert "no other family has the class of" in family_classes("growth", few)[1]
    assert "all families have the same class" in family_classes("growth", make_sequences(["even", "odd"]))[1]
    assert levels([0, 0, 0, 5], 3).tolist() == [0, 0, 0, 1]


def test_sequences_are_odd_even_or_mixed_and_the_share_stands_in_where_all_are_alike() -> None:
    name, labels = sequence_classes("parity", make_sequences(["even", "odd", "consecutive"], per_family=2, length=10))
    assert name == "parity" and len(set(labels.tolist())) == 3
    name, labels = sequence_classes("prime", make_sequences(["odd", "consecutive"], per_family=2, length=20))
    assert name == "prime_share" and labels.max() >= 1
