"""The Robustness page through app.py: ask, compute with a real baseline, show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from numembed.jobs import JobTable
from numembed.models.encoders import LoadedModel
from numembed.sequences.perturbations import PERTURBATIONS, variants
from numembed.settings import read_settings
from numembed.worker import run_job
from tests.offline import OFFLINE

ROOT = Path(__file__).parents[2]


@pytest.fixture
def app(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    monkeypatch.setattr("numembed.worker.start_supervisor", lambda settings: None)
    monkeypatch.chdir(ROOT)
    st.cache_resource.clear()
    st.cache_data.clear()
    yield AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    st.cache_resource.clear()
    st.cache_data.clear()


def _work_off() -> None:
    """Do what the worker does, here."""
    settings = read_settings()
    with JobTable(settings.app_db) as jobs:
        while job := jobs.claim():
            run_job(job, jobs, settings=settings, loaded=LoadedModel(OFFLINE))


def _walk(block: object) -> Iterator[Any]:
    for child in getattr(block, "children", {}).values():
        yield child
        yield from _walk(child)


def _told(app: AppTest) -> str:
    words = " ".join(element.value for kind in (app.markdown, app.caption, app.subheader) for element in kind)
    return words.replace("\\", "").replace("\u2060", "")


def _charts(app: AppTest) -> int:
    return sum(element.type == "plotly_chart" for element in _walk(app.main))


def test_nothing_is_asked_of_an_empty_store(app: AppTest) -> None:
    app.run()
    app.switch_page("pages/robustness.py").run()
    assert not app.exception and app.title[0].value == "What moves the score?"
    assert "Nothing of the present choice was run yet" in app.info[0].value and not app.button


@pytest.mark.slow
def test_one_click_says_what_the_model_reads(app: AppTest) -> None:
    app.query_params["models"] = ["last_digits"]
    app.run()
    app.button(key="run").click().run()
    _work_off()
    app.switch_page("pages/robustness.py").run()
    app.button(key="ask stress").click().run()
    _work_off()
    app.run()
    assert not app.exception and not app.error
    assert "ing the last digit destroys all of the score: the model reads last digits." in app.subheader[0].value
    assert _charts(app) == 2
    assert "Found: Removing the last digit destroys all of the score" in _told(app).replace("*", "")
    before, after = (block.value for block in app.code)
    assert before.startswith("151, 152") and after.startswith("15, 15")
    tables = [json.loads(element.proto.json) for element in _walk(app.main) if element.type == "bidi_component"]
    (rows,) = (json.loads(data["rows"]) for data in tables if data["label"] == "All changes")
    assert len(rows) == sum(len(variants(name)) for name in PERTURBATIONS.names)

    for name in PERTURBATIONS.names:
        app.selectbox(key="perturbation").set_value(name).run()
        assert not app.exception, name
        assert "Found:" in _told(app)
    app.selectbox(key="perturbation").set_value("base").run()
    app.selectbox(key="variant of base").set_value(0).run()
    assert app.code[1].value.startswith("10010111, 10011000")

    app.button(key="ask stress").click().run()  # of 5 redrawn designs
    _work_off()
    app.run()
    assert not app.exception and _charts(app) == 3
    assert "on 5 redrawn designs" in _told(app)
    labels = [element.proto.label for element in _walk(app.main) if element.type == "download_button"]
    assert labels.count("Table (CSV)") == 2 and labels.count("All numbers (JSON)") == 1
