"""app.db or the whole home goes while the worker waits: the next run is carried out all the same."""

from __future__ import annotations

import pytest

from benchmarks.faults_disk import HAPPENINGS, damage
from benchmarks.faults_places import SUPERVISOR, Place, wait_until
from numembed.runs.jobs import JobTable
from numembed.storage.damage import notice_of
from tests.faults.test_kills import QUICK, place, worker_of

__all__ = ["place"]
pytestmark = pytest.mark.slow


def test_the_next_run_begins_whatever_happened_to_the_file(place: Place) -> None:
    server = place.start("-c", SUPERVISOR)
    worker = worker_of(server, place)
    for happen in HAPPENINGS:
        wait_until((place.settings.home / "app.db").exists)
        happen(place.settings.home)
        with JobTable(place.settings.app_db) as jobs:
            job = jobs.submit(QUICK, asked_by="visitor")
            wait_until(lambda job=job, jobs=jobs: not jobs.get(job).active)  # type: ignore[misc]
            assert jobs.get(job).state == "done", (happen.__name__, jobs.get(job).error)
        if happen is damage:
            assert notice_of(place.settings.app_db) is not None
            assert worker.is_running(), "the same worker goes on with another file"
    wait_until(lambda: not worker.is_running() and place.locked())  # its lock went with the home: another took over
