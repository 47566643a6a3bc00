"""A metric or a labelling that is registered, and nothing else, is found wherever scores are."""

from __future__ import annotations

import csv
import io
import json
import math
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numembed.analysis.inference.permutation_test import permutation_test
from numembed.analysis.labels import LABELLINGS
from numembed.analysis.metrics import METRICS, davies_bouldin
from numembed.analysis.preparation import undefined_reason
from numembed.analysis.scores import SILHOUETTE, Score, ScoreKind, score_all, score_kinds
from numembed.cli import main
from numembed.core.registry import Registry
from numembed.core.serialization import as_plain, from_plain
from numembed.core.settings import Settings
from numembed.figures.merge.common import measures
from numembed.merge_experiment.measures import separation
from numembed.merge_experiment.results import Candidate, Retention, Separation, field_of
from numembed.models.baselines import BASELINES
from numembed.models.catalogue.names import model
from numembed.studies.keys import added_scores
from numembed.studies.reference_scores import stored_references
from numembed.studies.results import ResultStore
from numembed.studies.stored import stored_result
from numembed.studies.study import Study
from tests.pages.conftest import app  # noqa: F401  the fixture
from tests.pages.elements import protos, told, work_off
from tests.pages.visit import Visit

SMALL = Study(("even", "primes"), tuple(map(model, ("last_digits", "string_length"))), per_family=4, length=8)
STUDY = (
    *("run", "--models", "last_digits", "string_length", "--families", "even", "primes"),
    *("--per-family", 4, "--length", 8),
)
METRIC = "calinski_harabasz"
FACTS = {"kind": "separation", "higher_is_better": True, "bounds": (0.0, np.inf), "chance": "about 1"}
TODAY = {
    *(("silhouette", "families"), ("davies_bouldin", "families"), ("silhouette", "kmeans")),
    *(("davies_bouldin", "kmeans"), ("ari", "kmeans"), ("ami", "kmeans")),
}
ADDED = {
    *((METRIC, "families"), (METRIC, "kmeans"), (METRIC, "halves")),
    *(("silhouette", "halves"), ("davies_bouldin", "halves"), ("ari", "halves"), ("ami", "halves")),
}


def calinski_harabasz(matrix: np.ndarray, labels: np.ndarray) -> float:
    """How far the groups lie apart beside how wide they are; from 0 up, higher is better."""
    if undefined_reason(matrix, labels):
        return math.nan
    groups, own, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    rows = matrix - matrix.mean(axis=0, dtype=np.float64)
    centres = np.eye(len(groups))[own].T @ rows / sizes[:, None]
    within, between = ((rows - centres[own]) ** 2).sum(), (sizes[:, None] * centres**2).sum()
    return float(between * (len(rows) - len(groups)) / (within * (len(groups) - 1))) if within else math.nan


