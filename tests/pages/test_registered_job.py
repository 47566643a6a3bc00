"""A kind of job is one row of the table of kinds: it is carried out, listed, opened and asked for again from there."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from numembed.core.errors import BadChoice
from numembed.core.progress import ENCODE
from numembed.core.settings import Settings
from numembed.merge_experiment.experiment import MergeExperiment
from numembed.merge_experiment.save_model import Saving
from numembed.models.encoders.loaded import LoadedModel
from numembed.paper.protocol import paper_study
from numembed.runs.jobs import JobTable
from numembed.runs.kinds import JOB_KINDS, Ending, JobKind, Request, Workplace
from numembed.runs.worker import run_job
from numembed.studies.results import APP_SCHEMA
from tests.pages.elements import opened, protos, told, walk, work_off


@dataclass(frozen=True)
class Count:
    """Counts to a number, which is stored as a result."""

    kind: ClassVar[str] = "count"
    to: int

    @property
    def key(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        return json.dumps({"to": self.to})


def read(text: str) -> Count:
    try:
        return Count(int(json.loads(text)["to"]))
    except (ValueError, KeyError):
        raise BadChoice("This is nothing to count to.") from None


def carry_out(asked: Count, place: Workplace) -> Ending:
    for number in range(asked.to):
        place.report(number % 2, ENCODE, number, asked.to, "")
    place.results.put(asked.key, {"counted": asked.to})
    return Ending("" if asked.to < 100 else "That was much.", nothing_ran=asked.to > 100)


def open_count(asked: Count) -> str:
    st.session_state["counted"] = asked.to
    return "" if asked.to < 50 else "No page shows so much."


@pytest.fixture(autouse=True)
def _kind(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = JobKind(
        "count",
        read=read,
        rows=lambda asked: ("even", "odd"),
        carry_out=carry_out,
        title=lambda asked: f"Counting to {asked.to}",
        page=lambda asked: "pages/sequences.py",
        open_with=f"{__name__}:open_count",
        repeatable=True,
    )
    monkeypatch.setitem(JOB_KINDS, "count", kind)


def _asked(settings: Settings, request: Request) -> str:
    with JobTable(settings.app_db) as jobs:
        return jobs.submit(request, asked_by="test")


def _chosen(app: AppTest, job: str) -> AppTest:
    opened(app, "pages/runs.py")
    app.session_state["run_chosen"] = job
    return app.run()


def test_the_worker_carries_it_out_and_reports_on_its_rows(settings: Settings) -> None:
    with JobTable(settings.app_db) as jobs:
        for to, state, error in ((3, "done", ""), (100, "done", "That was much."), (101, "failed", "That was much.")):
            jobs.submit(Count(to), asked_by="test")
            job = jobs.claim()
            assert job is not None and job.kind == "count" and job.request == Count(to)
            assert run_job(job, jobs, settings=settings, loaded=LoadedModel(settings)) == state
            ended = jobs.get(job.id)
            assert [step.model for step in ended.progress] == ["even", "odd"] and ended.error == error
            assert ended.progress[0].stage == "encode" and ended.progress[0].total == to


def test_runs_lists_it_opens_it_and_asks_for_it_again(app: AppTest, settings: Settings) -> None:
    job = _asked(settings, Count(7))
    assert work_off(settings) == ["done"]
    _chosen(app, job)
    assert any("Counting to 7" in str(element.proto) for element in walk(app.main))
    app.button(key="again").click().run()
    with JobTable(settings.app_db) as jobs:
        assert [(one.request, one.active) for one in jobs.recent()] == [(Count(7), True), (Count(7), False)]
    _chosen(app, job).button(key="open").click().run()
    assert not app.exception and app.session_state["counted"] == 7
    assert app.title[0].value != "Which runs are there?"


def test_a_page_that_cannot_show_it_says_why_on_runs(app: AppTest, settings: Settings) -> None:
    _chosen(app, _asked(settings, Count(60))).button(key="open").click().run()
    assert app.title[0].value == "Which runs are there?" and app.warning[0].value == "No page shows so much."


def test_another_run_says_that_it_waits_for_it(app: AppTest, settings: Settings) -> None:
    _asked(settings, Count(7))
    app.query_params["models"] = ["last_digits"]
    app.run().button(key="run").click().run()
    assert "Before it: “Counting to 7”" in protos(app, "progress")[0].text


def test_a_run_of_a_kind_of_another_version_is_listed_and_fails_in_a_sentence(
    app: AppTest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _asked(settings, Count(7))
    monkeypatch.delitem(JOB_KINDS, "count")
    _chosen(app, job)
    assert any("a run of another version" in str(element.proto) for element in walk(app.main))
    assert "knows no runs of the kind 'count'" in told(app) and "open" not in {one.key for one in app.button}
    assert work_off(settings) == ["failed"]
    with JobTable(settings.app_db) as jobs:
        assert jobs.get(job).error == "This version of numembed knows no runs of the kind 'count'."


def test_runs_of_an_older_home_have_their_kinds(tmp_path: Path) -> None:
    path, experiment = tmp_path / "app.db", MergeExperiment()
    saving = Saving("mine", experiment, experiment.drawn[0].id, experiment.drawn[0].values[0])
    requests: list[Request] = [paper_study("last_digits"), experiment, saving]
    with sqlite3.connect(path) as old:
        for script in APP_SCHEMA[:2]:
            old.executescript(script)
        old.execute("PRAGMA user_version=2")
        insert = "INSERT INTO jobs (id, key, study, asked_by, asked_at, state) VALUES (?, ?, ?, 'old', 1, 'done')"
        old.executemany(insert, [(str(i), asked.key, asked.to_json()) for i, asked in enumerate(requests)])
        old.execute(insert, ("none", "", "no JSON"))
    with JobTable(path) as jobs:
        assert [jobs.get(str(i)).request for i in range(3)] == requests
        assert [jobs.get(str(i)).kind for i in range(3)] == ["study", "ladder", "saving"]
        assert jobs.get("none").title == "a run that cannot be read"
