from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from numembed.core.errors import LIGHT, MODEL, TookTooLong
from numembed.core.gains import gained, gains
from numembed.core.progress import LOAD, SCORE
from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel
from numembed.runs import study_run, worker
from numembed.runs.job import ModelProgress
from numembed.runs.jobs import JobTable
from numembed.runs.logs import KEPT_LOGS, limit
from numembed.runs.reporter import Reporter
from numembed.runs.supervisor import lock_file
from numembed.runs.worker import main, run_job
from numembed.storage.vectors import VectorStore
from numembed.studies.results import ResultStore
from numembed.studies.study import Study
from tests.offline import OFFLINE

SECRET = "hf_" + "a1B2" * 6
STUDY = Study(("even", "odd", "primes"), (model("last_digits"), model("digit_counts")), per_family=1, length=5)


@pytest.fixture(autouse=True)
def _stay_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_be_polite", lambda: None)  # it would slow all later tests of this process


@pytest.fixture
def jobs(settings: Settings) -> Iterator[JobTable]:
    with JobTable(settings.app_db) as table:
        yield table


@pytest.fixture
def loaded() -> LoadedModel:
    return LoadedModel(OFFLINE)


def _run(study: Study, jobs: JobTable, settings: Settings, loaded: LoadedModel) -> str:
    jobs.submit(study, asked_by="visitor")
    job = jobs.claim()
    assert job is not None
    state = run_job(job, jobs, settings=settings, loaded=loaded)
    assert jobs.get(job.id).state == state and (jobs.get(job.id).seconds or -1) >= 0
    return job.id


@pytest.mark.slow
def test_a_job_ends_done(jobs: JobTable, settings: Settings, loaded: LoadedModel) -> None:
    job = jobs.get(_run(STUDY, jobs, settings, loaded))
    assert job.state == "done" and job.error == ""
    assert [(step.model, step.stage) for step in job.progress] == [("Last digits", "done"), ("Digits", "done")]


@pytest.mark.slow
def test_a_model_that_fails_is_reported_with_the_others_done(
    jobs: JobTable, settings: Settings, loaded: LoadedModel, nan_model: Path
) -> None:
    study = replace(STUDY, models=(model("/no/such/folder"), model("last_digits"), model(str(nan_model))))
    job = jobs.get(_run(study, jobs, settings, loaded))
    assert job.state == "done" and job.words == "done, 2 of 3 could not run"
    assert "not below a folder" in job.error and "not finite" in job.error
    assert [step.stage for step in job.progress] == ["failed", "done", "failed"]
    assert job.progress[0].note in job.error


def test_a_cancelled_job_says_so(jobs: JobTable, settings: Settings, loaded: LoadedModel) -> None:
    jobs.submit(STUDY, asked_by="visitor")
    job = jobs.claim()
    assert job is not None
    jobs.cancel(job.id)
    assert run_job(job, jobs, settings=settings, loaded=loaded) == "cancelled"
    assert jobs.get(job.id).error == "Stopped. Computed results are kept."


def test_a_job_that_was_deleted_under_its_worker_stops(jobs: JobTable, settings: Settings, loaded: LoadedModel) -> None:
    jobs.submit(STUDY, asked_by="visitor")
    job = jobs.claim()
    assert job is not None
    other = sqlite3.connect(settings.app_db)
    other.execute("DELETE FROM jobs")
    other.commit()
    assert run_job(job, jobs, settings=settings, loaded=loaded) == "cancelled"


@pytest.mark.parametrize("study", ["", "{}", '{"families": ["a family of old"], "models": ["last_digits"]}'])
def test_a_study_that_is_none_any_more_is_a_sentence(
    jobs: JobTable, settings: Settings, loaded: LoadedModel, study: str
) -> None:
    jobs.submit(STUDY, asked_by="visitor")
    job = jobs.claim()
    assert job is not None
    assert run_job(replace(job, request_json=study), jobs, settings=settings, loaded=loaded) == "failed"
    assert jobs.get(job.id).error and "fault" not in jobs.get(job.id).error


