"""A stage of a run is one row of the table of stages: its words, its place in the bar and its remaining time follow."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.progress import DONE, STAGES, Row, Stage, stage_called
from numembed.core.settings import Settings
from numembed.merge_experiment.experiment import MergeExperiment
from numembed.merge_experiment.run import experiment_rows
from numembed.paper.protocol import paper_study
from numembed.runs.job import ModelProgress
from numembed.runs.jobs import JobTable
from numembed.runs.reporter import Reporter
from numembed.studies.study import Study
from tests.pages.elements import opened, protos

STUDY = paper_study("last_digits")
INDEX = Stage("index", "indexing its vectors", 0.4, 0.6, timed=True)


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The table with one more row."""
    monkeypatch.setitem(STAGES, INDEX.name, INDEX)
    return INDEX


def _begun(jobs: JobTable, asked: Study | MergeExperiment) -> str:
    job = jobs.submit(asked, asked_by="test")
    assert jobs.claim() is not None
    return job


def test_a_stage_is_stored_as_its_name_and_read_back_with_its_words(index: Stage, settings: Settings) -> None:
    with JobTable(settings.app_db) as jobs:
        job = _begun(jobs, STUDY)
        reporter = Reporter(job, jobs)
        reporter.progress = (ModelProgress("Last digits"),)
        Row(reporter, 0)(3, 10, "index")
        stored = jobs._connection.execute("SELECT progress FROM jobs").fetchone()[0]
        assert json.loads(stored)[0]["stage"] == "index"
        step = jobs.get(job).progress[0]
    assert step.stage is index and (step.done, step.total) == (3, 10)


def test_compare_shows_its_words_and_its_part_of_the_bar(index: Stage, app: AppTest, settings: Settings) -> None:
    app.query_params["models"] = ["last_digits"]
    app.run()
    with JobTable(settings.app_db) as jobs:
        job = _begun(jobs, STUDY)
        jobs.show(job, (ModelProgress("Last digits", index, 3, 12, seconds_left=30.0),))
    opened(app, "pages/compare.py")
    (bar,) = protos(app, "progress")
    assert bar.text == "**Last digits** · indexing its vectors · 3 of 12 · about 30 s left" and bar.value == 45


def test_the_merge_page_shows_its_words(index: Stage, app: AppTest, settings: Settings) -> None:
    with JobTable(settings.app_db) as jobs:
        job = _begun(jobs, MergeExperiment())
        jobs.show(
            job,
            tuple(
                ModelProgress(row, index if not i else DONE) for i, row in enumerate(experiment_rows(MergeExperiment()))
            ),
        )
    opened(app, "pages/merge.py")
    assert "indexing its vectors" in protos(app, "progress")[0].text


def test_a_stage_of_another_version_is_shown_by_its_name(app: AppTest, settings: Settings) -> None:
    assert stage_called("index").words == "index" and stage_called("index") not in STAGES
    app.query_params["models"] = ["last_digits"]
    app.run()
    with JobTable(settings.app_db) as jobs:
        _begun(jobs, STUDY)
        old = [{"model": "Last digits", "stage": "polish", "done": 1, "total": 1, "note": "", "seconds_left": None}]
        jobs._connection.execute("UPDATE jobs SET progress = ?", (json.dumps(old),))
    opened(app, "pages/compare.py")
    assert [bar.text for bar in protos(app, "progress")] == ["**Last digits** · polish"]


def test_every_stage_has_words_and_a_part_of_the_bar() -> None:
    for name, stage in STAGES.items():
        assert (stage, stage.name) == (name, name) and json.dumps(stage) == f'"{name}"'
        assert stage.words and 0 <= stage.begins <= stage.ends <= 1
        assert replace(stage, words="other") == stage, "a stage is its name"
