"""Every button of every page while the store raises: always a sentence, never an exception or an internal error."""

from __future__ import annotations

import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.errors import StoreFull, StoreUnreadable
from numembed.core.settings import Settings
from numembed.merge_experiment.experiment import MergeExperiment
from numembed.models.catalogue.names import model
from numembed.paper.protocol import paper_study
from numembed.runs.jobs import JobTable
from numembed.storage.sqlite import Store
from numembed.studies.examination import EXAMINATIONS
from numembed.studies.study import Study
from tests.fixtures.record import FOLDER
from tests.pages.elements import PAGES, opened, plain, told
from tests.pages.visit import Visit
from ui.shared.study_choice import address_of

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

BESIDE_RESULTS = {  # buttons that are there only with results
    "pages/merge.py": {"merge_robust", "keep_save"},
    "pages/robustness.py": {"ask stress"},
    "pages/runs.py": {"forget"},
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


def _all_pressed(shown: Callable[[], AppTest], *, failures_each: int) -> list[str | None]:
    """Draw a page again and press each button while the store raises: a sentence, and nothing of a program.

    Return the keys of the buttons.
    """
    failures, buttons = list(FAILURES.values()), [one for one in shown().button if not one.disabled]
    clicks = [(None, number) for number in range(4)]  # the page alone
    clicks += [(one, at + 2 * turn) for at, one in enumerate(buttons) for turn in range(failures_each)]
    for button, number in clicks:
        visit, (error, sentence) = shown(), failures[number % 4]
        if button is not None:
            next(one for one in visit.button if one.id == button.id).click()
        with _failing(error) as asked:
            visit.run()
        key, words = button and button.key, plain(" ".join(one.value for one in visit.error))
        assert not visit.exception, (key, visit.exception)
        assert "internal error" not in words and "Traceback" not in told(visit), (key, words)
        assert not asked or sentence in words, (key, words)
    return [button.key for button in buttons]


@pytest.mark.parametrize("page", PAGES)
def test_every_button_is_a_sentence_while_the_store_fails(app: Visit, page: str, job: str) -> None:
    _all_pressed(lambda: _prepared(Visit(), page, job), failures_each=2)


@pytest.mark.parametrize("page", PAGES)
def test_every_button_beside_results_is_a_sentence_while_the_store_fails(
    app: Visit, page: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(FOLDER / "home.tar.xz") as archive:
        archive.extractall(home.parent, filter="data")
    with JobTable(home / "app.db") as jobs:
        runs = jobs.recent()
    experiment = next(run.request for run in runs if isinstance(run.request, MergeExperiment))
    monkeypatch.setattr("ui.merge.choice.choose", lambda: experiment)
    studies = [(run.id, run.request) for run in runs if isinstance(run.request, Study)]
    answering = [one for one in studies if any(EXAMINATIONS[what].page == page for what in one[1].examine)]
    job, study = (answering or studies)[-1]

    def shown() -> AppTest:
        visit = Visit()
        visit.query_params.update(address_of(study))
        return _prepared(visit, page, job)

    keys = _all_pressed(shown, failures_each=1)
    assert BESIDE_RESULTS.get(page, set()) <= set(keys)


@pytest.mark.parametrize("name", FAILURES)
def test_run_says_each_failure_in_words(app: Visit, name: str) -> None:
    error, sentence = FAILURES[name]
    opened(app, "pages/compare.py")
    with _failing(error) as asked:
        app.button(key="run").click().run()
    assert "JobTable" in asked and not app.exception
    assert any(plain(one.value).startswith(sentence) for one in app.error), [one.value for one in app.error]
