"""What a score is held against: every trivial baseline, and the same architecture with random weights."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path

import pytest

from numembed.analysis.scores import SILHOUETTE, ScoreKind
from numembed.core.serialization import as_plain
from numembed.core.settings import Settings
from numembed.export import scores_csv
from numembed.models.baselines import BASELINES
from numembed.models.catalogue.names import model, random_init
from numembed.models.encoders import encoder as encoders
from numembed.models.encoders.loaded import LoadedModel
from numembed.paper.protocol import paper_study
from numembed.runs.study_run import Outcome, run
from numembed.storage.vectors import VectorStore
from numembed.studies.evidence import best_baseline, evidence_of, evidence_rows
from numembed.studies.reference_scores import ReferenceScores, stored_references
from numembed.studies.results import ResultStore
from numembed.studies.study import Study
from tests.offline import OFFLINE


def carry_out(study: Study, settings: Settings) -> Outcome:
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        return run(study, vectors=vectors, results=results, loaded=LoadedModel(OFFLINE), settings=settings)


def _study(*models: str) -> Study:
    return Study(("even", "odd", "primes"), tuple(map(model, models)), per_family=3, length=10)


@pytest.mark.slow
def test_every_baseline_is_known_though_none_was_chosen(settings: Settings, tiny_model: Path) -> None:
    study = _study(str(tiny_model))
    outcome = carry_out(study, settings)
    assert set(outcome.references.baselines) == {entry.title for entry in BASELINES if not entry.facts.get("chance")}
    best = best_baseline(outcome.results, outcome.references)
    assert best is not None and best[1] == max(
        scores[SILHOUETTE] for scores in outcome.references.baselines.values() if not math.isnan(scores[SILHOUETTE])
    )
    (evidence,) = evidence_of(outcome.results, outcome.references)
    assert evidence.best_baseline_value == best[1] and evidence.gain == pytest.approx(evidence.value - best[1])
    with ResultStore(settings.app_db) as results:
        assert stored_references(study, [outcome.results[0].model], results) == outcome.references


def test_the_best_davies_bouldin_is_the_lowest() -> None:
    score = ScoreKind("davies_bouldin", "families")
    references = ReferenceScores({"a": {score: 2.0}, "b": {score: 1.0}})
    assert references.best(score) == ("b", 1.0)
    assert ReferenceScores({"a": {SILHOUETTE: math.nan}}).best() is None


@pytest.mark.slow
def test_random_weights_score_as_the_model_of_that_name(settings: Settings, tiny_model: Path) -> None:
    outcome = carry_out(_study(str(tiny_model)), settings)
    twin = random_init(outcome.results[0].model)
    assert twin is not None and outcome.references.random_weights_score("tiny") is not None
    own = carry_out(_study(f"{tiny_model} weights=random"), settings).results[0]
    assert own.model.name == twin.name == "tiny weights=random"
    for score in own.scores:
        assert outcome.references.random_weights_score("tiny", score.kind) == pytest.approx(score.value, nan_ok=True)
    assert outcome.references.random_weights_score("tiny") != outcome.results[0].score("silhouette", "families").value


@pytest.mark.slow
def test_a_study_is_answered_where_random_weights_cannot_be_made(
    settings: Settings, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = encoders.load

    def failing(spec: object, *given: object, **named: object) -> object:
        if "random" in spec.name:  # type: ignore[attr-defined]
            raise encoders.TooLarge("no room for a second one")
        return load(spec, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(encoders, "load", failing)
    outcome = carry_out(_study(str(tiny_model), "last_digits"), settings)
    assert outcome.errors == {} and len(outcome.results) == 2 and outcome.references.random_weights == {}


@pytest.mark.slow
def test_baselines_have_no_random_weights_and_files_name_the_reference_scores(settings: Settings) -> None:
    outcome = carry_out(paper_study("last_digits", "string_length"), settings)
    assert outcome.references.random_weights == {}
    study, scores = paper_study(), [score for result in outcome.results for score in result.scores]
    lines = list(csv.DictReader(io.StringIO(scores_csv(study, outcome.results, outcome.references))))
    assert lines[0]["best_baseline"] == "Last digits" and float(lines[0]["best_baseline_value"]) == scores[0].value
    assert lines[0]["random_weights"] == ""
    rows = evidence_rows(study, outcome.results)
    assert [row["value"] for row in rows] == [as_plain(score)["value"] for score in scores]


@pytest.mark.slow
def test_other_sequences_have_other_reference_scores(settings: Settings) -> None:
    study = paper_study("last_digits")
    carry_out(study, settings)
    with ResultStore(settings.app_db) as results:
        assert stored_references(replace(study, length=20), [], results).baselines == {}
        assert stored_references(replace(study, distance="cosine"), [], results).baselines == {}
        assert stored_references(study, [], results).best() == ("Last digits", pytest.approx(0.645, abs=0.001))
