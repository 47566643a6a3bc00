"""Every button of every page while the store raises: always a sentence, never an exception or an internal error."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.errors import StoreFull, StoreUnreadable
from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.paper.protocol import paper_study
from numembed.runs.jobs import JobTable
from numembed.storage.sqlite import Store
from tests.pages.elements import PAGES, opened, plain, told
from tests.pages.visit import Visit

pytestmark = pytest.mark.slow
FAILURES = {
    "full": (StoreFull("The disk is full. Make room."), "The disk is full. Make room."),
    "unreadable": (StoreUnreadable("app.db cannot be opened."), "app.db cannot be opened."),
    "read only": (
        sqlite3.OperationalError("attempt to write a readonly database"),
        "Nothing can be stored here: numembed's folder can only be read.",
    ),
    "damaged": (sqlite3.DatabaseError("database disk image is malformed"), "app.db in "),
}


@contextmanager
def _failing(error: Exception) -> Iterator[list[str]]:
    """Let each question to a store raise ``error``; give the names of those that were asked."""
    asked: list[str] = []

    def fail(self: Store, action: Callable[[], Any]) -> Any:
        asked.append(type(self).__name__)
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "_or_anew", fail)
        yield asked


def _prepared(app: AppTest, page: str, job: str) -> AppTest:
    """Open a page; on the Runs page a run is selected, so that its buttons are there."""
    opened(app, page)
    if page == "pages/runs.py":
        app.session_state["run_chosen"] = job
        app.run()
    return app


@pytest.fixture(params=["waiting", "done"])
def job(request: pytest.FixtureRequest, settings: Settings) -> str:
    """A run of the study that the pages show first: one that waits, or one that is over."""
    study = replace(paper_study(), models=(model("last_digits"),))
    with JobTable(settings.app_db) as jobs:
        if request.param == "waiting":
            return jobs.submit(paper_study(), asked_by="test")
        return jobs.record(study, asked_by="test", seconds=1.0, state="done")


@pytest.mark.parametrize("page", PAGES)
def test_every_button_is_a_sentence_while_the_store_fails(app: Visit, page: str, job: str) -> None:
    keys = [button.key for button in _prepared(app, page, job).button if not button.disabled]
    failures = list(FAILURES.values())
    for number, key in enumerate(keys):
        for error, sentence in (failures[number % 4], failures[(number + 2) % 4]):
            visit = _prepared(Visit(), page, job)
            with _failing(error) as asked:
                visit.button(key=key).click().run()
            assert not visit.exception, (key, visit.exception)
            words = plain(" ".join(one.value for one in visit.error))
            assert "internal error" not in words and "Traceback" not in told(visit), (key, words)
            assert not asked or sentence in words, (key, words)


@pytest.mark.parametrize("name", FAILURES)
def test_run_says_each_failure_in_words(app: Visit, name: str) -> None:
    error, sentence = FAILURES[name]
    opened(app, "pages/compare.py")
    with _failing(error) as asked:
        app.button(key="run").click().run()
    assert "JobTable" in asked and not app.exception
    assert any(plain(one.value).startswith(sentence) for one in app.error), [one.value for one in app.error]
