"""Stress tests: known answers with real baselines, honest words on noise, and no perturbation that stops the others."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit  # noqa: F401  sets Plotly's default template to placeholder colours, as in the app

from numembed.analysis.labels import kmeans
from numembed.core.arrays import Matrix
from numembed.core.errors import TooLarge
from numembed.core.serialization import as_plain, from_plain
from numembed.core.settings import Settings
from numembed.examinations.registry import ExaminationContext
from numembed.examinations.stress.compute import Stress, TrialResult, stress, texts_of, variant_of
from numembed.examinations.stress.text import (
    above_chance,
    destroyed,
    displacement_sentence,
    doing,
    effect_of,
    evidence,
    headline,
    leader,
    rows_of,
    sentence_of,
    sure,
)
from numembed.examinations.stress.together import p_page, plain_seen, told
from numembed.figures.stress import displacement_figure, tornado_figure
from numembed.models.baselines import BASELINES
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.spec import BaselineWeights, HubWeights, ModelSpec
from numembed.paper.protocol import paper_study
from numembed.runs.study_run import run
from numembed.sequences.perturbations import trials as stress_reading
from numembed.sequences.perturbations.terms import PERTURBATIONS, variants
from numembed.sequences.sets import SequenceSet
from numembed.storage.vectors import VectorStore
from numembed.studies.keys import examined_key
from numembed.studies.results import ModelResult, ResultStore
from numembed.studies.study import Study
from tests.offline import OFFLINE

EVERY = [(entry.name, options) for entry in PERTURBATIONS for options in variants(entry.name)]
NOISE = ModelSpec("noise", HubWeights("somebody/noise", "0" * 40))
Read = Callable[[SequenceSet, ModelSpec], Matrix]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[VectorStore, ResultStore, Settings]]:
    settings = replace(OFFLINE, home=tmp_path_factory.mktemp("home"))
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        yield vectors, results, settings


def _answers(stores: tuple[VectorStore, ResultStore, Settings], study: Study) -> list[dict[str, Any]]:
    vectors, results, settings = stores
    asked = replace(study, examine=("stress",))
    outcome = run(asked, vectors=vectors, results=results, loaded=LoadedModel(OFFLINE), settings=settings)
    assert not outcome.errors
    found = [results.get(examined_key(asked, result.model, "stress")) for result in outcome.results]
    return [one for one in found if one is not None]


def _one(found: Stress, name: str, **options: Any) -> TrialResult:
    return next(one for one in found.tried if one.perturbation == name and (not options or one.options == options))


def _bench(study: Study, read: Read) -> ExaminationContext:
    """A bench whose vectors come from ``read``."""
    matrix = read(study.plain_sequences, study.models[0])
    result = ModelResult(study.models[0], matrix.shape[1], (), kmeans(matrix, study.sequences.labels, seed=0))
    nothing: Any = None
    return ExaminationContext(study, study.models[0], result, nothing, OFFLINE, read, lambda done, total: None)


@pytest.fixture(scope="module")
def answers() -> dict[str, dict[str, Any]]:
    """What the stress tests find about four baselines."""
    names = ("last_digits", "first_differences", "random_vectors", "char_ngrams")
    return {name: as_plain(stress(_bench(paper_study(name), _baseline))) for name in names}


def _baseline(sequences: SequenceSet, spec: ModelSpec) -> Matrix:
    assert isinstance(spec.weights, BaselineWeights)
    return BASELINES[spec.weights.name].function(sequences.texts)


def _noise(seed: int) -> Read:
    """Vectors drawn from the text, a prompt and a seed: a model that reads nothing."""

    def read(sequences: SequenceSet, spec: ModelSpec) -> Matrix:
        digests = [hashlib.sha256(f"{seed} {spec.prompt} {text}".encode()).digest() for text in sequences.texts]
        rows = [np.random.default_rng(int.from_bytes(digest[:8], "big")).standard_normal(8) for digest in digests]
        return np.asarray(rows, dtype=np.float32)

    return read


@pytest.mark.slow
def test_every_variant_has_its_row_and_survives_json(answers: dict[str, dict[str, Any]]) -> None:
    for found in answers.values():
        assert [(one["perturbation"], one["options"]) for one in found["tried"]] == EVERY
        again = json.loads(json.dumps(found, allow_nan=False))
        assert as_plain(from_plain(Stress, again)) == found
        rows = rows_of(from_plain(Stress, again))
        assert len(rows) == len(EVERY) and len({tuple(row) for row in rows}) == 1
        assert all(row["value"] is not None or row["note"] for row in rows)
        assert all(row["meaning"].startswith("If the score") and row["title"] for row in rows)


@pytest.mark.slow
def test_removing_the_last_digit_destroys_all_that_the_last_digit_baseline_has(
    answers: dict[str, dict[str, Any]],
) -> None:
    found = from_plain(Stress, answers["last_digits"])
    removed = _one(found, "last_digit_removed")
    assert found.plain.value == pytest.approx(0.645, abs=0.002) and removed.value == pytest.approx(-0.178, abs=0.02)
    assert removed.p_holm is not None and removed.p_holm <= 0.001
    share = destroyed(found, removed)
    assert share is not None and share >= 0.9
    assert effect_of(found, removed).startswith(
        "Removing the last digit destroys all of the score, at least "
    ) and effect_of(found, removed).split(" of it")[1].startswith(
        ": the model uses last digits. The silhouette goes from 0.64 to −0.18, a change of −0.82"
    )
    assert re.match(
        r"(Mask|Remov)ing the last digit destroys all of the score, at least \d\d% of it: the model uses",
        headline(found),
    )
    low = removed.low or 0
    unsure = replace(removed, high=-0.2)
    assert "destroys 91% of the score (95% interval 2" in effect_of(found, unsure) and low < -0.7
    shuffled = _one(found, "order_shuffled")
    assert (shuffled.change, shuffled.drift) == (0.0, 0.0)
    assert effect_of(found, shuffled) == "Shuffling the order changes nothing: every vector stays the same."
    assert effect_of(found, _one(found, "number_words")) == "The score is undefined: all vectors are equal."


@pytest.mark.slow
def test_the_order_is_what_differences_are_made_of(answers: dict[str, dict[str, Any]]) -> None:
    found = from_plain(Stress, answers["first_differences"])
    first = leader(found)
    assert first is not None and first.perturbation == "order_shuffled"
    assert re.match(r"Shuffling the order destroys (7|8|9)\d% of the score \(95% interval", headline(found))
    assert "%): it lies in how one number follows another" in headline(found)
    few, many = (_one(found, "corrupted", share=share) for share in (0.02, 0.5))
    assert few.change is not None and many.change is not None and many.change < few.change < 0
    assert sure(few) and "does not change the score significantly when all changes are judged together" in effect_of(
        found, few
    ), "its interval alone leaves out 0"
    assert "reads" not in effect_of(found, few), "a little is no proof of what is read"


def test_random_vectors_are_credited_with_nothing(answers: dict[str, dict[str, Any]]) -> None:
    found = from_plain(Stress, answers["random_vectors"])
    assert headline(found) == (
        "The score is no better than chance before anything is changed, so there is little to lose. "
        "Apart from changes that make texts equal, none raises it significantly."
    )
    hidden = replace(found, plain=replace(found.plain, p_within=0.0004))
    assert headline(hidden).startswith(
        "Over all windows the score is no better than chance before anything is changed (within windows p < 0.001), so "
    )
    digits = _one(found, "last_digits_only")  # texts of different windows become equal, and so do their vectors
    assert digits.change is not None and digits.change > 0.3 and digits.repeated >= 5
    assert "says little" in effect_of(found, digits)
    assert "were not distinguished" in effect_of(found, _one(found, "primes_or_not"))
    assert _one(found, "primes_or_not").change is None
    far = _one(found, "brackets").ratio
    assert far == pytest.approx(1.0, abs=0.1), "unrelated vectors lie as far apart as relatives"


def test_the_sentence_on_distances_names_what_the_picture_shows_at_its_ends(answers: dict[str, dict[str, Any]]) -> None:
    found = next(found for one in answers.values() if len((found := from_plain(Stress, one)).farthest) > 3)
    rows = displacement_figure(found).layout.yaxis.categoryarray
    least, *_, most = found.farthest
    assert len(rows) == len(found.farthest) == len({one.perturbation for one in found.farthest})
    assert (rows[0], rows[-1]) == tuple(PERTURBATIONS[one.perturbation].title for one in (least, most))
    words = displacement_sentence(found)
    assert words.startswith(doing(most)) and doing(least)[1:] in words and f"of {len(rows)} kinds of change" in words
    for one in found.tried:
        related = [other.ratio or 0 for other in found.farthest if other.perturbation == one.perturbation]
        assert (one.ratio or 0) <= max(related, default=0.005)


def test_a_baseline_without_prompts_or_distances_says_so(answers: dict[str, dict[str, Any]]) -> None:
    found = from_plain(Stress, answers["char_ngrams"])
    for name in ("prompt", "precision"):
        assert "takes no prompt" in effect_of(found, _one(found, name)) and _one(found, name).value is None
    assert {one.drift for one in found.tried} == {None}  # its vectors depend on all texts of a set
    assert displacement_sentence(found).startswith("No distance can be given")
    assert not displacement_figure(found).data
    same = _one(found, "distance", distance="euclidean")
    assert (
        same.same
        and same.change == 0
        and effect_of(found, same) == "Nothing changes: the texts already have this form."
    )


def test_the_seed_of_kmeans_moves_the_score_of_the_clusters(answers: dict[str, dict[str, Any]]) -> None:
    found = from_plain(Stress, answers["random_vectors"])
    seeds = [one for one in found.tried if one.perturbation == "kmeans_seed"]
    assert len(seeds) == 19 and all(one.low is None and one.p is None for one in seeds)
    assert all(one.value == pytest.approx((found.plain.kmeans or 0) + (one.change or 0)) for one in seeds)
    assert re.match(
        r"With 19 seeds the silhouette of the KMeans clusters lies between \S+ and", effect_of(found, seeds[0])
    )


def test_pictures_are_drawn_for_both_themes(answers: dict[str, dict[str, Any]]) -> None:
    for plain in answers.values():
        found = from_plain(Stress, plain)
        for theme in ("light", "dark"):
            figure = tornado_figure(found, theme=theme)
            assert figure.data and "#00000" not in figure.to_json()
            assert "#00000" not in displacement_figure(found, theme=theme).to_json()
    found = from_plain(Stress, answers["last_digits"])
    figure = tornado_figure(found)
    assert figure.layout.yaxis.categoryarray[-1] == "Last digit masked"  # the largest on top
    assert figure.layout.annotations[0].text == "at chance"
    drawn = {title for trace in figure.data for title in trace.y}
    assert {"Last digit removed", "First term moved", "KMeans seed"} <= drawn
    assert drawn.isdisjoint({"Number words", "Primes or pseudo-primes", "Prompt"})


def test_variants_are_named_in_a_few_words() -> None:
    named = [variant_of(TrialResult(name, options)) for name, options in EVERY]
    assert {"space", "[]", "base 16", "2%", "at term 500", "5 terms", "seed 19", "“query: ”", "int8"} <= set(named)
    assert all(name == "" or options for name, (_, options) in zip(named, EVERY, strict=True))


@pytest.mark.slow
def test_noise_is_claimed_to_be_moved_by_nothing() -> None:
    study = replace(paper_study("last_digits"), models=(NOISE,), length=20)
    claims, told_of_chance = [], 0
    for seed in range(12):
        found = stress(_bench(study, _noise(seed)))
        claims.append(leader(found) is not None)
        if not above_chance(found.plain):
            told_of_chance += 1
            assert "little to lose" in headline(found)
            assert not any("of the score" in effect_of(found, one) for one in found.tried)
    assert sum(claims) <= 2 and told_of_chance >= 9  # one in twenty at most, and room for luck


def test_the_claims_share_one_level(answers: dict[str, dict[str, Any]]) -> None:
    clear, noise = (from_plain(Stress, answers[name]) for name in ("last_digits", "random_vectors"))
    assert above_chance(clear.plain) and not above_chance(noise.plain)
    control = "primes_or_not"
    for found, left in ((clear, 1.0), (noise, 0.2)):
        assert above_chance(found.plain) == (found.plain.p is not None and found.plain.p <= 0.04)
        for one in found.tried:
            p, share = (one.p_chance, 0.2) if one.perturbation == control else (one.p_holm, 0.8)
            assert p_page(found, one) == (None if p is None else pytest.approx(min(1, p / (share * left))))
    edge = replace(clear, plain=replace(clear.plain, p=0.045))
    assert leader(clear) is not None and not above_chance(edge.plain)
    assert "no better than chance before" in headline(edge) and "p 0.056" in evidence(edge).replace("\xa0", " ")


def test_each_change_has_the_smallest_change_that_would_have_been_seen(answers: dict[str, dict[str, Any]]) -> None:
    found = from_plain(Stress, answers["first_differences"])
    rows = {(row["perturbation"], row["variant"]): row for row in rows_of(found)}
    for one in found.tried:
        row = rows[one.perturbation, variant_of(one)]
        if one.p is not None and one.low is not None and one.high is not None and one.high > one.low:
            assert row["smallest_seen"] > (one.high - one.low) / 2, "beyond the interval's half, as many are tested"
            assert told(found, one) or abs(one.change or 0) < 1.5 * row["smallest_seen"]
    assert (rows["primes_or_not", ""]["smallest_seen"] or 0) > (_one(found, "primes_or_not").chance or 0)
    noise = from_plain(Stress, answers["random_vectors"])
    assert re.match(
        r"This design would have seen a plain silhouette of about −?0\.\d\d \(80% power\)\.", plain_seen(noise)
    )
    assert plain_seen(found) == "" and plain_seen(replace(noise, plain=replace(noise.plain, null_sd=None))) == ""


@pytest.mark.slow
def test_one_call_reads_the_texts_of_each_prompt_and_a_text_too_long_stops_only_its_own_tests() -> None:
    study = replace(paper_study("last_digits"), models=(NOISE,), length=20)
    calls: list[tuple[str, int]] = []
    plain = _noise(0)

    def read(sequences: SequenceSet, spec: ModelSpec) -> Matrix:
        calls.append((spec.prompt, len(sequences)))
        return plain(sequences, spec)

    bench = _bench(study, read)
    calls.clear()
    stress(bench)
    assert len(calls) == len({prompt for prompt, _ in calls}) == 7
    assert calls[0][1] <= texts_of(study) - 6 * 24 and all(count == 24 for _, count in calls[1:])

    def refuse(sequences: SequenceSet, spec: ModelSpec) -> Matrix:
        if any(text.startswith("one, ") for text in sequences.texts):
            raise TooLarge("One text does not fit into the memory of this machine.")
        return plain(sequences, spec)

    found = stress(_bench(study, refuse))
    stopped = {one.perturbation for one in found.tried if one.note}
    assert stopped == {"number_words"} and "does not fit" in effect_of(found, _one(found, "number_words"))


def test_what_a_family_refuses_is_kept_with_its_sentence() -> None:
    study = Study(("factorials", "random_uniform:high=90000"), (NOISE,), per_family=3, length=10)
    found = stress(_bench(study, _noise(1)))
    notes = {variant_of(one) or one.perturbation: one.note for one in found.tried if one.note}
    assert "available up to term" in notes["at term 2,000"]
    assert len(found.tried) == len(EVERY) and found.plain.value is not None


def test_one_sequence_per_family_or_one_family_gets_a_reason_and_no_score() -> None:
    for families, per_family in ((("even", "odd", "primes"), 1), (("even",), 4)):
        study = Study(families, (NOISE,), per_family=per_family, length=10)
        found = stress(_bench(study, _noise(1)))
        assert found.plain.value is None and "needs 2 to n" in evidence(found)
        assert headline(found) == "There is no plain score to compare with."
        assert leader(found) is None and all(effect_of(found, one) for one in found.tried)
        assert tornado_figure(found) and displacement_figure(found) and displacement_sentence(found)


def test_too_many_sequences_are_refused_in_words() -> None:
    study = Study(("even", "odd"), (NOISE,), per_family=300, length=2)
    with pytest.raises(TooLarge, match="at most 500 sequences, got 600"):
        stress(_bench(study, _noise(0)))


@pytest.mark.slow
def test_redrawn_designs_repeat_every_change(stores: tuple[VectorStore, ResultStore, Settings]) -> None:
    study = replace(paper_study("last_digits", "random_vectors"), designs=5)
    digits, random = (from_plain(Stress, found) for found in _answers(stores, study))
    assert digits.designs == 5 and above_chance(digits.plain) and not above_chance(random.plain)
    removed = _one(digits, "last_digit_removed")
    assert removed.p_holm is not None and removed.p_holm <= 0.01 and "on 5 redrawn designs" in evidence(digits)
    for one in random.tried:  # the same windows in every design repeat nothing, and prove nothing
        if one.perturbation == "magnitude_matched":
            assert one.p_within is not None and one.p_within > 0.4
            assert one.low is not None and one.high is not None and one.low < 0 < one.high - 0.01
    assert "None of the changes raises it" in headline(random)


@pytest.mark.slow
def test_prompt_and_precision_change_a_real_model(
    stores: tuple[VectorStore, ResultStore, Settings], tiny_model: Path
) -> None:
    study = Study(("even", "primes", "squares"), (model(str(tiny_model)),), per_family=3, length=8)
    (found,) = (from_plain(Stress, one) for one in _answers(stores, study))
    prompts = [one for one in found.tried if one.perturbation == "prompt"]
    assert len(prompts) == 6 and all(one.ratio is not None and one.ratio > 0 for one in prompts)
    assert all(len(one.ratios) == 9 for one in prompts)
    int8, binary = (_one(found, "precision", precision=name) for name in ("int8", "binary"))
    assert abs(int8.change or 1) < 0.02 < abs(binary.change or 0) and int8.drift is None


@pytest.mark.slow
def test_of_the_bundled_model_only_the_place_of_the_windows_is_sure(
    stores: tuple[VectorStore, ResultStore, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"first_term", "magnitude_matched", "primes_or_not", "brackets", "corrupted", "last_digits_only"}
    every = stress_reading.trials
    monkeypatch.setattr(  # the others would take half a minute more
        "numembed.examinations.stress.compute.trials",
        lambda sequences, seed: tuple(trial for trial in every(sequences, seed=seed) if trial.name in asked),
    )
    (found,) = (from_plain(Stress, one) for one in _answers(stores, paper_study("all-MiniLM-L6-v2")))
    assert found.plain.value == pytest.approx(-0.092, abs=0.002) and not above_chance(found.plain)
    first = leader(found)
    raises = r"Starting the windows at term [12],000 raises it by 0.2\d?, to 0"
    assert first is None or first.perturbation == "first_term"
    said = raises if first else "(None of the changes|Apart from changes that make texts equal, none) raises it signif"
    assert re.match(rf"The score is no better than chance .* {said}", headline(found))
    assert "destroys" not in sentence_of(found).replace("little to lose", "")
    values = {start: _one(found, "first_term", start=start).value for start in (500, 1_000, 2_000)}
    assert values == pytest.approx({500: 0.015, 1_000: 0.104, 2_000: 0.107}, abs=0.005)
    matched = [one for one in found.tried if one.perturbation == "magnitude_matched"]
    assert all((one.p_within or 1) <= 0.05 < (one.p_chance or 0) for one in matched)  # known within windows only
    assert (_one(found, "primes_or_not").p_chance or 0) > 0.9
    little, some = (_one(found, name).ratio or 0 for name in ("corrupted", "brackets"))
    assert 0 < little < 0.2 < some
