"""Retention is measured on texts that the base tells apart; where there are none, none is shown."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from numembed.cli.merge import _comparison_rows
from numembed.core.settings import Settings, read_settings
from numembed.merge_experiment.comparisons import comparisons_of
from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment, experiment_key
from numembed.merge_experiment.reference import comparisons_by_sentences, reference_of
from numembed.merge_experiment.results import LEAST_SPREAD, Reference, undefined
from numembed.merge_experiment.run import run_experiment
from numembed.merge_experiment.save_model import card_of
from numembed.merge_experiment.text import verdict
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel
from numembed.sequences.number_texts import number_texts
from numembed.sequences.sets import SequenceSet
from numembed.sequences.splits import Split, split_called
from numembed.storage.vectors import VectorStore
from numembed.studies.results import ResultStore
from tests.merge_experiment.bases import RECIPE
from tests.merge_experiment.made import made_result

SAYS = "this model does not tell these texts apart"
LADDER = MergeExperiment(model("number-lm"), replace(RECIPE, stages=1, rank=8, learning_rate=2e-2), ("lora", "soup"), 3)


# what is measured on


def _read(matrix: np.ndarray) -> Reference:
    free = number_texts(split_called("others"))
    return reference_of(matrix, free, lambda texts: np.random.default_rng(1).standard_normal((len(texts), 8)))


def _nearly_equal(size: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (np.ones((120, 8)) + size * rng.standard_normal((120, 8))).astype(np.float32)


def test_sentences_serve_where_their_cosines_spread_enough() -> None:
    found = _read(_nearly_equal(0.05))
    assert found.kind == "sentences" and found.sentences > LEAST_SPREAD and found.texts == 120
    assert found.note == "" and not found.families


def test_number_texts_serve_where_the_sentences_are_all_alike() -> None:
    found = _read(_nearly_equal(1e-3))
    assert found.kind == "numbers" and 0 < found.sentences < LEAST_SPREAD < found.numbers
    assert SAYS in found.note and "120 number texts of 23 other families" in found.note


def test_nothing_serves_where_the_model_tells_no_texts_apart() -> None:
    free = number_texts(split_called("others"))
    found = reference_of(_nearly_equal(0), free, lambda texts: _nearly_equal(0))
    assert found.kind == "none" and SAYS in found.note and "No retention is shown" in found.note


def test_without_retention_nothing_is_compared_and_the_verdict_says_why() -> None:
    made = made_result()
    candidates = tuple(
        replace(one, retention=undefined(one.retention), spoken=one.retention) for one in made.candidates
    )
    blind = replace(made, candidates=candidates, reference=Reference("none", 1e-7, 1e-6, 120))
    blind = replace(blind, comparisons=comparisons_of(blind))
    assert blind.comparisons and all(math.isnan(one.difference) for one in blind.comparisons)
    assert all("cannot be compared at equal retention" in one.sentence for one in blind.comparisons)
    first, *_ = verdict(blind)
    assert "No retention is shown" in first and "nan" not in first and "–" not in first
    row = blind.candidates[3].as_row()
    assert row["retention"] is None and row["tells sentences apart"] is False
    assert row["spearman"] == made.candidates[3].retention.spearman, "what was measured stays in its own field"
    rows = [one["comparison"] for one in _comparison_rows(blind)]
    assert rows and all(one["own"]["difference"] is None for one in rows)
    again = ExperimentResult.from_json(blind.as_json())
    assert again.as_json() == blind.as_json()


# results of earlier versions


def _of_earlier_version(result: ExperimentResult, **retention: float) -> ExperimentResult:
    """Return a result as an earlier version stored it: retention by sentences, without a word on that."""
    plain = comparisons_by_sentences(result)
    candidates = tuple(
        replace(one, retention=replace(one.spoken or one.retention, **retention), spoken=None)
        for one in result.candidates
    )
    return replace(result, candidates=candidates, comparisons=plain, reference=None)


def test_stored_retention_is_kept_where_a_margin_proves_that_sentences_are_told_apart() -> None:
    old = _of_earlier_version(made_result(), margin=0.0016)
    assert ExperimentResult.from_json(old.as_json()).as_json() == old.as_json()


def test_stored_retention_is_not_served_where_nothing_proves_it() -> None:
    old = _of_earlier_version(made_result(), margin=-7e-10)
    sentence = "The similarities of ordinary sentences correlate with the base's at 0.97 (retention, Spearman)."
    old = replace(old, sentences=(sentence, "The rest.", old.comparisons[0].sentence))
    redrawn = "On the same windows, both differ by 0.010 ± 0.020. Their retention is 0.97 and 1.00."
    found = ExperimentResult.from_json(replace(old, redrawn_sentences=(redrawn,)).as_json())
    assert all(math.isnan(one.retention.spearman) and one.spoken is not None for one in found.candidates)
    assert found.comparisons == () and found.sentences == ("The rest.",)
    assert found.redrawn_sentences == ("On the same windows, both differ by 0.010 ± 0.020.",)
    assert found.measured_on.kind == "unmeasured" and SAYS in found.measured_on.note


# the built-in decoder, which reads numbers only


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return read_settings({"NUMEMBED_HOME": str(tmp_path_factory.mktemp("numbers")), "HF_HUB_OFFLINE": "1"})


def _run(settings: Settings) -> ExperimentResult:
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        return run_experiment(LADDER, vectors=vectors, results=results, loaded=LoadedModel(settings), settings=settings)


@pytest.fixture(scope="module")
def found(settings: Settings) -> ExperimentResult:
    return _run(settings)


@pytest.mark.slow
def test_number_lm_is_measured_on_number_texts(found: ExperimentResult, settings: Settings) -> None:
    texts, free = found.measured_on, number_texts(LADDER.recipe.split)
    assert texts.kind == "numbers" and texts.sentences < 1e-5 and texts.numbers > 1e-2
    assert texts.families == free.families and texts.texts == 120
    base, adapted = found.base_candidate, found.path("lora-0")[-1]
    assert base is not None and base.retention.spearman == pytest.approx(1) and base.retention.lm_loss
    assert 0 < adapted.retention.spearman < 0.9999 and adapted.retention.low < adapted.retention.spearman
    assert adapted.spoken is not None and adapted.spoken.spearman != adapted.retention.spearman
    assert math.isnan(adapted.retention.margin) and math.isnan(adapted.retention.graded)
    assert "The similarities of 120 number texts of other families correlate" in found.sentences[0]
    card = card_of("mine", found, adapted, settings)
    assert texts.note in card and "paraphrases" not in card and "squares" in card
    row = adapted.as_row()
    assert row["retention"] == adapted.retention.spearman and row["spearman"] == adapted.spoken.spearman
    with VectorStore(settings.cache_db) as vectors:
        assert not vectors.read(found.base.stored.key, free.texts)[1].any(), "they are read once, and not stored"


@pytest.mark.slow
def test_an_earlier_experiment_has_only_its_retention_measured_anew(
    found: ExperimentResult, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = _of_earlier_version(found).as_json()
    with ResultStore(settings.app_db) as results:
        results.put(experiment_key(LADDER), old)

    def refuse(*arguments: object) -> None:
        raise AssertionError("texts were encoded although their vectors are stored")

    monkeypatch.setattr(VectorStore, "add", refuse)
    again = _run(settings)
    assert again.as_json() == found.as_json()


def test_a_split_of_ones_own_has_number_texts_too() -> None:
    free = number_texts(Split(training=("squares", "cubes"), new=("triangular", "evil")))
    assert isinstance(free, SequenceSet) and not {"squares", "cubes", "evil"} & set(free.families)
