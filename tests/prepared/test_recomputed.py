"""Parts of what comes with the program, computed again on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from numembed.core.settings import Settings, read_settings
from numembed.examinations.registry import answers
from numembed.merge_experiment.experiment import stored_experiment
from numembed.models.baselines import BASELINES
from numembed.models.encoders.loaded import LoadedModel
from numembed.paper.protocol import paper_study
from numembed.prepared import PREPARED
from numembed.prepared.contents import BASES, usual_experiment
from numembed.runs.study_run import run
from numembed.storage.bundle import Bundle
from numembed.storage.vectors import VectorStore
from numembed.studies.evidence import evidence_rows
from numembed.studies.reference_scores import stored_references
from numembed.studies.results import ModelResult, ResultStore
from numembed.studies.stored import stored_results
from numembed.studies.study import Study

pytestmark = pytest.mark.slow
EXACT = ("Last digits", "Digits", "Log magnitude", "String length", "First differences")  # of whole numbers only
Rows = dict[tuple[str, str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return read_settings({**os.environ, "NUMEMBED_HOME": str(tmp_path_factory.mktemp("again"))})


@pytest.fixture(scope="module")
def study() -> Study:
    return replace(paper_study("all-MiniLM-L6-v2", "number-lm", *BASELINES.names), examine=())


@pytest.fixture(scope="module")
def prepared(settings: Settings) -> Iterator[ResultStore]:
    """What comes with the program, and nothing else."""
    with ResultStore(settings.home / "empty.db", beside=Bundle(PREPARED)) as results:
        yield results


@pytest.fixture(scope="module")
def computed(settings: Settings, study: Study) -> Iterator[ResultStore]:
    """The results of a run in a fresh home."""
    asks = replace(study, models=study.models[:1], examine=("probes",))
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        for one in (study, asks):
            outcome = run(one, vectors=vectors, results=results, loaded=LoadedModel(settings), settings=settings)
            assert not outcome.errors
        yield results


def _results(study: Study, store: ResultStore) -> list[ModelResult]:
    found = [one for one in stored_results(study, store) if one is not None]
    assert len(found) == len(study.models)
    return found


def _rows(study: Study, store: ResultStore) -> Rows:
    results = [replace(one, designs={}) for one in _results(study, store)]
    references = stored_references(study, [one.model for one in results], store)
    return {(row["model"], row["metric"], row["labels"]): row for row in evidence_rows(study, results, references)}


def test_the_scores_are_those_that_are_computed_here(
    study: Study, prepared: ResultStore, computed: ResultStore
) -> None:
    before, now = _rows(study, prepared), _rows(study, computed)
    assert set(before) == set(now)
    for place, row in now.items():
        model, _, labels = place
        if labels == "families" or model in EXACT:  # KMeans of learnt vectors differs between processors
            for column in ("value", "p", "p_within", "random_weights"):
                wide = 0.0 if model in EXACT else 0.005
                assert before[place].get(column) == pytest.approx(row.get(column), abs=wide + 1e-6), (place, column)


def test_the_answers_are_those_that_are_computed_here(
    study: Study, prepared: ResultStore, computed: ResultStore
) -> None:
    asks = replace(study, models=study.models[:1], examine=("probes",))
    (before,), (now,) = (answers(asks, _results(asks, store), store) for store in (prepared, computed))
    assert before.sentence == now.sentence and len(before.rows) == len(now.rows) > 10
    for old, new in zip(before.rows, now.rows, strict=True):
        assert old.get("value") == pytest.approx(new.get("value"), abs=0.05) and old.get("total") == new.get("total")


@pytest.mark.parametrize("base", BASES)
def test_the_experiments_begin_with_the_base_as_the_study_scores_it(base: str, prepared: ResultStore) -> None:
    found = stored_experiment(usual_experiment(base), prepared)
    assert found is not None and found.complete and not found.gaps
    (first,) = (one for one in found.candidates if one.path == "base")
    (known,) = _results(paper_study(base), prepared)
    assert first.splits["paper"].silhouette == pytest.approx(known.score("silhouette", "families").value, abs=0.005)
