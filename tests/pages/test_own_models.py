"""A model that is trained at its first use, chosen on Compare: what is said before, while and after it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from numembed.jobs import JobTable, ModelProgress
from numembed.models import scratch
from numembed.models.encoders import LoadedModel
from numembed.models.publishing import is_whole
from numembed.models.scratch_encoder import EncoderRecipe
from numembed.paper import paper_study
from numembed.results import ResultStore
from numembed.settings import read_settings
from numembed.study import stored_results
from numembed.worker import run_job
from tests.offline import OFFLINE

ROOT = Path(__file__).parents[2]
SHORT = EncoderRecipe(steps=3, batch=6, shortest=8, longest=12)  # the same program, a poor model


@pytest.fixture
def app(home: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """Compare with the encoder chosen, and nothing trained yet."""
    st.cache_data.clear()
    st.cache_resource.clear()  # the settings, and with them the home folder
    monkeypatch.setattr(scratch, "USUAL_ENCODER", SHORT)
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=30)
    app.query_params["models"] = ["number-encoder", "last_digits"]
    return app.run()


def told(app: AppTest) -> str:
    """Return all words of the page as they are read, without escapes."""
    return " ".join(one.value for kind in (app.subheader, app.markdown, app.caption) for one in kind).replace("\\", "")


def bars(app: AppTest) -> list[str]:
    return [one.proto.text.replace("\\", "") for one in app.get("progress")]


def work_off() -> None:
    """Do what the worker does, here."""
    settings = read_settings()
    with JobTable(settings.app_db) as jobs:
        jobs.take_over()
        while job := jobs.claim():
            run_job(job, jobs, settings=settings, loaded=LoadedModel(OFFLINE))


@pytest.mark.slow
def test_choosing_the_encoder_trains_it_and_shows_its_scores(app: AppTest) -> None:
    assert not app.exception and not app.error
    assert app.multiselect(key="models").value == ["number-encoder", "last_digits"]
    app.button(key="run").click().run()
    with JobTable(read_settings().app_db) as jobs:  # as a worker that has come to step 120
        job = jobs.claim()
        assert job is not None
        training = ModelProgress("number-encoder", "train", 120, 300, seconds_left=48.0)
        jobs.show(job.id, (training, ModelProgress("Last digits")))
    app.run()
    (bar,) = (one for one in bars(app) if "number-encoder" in one)
    assert "training, once on this machine · 120 of 300 · about 48" in bar
    work_off()
    app.run()
    assert not app.exception and not app.error and not bars(app)
    (trained,) = (read_settings().home / "scratch").glob("number-encoder-*")
    assert is_whole(trained)
    with ResultStore(read_settings().app_db) as results:
        (found,) = stored_results(paper_study("number-encoder"), results)
    assert found.check is not None and found.check.ok and "number-encoder" in str(app.main)


def test_before_the_run_the_page_says_that_it_is_trained(app: AppTest) -> None:
    app.session_state["cost"] = True  # the popover is open
    app.run()
    assert not app.exception
    tables = [json.loads(one.proto.json) for one in _walk(app.main) if one.type == "bidi_component"]
    (told_before,) = (one["rows"] for one in tables if one["label"].startswith("What will be computed"))
    assert "none; is trained here at first use: about 1 min 20 s" in told_before


def _walk(block: Any) -> Iterator[Any]:
    for child in getattr(block, "children", {}).values():
        yield child
        yield from _walk(child)
