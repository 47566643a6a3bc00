"""Agreement and shares of variance: equal to scikit-learn and to naive sums, uniform on noise, the golden values."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from numembed.analysis.clusters import agreement
from numembed.analysis.clusters.agreement import pairwise_ari, permanova, ranked_agreement
from numembed.analysis.clusters.attributes import ATTRIBUTES, attributes
from numembed.analysis.clusters.clusterers import kmeans, name_clusters
from numembed.core.arrays import Labels, Matrix
from numembed.core.significance import holm, judged
from numembed.models.embedding import embed
from numembed.models.encoders.loaded import LoadedModel
from numembed.paper.protocol import PAPER_FAMILIES, paper_study
from numembed.sequences.sets import make_sequences
from numembed.storage.vectors import VectorStore
from tests.analysis.clusters.test_clusterers import refuse_untrue_names
from tests.offline import OFFLINE

RICH = make_sequences(
    ["consecutive", "primes", "squares", "random_uniform", "collatz_steps", "even", "recaman", "geometric"],
    per_family=5,
    length=20,
)
RICH_ATTRIBUTES = attributes(RICH, token_counts=np.random.default_rng(3).integers(10, 99, len(RICH)).tolist())


def noise(n: int, d: int, seed: int = 0) -> Matrix:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def grid(families: int = 6, windows: int = 4) -> tuple[Labels, Labels]:
    return np.repeat(np.arange(families), windows), np.tile(np.arange(windows), families)


def naive_shares(matrix: Matrix, *factors: Labels) -> list[float]:
    """Residual sums of squares of least-squares fits with one factor more each time."""
    columns, left = [np.ones(len(matrix))], []
    rows = matrix.astype(np.float64)
    for labels in (np.zeros(len(matrix), np.int64), *factors):
        columns += [labels == one for one in np.unique(labels)]
        design = np.stack(columns, axis=1).astype(np.float64)
        left.append(((rows - design @ np.linalg.lstsq(design, rows, rcond=None)[0]) ** 2).sum())
    return [*(-np.diff(left) / left[0]), left[-1] / left[0]]


# agreement


def test_every_attribute_is_in_the_rich_set() -> None:
    assert set(RICH_ATTRIBUTES) == set(ATTRIBUTES.names)


@pytest.mark.parametrize("name", ATTRIBUTES.names)
@pytest.mark.parametrize("seed", range(2))
def test_vectors_made_from_one_attribute_rank_it_first(name: str, seed: int) -> None:
    labels = RICH_ATTRIBUTES[name]
    classes = int(labels.max()) + 1
    matrix = 3 * np.eye(classes, dtype=np.float32)[labels] + np.float32(0.3) * noise(len(labels), classes, seed)
    for k in (classes, len(RICH.families)):
        best, second, *_ = ranked_agreement(kmeans(matrix, k, 0), RICH_ATTRIBUTES, permutations=199)
        assert best.attribute == name and best.ari > second.ari + 0.1
        assert best.p == 1 / 200
        assert k != classes or best.ari == pytest.approx(1)


def test_indices_are_scikit_learns() -> None:
    clusters = np.random.default_rng(0).integers(0, 5, len(RICH)) * 3 - 1
    found = ranked_agreement(clusters, RICH_ATTRIBUTES, permutations=9)
    assert {one.attribute for one in found} == set(RICH_ATTRIBUTES)
    for one in found:
        labels = RICH_ATTRIBUTES[one.attribute]
        assert one.ari == pytest.approx(adjusted_rand_score(labels, clusters), abs=1e-12)
        assert one.ami == pytest.approx(adjusted_mutual_info_score(labels, clusters), abs=1e-12)
        assert one.classes == len(np.unique(labels)) and one.note == ""
    assert [one.ari for one in found] == sorted((one.ari for one in found), reverse=True)


def test_p_counts_the_shuffled_clusters_that_agree_as_well() -> None:
    labels, clusters = np.arange(20) % 4, np.arange(20) // 5
    clusters[:4] = labels[:4]
    found = ranked_agreement(clusters, {"x": labels}, permutations=199, seed=5)[0]
    shuffled = np.random.default_rng(5).permuted(np.broadcast_to(clusters, (199, 20)).copy(), axis=1)
    null = np.array([adjusted_rand_score(labels, one) for one in shuffled])
    assert found.p == (1 + np.count_nonzero(null >= found.ari - 1e-12)) / 200
    assert found.limit == pytest.approx(np.sort(null)[-10])  # nine shuffles and the observed one are 5% of 200


def test_p_does_not_depend_on_the_block_size_or_on_other_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    clusters = np.random.default_rng(1).integers(0, 6, len(RICH))
    whole = ranked_agreement(clusters, RICH_ATTRIBUTES, permutations=99)
    monkeypatch.setattr(agreement, "_BLOCK_NUMBERS", 1)
    assert ranked_agreement(clusters, RICH_ATTRIBUTES, permutations=99) == whole
    alone = ranked_agreement(clusters, {"growth": RICH_ATTRIBUTES["growth"]}, permutations=99)[0]
    same = next(one for one in whole if one.attribute == "growth")
    limits = {"limit": alone.limit, "limit_page": alone.limit_page}
    assert alone == replace(same, **limits) and math.isnan(same.limit)  # of 99 shuffles none is one of 9 × 20


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("permutations", [99, 250, 999])
def test_above_its_limit_is_what_the_adjusted_p_calls_more_than_chance(seed: int, permutations: int) -> None:
    drawn = np.random.default_rng(seed)
    clusters, told = drawn.integers(0, 3, 30), {}
    for name, mixed in enumerate((0, 4, 8, 12, 15, 17, 20, 30)):
        told[str(name)] = clusters.copy()
        told[str(name)][:mixed] = drawn.integers(0, 3, mixed)
    found = ranked_agreement(clusters, told, permutations=permutations, seed=seed)
    sure = [p is not None and p <= 0.05 for p in holm([one.p for one in found])]
    assert [one.ari > one.limit for one in found] == sure
    further = [(0.0001, 0.0), (0.03, 0.0), (0.5, 0.2)]  # the last cannot reach 0.05
    page = ranked_agreement(clusters, told, permutations=permutations, seed=seed, beside=further)
    together = judged([*((one.p, one.least_p) for one in page), *further])
    assert [one.ari > one.limit_page for one in page] == [one.sure for one in together[: len(page)]]
    assert sum(sure) == 0 if permutations == 99 else 0 < sum(sure) < 8


@pytest.mark.slow
@pytest.mark.parametrize(("n", "side"), [(300, "two-sided"), (24, "greater")])
def test_p_of_agreement_is_uniform_on_noise(n: int, side: str) -> None:
    """At n = 24 the index takes few values; ties count against the observed one, so that p is never too small."""
    found = []
    for seed in range(400):
        clusters = np.random.default_rng(1_000 + seed).integers(0, 6, n)
        found.append(ranked_agreement(clusters, {"x": np.arange(n) % 6}, permutations=99, seed=seed)[0].p)
    assert kstest(np.array(found) - 0.005, "uniform", alternative=side).pvalue > 0.01
    assert 0.01 <= np.mean(np.array(found) <= 0.05) <= 0.09


def test_pairwise_index_is_scikit_learns() -> None:
    runs = np.random.default_rng(0).integers(0, 4, (6, 30))
    runs[1], runs[2] = 3 - runs[0], 0
    found = pairwise_ari(runs)
    for i, j in product(range(6), range(6)):
        assert found[i, j] == pytest.approx(adjusted_rand_score(runs[i], runs[j]), abs=1e-9)


@pytest.mark.parametrize("n", range(5))
def test_undefined_agreement_is_nan_with_its_reason_and_comes_last(n: int) -> None:
    whole = {"same": np.zeros(n, np.int64), "own": np.arange(n), "halves": np.arange(n) // 2}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for clusters in (np.zeros(n, np.int64), np.arange(n), np.arange(n) % 2):
            found = ranked_agreement(clusters, whole, permutations=9)
            undefined = [math.isnan(one.ari) for one in found]
            assert undefined == sorted(undefined)
            assert all(bool(one.note) == math.isnan(one.ari) == math.isnan(one.p) for one in found)
    assert ranked_agreement(np.arange(n) % 2, {}) == ()


# shares of variance


@pytest.mark.parametrize(("n", "d"), [(24, 384), (24, 5), (60, 8)])
def test_shares_are_those_of_naive_sums_of_squares(n: int, d: int) -> None:
    matrix = noise(n, d)
    balanced = grid(n // 4, 4)
    drawn = np.random.default_rng(1)
    unbalanced = drawn.integers(0, 4, n), drawn.integers(0, 3, n), drawn.integers(0, 2, n)
    for factors in (balanced, balanced[:1], unbalanced, unbalanced[:2], unbalanced[1:]):
        found = permanova(matrix, *((str(i), one) for i, one in enumerate(factors)), permutations=1)
        assert [one.share for one in found] == pytest.approx(naive_shares(matrix, *factors), abs=1e-6)
        assert sum(one.share for one in found) == pytest.approx(1)
        assert found[-1].name == "rest" and math.isnan(found[-1].p)
        assert all(0 < one.p <= 1 for one in found[:-1])


def test_order_does_not_matter_where_the_design_is_balanced_and_does_where_not() -> None:
    family, window = grid()
    matrix = noise(24, 6) + np.eye(4, 6, dtype=np.float32)[window]
    first, second = permanova(matrix, ("a", family), ("b", window)), permanova(matrix, ("b", window), ("a", family))
    assert [one.share for one in first[:2]] == pytest.approx([second[1].share, second[0].share])
    assert (first[0].p, first[1].p) == (second[1].p, second[0].p)
    fewer = np.arange(24) % 7 != 0
    one = permanova(matrix[fewer], ("a", family[fewer]), ("b", window[fewer]))
    other = permanova(matrix[fewer], ("b", window[fewer]), ("a", family[fewer]))
    assert abs(one[0].share - other[1].share) > 1e-4
    assert one[2].share == pytest.approx(other[2].share)
    assert (one[0].p, one[1].p) == (other[1].p, other[0].p)  # p is beyond all others in either order


def test_p_is_that_of_all_possible_shuffles() -> None:
    matrix, labels = noise(6, 3, seed=3), np.array([0, 0, 0, 1, 1, 1])
    exact = [naive_shares(matrix, labels[list(order)])[0] for order in permutations(range(6))]
    found = permanova(matrix, ("x", labels), permutations=4_999)[0]
    assert found.p == pytest.approx(np.mean(np.array(exact) >= exact[0] - 1e-12), abs=0.02)


def test_p_of_two_factors_shuffles_each_within_the_other() -> None:
    family, window = grid(3, 3)
    matrix = noise(9, 4, seed=8)
    found = permanova(matrix, ("family", family), ("window", window), permutations=4_999)
    for place, (own, other) in enumerate(((family, window), (window, family))):
        exact = []
        for orders in product(permutations(range(3)), repeat=3):
            shuffled = own.copy()
            for stratum, order in enumerate(orders):
                rows = np.flatnonzero(other == stratum)
                shuffled[rows] = own[rows[list(order)]]
            exact.append(naive_shares(matrix, shuffled)[0])
        assert found[place].p == pytest.approx(np.mean(np.array(exact) >= exact[0] - 1e-12), abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("balanced", [True, False])
def test_p_of_a_share_is_uniform_on_noise_even_beside_a_strong_factor(balanced: bool) -> None:
    family, window = grid()
    kept = np.arange(24) if balanced else np.flatnonzero(np.arange(24) % 5 != 0)
    found = []
    for seed in range(300):
        matrix = noise(24, 6, seed) + 4 * np.eye(4, 6, dtype=np.float32)[window]
        factors = ("family", family[kept]), ("window", window[kept])
        found.append(permanova(matrix[kept], *factors, permutations=99, seed=seed)[0].p)
    assert kstest(np.array(found) - 0.005, "uniform").pvalue > 0.01


def test_a_family_hidden_under_windows_is_found() -> None:
    family, window = grid()
    matrix = noise(24, 12) + 20 * np.eye(4, 12, dtype=np.float32)[window] + 2 * np.eye(6, 12, dtype=np.float32)[family]
    found = permanova(matrix, ("family", family), ("window", window))
    assert found[0].share < 0.1 and found[0].p <= 0.01


def test_p_of_a_share_does_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    factors = tuple(zip(("family", "window"), grid(), strict=True))
    whole = permanova(noise(24, 6), *factors, permutations=99)
    monkeypatch.setattr(agreement, "_BLOCK_NUMBERS", 1)
    assert permanova(noise(24, 6), *factors, permutations=99)[:2] == whole[:2]


def test_a_factor_that_another_tells_has_no_p() -> None:
    family, _ = grid()
    found = permanova(noise(24, 6), ("family", family), ("half", family // 3), permutations=9)
    assert found[1].share == pytest.approx(0, abs=1e-9)
    assert math.isnan(found[1].p) and found[1].note == "is determined by the other factors"
    own = permanova(noise(24, 6), ("own", np.arange(24)), permutations=9)[0]
    assert own.share == pytest.approx(1) and math.isnan(own.p) and own.note == "is different for every sequence"
    same = permanova(noise(24, 6), ("same", np.zeros(24, np.int64)), permutations=9)[0]
    assert same.share == pytest.approx(0) and math.isnan(same.p) and same.note == "is the same for all sequences"


@pytest.mark.parametrize("n", range(5))
@pytest.mark.parametrize("kind", ["different", "equal", "tiny", "huge"])
def test_shares_of_few_or_equal_vectors_never_fail(n: int, kind: str) -> None:
    matrix = {
        "different": noise(n, 5),
        "equal": np.ones((n, 5), np.float32),
        "tiny": noise(n, 5) * np.float32(1e-30),
        "huge": noise(n, 5) * np.float32(1e30),
    }[kind]
    for family, window in ((np.zeros(n, np.int64), np.arange(n)), (np.arange(n) // 2, np.arange(n) % 2)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = permanova(matrix, ("family", family), ("window", window), permutations=9)
        assert [one.name for one in found] == ["family", "window", "rest"]
        undefined = n < 2 or kind == "equal"
        assert all(math.isnan(one.share) == undefined and (not undefined or one.note) for one in found)
        assert undefined or sum(one.share for one in found) == pytest.approx(1)


# the bundled model on the paper's 24


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    """The bundled model's vectors of the paper's sequences."""
    study = paper_study("all-MiniLM-L6-v2")
    with VectorStore(Path(tmp_path_factory.mktemp("bundled")) / "cache.db") as store:
        return embed(study.models[0], study.sequences, store=store, loaded=LoadedModel(OFFLINE)).matrix


@pytest.mark.slow
def test_the_bundled_models_clusters_follow_the_window_and_not_the_family(bundled: Matrix) -> None:
    sequences = make_sequences(PAPER_FAMILIES)
    clusters = kmeans(bundled, 6, 0)
    found = ranked_agreement(clusters, attributes(sequences))
    by_name = {one.attribute: one for one in found}
    assert found[0].attribute == "window" and found[-1].attribute == "family"
    assert by_name["window"].ari == pytest.approx(0.33, abs=0.05) and by_name["window"].p <= 0.005
    assert by_name["family"].ari == pytest.approx(-0.09, abs=0.05) and by_name["family"].p > 0.5
    refuse_untrue_names(clusters, sequences, name_clusters(clusters, sequences))


@pytest.mark.slow
def test_the_bundled_models_variance_is_window_more_than_family(bundled: Matrix) -> None:
    sequences = make_sequences(PAPER_FAMILIES)
    family, window, rest = permanova(bundled, ("family", sequences.labels), ("window", sequences.windows))
    assert family.share == pytest.approx(0.19, abs=0.03) and family.p > 0.05
    assert window.share == pytest.approx(0.30, abs=0.03) and window.p <= 0.005
    assert rest.share == pytest.approx(0.51, abs=0.03)
