"""Clusterers find clear groups, repeat with their seed and never fail; names of clusters are true and unique."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from itertools import combinations, permutations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sympy import sieve

from numembed.analysis import labels as labellings
from numembed.analysis.clusters.attributes import attributes
from numembed.analysis.clusters.clusterers import (
    CLUSTERERS,
    best_k,
    default_seeds,
    kmeans,
    matched_share,
    name_clusters,
)
from numembed.core.arrays import Labels, Matrix
from numembed.core.errors import Cancelled, TooLarge
from numembed.core.registry import Entry
from numembed.paper.protocol import PAPER_FAMILIES
from numembed.sequences.families.family import family
from numembed.sequences.sets import IntegerSequence, SequenceSet, make_sequences

ENTRIES = pytest.mark.parametrize("entry", CLUSTERERS, ids=CLUSTERERS.names)
Clusterer = Entry[Callable[[Matrix, int, int], Labels]]
PAPER = make_sequences(PAPER_FAMILIES)
PRIMES = set(sieve.primerange(70_000))  # above the largest term of any sequence here


def noise(n: int, d: int = 8, seed: int = 0) -> Matrix:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def clouds(n: int = 40) -> tuple[Matrix, Labels]:
    labels = np.random.default_rng(2).permutation(np.arange(n) % 4)
    return noise(n, 16) * np.float32(0.1) + 5 * np.eye(4, 16, dtype=np.float32)[labels], labels


# what is true of a sequence, told from its numbers alone


def nine_in_ten(true: list[bool]) -> bool:
    return sum(true) >= 0.9 * len(true)


def median_size(one: IntegerSequence) -> float:
    return float(np.median([abs(term) for term in one.terms]))


def correlation(one: IntegerSequence) -> float:
    index = np.log(one.offset + 1 + np.arange(len(one.terms)))
    return float(np.corrcoef(index, np.log(np.maximum(np.abs(np.array(one.terms, float)), 1)))[0, 1])


def exponent(one: IntegerSequence) -> float:
    index = np.log(one.offset + 1 + np.arange(len(one.terms)))
    return float(np.polyfit(index, np.log(np.maximum(np.abs(np.array(one.terms, float)), 1)), 1)[0])


def true_of(part: str, sequences: SequenceSet) -> list[bool]:
    """Whether a part of a name is true of each sequence."""
    items, sizes = sequences.items, [median_size(one) for one in sequences.items]
    lengths = np.array([len(text) for text in sequences.texts])
    low, high = np.quantile(np.log10(np.maximum(sizes, 1)), (1 / 3, 2 / 3))
    match part.split():
        case ["mostly", *title]:
            return [family(one.family).title == " ".join(title) for one in items]
        case ["window", number]:
            return [int(number) - 1 == place for place in sequences.windows.tolist()]
        case ["small"]:
            return [math.log10(max(size, 1)) < low + 1e-3 for size in sizes]
        case ["large"]:
            return [math.log10(max(size, 1)) > high - 1e-3 for size in sizes]
        case ["odd" | "even" as parity]:
            return [nine_in_ten([term % 2 == (parity == "odd") for term in one.terms]) for one in items]
        case ["prime"]:
            return [nine_in_ten([term in PRIMES for term in one.terms]) for one in items]
        case ["short", "strings"]:
            return (lengths < 0.9 * np.median(lengths)).tolist()
        case ["long", "strings"]:
            return (lengths > 1.1 * np.median(lengths)).tolist()
        case ["growing", "steadily"]:
            return [correlation(one) > 0.49 and exponent(one) < 1.51 for one in items]
        case ["growing", *_]:
            return [correlation(one) > 0.49 and exponent(one) > 1.49 for one in items]
        case ["no", "trend"]:
            return [abs(correlation(one)) < 0.51 for one in items]
        case ["shrinking"]:
            return [correlation(one) < -0.49 for one in items]
        case ["ending", "in", *_]:
            return [{str(abs(term))[-1] for term in one.terms} == set(re.findall(r"\d", part)) for one in items]
        case [digits] if digits.endswith("-digit"):
            wanted = int(digits.removesuffix("-digit"))
            return [2 * sum(len(str(abs(t))) == wanted for t in one.terms) > len(one.terms) for one in items]
    raise AssertionError(f"Nobody knows what {part!r} means.")


def parts_of(name: str) -> list[str]:
    name = re.sub(r" \(\d+\)$", "", name)
    parts = re.findall(r"ending in \d(?:(?:, \d)* or \d)?", name)
    for part in re.sub(r"(, )?ending in \d(?:(?:, \d)* or \d)?", "", name).split(", "):
        nouns = not part.startswith("mostly") and part.endswith(" numbers")
        parts += part.removesuffix(" numbers").split() if nouns else [part] if part else []
    return parts


def refuse_untrue_names(clusters: Labels, sequences: SequenceSet, names: tuple[str, ...]) -> None:
    """Each name is told once and is true of 80% of its cluster, and of clearly fewer of the others."""
    groups = np.unique(clusters)
    assert len(names) == len(set(names)) == len(groups)
    for group, name in zip(groups.tolist(), names, strict=True):
        assert (group < 0) == (name == "left out as noise")
        if group < 0 or re.fullmatch(r"mixed( \(\d+\))?", name):
            continue
        inside = clusters == group
        true = np.logical_and.reduce([true_of(part, sequences) for part in parts_of(name)])
        assert true[inside].mean() >= 0.8, name
        assert true[~inside].mean() <= true[inside].mean() - 0.3 + 1e-9, name


# clusterers


@ENTRIES
def test_clear_groups_are_found_whatever_their_numbers(entry: Clusterer) -> None:
    matrix, labels = clouds()
    found = entry.function(matrix, 4, 0)
    assert found.dtype == np.int64 and found.shape == (40,)
    assert adjusted_rand_score(labels, found) == 1


@ENTRIES
def test_every_clusterer_says_what_it_does(entry: Clusterer) -> None:
    assert set(entry.facts) == {"reference", "finds_k"}
    assert entry.title and entry.summary.endswith(".")


@ENTRIES
def test_there_are_k_clusters_and_they_repeat_with_their_seed(entry: Clusterer) -> None:
    matrix = noise(40)
    for k in (2, 5, 12):
        found = entry.function(matrix, k, 7)
        assert np.array_equal(found, entry.function(matrix, k, 7))
        assert entry.facts["finds_k"] or np.array_equal(np.unique(found), np.arange(k))


@ENTRIES
@pytest.mark.parametrize("scale", [1e-20, 1e10, 1e30])
def test_no_clusterer_depends_on_the_unit(entry: Clusterer, scale: float) -> None:
    matrix, labels = clouds()
    assert adjusted_rand_score(labels, entry.function((matrix * scale).astype(np.float32), 4, 0)) == 1


@ENTRIES
@pytest.mark.parametrize("n", range(8))
@pytest.mark.parametrize("kind", ["different", "equal", "zero", "two kinds", "one direction"])
def test_few_or_equal_vectors_never_fail(entry: Clusterer, n: int, kind: str) -> None:
    matrix = {
        "different": noise(n),
        "equal": np.ones((n, 8), np.float32),
        "zero": np.zeros((n, 8), np.float32),
        "two kinds": np.eye(2, 8, dtype=np.float32)[np.arange(n) % 2],
        "one direction": np.arange(1, n + 1, dtype=np.float32)[:, None] * np.ones((1, 8), np.float32),
    }[kind]
    for k in (1, 2, 3, 6):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = entry.function(matrix, k, 0)
        assert found.shape == (n,) and found.dtype == np.int64
        assert kind not in ("equal", "zero") or not found.any()
        assert len(np.unique(found[found >= 0])) <= (max(k, 1) if not entry.facts["finds_k"] else n)


@ENTRIES
def test_two_kinds_of_vectors_are_two_clusters(entry: Clusterer) -> None:
    kinds = np.arange(12) % 2
    assert adjusted_rand_score(kinds, entry.function(np.eye(2, 8, dtype=np.float32)[kinds], 2, 0)) == 1


def test_kmeans_is_that_of_the_scores() -> None:
    matrix = noise(30)
    assert np.array_equal(kmeans(matrix, 5, 3), labellings.kmeans(matrix, np.arange(30) % 5, seed=3))


@pytest.mark.parametrize("name", ["ward", "average_cosine", "spectral", "hdbscan"])
def test_more_sequences_than_fit_are_refused_in_words(name: str) -> None:
    with pytest.raises(TooLarge, match="at most 5,000 sequences, got 5,001; choose fewer"):
        CLUSTERERS[name].function(np.zeros((5_001, 2), np.float32), 4, 0)


# how sure


@pytest.mark.slow
def test_stability_is_the_mean_agreement_of_all_pairs_of_seeds() -> None:
    matrix = noise(24, 16)
    runs = [kmeans(matrix, 6, seed) for seed in range(8)]
    pairs = [adjusted_rand_score(one, other) for one, other in combinations(runs, 2)]
    (found,) = best_k(matrix, [6], seeds=8)
    assert found.stability == pytest.approx(np.mean(pairs))
    partitions = {tuple(run.tolist().index(value) for value in run) for run in runs}
    assert found.groupings == len(partitions) > 1


@pytest.mark.slow
def test_the_number_of_clear_groups_is_the_best_k() -> None:
    matrix, _ = clouds()
    told: list[tuple[int, int]] = []
    table = best_k(matrix, range(2, 7), seeds=5, progress=lambda done, total, note: told.append((done, total)))
    assert [one.k for one in table] == [2, 3, 4, 5, 6]
    assert max(table, key=lambda one: one.silhouette).k == 4
    assert table[2].stability == 1 and table[2].groupings == 1
    assert table[2].silhouette == pytest.approx(silhouette_score(matrix, kmeans(matrix, 4, 0)), abs=1e-6)
    assert told == [(i, 25) for i in range(1, 26)]


def test_a_run_can_be_stopped() -> None:
    def stop(done: int, total: int, note: str) -> None:
        raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        best_k(noise(10), progress=stop)


def test_fewer_seeds_where_a_run_costs_more() -> None:
    assert [default_seeds(n) for n in (2, 500, 501, 5_000, 5_001)] == [50, 50, 10, 10, 5]


@pytest.mark.parametrize("n", range(5))
def test_undefined_stability_is_nan_with_its_reason(n: int) -> None:
    for matrix in (noise(n), np.ones((n, 8), np.float32)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            table = best_k(matrix, seeds=2)
        assert math.isnan(table[0].stability) == bool(table[0].note)
        assert len(table) == 11
        assert all(one.note for one in table if math.isnan(one.silhouette) or math.isnan(one.stability))
        assert math.isnan(table[-1].silhouette)


# matched


def test_as_many_sequences_match_as_in_any_assignment() -> None:
    drawn = np.random.default_rng(0)
    clusters, labels = drawn.integers(0, 4, 50) * 2 - 1, drawn.integers(0, 4, 50) + 10
    counts = [[int(((clusters == 2 * c - 1) & (labels == 10 + label)).sum()) for label in range(4)] for c in range(4)]
    best = max(sum(counts[c][order[c]] for c in range(4)) for order in permutations(range(4)))
    assert matched_share(clusters, labels) == pytest.approx(best / 50)


def test_clusters_too_many_match_nothing() -> None:
    assert matched_share(np.arange(6), np.arange(6) // 3) == pytest.approx(2 / 6)


def test_the_same_groups_match_completely_and_no_sequences_have_no_share() -> None:
    labels = np.arange(12) % 3
    assert matched_share(2 - labels, labels) == 1
    assert math.isnan(matched_share(np.zeros(0, np.int64), np.zeros(0, np.int64)))


# names


def test_known_clusters_have_their_names() -> None:
    by_family = name_clusters(PAPER.labels, PAPER)
    assert by_family[1].startswith("mostly Even numbers") or "even numbers" in by_family[1]
    assert "prime" in by_family[3] or "Primes" in by_family[3]
    assert name_clusters(PAPER.windows, PAPER) == ("window 1", "window 2", "window 3", "window 4")
    refuse_untrue_names(PAPER.labels, PAPER, by_family)


@pytest.mark.parametrize("length", [20, 50])
def test_names_are_unique_and_true(length: int) -> None:
    families = ["consecutive", "primes", "squares", "random_uniform", "collatz_steps", "even", "recaman", "cubes"]
    sequences = make_sequences(families, per_family=5, length=length)
    drawn = np.random.default_rng(0)
    groupings = [*attributes(sequences).values(), *(drawn.integers(-1, 6, len(sequences)) for _ in range(10))]
    groupings += [kmeans(noise(len(sequences), seed=seed), k, 0) for seed, k in ((0, 2), (1, 8), (2, 20))]
    told = 0
    for clusters in groupings:
        names = name_clusters(clusters, sequences)
        refuse_untrue_names(clusters, sequences, names)
        told += sum(not name.startswith(("mixed", "left out")) for name in names)
    assert told > 30


def test_what_is_untrue_is_noticed() -> None:
    names = name_clusters(PAPER.windows, PAPER)
    with pytest.raises(AssertionError):
        refuse_untrue_names(PAPER.windows, PAPER, names[::-1])


def test_clusters_without_anything_in_common_are_mixed_and_numbered() -> None:
    clusters = (PAPER.labels + PAPER.windows) % 2
    assert name_clusters(clusters, PAPER) == ("mixed (1)", "mixed (2)")
    assert name_clusters(np.zeros(24, np.int64), PAPER) == ("mixed",)


def test_noise_is_called_noise_and_nothing_has_no_name() -> None:
    clusters = np.where(PAPER.windows == 0, -1, PAPER.windows)
    assert name_clusters(clusters, PAPER)[0] == "left out as noise"
    assert name_clusters(np.zeros(0, np.int64), SequenceSet(())) == ()
