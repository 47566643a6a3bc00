"""What every page says of the store: a damage, until the visitor has read it, and how many runs there are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.paper.protocol import paper_study
from numembed.runs.jobs import JobTable
from numembed.storage.backups import back_up
from tests.pages.elements import opened, plain, told
from tests.pages.visit import Visit

pytestmark = pytest.mark.slow
WORDS = "The list of runs and results was damaged on "


def _damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"no database any more")


def test_a_damage_is_said_on_every_page_until_the_visitor_has_read_it(app: Visit, settings: Settings) -> None:
    with JobTable(settings.app_db) as jobs:
        kept = jobs.submit(paper_study("last_digits"), asked_by="me")
    assert WORDS not in told(app.run())
    back_up(settings.app_db, "2026-01-01")
    _damage(settings.app_db)
    app.run()
    assert not app.error and not app.exception
    for page in ("pages/runs.py", "pages/maps.py"):
        opened(app, page)
        assert WORDS in told(app) and "is kept as app.db.corrupt-1." in told(app)
    app.button(key="notice_read_now").click().run()
    assert WORDS not in told(app) and WORDS not in told(opened(app, "pages/compare.py"))
    assert WORDS in told(opened(Visit(), "pages/compare.py")), "another visitor has not read it yet"
    with JobTable(settings.app_db) as jobs:
        assert jobs.get(kept).active


def test_the_runs_page_counts_all_runs(app: Visit, settings: Settings) -> None:
    study = replace(paper_study(), models=(model("last_digits"),))
    with JobTable(settings.app_db) as jobs:
        jobs.submit(study, asked_by="me")
        with jobs._connection as connection:
            connection.executemany(
                "INSERT INTO jobs (id, key, study, asked_by, asked_at, state) VALUES (?, ?, ?, 'me', 1.0, 'done')",
                [(f"id {number}", f"key {number}", study.to_json()) for number in range(230)],
            )
    opened(app, "pages/runs.py")
    captions = plain(" ".join(caption.value for caption in app.caption))
    assert "The newest 200 of 231 runs are listed. 1 run in all waits." in captions
