"""A metric or a labelling that is registered, and nothing else, is found wherever scores are."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numembed.analysis.labels import LABELLINGS
from numembed.analysis.metrics import METRICS
from numembed.analysis.score_kinds import SILHOUETTE, score_kinds
from numembed.cli import main
from numembed.core.registry import Registry
from numembed.core.settings import Settings
from numembed.models.baselines import BASELINES
from numembed.studies.results import ResultStore
from numembed.studies.study import Study
from tests.pages.conftest import app  # noqa: F401  the fixture
from tests.pages.elements import protos, told, work_off
from tests.pages.visit import Visit

SMALL = (
    "--models",
    "last_digits",
    "string_length",
    "--families",
    "even",
    "primes",
    "--per-family",
    "3",
    "--length",
    "8",
)
STUDY = ("run", *SMALL)
TODAY = {
    *(("silhouette", "families"), ("davies_bouldin", "families"), ("silhouette", "kmeans")),
    *(("davies_bouldin", "kmeans"), ("ari", "kmeans"), ("ami", "kmeans")),
}


def calinski_harabasz(matrix: np.ndarray, labels: np.ndarray) -> float:
    """How far the groups lie apart beside how wide they are; from 0 up, higher is better."""
    from sklearn.metrics import calinski_harabasz_score

    return float(calinski_harabasz_score(matrix, labels))


def halves(matrix: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The first half of the sequences, and the rest."""
    return (np.arange(len(labels)) >= len(labels) // 2).astype(np.int64)


@pytest.fixture
def dummies() -> Iterator[None]:
    """One more metric and one more labelling, for the time of a test."""
    facts = {"kind": "separation", "higher_is_better": True, "bounds": (0.0, np.inf), "chance": "about 1"}
    METRICS.register("Calinski–Harabasz", **facts)(calinski_harabasz)
    LABELLINGS.register("Halves")(halves)
    yield
    _forget(METRICS, calinski_harabasz.__name__)
    _forget(LABELLINGS, halves.__name__)


def _forget(registry: Registry[Any], name: str) -> None:
    del registry._entries[name]


def _rows(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[dict[str, Any]]:
    assert main([*map(str, arguments), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def _kinds(rows: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(row["metric"], row["labels"]) for row in rows}


ADDED = {
    *(("calinski_harabasz", "families"), ("calinski_harabasz", "kmeans"), ("calinski_harabasz", "halves")),
    *(("silhouette", "halves"), ("davies_bouldin", "halves"), ("ari", "halves"), ("ami", "halves")),
}


def test_today_there_are_the_papers_six() -> None:
    assert set(score_kinds()) == TODAY and score_kinds()[0] == SILHOUETTE


@pytest.mark.usefixtures("dummies")
def test_the_command_line_prints_and_writes_every_registered_score(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = _rows(capsys, *STUDY, "--out", tmp_path / "out")
    assert _kinds(rows) == TODAY | ADDED
    own = {(row["model"], row["metric"], row["labels"]): row for row in rows}
    first = own["Last digits", "calinski_harabasz", "families"]
    matrix = BASELINES["last_digits"].function(_study(rows).sequences.texts)
    assert first["value"] == pytest.approx(calinski_harabasz(matrix, _study(rows).sequences.labels))
    assert 0 < first["p"] <= 1 and first["chance_low"] <= first["chance_high"] and 0 < first["p_within"] <= 1
    assert own["Last digits", "calinski_harabasz", "halves"]["p"] is None
    assert own["Last digits", "calinski_harabasz", "halves"]["note"]
    written = list(csv.DictReader(io.StringIO((tmp_path / "out" / "scores.csv").read_text(encoding="utf-8"))))
    assert _kinds(written) == TODAY | ADDED
    listed = {row["name"]: row for row in _rows(capsys, "metrics")}
    assert listed["calinski_harabasz"]["help"].startswith("How far the groups lie apart")


def _study(rows: list[dict[str, Any]]) -> Study:
    return Study(families=("even", "primes"), models=(), per_family=3, length=8)


@pytest.mark.usefixtures("dummies")
def test_compare_shows_every_registered_score(app: Visit, settings: Settings) -> None:  # noqa: F811
    app.query_params["models"] = ["last_digits", "string_length"]
    app.query_params["families"] = ["even", "primes"]
    app.run()
    app.button(key="run").click().run()
    work_off(settings)
    app.session_state["evidence"] = True
    app.run()
    assert not app.exception
    scores = next(table for table in (json.loads(one.json) for one in protos(app, "bidi_component"))
                  if table["label"] == "Scores of each model")  # fmt: skip
    columns, rows = json.loads(scores["columns"]), json.loads(scores["rows"])
    places = [at for at, column in enumerate(columns) if column["title"] == "Calinski–Harabasz"]
    assert [columns[at]["group"] for at in places] == ["with the families", "with KMeans clusters", "with Halves"]
    assert {columns[at]["better"] for at in places} == {"high"}
    assert all(isinstance(row[places[0]]["sort"], float) for row in rows)
    assert sum(column["group"] == "with Halves" for column in columns) == 3
    assert "Calinski–Harabasz. How far the groups lie apart" in told(app).replace("*", "")
    app.selectbox(key="evidence_score").set_value("calinski_harabasz families").run()
    assert not app.exception
    assert any("Evidence behind each Calinski–Harabasz with the families" in json.loads(one.json)["label"]
               for one in protos(app, "bidi_component"))  # fmt: skip


def test_a_stored_study_gets_the_scores_it_lacks(
    home: Path, settings: Settings, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    before = {(row["model"], row["metric"], row["labels"]): row for row in _rows(capsys, *STUDY)}
    with ResultStore(settings.app_db) as results:
        key = results._connection.execute("SELECT count(*) FROM results").fetchone()[0]
    request.getfixturevalue("dummies")
    after = {(row["model"], row["metric"], row["labels"]): row for row in _rows(capsys, *STUDY)}
    assert {kind for _, *kind in after} if False else _kinds(list(after.values())) == TODAY | ADDED
    changing = ("best_baseline", "best_baseline_value", "gain")
    for place, row in before.items():
        assert {k: v for k, v in row.items() if k not in changing} == {
            k: v for k, v in after[place].items() if k not in changing
        }
    with ResultStore(settings.app_db) as results:
        assert results._connection.execute("SELECT count(*) FROM results").fetchone()[0] == key
    _forget(METRICS, "calinski_harabasz")
    assert _kinds(_rows(capsys, *STUDY)) == TODAY | {kind for kind in ADDED if kind[0] != "calinski_harabasz"}
    METRICS.register("again", kind="separation", higher_is_better=True, bounds=(0.0, np.inf), chance="1")(
        calinski_harabasz
    )
