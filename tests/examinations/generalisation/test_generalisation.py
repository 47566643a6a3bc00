"""Generalisation: from planted vectors on a bench to whole runs of real models."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import streamlit  # noqa: F401  sets Plotly's default template to placeholder colours, as in the app

from numembed.analysis.scores import score_all
from numembed.core.arrays import Matrix
from numembed.core.errors import Cancelled, TooLarge
from numembed.core.serialization import as_plain, from_plain
from numembed.core.settings import Settings
from numembed.core.significance import holm
from numembed.examinations.generalisation.compute import (
    far_sequences,
    far_windows,
    generalisation,
    near_windows,
    rivals_of,
    single_attributes,
    unseen_families,
)
from numembed.examinations.generalisation.result import FAR_STARTS, Generalisation, far_texts
from numembed.examinations.generalisation.text import (
    far_sentence,
    near_sentence,
    single_sentence,
    unseen_sentence,
    verdict,
)
from numembed.examinations.registry import ExaminationContext
from numembed.figures.generalisation import accuracy_figure
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel
from numembed.paper.protocol import PAPER_FAMILIES, paper_study
from numembed.runs.study_run import run
from numembed.sequences.sets import SequenceSet, make_sequences
from numembed.storage.vectors import VectorStore
from numembed.studies.results import ModelResult, ResultStore
from numembed.studies.stored import stored_examination
from numembed.studies.study import Study
from tests.offline import OFFLINE

STUDY = replace(paper_study("random_vectors"), length=10)
TEN = (*PAPER_FAMILIES, "squares", "cubes", "triangular", "fibonacci")
Vectors = Callable[[SequenceSet], Matrix]


@pytest.fixture
def store(settings: Settings) -> Iterator[ResultStore]:
    with ResultStore(settings.app_db) as results:
        yield results


def _bench(
    store: ResultStore, vectors: Vectors, study: Study = STUDY, name: str = "random_vectors"
) -> ExaminationContext:
    """A bench for planted vectors in place of a model's."""
    matrix, spec = vectors(study.sequences), model(name)
    scores, clusters = score_all(matrix, study.sequences.labels, model=spec.name)
    result = ModelResult(spec, matrix.shape[1], scores, clusters)
    return ExaminationContext(
        study, spec, result, store, OFFLINE, lambda sequences, spec: vectors(sequences), lambda done, total: None
    )


def _by_family(seed: int = 0, *, near: float = 0, far: float = 0, moved: float = 0) -> Vectors:
    """Vectors that hold the family near the beginning, far away, or there in a way of their own (``moved``)."""

    def vectors(sequences: SequenceSet) -> Matrix:
        drawn = np.random.default_rng((seed, len(sequences)))
        places, other = np.random.default_rng(seed).normal(size=(2, 40, 24))
        away = np.array([item.offset >= FAR_STARTS[0] for item in sequences.items])[:, None]
        own = np.where(
            away, far * places[sequences.labels] + moved * other[sequences.labels], near * places[sequences.labels]
        )
        return (own + drawn.normal(size=own.shape)).astype(np.float32)

    return vectors


def _words(name: str, found: Generalisation) -> str:
    told = [
        verdict(name, found),
        near_sentence(found),
        *map(far_sentence, found.far),
        *map(unseen_sentence, found.unseen),
    ]
    return " ".join([*told, single_sentence(found.single)])


@pytest.mark.slow
def test_what_was_planted_is_found_where_it_was_planted(store: ResultStore) -> None:
    both = generalisation(_bench(store, _by_family(near=4, far=4)))
    assert all(probe.value == 1 and probe.sure for probe in both.near)
    assert all(probe.value > 0.9 and probe.sure for one in both.far for probe in one.probes)
    assert verdict("It", both).startswith(
        "With It, every classifier names the families better than chance in held-out windows of the study, windows "
        "from term 1,000 on and windows from term 10,000 on."
    )
    near = generalisation(_bench(store, _by_family(near=4)))
    assert "in held-out windows of the study; for windows from term 1,000 on and windows" in verdict("It", near)


def test_the_sentences_are_made_of_the_numbers(store: ResultStore) -> None:
    found = generalisation(_bench(store, _by_family(near=4, far=4)))
    told = near_sentence(found).replace("\N{NO-BREAK SPACE}", " ")
    assert told.startswith(
        "From three windows, nearest centroid names the family of the fourth in 24 of 24 cases (100%); "
        "guessing gets 17%: better than chance (p 0.009)."
    )
    best = found.near[0]
    assert best.baseline and f"gets {100 * best.baseline_value:.0f}%. The others: nearest neighbour 100%" in told
    assert "nearest centroid names 24 of 24 cases" in far_sentence(found.far[0])


