"""A worker that hangs, takes too long or is ended: its job and the next one still end as they should."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from benchmarks.faults_places import SUPERVISOR, Place, kill, wait_until
from numembed.core.errors import MODEL
from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.runs import supervisor
from numembed.runs.jobs import MAX_ATTEMPTS
from numembed.runs.supervisor import Heartbeat, beat_file
from numembed.studies.study import Study
from tests.faults.test_kills import QUICK, _key, long_study, worker_of

pytestmark = pytest.mark.slow
__all__ = ["long_study"]


@pytest.fixture
def place(settings: Settings) -> Iterator[Place]:
    here = Place(settings)
    yield here
    here.clear()


def test_a_worker_that_hangs_is_replaced_where_its_job_is_to_stop(place: Place, long_study: Study) -> None:
    job_id = place.jobs.submit(long_study, asked_by="visitor")
    server = place.start("-c", SUPERVISOR)
    worker = worker_of(server, place)
    wait_until(lambda: place.vectors.count(_key(long_study), long_study.sequences.texts) > 0)
    worker.suspend()
    began = time.monotonic()
    place.jobs.cancel(job_id)  # waits where the worker holds the file
    next_one = place.jobs.submit(replace(long_study, per_family=2), asked_by="another")
    wait_until(lambda: place.runs(next_one))
    print(f"the next job's model began {time.monotonic() - began:.1f} s after the cancel")
    assert place.job(job_id).state == "cancelled" and not worker.is_running()
    wait_until(lambda: place.job(next_one).state == "done")


def test_a_worker_of_a_dead_app_that_hangs_is_replaced_by_the_next_app(place: Place, long_study: Study) -> None:
    job_id = place.jobs.submit(long_study, asked_by="visitor")
    first = place.start("-c", SUPERVISOR)
    worker = worker_of(first, place)
    wait_until(lambda: place.runs(job_id))
    worker.suspend()
    kill(first.pid)
    place.jobs.cancel(job_id)
    place.start("-c", SUPERVISOR)
    wait_until(lambda: place.job(job_id).state == "cancelled")
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE  # nobody waits for an orphan here


def test_a_run_that_gains_something_each_time_is_never_given_up(place: Place, tiny_model: Path) -> None:
    study = Study(("even", "odd", "primes", "squares"), (model(str(tiny_model)),), per_family=100, length=50)
    key, texts = _key(study), study.sequences.texts
    job_id = place.jobs.submit(study, asked_by="visitor")
    server = place.start("-c", SUPERVISOR)
    for number in range(1, MAX_ATTEMPTS + 2):
        wait_until(lambda number=number: place.runs(job_id, number))
        had = place.vectors.count(key, texts)
        wait_until(lambda had=had: place.vectors.count(key, texts) > had and _not_in_vain(place))
        kill(worker_of(server, place).pid)
    wait_until(lambda: not place.job(job_id).active)
    assert place.job(job_id).state == "done" and place.job(job_id).attempts == MAX_ATTEMPTS + 2


def _not_in_vain(place: Place) -> bool:
    ((in_vain,),) = place.jobs._connection.execute("SELECT in_vain FROM jobs").fetchall()
    return bool(in_vain == 0)


def test_a_worker_that_is_asked_to_end_puts_its_job_back(place: Place, long_study: Study) -> None:
    job_id = place.jobs.submit(long_study, asked_by="visitor")
    worker = place.worker()
    wait_until(lambda: place.vectors.count(_key(long_study), long_study.sequences.texts) > 0)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0 and place.job(job_id).state == "queued"
    place.worker()
    wait_until(lambda: place.job(job_id).state == "done")


def test_a_run_over_its_time_limit_says_so_and_the_next_one_runs(place: Place, long_study: Study) -> None:
    (place.settings.home / "operator.toml").write_text("[limits]\njob_hours = 0.0003\n")  # about a second
    job_id = place.jobs.submit(long_study, asked_by="visitor")
    next_one = place.jobs.submit(replace(long_study, per_family=2), asked_by="another")
    place.start("-c", SUPERVISOR)
    wait_until(lambda: not place.job(job_id).active and not place.job(next_one).active)
    job = place.job(job_id)
    assert job.state == "failed" and job.attempts == 1
    assert job.error.startswith("This run took longer than 1 s, the most that this installation allows")


def test_a_worker_whose_home_was_replaced_ends_and_the_next_run_is_carried_out(place: Place) -> None:
    server = place.start("-c", SUPERVISOR)
    worker = worker_of(server, place)
    wait_until(beat_file(place.settings, MODEL).exists)
    place.settings.home.rename(place.settings.home.with_name("elsewhere"))
    wait_until(lambda: not worker.is_running() and place.settings.home.exists())
    again = Place(place.settings)
    job_id = again.jobs.submit(QUICK, asked_by="visitor")
    wait_until(lambda: again.job(job_id).state == "done")
    again.clear()


@pytest.mark.parametrize("earlier", [True, False])
def test_a_worker_that_hangs_before_its_first_sign_of_life_is_ended(
    settings: Settings, place: Place, monkeypatch: pytest.MonkeyPatch, earlier: bool
) -> None:
    for name, seconds in (("_SILENT_SECONDS", 2.0), ("_SILENT_STOP_SECONDS", 1.0)):
        monkeypatch.setattr(supervisor, name, seconds)
    settings.home.mkdir(parents=True, exist_ok=True)
    if earlier:
        beat_file(settings, MODEL).write_text('{"pid": 1, "created": 1.0}')
    heartbeat = Heartbeat(settings, MODEL)
    heartbeat.restart()
    hanging = place.start("-c", "import time; time.sleep(600)")
    supervisor._watched(hanging, heartbeat)
    assert hanging.returncode == -signal.SIGKILL


def test_only_the_named_process_is_ended(settings: Settings, place: Place) -> None:
    other = place.start("-c", "import time; time.sleep(600)")
    settings.home.mkdir(parents=True, exist_ok=True)
    beat_file(settings, MODEL).write_text(f'{{"pid": {other.pid}, "created": 1.0}}')
    Heartbeat(settings, MODEL).end()
    assert other.poll() is None
    created = psutil.Process(other.pid).create_time()
    beat_file(settings, MODEL).write_text(f'{{"pid": {other.pid}, "created": {created}}}')
    os.kill(other.pid, signal.SIGSTOP)
    Heartbeat(settings, MODEL).end()
    other.wait(10)
    assert not psutil.pid_exists(other.pid)
