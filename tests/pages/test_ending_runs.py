"""A run may end while its page is drawn: between the page's looks at the run and at the results nothing is missed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings
from numembed.merge_experiment.experiment import MergeExperiment, experiment_key
from numembed.models.encoders.loaded import LoadedModel
from numembed.paper.protocol import paper_study
from numembed.runs.jobs import JobTable
from numembed.runs.worker import run_job
from numembed.studies.results import ResultStore
from tests.merge_experiment.made import made_result
from tests.pages.elements import charts, opened, work_off

STUDY = paper_study("log_magnitude")


def _ends_after(monkeypatch: pytest.MonkeyPatch, look: str, end: Callable[[], None]) -> list[str]:
    """Let ``end`` happen right after the page's first look at its results, the function named ``look``."""
    module, _, name = look.rpartition(".")
    original, looks = getattr(importlib.import_module(module), name), list[str]()

    def looked(*arguments: Any, **named: Any) -> Any:
        seen = original(*arguments, **named)
        looks.append(look)
        if len(looks) == 1:
            assert seen is None
            end()
        return seen

    monkeypatch.setattr(look, looked)
    return looks


@pytest.mark.slow
@pytest.mark.parametrize(("page", "verb"), [("maps", "maps"), ("generalise", "probes"), ("robustness", "stress")])
def test_an_examination_that_ends_while_its_page_looks_is_shown(
    app: AppTest, settings: Settings, monkeypatch: pytest.MonkeyPatch, page: str, verb: str
) -> None:
    with JobTable(settings.app_db) as jobs:
        jobs.submit(STUDY, asked_by="test")
        assert work_off(settings) == ["done"]
        jobs.submit(replace(STUDY, examine=(verb,)), asked_by="test")
        job = jobs.claim()
    assert job is not None

    def end() -> None:
        with JobTable(settings.app_db) as jobs:
            assert run_job(job, jobs, settings=settings, loaded=LoadedModel(settings)) == "done"

    app.query_params["models"] = ["log_magnitude"]
    looks = _ends_after(monkeypatch, "ui.shared.examination.stored_examination", end)
    opened(app, f"pages/{page}.py")
    assert len(looks) > 1 and charts(app), "the page offers the examination again"


@pytest.mark.slow
def test_an_experiment_that_ends_while_its_page_looks_is_shown(
    app: AppTest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = MergeExperiment()
    with JobTable(settings.app_db) as jobs:
        jobs.submit(experiment, asked_by="test")
        job = jobs.claim()
    assert job is not None

    def end() -> None:
        with JobTable(settings.app_db) as jobs, ResultStore(settings.app_db) as results:
            results.put(experiment_key(experiment), made_result(experiment).as_json())
            jobs.finish(job.id, state="done", seconds=1.0, progress=(), error="")

    looks = _ends_after(monkeypatch, "ui.merge.choice._result", end)
    opened(app, "pages/merge.py")
    assert len(looks) > 1 and "What came out" in {one.value for one in app.subheader}
