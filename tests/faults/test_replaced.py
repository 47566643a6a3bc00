"""app.db or the whole home goes while the worker waits: the next run is carried out all the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.faults_places import SUPERVISOR, Place, wait_until
from numembed.runs.jobs import JobTable
from numembed.storage.backups import back_up
from numembed.storage.damage import notice_of
from tests.faults.test_kills import QUICK, _worker_of, place

__all__ = ["place"]
pytestmark = pytest.mark.slow


def _delete(home: Path) -> None:
    (home / "app.db").unlink()


def _delete_home(home: Path) -> None:
    shutil.rmtree(home)


def _move_home(home: Path) -> None:
    home.rename(home.with_name("elsewhere"))


def _restore(home: Path) -> None:
    shutil.copyfile(back_up(home / "app.db", "2026-01-01"), home / "fresh")
    (home / "fresh").replace(home / "app.db")


def _damage(home: Path) -> None:
    back_up(home / "app.db", "2026-01-01")
    with (home / "app.db").open("r+b") as file:
        file.write(bytes(40_000))


def test_the_next_run_begins_whatever_happened_to_the_file(place: Place) -> None:
    server = place.start("-c", SUPERVISOR)
    worker = _worker_of(server, place)
    for happen in (_delete, _restore, _damage, _delete_home, _move_home):
        wait_until((place.settings.home / "app.db").exists)
        happen(place.settings.home)
        with JobTable(place.settings.app_db) as jobs:
            job = jobs.submit(QUICK, asked_by="visitor")
            wait_until(lambda job=job, jobs=jobs: not jobs.get(job).active)  # type: ignore[misc]
            assert jobs.get(job).state == "done", (happen.__name__, jobs.get(job).error)
        if happen is _damage:
            assert notice_of(place.settings.app_db) is not None
            assert worker.is_running(), "the same worker goes on with another file"
    wait_until(lambda: not worker.is_running() and place.locked())  # its lock went with the home: another took over
