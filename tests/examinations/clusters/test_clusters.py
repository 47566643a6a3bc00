"""What the clusters encode: from synthetic vectors with a known answer to a whole run."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import streamlit  # noqa: F401  sets Plotly's default template to placeholder colours, as in the app

from numembed.analysis.clusters.attributes import attributes
from numembed.analysis.labels import kmeans
from numembed.core.serialization import as_plain, from_plain
from numembed.core.settings import Settings
from numembed.examinations.clusters.compute import (
    Explanation,
    explain,
    stored_explanation,
    tree_members,
)
from numembed.examinations.clusters.rows import rows_of
from numembed.examinations.clusters.text import (
    matched_sentence,
    nearest_sentence,
    sentence_of,
    shares_sentence,
    tree_sentence,
)
from numembed.examinations.clusters.together import followed
from numembed.figures.clusters import agreement_figure, confusion_figure, shares_figure, similarity_figure, tree_figure
from numembed.models.encoders.loaded import LoadedModel
from numembed.paper.protocol import paper_study
from numembed.runs.study_run import run
from numembed.sequences.sets import make_sequences
from numembed.storage.vectors import VectorStore
from numembed.studies.results import ResultStore
from tests.offline import OFFLINE

SEQUENCES = make_sequences(["even", "primes", "fibonacci", "squares"], per_family=6, length=12)


def _of(attribute: str, noise: float = 0.05, seed: int = 0) -> Explanation:
    """Vectors that hold one attribute and nothing else."""
    labels = attributes(SEQUENCES)[attribute]
    matrix = np.eye(8)[labels] + np.random.default_rng(seed).normal(0, noise, (len(labels), 8))
    matrix = matrix.astype(np.float32)
    return explain(matrix, SEQUENCES, kmeans(matrix, SEQUENCES.labels, seed=0))


@pytest.mark.parametrize("attribute", ["family", "window", "string_length"])
def test_the_attribute_that_the_vectors_hold_is_named_first(attribute: str) -> None:
    found = _of(attribute)
    assert found.agreements[0].attribute == attribute and found.agreements[0].p <= 0.01
    assert attribute.replace("_", " ") in sentence_of("m", found).split(".")[0].lower()


def _blue(found: Explanation) -> list[float]:
    """The bars that the figure marks as more than chance."""
    return [value for value in agreement_figure(found).data[0].x if value is not None]


@pytest.mark.parametrize("attribute", ["family", "window"])
def test_the_bars_that_are_marked_are_those_that_the_sentence_goes_by(attribute: str) -> None:
    found = _of(attribute)
    assert _blue(found) == [one.ari for one in followed(found)][::-1] and found.agreements[0] in followed(found)
    weak = replace(found, agreements=tuple(replace(one, p=0.03) for one in found.agreements))
    assert not _blue(weak) and sentence_of("m", weak).startswith(
        "The groups that KMeans finds in m follow none of these attributes better than chance. With the families they "
    )


def test_what_so_few_sequences_cannot_tell_is_not_called_chance() -> None:
    few = make_sequences(["even", "primes"], per_family=2, length=12)
    matrix = np.array([[0.0, 0.0], [0.0, 0.1], [9.0, 0.0], [9.0, 0.1]], np.float32)
    found = explain(matrix, few, kmeans(matrix, few.labels, seed=0))
    told = [sentence_of("m", found), shares_sentence(found), matched_sentence(found), nearest_sentence(found)]
    told.append(tree_sentence(found, few))
    assert all("too few sequences to tell" in one or "cannot be determined from so few" in one for one in told), told
    assert not any("no more" in one or "no better" in one or "none of" in one for one in told), told
    assert found.matched_least_p == pytest.approx(1 / 3, abs=0.05) == found.same_family.least_p
    assert {share.name: share.least_p for share in found.shares[:2]} == {"family": 0.5, "window": 0.5}


def test_where_agreement_with_the_families_is_undefined_nothing_is_said_of_it() -> None:
    alone = make_sequences(["primes", "even", "squares"], per_family=1, length=12)
    matrix = np.array([[0.0], [0.1], [9.0]], np.float32)
    found = explain(matrix, alone, np.array([0, 0, 1]))
    assert any(math.isnan(one.ari) for one in found.agreements if one.attribute == "family")
    assert "nan" not in sentence_of("m", found) and "families" not in sentence_of("m", found)


@pytest.mark.slow
def test_noise_is_claimed_to_hold_nothing() -> None:
    claims = dict.fromkeys(("groups", "shares", "matched", "nearest", "tree"), 0)
    for seed in range(60):
        matrix = np.random.default_rng(seed).standard_normal((len(SEQUENCES), 16)).astype(np.float32)
        found = explain(matrix, SEQUENCES, kmeans(matrix, SEQUENCES.labels, seed=0), seed=seed)
        told = sentence_of("m", found)
        claims["groups"] += "follow none of these" not in told or "agree better than chance" in told
        assert ("follow none of these" in told) == (not _blue(found))
        claims["shares"] += not shares_sentence(found).startswith("Neither")
        claims["matched"] += "not significantly more than by chance" not in matched_sentence(found)
        claims["nearest"] += "not significantly more than by chance" not in nearest_sentence(found).split(". ")[0]
        claims["tree"] += "may be chance" not in tree_sentence(found, SEQUENCES)
    assert max(claims.values()) <= 7, claims  # one in twenty by chance, and room for the luck of 60 draws


@pytest.mark.slow
def test_sentences_give_the_shares_of_the_variance() -> None:
    alone = 0
    for seed in range(6):
        family, window = _of("family", 0.3, seed), _of("window", 0.3, seed)
        assert shares_sentence(family).startswith(("The family explains more of the variance than chance", "Both"))
        assert shares_sentence(window).startswith(("The window explains more of the variance than chance", "Both"))
        quiet = "for the window this was not seen", "for the family this was not seen"
        alone += quiet[0] in shares_sentence(family) and quiet[1] in shares_sentence(window)
    assert alone >= 4  # the other factor seems to count once in twenty
    for found in (family, window):
        assert sum(share.share for share in found.shares) == pytest.approx(1, abs=1e-6)


@pytest.mark.slow
def test_chance_beside_a_share_is_what_noise_gives() -> None:
    held, told = [], []
    for seed in range(25):
        found = _of("window", 1000.0, seed)  # nothing but noise
        held.append(found.shares[0].share)
        words = re.search(r"the family explains \d+% \((\d+)% by chance\)", shares_sentence(found))
        assert words is not None
        told.append(int(words[1]) / 100)
    assert np.mean(told) == pytest.approx(np.mean(held), abs=0.02)


def test_sentences_compare_neighbours_of_the_same_family_with_chance() -> None:
    family, window = _of("family"), _of("window")
    assert nearest_sentence(family).startswith(
        "100% of the nearest neighbours are of the same family; by chance 22% would be. 0% of the nearest"
    )
    assert "100% of the nearest neighbours are of the same window; by chance 13% would be." in nearest_sentence(window)
    for row, others in enumerate(family.neighbours):
        assert len(others) == 5 and row not in others
        assert {int(SEQUENCES.labels[other]) for other in others} == {int(SEQUENCES.labels[row])}
        assert list(family.distances[row]) == sorted(family.distances[row])


def test_the_order_of_equal_sequences_decides_nothing() -> None:
    matrix = np.ones((len(SEQUENCES), 4), np.float32)
    found = explain(matrix, SEQUENCES, np.zeros(len(SEQUENCES), np.int64))
    assert found.same_family.share == pytest.approx(found.same_family.chance) and found.same_family.p == 1.0


def test_the_tree_joins_what_lies_close_and_names_who_comes_last() -> None:
    places = np.array([0.0, 1.0, 3.0, 9.0])  # even, primes, fibonacci, squares
    matrix = (places[SEQUENCES.labels, None] + np.random.default_rng(0).normal(0, 0.01, (24, 3))).astype(np.float32)
    found = explain(matrix, SEQUENCES, SEQUENCES.labels)
    assert tree_sentence(found, SEQUENCES) == (
        "The centres of Even numbers and Primes lie closest together; Squares joins the others last."
    )
    assert sorted(tree_members(found)[-1]) == [0, 1, 2, 3] and set(tree_members(found)[5]) == {0, 1, 2}
    figure = tree_figure(found, SEQUENCES)
    assert "Squares" in (figure.layout.yaxis.ticktext[0], figure.layout.yaxis.ticktext[-1])
    assert max(x for x in figure.data[0].x if x is not None) == pytest.approx(found.tree[-1][2])


@pytest.mark.parametrize(("families", "per_family"), [(["primes"], 1), (["primes"], 4), (["primes", "even"], 1)])
def test_sets_without_groups_have_a_sentence(families: list[str], per_family: int) -> None:
    few = make_sequences(families, per_family=per_family, length=5)
    matrix = np.random.default_rng(0).standard_normal((len(few), 8)).astype(np.float32)
    found = explain(matrix, few, np.zeros(len(few), np.int64))
    told = (matched_sentence(found), nearest_sentence(found), tree_sentence(found, few), shares_sentence(found))
    assert all(len(sentence) > 20 and "nan" not in sentence for sentence in told), told
    assert (
        from_plain(Explanation, json.loads(json.dumps(as_plain(found), allow_nan=False))).neighbours == found.neighbours
    )


def test_every_number_has_a_row() -> None:
    found = _of("family")
    rows = rows_of(found, SEQUENCES)
    parts = [row["part"] for row in rows]
    assert parts.count("agreement") == len(found.agreements) and parts.count("share") == 3
    assert parts.count("confusion") == len(found.counts) * 4 and parts.count("sequence") == len(SEQUENCES)
    assert parts.count("join") == 3 and {row["name"] for row in rows if row["part"] == "confusion"} == set(
        found.cluster_names
    )
    assert sum(row["sequences"] for row in rows if row["part"] == "confusion") == len(SEQUENCES)
    whole = [row for row in rows if row["part"] == "sequence"]
    assert [row["silhouette"] for row in whole] == list(found.silhouettes)
    assert whole[0]["nearest_family"] in ("Primes", "Fibonacci numbers", "Squares")
    assert [tuple(row["cosines"]) for row in whole] == list(found.similarity)
    assert next(row for row in whole if row["place"] == 1) is whole[found.order[0]]
    *_, last = (row for row in rows if row["part"] == "join")
    assert last["distance"] == found.tree[-1][2] and (last["one"] + last["other"]).count(",") == 2
    assert parts.count("alike") == 3 and parts.count("neighbour") == 5 * len(SEQUENCES)
    first = next(row for row in rows if row["part"] == "neighbour")
    assert first["sequence"] == "Even numbers, window 1" and first["neighbour"].startswith("Even numbers")


def test_it_survives_its_json_and_every_picture_is_drawn() -> None:
    found = _of("family")
    assert as_plain(from_plain(Explanation, json.loads(json.dumps(as_plain(found))))) == as_plain(found)
    assert np.array(found.counts).sum() == len(SEQUENCES) and found.matched == 1.0
    for theme in ("light", "dark"):
        for figure in (
            agreement_figure(found, theme=theme),
            shares_figure(found, theme=theme),
            confusion_figure(found, SEQUENCES, theme=theme),
            tree_figure(found, SEQUENCES, theme=theme),
            similarity_figure(found, SEQUENCES, found.order, theme=theme),
        ):
            assert figure.data and "#00000" not in figure.to_json()
    heat = similarity_figure(found, SEQUENCES, found.order).data[0]
    assert np.allclose(np.diag(np.array(heat.z)), 1, atol=1e-3)


@pytest.fixture
def stores(settings: Settings) -> Iterator[tuple[VectorStore, ResultStore]]:
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        yield vectors, results


@pytest.mark.slow
def test_a_run_explains_every_model_and_keeps_it(stores: tuple[VectorStore, ResultStore], settings: Settings) -> None:
    vectors, results = stores
    study = paper_study("last_digits", "log_magnitude")
    outcome = run(study, vectors=vectors, results=results, loaded=LoadedModel(OFFLINE), settings=settings)
    digits, sizes = (stored_explanation(study, result.model, results) for result in outcome.results)
    assert digits is not None and sizes is not None
    assert {one.attribute for one in digits.agreements[:2]} & {"family", "last_digits", "odd_share"}
    assert sizes.agreements[0].attribute in ("magnitude", "string_length", "window", "growth")


@pytest.mark.slow
def test_many_sequences_are_not_explained_one_by_one(
    stores: tuple[VectorStore, ResultStore], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numembed.runs.model_run.LARGEST", 9)
    vectors, results = stores
    study = replace(paper_study("string_length"), families=("even",), per_family=10, length=2)
    outcome = run(study, vectors=vectors, results=results, loaded=LoadedModel(OFFLINE), settings=settings)
    assert stored_explanation(study, outcome.results[0].model, results) is None


@pytest.mark.slow
def test_the_bundled_model_follows_the_window(stores: tuple[VectorStore, ResultStore], settings: Settings) -> None:
    vectors, results = stores
    study = paper_study("all-MiniLM-L6-v2")
    (result,) = run(study, vectors=vectors, results=results, loaded=LoadedModel(OFFLINE), settings=settings).results
    found = stored_explanation(study, result.model, results)
    assert found is not None
    by_name = {one.attribute: one.ari for one in found.agreements}
    assert by_name["window"] == pytest.approx(0.33, abs=0.05) and by_name["family"] == pytest.approx(-0.09, abs=0.05)
    shares = {share.name: share.share for share in found.shares}
    assert shares["family"] == pytest.approx(0.19, abs=0.03) and shares["window"] == pytest.approx(0.30, abs=0.03)
    told = sentence_of("it", found)
    assert (
        told.startswith("The groups that KMeans finds in it follow ")
        and "the window " in told.split("With the families")[0]
        and "With the families they agree no better than chance" in told
    )
    assert "token_count" in by_name
    assert shares_sentence(found).startswith(
        "The window explains more of the variance than chance; for the family this was not seen"
    )
    assert (
        "46% of the nearest neighbours are of the same window; not significantly more than by chance (22%"
        in nearest_sentence(found)
    )
    assert "not significantly more than by chance" in nearest_sentence(found) and "may be chance" in tree_sentence(
        found, study.sequences
    )