def halves(matrix: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The first half of the sequences, and the rest."""
    return (np.arange(len(labels)) >= len(labels) // 2).astype(np.int64)


@pytest.fixture
def dummies() -> Iterator[None]:
    """One more metric and one more labelling, for the time of a test."""
    METRICS.register("Calinski–Harabasz", **FACTS)(calinski_harabasz)
    LABELLINGS.register("Halves")(halves)
    yield
    _forget(METRICS, calinski_harabasz.__name__)
    _forget(LABELLINGS, halves.__name__)


def _forget(registry: Registry[Any], name: str) -> None:
    registry._entries.pop(name, None)


def _rows(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[dict[str, Any]]:
    assert main([*map(str, arguments), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def _kinds(rows: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(row["metric"], row["labels"]) for row in rows}


def test_today_there_are_the_papers_six() -> None:
    assert set(score_kinds()) == TODAY and score_kinds()[0] == SILHOUETTE


@pytest.mark.slow
@pytest.mark.usefixtures("dummies")
def test_the_command_line_prints_and_writes_every_registered_score(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = _rows(capsys, *STUDY, "--out", tmp_path / "out")
    assert _kinds(rows) == TODAY | ADDED
    first, matrix = _only(rows, "Last digits", "families"), BASELINES["last_digits"].function(SMALL.sequences.texts)
    assert first["value"] == pytest.approx(calinski_harabasz(matrix, SMALL.sequences.labels))
    assert 0 < first["p"] <= 1 and first["chance_low"] < first["chance_high"] and 0 < first["p_within"] <= 1
    assert first["best_baseline_value"] >= first["value"] and first["low"] is None
    other = _only(rows, "Last digits", "halves")
    assert other["p"] is None and "no chance level" in other["note"]
    written = csv.DictReader(io.StringIO((tmp_path / "out" / "scores.csv").read_text(encoding="utf-8")))
    assert _kinds(list(written)) == TODAY | ADDED
    listed = {row["name"]: row for row in _rows(capsys, "metrics")}
    assert listed[METRIC]["help"].startswith("How far the groups lie apart")
    assert listed[METRIC]["labels"] == "families, kmeans, halves"
    assert listed["ari"]["labels"] == "kmeans, halves"


@pytest.mark.slow
@pytest.mark.usefixtures("dummies")
def test_redrawn_windows_and_baselines_have_every_registered_score(
    home: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = _rows(capsys, *STUDY, "--designs", 3)
    assert all(row["designs"] == 3 for row in rows) and _only(rows, "Last digits", "families")["redrawn_sd"] > 0
    with ResultStore(settings.app_db) as results:
        references = stored_references(SMALL, (), results)
    assert references.baselines and all(set(scores) == TODAY | ADDED for scores in references.baselines.values())


@pytest.mark.usefixtures("dummies")
def test_a_candidate_of_a_merging_experiment_has_every_registered_score() -> None:
    matrix = np.random.default_rng(0).standard_normal((len(SMALL.sequences), 4)).astype(np.float32)
    found = separation(matrix, SMALL.sequences, distance="euclidean", seed=0)
    row = Candidate("base", "base", 0.0, {}, {"new": found}, Retention(1.0, 1.0, 1.0), 0.0, 0.0).as_row()
    assert row[f"new {METRIC}_families"] == pytest.approx(calinski_harabasz(matrix, SMALL.sequences.labels))
    assert {f"new {METRIC}_halves", "new ari_halves", "new ami_kmeans", "new davies_bouldin"} <= set(row)
    kind = ScoreKind(METRIC, "families")
    assert from_plain(Separation, as_plain(found)).value(kind) == found.value(kind)
    assert field_of(kind) in measures() and measures()[field_of(kind)].better == "high"


@pytest.mark.slow
@pytest.mark.usefixtures("dummies")
def test_compare_shows_every_registered_score(app: Visit, settings: Settings) -> None:  # noqa: F811
    app.query_params["models"] = ["last_digits", "string_length"]
    app.query_params["families"] = ["even", "primes"]
    app.run()
    app.button(key="run").click().run()
    work_off(settings)
    app.session_state["evidence"] = app.session_state["columns"] = True
    app.run()
    assert not app.exception
    scores = next(
        table
        for table in (json.loads(one.json) for one in protos(app, "bidi_component"))
        if table["label"] == "Scores of each model"
    )
    columns, rows = json.loads(scores["columns"]), json.loads(scores["rows"])
    places = [at for at, column in enumerate(columns) if column["title"] == "Calinski–Harabasz"]
    assert [columns[at]["group"] for at in places] == ["with the families", "with KMeans clusters", "with Halves"]
    assert {columns[at]["better"] for at in places} == {"high"}
    assert all(isinstance(row[places[0]]["sort"], float) for row in rows)
    assert sum(column["group"] == "with Halves" for column in columns) == 3
    assert "Calinski–Harabasz. How far the groups lie apart" in told(app).replace("*", "")
    app.selectbox(key="evidence_score").set_value("calinski_harabasz families").run()
    assert not app.exception
    assert any(
        "Evidence behind each Calinski–Harabasz with the families" in json.loads(one.json)["label"]
        for one in protos(app, "bidi_component")
    )


@pytest.mark.slow
def test_a_stored_study_gets_the_scores_it_lacks_and_keeps_the_others(
    home: Path, settings: Settings, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    before, stored = _rows(capsys, *STUDY, "--designs", 3), _stored(settings)
    request.getfixturevalue("dummies")
    with ResultStore(settings.app_db) as results:
        assert stored_result(SMALL, SMALL.models[0], results) is None
    after = _rows(capsys, *STUDY, "--designs", 3)
    assert _kinds(after) == TODAY | ADDED and all(row["designs"] == 3 for row in after)
    assert [row for row in after if (row["metric"], row["labels"]) in TODAY] == before
    assert _stored(settings) == stored  # the same keys
    _forget(METRICS, METRIC)
    assert _kinds(_rows(capsys, *STUDY)) == TODAY | {kind for kind in ADDED if kind[0] != METRIC}


def test_keys_without_kinds_change_only_with_what_was_added(request: pytest.FixtureRequest) -> None:
    assert added_scores() == {}
    request.getfixturevalue("dummies")
    assert set(added_scores()["scores"]) == {" ".join(kind) for kind in ADDED}


def test_a_metric_may_name_its_labellings_stay_out_of_the_table_and_have_no_test() -> None:
    METRICS.register("Once", labellings=("families",), in_table=False, untested="too slow", **FACTS)(calinski_harabasz)
    try:
        assert [kind.labels for kind in score_kinds() if kind.metric == METRIC] == ["families"]
        matrix = np.random.default_rng(2).standard_normal((len(SMALL.sequences), 4)).astype(np.float32)
        scores, _ = score_all(matrix, SMALL.sequences.labels, model="m", permutations=9)
        (own,) = (score for score in scores if score.metric == METRIC)
        assert own.value > 0 and own.p is None and (own.kind.in_table, own.kind.untested) == (False, "too slow")
    finally:
        _forget(METRICS, METRIC)


def test_shuffles_of_any_metric_are_those_of_one_with_a_fast_function() -> None:
    matrix = np.random.default_rng(1).standard_normal((len(SMALL.sequences), 4)).astype(np.float32)
    METRICS.register("Slow", kind="separation", higher_is_better=False, bounds=(0.0, np.inf), chance="3")(slow_index)
    try:
        asked = {"permutations": 99, "seed": 3, "within": SMALL.sequences.windows}
        slow = permutation_test(matrix, SMALL.sequences.labels, metric="slow_index", **asked)
    finally:
        _forget(METRICS, "slow_index")
    fast = permutation_test(matrix, SMALL.sequences.labels, metric="davies_bouldin", **asked)
    assert vars(slow) == pytest.approx(vars(fast), abs=1e-6)


def slow_index(matrix: np.ndarray, labels: np.ndarray) -> float:
    """Davies–Bouldin without a fast function for shuffles."""
    return davies_bouldin(matrix, labels)


def _only(rows: list[dict[str, Any]], model: str, labels: str) -> dict[str, Any]:
    (row,) = (row for row in rows if (row["model"], row["metric"], row["labels"]) == (model, METRIC, labels))
    return row


def _stored(settings: Settings) -> set[str]:
    with sqlite3.connect(settings.app_db) as connection:
        return {key for (key,) in connection.execute("SELECT key FROM results")}


def test_what_is_known_of_the_same_vectors_is_not_computed_again() -> None:
    matrix = np.random.default_rng(3).standard_normal((len(SMALL.sequences), 4)).astype(np.float32)
    known = Score("before", *SILHOUETTE, 0.125, p=0.5)
    (first, second, *_), _ = score_all(matrix, SMALL.sequences.labels, model="m", permutations=9, known=(known,))
    assert first == replace(known, model="m") and second.value == davies_bouldin(matrix, SMALL.sequences.labels)
