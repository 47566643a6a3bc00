"""The Generalise page through app.py: on an empty store, from the question to the answer, and light."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from numembed.jobs import JobTable
from numembed.models.encoders import LoadedModel
from numembed.settings import Settings
from numembed.worker import run_job
from tests.offline import OFFLINE
from tests.pages.test_light import HEAVY

ROOT = Path(__file__).parents[2]


@pytest.fixture
def app(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """The app on an empty store, with one baseline chosen."""
    monkeypatch.setattr("numembed.worker.start_supervisor", lambda settings: None)
    monkeypatch.chdir(ROOT)
    st.cache_resource.clear()
    st.cache_data.clear()
    opened = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    opened.query_params["models"] = ["log_magnitude"]
    yield opened.run()
    st.cache_resource.clear()


def work_off(settings: Settings) -> None:
    """Do what the worker does, here."""
    with JobTable(settings.app_db) as jobs:
        while job := jobs.claim():
            run_job(job, jobs, settings=settings, loaded=LoadedModel(OFFLINE))


def told(app: AppTest) -> str:
    """Return all words of the page as they are read, without escapes."""
    words = " ".join(element.value for kind in (app.markdown, app.caption, app.subheader) for element in kind)
    return words.replace("\\", "").replace("\u2060", "").replace("\N{NO-BREAK SPACE}", " ")


def protos(app: AppTest, kind: str) -> list[Any]:
    return [element.proto for element in _walk(app.main) if element.type == kind]


def _walk(block: Any) -> Iterator[Any]:
    for child in getattr(block, "children", {}).values():
        yield child
        yield from _walk(child)


def test_nothing_was_run_yet_and_the_page_says_where_to_begin(app: AppTest) -> None:
    app.switch_page("pages/generalise.py").run()
    assert not app.exception and not app.error
    assert app.title[0].value == "Does the model know the families, or only these sequences?"
    assert "Press Run on the Compare page" in app.info[0].value


@pytest.mark.slow
def test_from_the_question_to_the_answer(app: AppTest, settings: Settings) -> None:
    app.button(key="run").click().run()
    work_off(settings)
    app.switch_page("pages/generalise.py").run()
    assert not app.exception and not protos(app, "plotly_chart")
    app.button(key="ask probes").click().run()
    work_off(settings)
    app.run()
    assert not app.exception and not app.error
    words = told(app)
    assert "Nothing shows that Log magnitude knows the families beyond the sequences it was shown." in words
    assert "guessing gets 17 %: no better than chance" in words and "Counting last digits gets 83 %." in words
    assert "Growth: cannot be asked here" in words
    charts = protos(app, "plotly_chart")
    assert len(charts) == 4 and all(chart.spec and "NaN" not in chart.spec for chart in charts)
    assert len(protos(app, "bidi_component")) == 4
    assert [e.value for e in app.subheader][1:] == [
        "Does it name the family of a window that was held out?",
        "Does it know the families far away?",
        "Does what it learns hold for families it has never seen?",
        "Which properties can be read off the vectors?",
    ]


SCRIPT = """
import json, sys
import numembed.worker
numembed.worker.start_supervisor = lambda settings: None
from streamlit.testing.v1 import AppTest
app = AppTest.from_file(sys.argv[2], default_timeout=60)
app.query_params["models"] = ["log_magnitude"]
app.run()
app.switch_page("pages/generalise.py").run()
assert not app.exception and not app.error and len(app.subheader) == 5
print(json.dumps([name for name in sys.argv[1].split(",") if name in sys.modules]))
"""
RUN = """
import sys
from dataclasses import replace
from numembed.models.encoders import LoadedModel
from numembed.paper import paper_study
from numembed.results import ResultStore
from numembed.run import run
from numembed.settings import read_settings
from numembed.store import VectorStore
settings = read_settings()
study = replace(paper_study("log_magnitude"), examine=("probes",))
with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
    run(study, vectors=vectors, results=results, loaded=LoadedModel(settings), settings=settings)
"""


@pytest.mark.slow
def test_the_answered_page_imports_nothing_heavy(home: Path) -> None:
    for script, arguments in ((RUN, []), (SCRIPT, [",".join(HEAVY), str(ROOT / "app.py")])):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
