"""A model that is trained at its first use, chosen on Compare: what is said before, while and after it runs."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings
from numembed.models.builtin import models as scratch
from numembed.models.builtin.encoder import EncoderRecipe
from numembed.models.files.publish import is_whole
from numembed.paper.protocol import paper_study
from numembed.runs.job import ModelProgress
from numembed.runs.jobs import JobTable
from numembed.studies.results import ResultStore
from numembed.studies.stored import stored_results
from tests.pages.elements import plain, protos, work_off

SHORT = EncoderRecipe(steps=3, batch=6, shortest=8, longest=12)  # the same program, a poor model


@pytest.fixture
def chosen(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """Compare with the encoder chosen, and nothing trained yet."""
    monkeypatch.setattr(scratch, "USUAL_ENCODER", SHORT)
    app.query_params["models"] = ["number-encoder", "last_digits"]
    return app.run()


def bars(app: AppTest) -> list[str]:
    return [plain(proto.text) for proto in protos(app, "progress")]


@pytest.mark.slow
def test_choosing_the_encoder_trains_it_and_shows_its_scores(chosen: AppTest, settings: Settings) -> None:
    assert not chosen.exception and not chosen.error
    assert chosen.multiselect(key="models").value == ["number-encoder", "last_digits"]
    chosen.button(key="run").click().run()
    with JobTable(settings.app_db) as jobs:  # as a worker that has come to step 120
        job = jobs.claim()
        assert job is not None
        training = ModelProgress("number-encoder", "build", 120, 300, seconds_left=48.0)
        jobs.show(job.id, (training, ModelProgress("Last digits")))
    chosen.run()
    (bar,) = (one for one in bars(chosen) if "number-encoder" in one)
    assert "training, once on this machine · 120 of 300 · about 48" in bar
    with JobTable(settings.app_db) as jobs:
        jobs.take_over()  # by the worker after it
    work_off(settings)
    chosen.run()
    assert not chosen.exception and not chosen.error and not bars(chosen)
    (trained,) = (settings.home / "scratch").glob("number-encoder-*")
    assert is_whole(trained)
    with ResultStore(settings.app_db) as results:
        (found,) = stored_results(paper_study("number-encoder"), results)
    assert found.check is not None and found.check.ok and "number-encoder" in str(chosen.main)


def test_before_the_run_the_page_says_that_it_is_trained(chosen: AppTest) -> None:
    chosen.session_state["cost"] = True  # the popover is open
    chosen.run()
    assert not chosen.exception
    tables = [json.loads(proto.json) for proto in protos(chosen, "bidi_component")]
    (told_before,) = (one["rows"] for one in tables if one["label"].startswith("What will be computed"))
    assert "none; is trained here at first use: about 1 min" in told_before