def test_a_full_disk_is_a_sentence(
    jobs: JobTable, settings: Settings, loaded: LoadedModel, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SmallDisk(VectorStore):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            self._connection.execute("PRAGMA max_page_count=5")

    monkeypatch.setattr(worker, "VectorStore", SmallDisk)
    study = replace(STUDY, models=(model(str(tiny_model)),), per_family=150)
    job = jobs.get(_run(study, jobs, settings, loaded))
    assert job.state == "failed" and job.error.startswith("The disk is full. What was stored before is safe")


@pytest.mark.slow
def test_a_fault_of_ours_is_named_and_the_next_job_runs(
    jobs: JobTable, settings: Settings, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError(f"division in /home/me/run.py by {SECRET}")

    with monkeypatch.context() as patch:
        patch.setattr(study_run, "run", broken)
        job = jobs.get(_run(STUDY, jobs, settings, loaded))
    assert job.state == "failed"
    assert (
        job.error == "numembed has an internal error here: division in run.py by [secret]. See worker.log for details."
    )
    assert jobs.get(_run(STUDY, jobs, settings, loaded)).state == "done"


def test_progress_is_written_at_each_stage_and_then_now_and_again(
    jobs: JobTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    job_id = jobs.submit(STUDY, asked_by="visitor")
    jobs.claim()
    reporter = Reporter(job_id, jobs)
    reporter.progress = tuple(ModelProgress(spec.name) for spec in STUDY.models)
    seen = []
    for elapsed, stage, done in ((0, "load", 0), (1, "encode", 0), (1.01, "encode", 1), (3, "encode", 4)):
        now = 100.0 + elapsed
        reporter(1, stage, done, 10, "")
        step = jobs.get(job_id).progress[1]
        seen.append((step.stage, step.done, step.seconds_left))
    assert seen == [("load", 0, None), ("encode", 0, None), ("encode", 0, None), ("encode", 4, 3.0)]
    assert jobs.get(job_id).progress[0].stage == "waiting"


def test_a_second_worker_ends_at_once(settings: Settings, jobs: JobTable) -> None:
    jobs.submit(STUDY, asked_by="visitor")
    with FileLock(lock_file(settings, LIGHT)):
        assert main(settings, LIGHT, parent=0) == 0
    assert [job.state for job in jobs.recent()] == ["queued"]


@pytest.mark.slow
def test_a_worker_whose_parent_is_gone_does_what_waits_and_ends(settings: Settings, jobs: JobTable) -> None:
    job_id = jobs.submit(STUDY, asked_by="visitor")
    assert main(settings, LIGHT, parent=0) == 0
    assert jobs.get(job_id).state == "done"
    with FileLock(lock_file(settings, LIGHT), timeout=0):
        pass


@pytest.mark.slow
def test_a_new_worker_takes_over_what_the_dead_one_left(settings: Settings, jobs: JobTable) -> None:
    job_id = jobs.submit(STUDY, asked_by="visitor")
    jobs.claim()
    main(settings, LIGHT, parent=0)
    assert jobs.get(job_id).state == "done" and jobs.get(job_id).attempts == 2


def test_nothing_is_imported_ahead_where_the_operator_says_so(settings: Settings) -> None:
    for lane in (LIGHT, MODEL):
        assert list(worker._prewarming(settings, lane)) == []
        assert list(worker._prewarming(replace(settings, prewarm=True), lane))


def test_a_gain_is_noted_once_and_a_run_over_its_time_ends(jobs: JobTable, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = jobs.submit(STUDY, asked_by="visitor")
    jobs.claim()
    reporter = Reporter(job_id, jobs, most_seconds=3_600)
    reporter.progress = tuple(ModelProgress(spec.name) for spec in STUDY.models)
    reporter(0, LOAD, 0, 1, "")
    assert _in_vain(jobs) == 1
    gained()
    reporter(0, LOAD, 1, 1, "")
    assert _in_vain(jobs) == 0
    later = time.monotonic() + 3_601
    monkeypatch.setattr(time, "monotonic", lambda: later)
    with pytest.raises(TookTooLong, match="longer than 1 h, the most that this installation allows"):
        reporter(0, SCORE, 0, 1, "")


def _in_vain(jobs: JobTable) -> int:
    return int(jobs._connection.execute("SELECT in_vain FROM jobs").fetchone()[0])


def test_what_only_replaces_a_result_is_no_gain(settings: Settings) -> None:
    with ResultStore(settings.app_db) as results:
        before = gains()
        results.put("a", {"value": 1})
        results.put("a", {"value": 2})
        assert gains() - before == 1 and results.get("a") == {"value": 2}


def test_each_job_leaves_two_lines_in_the_log_without_its_texts(
    jobs: JobTable, settings: Settings, loaded: LoadedModel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="numembed")
    job_id = jobs.submit(STUDY, asked_by="somebody called Ada")
    claimed = jobs.claim()
    assert claimed is not None
    jobs.cancel(job_id)
    run_job(claimed, jobs, settings=settings, loaded=loaded)
    begins, ends = (record.getMessage() for record in caplog.records)
    assert begins == f"job {job_id} begins: study, attempt 1" and ends.startswith(f"job {job_id} ends: cancelled after")


def test_a_newer_file_is_one_line_in_the_log(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with JobTable(settings.app_db) as jobs:
        jobs._connection.execute("PRAGMA user_version=999")
    assert main(settings, LIGHT, parent=0) == 1
    (line,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert "was written by a newer numembed" in line.getMessage() and line.exc_info is None


def test_a_large_log_is_moved_away_in_pieces_and_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    with log.open("ab") as held:  # as a process that runs
        for number in range(8):
            held.write(f"piece {number}\n".encode() * 10)
            held.flush()
            limit(log, most_bytes=50)
        held.write(b"and on")
    assert log.read_bytes() == b"and on"
    kept = sorted(file.name for file in tmp_path.iterdir())
    assert kept == ["worker.log", *(f"worker.log.{number}" for number in range(1, KEPT_LOGS + 1))]
    assert (tmp_path / "worker.log.1").read_bytes() == b"piece 7\n" * 10
    limit(tmp_path / "none.log")


@pytest.mark.slow
def test_in_the_light_lane_a_short_run_is_carried_out_in_between(
    jobs: JobTable, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(worker, "_LOOK_SECONDS", 0.0)
    first, *others = (jobs.submit(replace(STUDY, seed=seed), asked_by=f"visitor {seed}") for seed in range(6))
    seen: list[list[str]] = []
    before = JobTable.finish

    def finish(table: JobTable, job_id: str, **more: Any) -> None:
        seen.append([job.id for job in table.active() if job.state == "running"])
        before(table, job_id, **more)

    monkeypatch.setattr(JobTable, "finish", finish)
    assert main(settings, LIGHT, parent=0) == 0
    assert {(job.state, job.attempts) for job in jobs.recent()} == {("done", 1)}
    assert len(seen) == 6 and seen[-1] == [first], "the first, which gave way, ends last"
    assert max(map(len, seen)) == 4, "no more than four at a time"
    assert [one for one in seen if others[0] in one]
