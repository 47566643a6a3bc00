"""Rows of the job table that damage has changed: shown as what cannot be read, never carried out."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from numembed.core.errors import NumembedError
from numembed.core.progress import ENCODE
from numembed.models.catalogue.names import model
from numembed.runs.job import ModelProgress
from numembed.runs.job_rows import UNREADABLE
from numembed.runs.jobs import JobTable
from numembed.studies.study import Study

STUDY = Study(("even", "primes"), (model("last_digits"),), per_family=1, length=5)


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[JobTable]:
    with JobTable(tmp_path / "app.db") as table:
        yield table


def _change(path: Path, change: str) -> None:
    with sqlite3.connect(path) as other:
        other.execute(f"UPDATE jobs SET {change} WHERE number = 1")


@pytest.mark.parametrize(
    "damage",
    [
        "study = replace(study, 'even', 'odd')",
        "study = x'00ff'",
        "study = CAST(x'ff' || substr(study, 2) AS TEXT)",
        "kind = 'ladder'",
        "id = 'a' || substr(id, 2) || 'b'",
        "asked_by = 'somebody'",
        "asked_at = x'00'",
        "checksum = x'00'",
    ],
)
def test_a_damaged_waiting_job_is_closed_and_the_next_begins(jobs: JobTable, damage: str) -> None:
    jobs.submit(STUDY, asked_by="me")
    second = jobs.submit(replace(STUDY, seed=1), asked_by="me")
    _change(jobs.path, damage)
    shown = jobs.recent()[1]
    assert shown.title == "a run that cannot be read" and shown.active and shown.error == UNREADABLE
    with pytest.raises(NumembedError, match="cannot be read from the store"):
        _ = shown.request
    claimed = jobs.claim()
    assert claimed is not None and claimed.id == second and jobs.claim() is None
    closed = jobs.recent()[1]
    assert (closed.state, closed.error) == ("failed", UNREADABLE)


def test_a_damaged_state_is_over_and_can_be_forgotten(jobs: JobTable) -> None:
    jobs.submit(STUDY, asked_by="me")
    _change(jobs.path, "state = 'qteued', attempts = x'00', started_at = 'x', seconds = -1e300, cancel = 'x'")
    (job,) = jobs.recent()
    assert (job.state, job.error, job.attempts, job.started_at, job.seconds) == ("failed", UNREADABLE, 0, None, None)
    assert jobs.claim() is None
    jobs.delete(job.id)
    assert jobs.recent() == ()


@pytest.mark.parametrize(
    "damage", ["", "no JSON", "[3]", '{"a": 1}', '[{"tone": 1}]', '[{"model": "m", "done": "x"}]', "[" * 9_999]
)
def test_damaged_progress_is_none_and_nothing_else_suffers(jobs: JobTable, damage: str) -> None:
    job = jobs.submit(STUDY, asked_by="me")
    with sqlite3.connect(jobs.path) as other:
        other.execute("UPDATE jobs SET progress = ?", (damage,))
    assert jobs.get(job).progress == () and jobs.get(job).request == STUDY
    assert jobs.claim() is not None
    for _ in range(3):
        jobs.take_over()
        jobs.claim()
    assert "abandoned" in jobs.get(job).error or jobs.get(job).active


def test_what_a_later_version_adds_to_the_progress_is_ignored(jobs: JobTable) -> None:
    job = jobs.submit(STUDY, asked_by="me")
    step = {"model": "Last digits", "stage": "encode", "done": 1, "total": 2, "colour": "blue", "later": {"a": [1]}}
    with sqlite3.connect(jobs.path) as other:
        other.execute("UPDATE jobs SET progress = ?", (json.dumps([step]),))
    assert jobs.get(job).progress == (ModelProgress("Last digits", ENCODE, 1, 2),)


def test_a_row_of_an_earlier_version_is_taken_as_it_is(jobs: JobTable) -> None:
    job = jobs.submit(STUDY, asked_by="me")
    _change(jobs.path, "checksum = NULL")
    assert jobs.get(job).request == STUDY
    claimed = jobs.claim()
    assert claimed is not None and claimed.request == STUDY


def test_all_active_jobs_are_counted_however_many_there_are(jobs: JobTable) -> None:
    first = jobs.submit(STUDY, asked_by="me")
    jobs.claim()
    for number in range(25):
        jobs.record(replace(STUDY, seed=number), asked_by="me", seconds=1.0, state="done")
    last = jobs.submit(replace(STUDY, seed=99), asked_by="me")
    assert jobs.counts() == (27, 1, 1)
    assert [job.id for job in jobs.active()] == [last, first]


def test_a_claim_finds_the_jobs_of_the_file_that_lies_there_now(jobs: JobTable) -> None:
    assert jobs.claim() is None
    jobs.path.unlink()
    with JobTable(jobs.path) as web:
        job = web.submit(STUDY, asked_by="me")
    claimed = jobs.claim()
    assert claimed is not None and claimed.id == job
