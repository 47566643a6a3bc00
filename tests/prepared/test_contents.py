"""What comes with the program: complete, current, small, and never in the way of own results."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.models.spec import ScratchWeights
from numembed.paper.protocol import paper_study
from numembed.prepared import PREPARED
from numembed.prepared.contents import Noting, missing, requests
from numembed.storage.bundle import Bundle
from numembed.studies import keys
from numembed.studies.keys import distances_key, library_versions, pin_key, result_key
from numembed.studies.results import ModelResult, ResultStore
from numembed.studies.stored import stored_projection, stored_result
from numembed.studies.study import Study


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """What comes with the program."""
    return Bundle(PREPARED)


@pytest.fixture
def results(settings: Settings, bundle: Bundle) -> Iterator[Noting]:
    """The results of a home in which nothing was run."""
    with Noting(settings.app_db, beside=bundle) as store:
        yield store


@pytest.fixture
def study() -> Study:
    """The paper's study of an encoder and a language model."""
    return paper_study("all-MiniLM-L6-v2", "smollm2", "number-encoder")


def test_it_holds_exactly_what_the_present_code_looks_for(results: Noting, bundle: Bundle) -> None:
    """Where this fails, keys or what pages show have changed: python -m numembed.prepared makes it anew."""
    assert [one for request in requests() for one in missing(request, results)] == []
    assert set(dict(bundle.items())) == set(results.answers)


def test_it_says_what_it_is_and_is_small(bundle: Bundle) -> None:
    assert PREPARED.stat().st_size <= 4_000_000
    assert bundle.about.versions == library_versions()
    assert list(bundle.about.requests) == [{one.kind: one.as_dict()} for one in requests()]
    assert not any("/home/" in str(value) for _, value in bundle.items())


def test_it_shows_the_papers_question(results: Noting, study: Study) -> None:
    encoder, language_model = (stored_result(study, spec, results) for spec in study.models[:2])
    assert encoder is not None and language_model is not None
    assert _silhouette(encoder) == pytest.approx(-0.092, abs=0.005)
    assert _silhouette(language_model) == pytest.approx(0.040, abs=0.005)


def test_every_rows_distances_are_kept_in_half_precision(results: Noting, study: Study) -> None:
    stored = results.get(distances_key(study, study.models[0]))
    assert stored is not None and stored["rows"] == len(study.sequences) <= 240
    table = np.frombuffer(base64.b64decode(stored["distances"]), dtype="<f2").reshape(24, 24)
    assert (table == table.T).all() and not table.diagonal().any() and (table[0, 1:] > 0).all()


def test_own_results_win(results: Noting, study: Study) -> None:
    spec = study.models[0]
    key = result_key(study, spec)
    assert results.is_prepared(key)
    known = stored_result(study, spec, results)
    assert known is not None and stored_projection(study, spec, results, method="pca", dims=2) is not None
    own = tuple(replace(score, value=0.5) for score in known.scores)
    results.put_model_result(key, ModelResult(spec, known.dimension, own, known.clusters))
    now = stored_result(study, spec, results)
    assert now is not None and _silhouette(now) == 0.5 and not results.is_prepared(key)
    assert len(known.designs) > 0 and not now.designs and now.detail is None  # both are never mixed
    assert stored_projection(study, spec, results, method="pca", dims=2) is None


def test_a_model_that_is_trained_here_is_another_one(results: Noting, study: Study) -> None:
    spec = study.models[2]
    assert stored_result(study, spec, results) is not None
    own = replace(spec, weights=ScratchWeights("number-encoder", "0" * 64))
    results.put(pin_key(spec), own.as_dict())
    assert stored_result(study, spec, results) is None


def test_results_of_other_library_versions_are_found(
    results: Noting, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = result_key(study, study.models[0])
    monkeypatch.setattr(keys, "_versions", lambda: {"numembed": keys.FORMULAS, "scikit-learn": "99.0"})
    after = result_key(study, study.models[0])
    assert after != before and keys.lasting_of(after) == keys.lasting_of(before)
    assert stored_result(study, study.models[0], results) is not None


def test_results_of_other_formulas_are_not(results: Noting, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "FORMULAS", "another")
    assert stored_result(study, study.models[0], results) is None


def test_runs_never_use_it(settings: Settings, study: Study) -> None:
    with ResultStore(settings.app_db) as own:
        assert stored_result(study, study.models[0], own) is None


def test_a_damaged_result_counts_as_absent(settings: Settings, study: Study, bundle: Bundle, tmp_path: Path) -> None:
    key = keys.lasting_of(result_key(study, study.models[0]))
    cut = Bundle(PREPARED)
    cut._digests = dict.fromkeys(cut._digests, "0" * 64)
    with ResultStore(settings.app_db, beside=cut) as store:
        assert key in cut and stored_result(study, study.models[0], store) is None


def _silhouette(result: ModelResult) -> float:
    return result.score("silhouette", "families").value


def test_its_models_are_of_the_catalogue(bundle: Bundle) -> None:
    for request in bundle.about.requests:
        for name in request.get("study", {"models": ()})["models"]:
            assert model(name).name
