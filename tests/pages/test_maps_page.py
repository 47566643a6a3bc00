"""The Maps page through app.py, with real runs of a real baseline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from numembed.jobs import JobTable
from numembed.models.encoders import LoadedModel
from numembed.paper import paper_study
from numembed.results import ResultStore
from numembed.settings import Settings
from numembed.study import examined_key, stored_result, stored_warning
from numembed.worker import run_job
from tests.offline import OFFLINE

ROOT = Path(__file__).parents[2]
STUDY = paper_study("last_digits")
pytestmark = pytest.mark.slow  # UMAP is loaded and compiles at its first use


@pytest.fixture
def app(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """The app on an empty store, with one baseline chosen."""
    monkeypatch.setattr("numembed.worker.start_supervisor", lambda settings: None)
    monkeypatch.chdir(ROOT)
    st.cache_resource.clear()
    st.cache_data.clear()
    opened = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    opened.query_params["models"] = ["last_digits"]
    yield opened.run()
    st.cache_resource.clear()


def work_off(settings: Settings) -> None:
    """Do what the worker does, here."""
    with JobTable(settings.app_db) as jobs:
        while job := jobs.claim():
            run_job(job, jobs, settings=settings, loaded=LoadedModel(OFFLINE))


def charts(app: AppTest) -> list[Any]:
    return [element.proto for element in _walk(app.main) if element.type == "plotly_chart"]


def _walk(block: Any) -> Iterator[Any]:
    for child in getattr(block, "children", {}).values():
        yield child
        yield from _walk(child)


def test_nothing_was_run_yet_and_the_page_says_where_to_begin(app: AppTest) -> None:
    app.switch_page("pages/maps.py").run()
    assert not app.exception and not app.error
    assert "Press Run on the Compare page" in app.info[0].value


def test_from_the_question_to_the_answer_and_to_which_was_noise(app: AppTest, settings: Settings) -> None:
    app.button(key="run").click().run()
    work_off(settings)
    app.switch_page("pages/maps.py").run()
    app.button(key="ask maps").click().run()
    work_off(settings)
    app.run()
    assert not app.exception and not app.error
    assert "None of the maps of Last digits shows groups" in app.subheader[0].value
    assert len(charts(app)) == 4 and all(chart.spec and "NaN" not in chart.spec for chart in charts(app))
    titles = [note["text"] for note in json.loads(charts(app)[3].spec)["layout"]["annotations"]]
    assert titles == ["Map A", "Map B"], "the page gives away which map is noise"
    app.toggle(key="noise_told").set_value(True).run()
    titles = [note["text"] for note in json.loads(charts(app)[3].spec)["layout"]["annotations"]]
    assert sorted(titles) == ["Last digits", "Pure noise"]
    for key in ("seeds_method", "noise_method"):
        app.segmented_control(key=key).set_value("umap").run()
        assert not app.exception
    _mark_as_lying(app, settings)


def _mark_as_lying(app: AppTest, settings: Settings) -> None:
    """Put a red sentence into what is stored, and see it on the page and where Compare asks for it."""
    sentence = "This map shows groups that the vectors do not: <b>planted</b>."
    with ResultStore(settings.app_db) as results:
        result = stored_result(STUDY, STUDY.models[0], results)
        assert result is not None
        assert stored_warning(STUDY, result.model, results, method="tsne", dims=2) == ""
        key = examined_key(STUDY, result.model, "maps")
        plain = results.get(key)
        assert plain is not None
        plain["maps"][0]["warning"] = sentence
        results.put(key, plain)
    app.run()
    assert not app.exception
    assert "the t-SNE map of Last digits shows groups" in app.subheader[0].value.replace("\\", "")
    assert [error.value.startswith("**t-SNE map.** This map shows groups") for error in app.error] == [True]
    assert "<b>" not in app.error[0].value, "words of the store became markup"
    with ResultStore(settings.app_db) as results:
        redrawn = replace(STUDY, designs=5)
        assert stored_warning(redrawn, result.model, results, method="tsne", dims=2) == sentence
        for method, dims in (("umap", 2), ("tsne", 3)):
            assert stored_warning(STUDY, result.model, results, method=method, dims=dims) == ""
    app.switch_page("pages/compare.py").run()
    said = [told.value for told in app.markdown if told.value.startswith(":red[")]
    assert len(said) == 1 and "planted" in said[0] and "<b>" not in said[0].replace("\\<", "")