def test_p_values_are_adjusted_for_all_tests_of_their_question(store: ResultStore) -> None:
    found = generalisation(_bench(store, _by_family(near=0.6, far=0.6)))
    for probes in (found.near, [probe for one in found.far for probe in one.probes], found.unseen, found.single):
        known = [probe for probe in probes if not math.isnan(probe.p)]
        assert [probe.p_holm for probe in known] == pytest.approx(holm([probe.p for probe in known]))
    assert any(probe.p_holm > probe.p for probe in found.near)


def test_it_survives_its_json_and_every_picture_is_drawn(store: ResultStore) -> None:
    found = generalisation(_bench(store, _by_family(near=1)))
    plain = json.loads(json.dumps(as_plain(found), allow_nan=False))
    read = from_plain(Generalisation, plain)
    assert as_plain(read) == plain and _words("It", read) == _words("It", found)
    for theme in ("light", "dark"):
        for probes in (found.near, found.far[0].probes, found.unseen, found.single):
            figure = accuracy_figure([("<b>x</b>", probe) for probe in probes], theme=theme)
            text = figure.to_json()
            assert "#00000" not in text and "NaN" not in text and "<b>x" not in text
            drawn = [point for trace in figure.data if (trace.name or "").startswith("the model") for point in trace.y]
            assert len(set(drawn)) == len(drawn) == sum(not math.isnan(probe.value) for probe in probes) > 0


@pytest.mark.campaign
def test_noise_is_seldom_claimed_to_generalise() -> None:
    """Each question is asked of vectors that hold all but its answer: windows, or families that share nothing."""
    rounds, claims = 30, dict.fromkeys(("near", "unseen", "single"), 0)
    sequences = make_sequences(TEN, per_family=3, length=12)
    for seed in range(rounds):
        drawn = np.random.default_rng(seed)
        noise = drawn.normal(size=(len(sequences), 32))
        windows = (noise + 2 * drawn.normal(size=(3, 32))[sequences.windows]).astype(np.float32)
        families = (noise + 2 * drawn.normal(size=(10, 32))[sequences.labels]).astype(np.float32)
        claims["near"] += any(one.sure for one in near_windows(windows, sequences, {}, seed=seed))
        claims["unseen"] += any(one.sure for one in unseen_families(families, sequences, {}, seed=seed))
        told = single_sentence(single_attributes(windows, sequences, {}, seed=seed))
        claims["single"] += told.startswith("Predicted better than chance")
    assert max(claims.values()) <= 5, f"one in twenty by chance, and room for the luck of the draws: {claims}"


@pytest.mark.slow
@pytest.mark.parametrize(("families", "per_family"), [(TEN, 3), (PAPER_FAMILIES, 4)])
def test_knowing_the_family_alone_is_not_reported_as_knowing_its_properties(
    families: tuple[str, ...], per_family: int
) -> None:
    sequences, claims, seen = make_sequences(families, per_family=per_family, length=12), 0, 0
    for seed in range(12):
        drawn = np.random.default_rng(seed)
        places = 3 * drawn.normal(size=(len(families), 32))[sequences.labels]
        vectors = (drawn.normal(size=places.shape) + places).astype(np.float32)
        told = single_sentence(single_attributes(vectors, sequences, {}, seed=seed))
        claims += told.startswith("Predicted better than chance")
        seen += "Predicted, but perhaps only because the family is (confounded): odd, even or mixed" in told
    assert claims <= 2 and seen == 12, "one in twenty by chance, and room for the luck of 12 draws"


def test_a_property_that_unlike_families_share_is_read_off_whatever_the_family() -> None:
    sequences = make_sequences(TEN, per_family=3, length=12)
    sizes = np.array([[math.log10(1 + sum(item.terms)), 0.1] for item in sequences.items], np.float32)
    shares = np.array([[np.mean([term % 2 for term in item.terms]), 1.0] for item in sequences.items], np.float32)
    odd = next(one for one in single_attributes(shares, sequences, {}) if one.name == "parity")
    assert odd.sure and odd.p_families <= 0.05, odd
    assert single_sentence(single_attributes(shares, sequences, {})).startswith(
        "Predicted better than chance: odd, even"
    )
    assert next(one for one in single_attributes(sizes, sequences, {}) if one.name == "magnitude").sure


@pytest.mark.slow
def test_families_that_look_otherwise_far_away_are_seldom_claimed_to_be_known_there(store: ResultStore) -> None:
    rounds, claims, single = 40, 0, []
    for seed in range(rounds):
        bench = _bench(store, _by_family(seed, near=3, moved=3))
        found = far_windows(bench, FAR_STARTS[0])
        claims += any(3 * probe.p <= 0.05 for probe in found.probes)
        single += [probe.p for probe in found.probes]
    assert claims <= 6 and np.mean(np.array(single) <= 0.05) <= 0.1 and np.mean(single) > 0.4


