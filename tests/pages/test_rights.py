"""What visitors may do: everything on this machine; elsewhere only look, unless the operator opens the app."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from streamlit import config

from numembed.core.settings import Settings
from numembed.paper.protocol import paper_study
from numembed.runs.jobs import JobTable
from numembed.storage.vectors import VectorStore
from tests.pages.elements import PAGES, opened, plain, told
from tests.pages.test_store_fails import _prepared
from tests.pages.visit import Visit
from ui.shared.frame import settings as shown_settings
from ui.shared.rights import is_shared

LOOK_ONLY = "This app is shared for looking only"


@pytest.fixture
def job(settings: Settings) -> str:
    with VectorStore(settings.cache_db) as vectors:
        vectors.add("a key", "a model", ["1, 2"], np.ones((1, 3), dtype=np.float32))
    with JobTable(settings.app_db) as jobs:
        return jobs.record(paper_study(), asked_by="test", seconds=1.0, state="done")


def _held(settings: Settings) -> list[str]:
    """Return everything in both files."""
    lines = []
    for file in (settings.app_db, settings.cache_db):
        with closing(sqlite3.connect(file)) as connection:
            lines += list(connection.iterdump())
    return lines


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        *((address, False) for address in ("127.0.0.1", "127.3.2.1", "::1", "localhost")),
        *((address, True) for address in ("0.0.0.0", "::", "192.168.1.20", "numbers.example", "", None)),
    ],
)
def test_which_addresses_are_this_machine(address: str | None, expected: bool) -> None:
    before = config.get_option("server.address")
    try:
        config.set_option("server.address", address)
        assert is_shared() is expected
    finally:
        config.set_option("server.address", before)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_lookers_change_nothing_by_any_button(
    app: Visit, shared: None, page: str, job: str, settings: Settings
) -> None:
    keys = [button.key for button in _prepared(app, page, job).button if not button.disabled]
    assert any(LOOK_ONLY in plain(one.value) for one in app.info)
    before = _held(settings)
    for key in keys:
        visit = _prepared(Visit(), page, job)
        visit.button(key=key).click().run()
        assert not visit.exception and _held(settings) == before, key


def test_run_says_why_a_looker_cannot(app: Visit, shared: None) -> None:
    opened(app, "pages/compare.py")
    app.button(key="run").click().run()
    assert any("Nothing was changed" in plain(one.value) for one in app.error)


def test_an_open_app_says_that_everything_is_everybodys(app: Visit, shared: None, settings: Settings) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    (Path(settings.home) / "operator.toml").write_text("open = true\n")
    shown_settings.clear()  # type: ignore[attr-defined]
    opened(app, "pages/runs.py")
    assert "Everybody who can open this page can start, stop and delete all runs" in told(app)
    opened(app, "pages/compare.py")
    app.button(key="run").click().run()
    assert not app.error and LOOK_ONLY not in told(app)
    with JobTable(settings.app_db) as jobs:
        assert len(jobs.active()) == 1


def test_on_this_machine_nothing_is_said(app: Visit) -> None:
    opened(app, "pages/runs.py")
    assert LOOK_ONLY not in told(app) and "Everybody who can open" not in told(app)
