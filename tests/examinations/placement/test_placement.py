"""A text of one's own: how it is read, where it is placed, and what is said if models do not agree."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from numembed.core.errors import BadChoice, NumembedError, TooLarge
from numembed.core.serialization import as_plain, from_plain
from numembed.core.settings import Settings
from numembed.examinations.placement.compute import Placement, placed, read_query
from numembed.examinations.placement.text import outlying, read_sentence, sentence_of
from numembed.examinations.registry import Answer
from numembed.models.encoders.loaded import LoadedModel
from numembed.paper.protocol import paper_study
from numembed.runs.study_run import Outcome, run
from numembed.sequences.sets import TextFormat
from numembed.storage.vectors import VectorStore
from numembed.studies.examination import EXAMINATIONS
from numembed.studies.results import ModelResult, ResultStore
from numembed.studies.stored import stored_examination
from numembed.studies.study import Study
from tests.offline import OFFLINE

STUDY = replace(paper_study("last_digits"), length=12)
FORMAT = STUDY.text_format


def _at(family: str, *, farther: int = 2, tied: tuple[str, ...] = (), note: str = "") -> Placement:
    return Placement(family, tied, 0.5, 4, farther, (0,), (0.4,), -1, note)


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("2 3 5", "2, 3, 5"),
        ("[2, 3,\n5]", "2, 3, 5"),
        ("2;3;5 …", "2, 3, 5"),
        ("1-2-3", "1, 2, 3"),
        ("1 – 2 — 3", "1, 2, 3"),
        ("-1, −2, 3", "-1, -2, 3"),
        ("007", "7"),
        ("2 and 3", None),
        ("3.14, 2.71", None),
        (".5", None),
        ("1e5", None),
        ("🐍🐍", None),
        ("٣, ٤", None),
        ("$2$", None),
        ("<2> <3>", "2, 3"),
    ],
)
def test_numbers_are_put_into_the_studys_format_and_other_texts_stay(typed: str, text: str | None) -> None:
    found = read_query(typed, FORMAT)
    assert (found.text, bool(found.numbers)) == ((text, True) if text else (typed.strip(), False))


@pytest.mark.parametrize(
    ("typed", "error", "words"),
    [
        ("", BadChoice, "nothing to place yet. Type a sequence"),
        (" \n\t", BadChoice, "nothing to place yet"),
        ("7, " * 3_334, TooLarge, "at most 2,000 characters, got 10,001; shorten"),
        ("\ud800", BadChoice, "contains invalid characters"),
    ],
)
def test_what_cannot_be_placed_is_one_sentence(typed: str, error: type[NumembedError], words: str) -> None:
    with pytest.raises(error, match=words):
        read_query(typed, FORMAT)


def test_it_is_said_how_a_text_is_read() -> None:
    told = read_sentence(read_query("2 3 5", FORMAT), STUDY)
    assert told == (
        "Read as 3 whole numbers, in the format of the sequences. The sequences here have 12: a part of every distance "
        "may be the length."
    )
    assert "unchanged" in read_sentence(read_query("two, three", FORMAT), STUDY)
    short = read_query("11 22 33 44", TextFormat(", ", 6))
    assert short.text == "11, 22" and "2 more did not fit" in read_sentence(short, STUDY)
    assert "may be the length" not in read_sentence(read_query(STUDY.sequences.texts[0], FORMAT), STUDY)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (
            [("a", False, _at("primes")), ("b", False, _at("primes", farther=0)), ("c", False, _at("even"))],
            "2 of 3 models put it with Primes, in 1 of these within the reach of its own sequences.",
        ),
        (
            [("a", False, _at("primes")), ("b", False, _at("even"))],
            "The models do not agree: 1 with Primes, 1 with Even numbers.",
        ),
        ([("a", False, _at("primes"))], "a puts it with Primes, within the reach of its own sequences."),
        ([("a", False, _at("primes", farther=0))], "a puts it with Primes, farther out than all of its own sequences."),
        ([("a", False, _at("primes", farther=0, note="the family has one sequence"))], "a puts it with Primes."),
        ([("a", False, _at("primes", tied=("even",)))], "No model can tell one family from another here."),
        (
            [("a", False, _at("primes")), ("b", True, _at("even")), ("c", True, _at("", note="nothing"))],
            "a puts it with Primes, within the reach of its own sequences. 1 of 2 baselines puts it with Even numbers.",
        ),
        ([], ""),
    ],
)
def test_the_sentence_counts_models_apart_from_baselines(found: list[tuple[str, bool, Placement]], told: str) -> None:
    assert sentence_of(found) == told


def test_a_member_left_out_is_placed_in_its_family_and_a_stranger_outside() -> None:
    drawn = np.random.default_rng(0)
    matrix = (6 * np.eye(6, 8)[STUDY.sequences.labels] + drawn.normal(0, 0.3, (24, 8))).astype(np.float32)
    query = read_query(STUDY.sequences.texts[5], FORMAT)
    found = placed(np.vstack([matrix, matrix[5]]), query, STUDY)
    assert found.same_text == 5 and found.family == STUDY.sequences.families[1] and found.members == 3
    assert 5 not in found.nearest and len(found.nearest) == 5 and found.distance > 0
    away = placed(np.vstack([matrix, 100 * np.ones((1, 8), np.float32)]), read_query("1", FORMAT), STUDY)
    assert not away.inside and outlying(away) == "farther out than all 4" and away.same_text == -1
    assert from_plain(Placement, json.loads(json.dumps(as_plain(away), allow_nan=False))) == away


def test_members_lie_farther_out_as_often_as_they_should() -> None:
    inside = []
    for seed in range(400):
        matrix = np.random.default_rng(seed).standard_normal((25, 6)).astype(np.float32)
        study = replace(STUDY, families=("even",), per_family=24)
        inside.append(placed(matrix, read_query("1", FORMAT), study).inside)
    assert np.mean(inside) == pytest.approx(24 / 25, abs=0.03)


def test_a_baseline_that_finds_nothing_says_so() -> None:
    matrix = np.vstack([np.ones((24, 4)), np.zeros((1, 4))]).astype(np.float32)
    found = placed(matrix, read_query("🐍", FORMAT), STUDY, is_baseline=True)
    assert found.family == "" and "finds nothing in the text" in found.note and math.isnan(found.distance)
    result = ModelResult(STUDY.models[0], 4, (), np.zeros(24, dtype=np.int64))
    answer = Answer(EXAMINATIONS["landing"], replace(STUDY, query="🐍"), result, found)
    assert answer.rows[0]["distance"] is None


def _run(study: Study, settings: Settings) -> tuple[Outcome, list[Placement]]:
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        outcome = run(study, vectors=vectors, results=results, loaded=LoadedModel(OFFLINE), settings=settings)
        kept = [stored_examination(study, result.model, "landing", results) for result in outcome.results]
    return outcome, [from_plain(Placement, plain) for plain in kept if plain is not None]


@pytest.mark.slow
def test_a_run_places_one_text_in_every_model(settings: Settings) -> None:
    study = replace(
        paper_study("last_digits", "first_differences", "char_ngrams", "random_vectors"),
        length=12,
        examine=("landing",),
        query="101 103 105 107 109 111 113 115 117 119 121 123",
    )
    outcome, found = _run(study, settings)
    assert not outcome.errors and len(found) == 4
    assert found[0].family == "odd" and "odd" in (found[1].family, *found[1].tied)
    assert all(len(one.nearest) == 5 for one in found)


@pytest.mark.slow
@pytest.mark.parametrize("query", ["", "🐍", "-5 -6 " * 300])
def test_no_query_breaks_a_run(settings: Settings, query: str) -> None:
    study = replace(
        paper_study("last_digits", "string_length"), families=("even", "primes"), examine=("landing",), query=query
    )
    outcome, found = _run(study, settings)
    if query:
        assert not outcome.errors and len(found) == 2
    else:
        assert all("Type a sequence" in error for error in outcome.errors.values()) and len(outcome.errors) == 2


@pytest.mark.slow
def test_the_bundled_model_encodes_the_query_alone(settings: Settings) -> None:
    study = replace(paper_study("all-MiniLM-L6-v2"), examine=("landing",), query="2 4 6 8 10 12 14 16 18 20")
    _, (found,) = _run(study, settings)
    with VectorStore(settings.cache_db) as vectors:
        before = sum(stored.vectors for stored in vectors.models())
    _run(replace(study, query="3 5 7"), settings)
    with VectorStore(settings.cache_db) as vectors:
        assert sum(stored.vectors for stored in vectors.models()) == before + 1
    assert found.family in study.sequences.families and found.distance > 0
    _, (same,) = _run(replace(study, query=study.sequences.texts[0]), settings)
    assert same.same_text == 0 and 0 not in same.nearest