def test_a_family_that_ends_before_is_named_and_left_out(store: ResultStore) -> None:
    study = replace(STUDY, families=("factorials", "even", "odd", "primes", "squares"), per_family=2)
    kept, left_out, note = far_sequences(study, 10_000)
    assert kept is not None and len(kept.families) == 4 and not note
    assert left_out == (("Factorials", "later ones have more than 4,000 digits"),)
    found = far_windows(_bench(store, _by_family(near=4, far=4), study), 10_000)
    assert found.families == 4 and found.probes[0].total == 16 and found.probes[0].chance == 1 / 4
    assert "Left out: Factorials (later ones have more than 4,000 digits)." in far_sentence(found)
    assert far_texts(study) == 2 * 4 * 5


def test_far_windows_that_the_study_contains_are_not_tested(store: ResultStore) -> None:
    study = replace(STUDY, first_window=101)
    found = far_windows(_bench(store, _by_family(), study), 1_000)
    assert not found.probes
    assert "cannot be tested: they share terms with the study's own windows" in far_sentence(found)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"per_family": 1}, "needs at least 2 windows of each family"),
        ({"families": ("even",)}, "needs at least 2 families"),
        ({"families": ("even", "odd")}, "too few families to tell"),
    ],
)
def test_what_cannot_be_tested_is_said_and_never_claimed(
    store: ResultStore, change: dict[str, object], words: str
) -> None:
    study = replace(STUDY, **change)  # type: ignore[arg-type]
    found = generalisation(_bench(store, _by_family(near=4), study))
    told = _words("It", found)
    assert words in told
    for denied in ("no better than chance", "None of these is predicted better than chance"):
        told = told.replace(denied, "")
    assert "better than chance" not in told
    assert as_plain(from_plain(Generalisation, json.loads(json.dumps(as_plain(found), allow_nan=False)))) == as_plain(
        found
    )


def test_unseen_families_are_predicted_by_shared_properties_and_equal_properties_are_tested_once() -> None:
    sequences = make_sequences(TEN, per_family=3, length=30)
    (odd, *_) = unseen_families(np.zeros((30, 2), np.float32), sequences, {})
    assert odd.note == "all vectors are equal"
    shares = np.array([[np.mean([term % 2 for term in item.terms]), 1.0] for item in sequences.items], np.float32)
    odd, primes, _ = unseen_families(shares, sequences, {})
    assert odd.value > 0.7 and odd.sure and "for unseen families, the probe gets 72% right" in unseen_sentence(odd)
    paper = unseen_families(shares[:18], make_sequences(PAPER_FAMILIES, per_family=3, length=30), {})
    assert paper[1].note == "divides these families exactly as share of odd numbers does"
    assert "no other family has the class of" in unseen_sentence(paper[2]) or "all families" in unseen_sentence(
        paper[2]
    )
    assert primes.name == "prime_share"


def test_the_best_simple_count_is_never_the_model_itself(store: ResultStore) -> None:
    bench = _bench(store, _by_family(), name="last_digits")
    assert "last_digits" not in rivals_of(bench, STUDY.sequences) and "random_vectors" not in rivals_of(
        bench, STUDY.sequences
    )


@pytest.mark.slow
def test_too_many_sequences_are_refused_and_a_cancel_stops_it(store: ResultStore) -> None:
    many = replace(STUDY, families=("even", "odd"), per_family=251, length=2)
    with pytest.raises(TooLarge, match="Up to 500 sequences are probed, got 502"):
        generalisation(_bench(store, _by_family(), many))

    def cancel(done: int, total: int) -> None:
        if done == 2:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        generalisation(replace(_bench(store, _by_family()), progress=cancel))


@pytest.mark.slow
def test_the_bundled_model_names_five_of_24_and_counting_last_digits_many(settings: Settings) -> None:
    study = replace(paper_study("all-MiniLM-L6-v2", "last_digits"), examine=("probes",))
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        outcome = run(study, vectors=vectors, results=results, loaded=LoadedModel(OFFLINE), settings=settings)
        assert not outcome.errors
        plain = [stored_examination(study, one.model, "probes", results) for one in outcome.results]
    minilm, digits = (from_plain(Generalisation, one) for one in plain if one is not None)
    centroid = minilm.near[0]
    assert (centroid.name, centroid.right, centroid.total) == ("nearest_centroid", 5, 24)  # .21, chance .17
    assert not centroid.sure and centroid.p == pytest.approx(0.39, abs=0.05)
    assert centroid.baseline == "last_digits" and centroid.baseline_value == digits.near[0].value == 20 / 24
    assert "5 of 24 cases (21%)" in near_sentence(minilm)
    assert "; for held-out windows of the study and windows from term 10,000 on this was not seen" in verdict(
        "It", minilm
    )
    assert all(probe.sure for one in digits.far for probe in one.probes)
    magnitude = next(probe for probe in minilm.single if probe.name == "magnitude")
    assert magnitude.sure and magnitude.value > 0.75
