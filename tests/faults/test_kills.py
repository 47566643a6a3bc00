"""Real processes and real kills: nothing that was stored is lost, and every run ends."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.faults_places import SUPERVISOR, Place, children, kill, wait_until
from numembed.core.errors import LIGHT, MODEL
from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.models.encoders.tokens import count_tokens, token_batches
from numembed.models.resolve import resolve
from numembed.paper.protocol import PAPER_FAMILIES
from numembed.runs.jobs import MAX_ATTEMPTS
from numembed.runs.supervisor import is_alive
from numembed.studies.study import Study
from tests.offline import OFFLINE

pytestmark = pytest.mark.slow
QUICK = Study(("even", "odd", "primes"), (model("last_digits"),), per_family=1, length=5)


@pytest.fixture
def place(settings: Settings) -> Iterator[Place]:
    here = Place(settings)
    yield here
    here.clear()


@pytest.fixture
def long_study(tiny_model: Path) -> Study:
    """180 texts for the tiny model: some 36 batches."""
    return Study(PAPER_FAMILIES, (model(str(tiny_model)),), per_family=30, length=50)


def worker_of(server: subprocess.Popen[bytes], place: Place, lane: str = MODEL) -> psutil.Process:
    """Return the worker of a lane once it works; the supervisor too holds the lock for a moment, while it looks."""

    def found() -> list[psutil.Process]:
        return [child for child in children(server) if ["numembed.runs.worker", lane] == child.cmdline()[2:4]]

    wait_until(lambda: is_alive(place.settings, lane) and bool(found()))
    (worker,) = found()
    return worker


def _key(study: Study) -> str:
    return resolve(study.models[0], OFFLINE).key


def _largest_batch(study: Study) -> int:
    counted = count_tokens(study.models[0], study.sequences.texts, OFFLINE)
    assert counted is not None
    return max(map(len, token_batches(counted.counts)))


def test_a_killed_worker_loses_nothing_and_the_run_ends(place: Place, long_study: Study) -> None:
    key, texts = _key(long_study), long_study.sequences.texts
    job_id = place.jobs.submit(long_study, asked_by="visitor")
    first = place.worker()
    wait_until(lambda: place.vectors.count(key, texts) >= 30)
    kill(first.pid)
    first.wait()
    assert place.job(job_id).state == "running" and not place.locked()
    matrix, found = place.vectors.read(key, texts)
    kept = int(found.sum())
    assert 30 <= kept < 180

    place.worker()
    counts, steps = [kept], []

    def ended() -> bool:
        counts.append(place.vectors.count(key, texts))
        job = place.job(job_id)
        steps.extend((step.stage, step.done) for step in job.progress)
        return not job.active

    wait_until(ended)
    job = place.job(job_id)
    assert (job.state, job.attempts, job.error) == ("done", 2, "") and job.progress[0].stage == "done"
    assert counts == sorted(counts) and counts[-1] == 180
    began = next(number for number, (stage, _) in enumerate(steps) if stage == "load")  # before: the first one's
    assert all(done >= kept for stage, done in steps[began:] if stage in ("load", "encode"))  # no text again
    after, all_found = place.vectors.read(key, texts)
    assert all_found.all() and after[found].tobytes() == matrix[found].tobytes()
    assert np.isfinite(after).all()


def test_cancel_takes_effect_within_one_batch(place: Place, long_study: Study) -> None:
    key, texts = _key(long_study), long_study.sequences.texts
    waiting = place.jobs.submit(replace(long_study, seed=1), asked_by="visitor")
    job_id = place.jobs.submit(long_study, asked_by="visitor")
    place.jobs.cancel(waiting)
    worker = place.worker()
    assert psutil.Process(worker.pid).nice() >= 10
    wait_until(lambda: place.vectors.count(key, texts) >= 30)
    before = place.vectors.count(key, texts)
    place.jobs.cancel(job_id)
    wait_until(lambda: not place.job(job_id).active, seconds=10)
    kept = place.vectors.count(key, texts)
    assert place.job(job_id).state == "cancelled" and place.job(waiting).attempts == 0
    assert before <= kept <= before + 3 * _largest_batch(long_study)  # one ran, one may begin before each look
    time.sleep(0.3)
    assert place.vectors.count(key, texts) == kept and worker.poll() is None


def test_a_second_worker_ends_at_once_and_the_first_goes_on(place: Place) -> None:
    first = place.worker()
    second = place.start("-m", "numembed.runs.worker", MODEL)
    assert second.wait(120) == 0 and first.poll() is None and place.locked()
    job_id = place.jobs.submit(QUICK, asked_by="visitor")
    wait_until(lambda: place.job(job_id).state == "done")
    assert place.job(job_id).attempts == 1


def test_a_run_that_kills_its_worker_is_given_up_and_the_next_one_runs(place: Place, long_study: Study) -> None:
    poison = place.jobs.submit(long_study, asked_by="visitor")
    next_one = place.jobs.submit(QUICK, asked_by="another")
    server = place.start("-c", SUPERVISOR)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        wait_until(lambda attempt=attempt: place.runs(poison, attempt))
        kill(worker_of(server, place).pid)
    wait_until(lambda: not place.job(poison).active and place.job(next_one).state == "done")
    job = place.job(poison)
    assert job.state == "failed" and re.match("This run stopped its worker 3 times .*and was abandoned", job.error)


def test_server_and_worker_killed_at_once_lose_no_job(place: Place) -> None:
    server = place.start("-c", SUPERVISOR)
    workers = [worker_of(server, place, lane) for lane in (LIGHT, MODEL)]
    job_id = place.jobs.submit(QUICK, asked_by="visitor")
    wait_until(lambda: place.job(job_id).attempts == 1)
    for worker in workers:
        kill(worker.pid)
    kill(server.pid)
    server.wait()
    place.start("-c", SUPERVISOR)
    wait_until(lambda: place.job(job_id).state == "done")
    assert place.job(job_id).attempts == 2


def test_a_worker_ends_when_the_app_is_gone_and_nothing_waits(place: Place) -> None:
    server = place.start("-c", SUPERVISOR)
    workers = [worker_of(server, place, lane) for lane in (LIGHT, MODEL)]
    job_id = place.jobs.submit(QUICK, asked_by="visitor")
    kill(server.pid)
    server.wait()
    wait_until(lambda: not any(is_alive(place.settings, lane) for lane in (LIGHT, MODEL)))
    assert place.job(job_id).state == "done" and place.job(job_id).attempts == 1
    for worker in workers:
        wait_until(lambda one=worker: not one.is_running() or one.status() == psutil.STATUS_ZOMBIE)


def test_a_worker_whose_app_is_gone_before_it_looks_ends_too(place: Place) -> None:
    nobody = subprocess.Popen([sys.executable, "-c", ""])
    nobody.wait()
    assert place.start("-m", "numembed.runs.worker", MODEL, str(nobody.pid)).wait(120) == 0


def test_a_cancel_that_a_job_does_not_hear_ends_the_worker_and_the_next_goes_on(place: Place) -> None:
    many = Study(PAPER_FAMILIES, (model("random_vectors"),), per_family=490, length=5)  # t-SNE of 2,940 takes long
    place.start("-c", SUPERVISOR)
    job = place.jobs.submit(many, asked_by="test")
    wait_until(lambda: any(step.stage == "project" for step in place.job(job).progress))
    place.jobs.cancel(job)
    quick = place.jobs.submit(QUICK, asked_by="test")
    wait_until(lambda: place.job(quick).state == "done")
    assert place.job(job).state == "cancelled"
    assert place.job(job).progress[0].stage == "project", "the long map was drawn to its end"
