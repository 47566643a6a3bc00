from __future__ import annotations

import multiprocessing
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from numembed.core.errors import NumembedError, UnknownName
from numembed.models.catalogue.names import model
from numembed.runs.job import ModelProgress
from numembed.runs.jobs import MAX_ATTEMPTS, JobTable
from numembed.runs.kinds import JOB_KINDS
from numembed.studies.study import Study

STUDY = Study(("even", "odd"), (model("last_digits"),), per_family=2, length=5)
OTHER = replace(STUDY, seed=1)


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[JobTable]:
    with JobTable(tmp_path / "app.db") as table:
        yield table


def _end(jobs: JobTable, job_id: str, state: str = "done") -> None:
    jobs.finish(job_id, state=state, seconds=1.0, progress=(), error="")


def _state(jobs: JobTable, job_id: str) -> str:
    return jobs.get(job_id).state


def test_a_job_is_what_was_requested(jobs: JobTable) -> None:
    job = jobs.get(jobs.submit(STUDY, asked_by="visitor 1"))
    assert job.request == STUDY and job.asked_by == "visitor 1" and job.state == "queued" and job.active
    assert (job.attempts, job.cancel, job.progress, job.error, job.started_at, job.seconds) == (
        0,
        False,
        (),
        "",
        None,
        None,
    )
    assert abs(job.asked_at - time.time()) < 60


@pytest.mark.parametrize("kind", sorted(JOB_KINDS))
@pytest.mark.parametrize("damage", ["no JSON", "", "3", "[]", "{}", '{"ladder": 3, "saving": []}', "[" * 100_000])
def test_a_request_that_cannot_be_read_leaves_its_run_in_the_list(jobs: JobTable, kind: str, damage: str) -> None:
    job = jobs.submit(STUDY, asked_by="visitor 1")
    jobs._connection.execute("UPDATE jobs SET kind = ?, study = ?, progress = ?", (kind, damage, damage))
    (listed,) = jobs.recent()
    if (kind, damage) != ("study", "{}"):  # a study without entries is the paper's
        with pytest.raises(NumembedError):
            _ = listed.request
        assert listed.title == "a run that cannot be read"
    assert (listed.id, listed.asked_by, listed.progress) == (job, "visitor 1", ())


def test_equal_studies_share_one_active_job(jobs: JobTable) -> None:
    first = jobs.submit(STUDY, asked_by="one")
    assert jobs.submit(Study.from_json(STUDY.to_json()), asked_by="two") == first
    assert jobs.submit(OTHER, asked_by="two") != first
    claimed = jobs.claim()
    assert claimed is not None and claimed.id == first and jobs.submit(STUDY, asked_by="three") == first
    _end(jobs, first)
    again = jobs.submit(STUDY, asked_by="one")
    assert again != first and jobs.recent()[0].id == again and len(jobs.recent()) == 3


def test_the_table_itself_allows_one_active_job_a_study(jobs: JobTable, tmp_path: Path) -> None:
    jobs.submit(STUDY, asked_by="one")
    other = sqlite3.connect(tmp_path / "app.db")
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        other.execute(
            "INSERT INTO jobs (id, key, study, asked_by, asked_at, state) "
            "SELECT 'x', key, study, asked_by, asked_at, 'running' FROM jobs"
        )


def _submit_often(path: Path, seeds: list[int]) -> None:
    with JobTable(path) as jobs:
        for seed in seeds:
            jobs.submit(replace(STUDY, seed=seed), asked_by="racer")


@pytest.mark.slow
def test_racing_visitors_share_one_job(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    seeds = [number // 10 for number in range(50)]  # each of five studies ten times by each of four processes
    racers = [context.Process(target=_submit_often, args=(tmp_path / "app.db", seeds)) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
        assert racer.exitcode == 0
    with JobTable(tmp_path / "app.db") as jobs:
        assert sorted(job.request.seed for job in jobs.recent()) == [0, 1, 2, 3, 4]


def test_jobs_are_taken_in_the_order_in_which_they_were_requested(jobs: JobTable) -> None:
    assert jobs.claim() is None
    asked = [jobs.submit(replace(STUDY, seed=seed), asked_by="one") for seed in (3, 1, 2)]
    taken = []
    while (job := jobs.claim()) is not None:
        assert job.state == "running" and job.attempts == 1 and job.started_at is not None
        taken.append(job.id)
    assert taken == asked
    assert [job.id for job in jobs.recent()] == asked[::-1] and [job.id for job in jobs.recent(limit=1)] == asked[2:]


def test_two_workers_never_take_the_same_job(jobs: JobTable, tmp_path: Path) -> None:
    jobs.submit(STUDY, asked_by="one")
    with JobTable(tmp_path / "app.db") as other:
        assert (jobs.claim() is None) is not (other.claim() is None)


def test_progress_is_seen_by_others(jobs: JobTable, tmp_path: Path) -> None:
    job_id = jobs.submit(STUDY, asked_by="one")
    jobs.claim()
    steps = (ModelProgress("Last digits", "encode", 3, 24, "–", 1.5), ModelProgress("all-MiniLM-L6-v2"))
    jobs.show(job_id, steps)
    with JobTable(tmp_path / "app.db") as other:
        assert other.get(job_id).progress == steps
    jobs.finish(job_id, state="failed", seconds=2.5, progress=steps[:1], error="a sentence")
    job = jobs.get(job_id)
    assert (job.state, job.seconds, job.progress, job.error) == ("failed", 2.5, steps[:1], "a sentence")
    assert not job.active


def test_a_waiting_job_is_cancelled_at_once(jobs: JobTable) -> None:
    job_id = jobs.submit(STUDY, asked_by="one")
    jobs.cancel(job_id)
    assert _state(jobs, job_id) == "cancelled" and jobs.claim() is None
    assert jobs.submit(STUDY, asked_by="one") != job_id


def test_a_running_job_is_asked_to_stop(jobs: JobTable) -> None:
    job_id = jobs.submit(STUDY, asked_by="one")
    jobs.claim()
    assert not jobs.cancel_requested(job_id)
    jobs.cancel(job_id)
    assert jobs.cancel_requested(job_id) and _state(jobs, job_id) == "running"


def test_a_stopping_job_makes_room_for_the_same_study(jobs: JobTable) -> None:
    first = jobs.submit(STUDY, asked_by="one")
    jobs.claim()
    jobs.cancel(first)
    second = jobs.submit(STUDY, asked_by="two")
    assert second != first and jobs.submit(STUDY, asked_by="three") == second
    assert _state(jobs, first) == "running" and _state(jobs, second) == "queued"
    latest = jobs.latest(STUDY)
    assert latest is not None and latest.id == second
    _end(jobs, first, "cancelled")
    claimed = jobs.claim()
    assert claimed is not None and claimed.id == second


def test_a_job_that_is_over_cannot_be_cancelled(jobs: JobTable) -> None:
    job_id = jobs.submit(STUDY, asked_by="one")
    jobs.claim()
    _end(jobs, job_id)
    jobs.cancel(job_id)
    assert _state(jobs, job_id) == "done" and not jobs.get(job_id).cancel


def test_a_job_that_is_gone_counts_as_stopped(jobs: JobTable) -> None:
    assert jobs.cancel_requested("nowhere")
    with pytest.raises(UnknownName, match=r"There is no run 'nowhere'\. The Runs page lists all"):
        jobs.get("nowhere")
    with pytest.raises(UnknownName):
        jobs.get("x" * 10_000 + "'; DROP TABLE jobs; --")


def test_the_latest_job_of_a_study(jobs: JobTable) -> None:
    assert jobs.latest(STUDY) is None
    first = jobs.submit(STUDY, asked_by="one")
    jobs.submit(OTHER, asked_by="one")
    found = jobs.latest(STUDY)
    assert found is not None and found.id == first
    jobs.claim()
    jobs.cancel(first)
    jobs.submit(STUDY, asked_by="two")
    jobs.cancel(jobs.submit(STUDY, asked_by="two"))
    found = jobs.latest(STUDY)
    assert found is not None and found.state == "cancelled" and found.id != first


def test_a_dead_workers_job_is_tried_again_but_not_for_ever(jobs: JobTable) -> None:
    poison, next_one = jobs.submit(STUDY, asked_by="one"), jobs.submit(OTHER, asked_by="one")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        job = jobs.claim()
        assert job is not None and job.id == poison and job.attempts == attempt
        jobs.take_over()
    job = jobs.get(poison)
    assert job.state == "failed" and job.error.startswith(f"This run stopped its worker {MAX_ATTEMPTS} times")
    claimed = jobs.claim()
    assert claimed is not None and claimed.id == next_one
    assert jobs.submit(STUDY, asked_by="one") != poison


def test_a_job_that_is_given_up_names_the_model_that_it_was_at(jobs: JobTable) -> None:
    poison = jobs.submit(STUDY, asked_by="one")
    for _ in range(MAX_ATTEMPTS):
        jobs.claim()
        jobs.show(poison, (ModelProgress("first", "done"), ModelProgress("second", "load"), ModelProgress("third")))
        jobs.take_over()
    assert "3 times while it was at second and was abandoned" in jobs.get(poison).error


@pytest.mark.parametrize(
    ("how", "told", "advice"),
    [
        ("the system ended its process because the machine had no memory left", "no memory left", "more memory"),
        ("its process ended by signal 9 (SIGKILL)", "signal 9", "The worker's log may say more"),
        ("", "", "The worker's log may say more"),
    ],
)
def test_a_job_that_is_given_up_says_how_its_worker_ended_and_names_memory_only_as_the_cause(
    jobs: JobTable, how: str, told: str, advice: str
) -> None:
    poison = jobs.submit(STUDY, asked_by="one")
    for _ in range(MAX_ATTEMPTS):
        jobs.claim()
        jobs.note_end(how)
        jobs.take_over()
    error = jobs.get(poison).error
    assert told in error and advice in error and ("memory" in error) == ("memory" in how)


def test_a_start_that_stored_something_is_not_counted(jobs: JobTable) -> None:
    job_id = jobs.submit(STUDY, asked_by="one")
    for _ in range(10):
        claimed = jobs.claim()
        assert claimed is not None and claimed.error == ""
        jobs.not_in_vain(job_id)
        jobs.note_end("its process ended by signal 9 (SIGKILL)")
        jobs.take_over()
    assert _state(jobs, job_id) == "queued" and jobs.get(job_id).attempts == 10
    for _ in range(MAX_ATTEMPTS):
        jobs.claim()
        jobs.take_over()
    assert _state(jobs, job_id) == "failed"


def test_a_job_whose_worker_was_asked_to_end_waits_again_uncounted(jobs: JobTable) -> None:
    job_id = jobs.submit(STUDY, asked_by="one")
    for _ in range(2 * MAX_ATTEMPTS):
        jobs.claim()
        jobs.put_back(job_id)
        jobs.take_over()
        assert _state(jobs, job_id) == "queued"
    for _ in range(MAX_ATTEMPTS):  # asked to end because it no longer responded
        jobs.claim()
        jobs.note_end("its process did not respond for 60 seconds and was ended")
        jobs.put_back(job_id)
    jobs.claim()
    jobs.take_over()
    assert _state(jobs, job_id) == "failed"


def test_taking_over_leaves_the_others_alone(jobs: JobTable) -> None:
    ids = [jobs.submit(replace(STUDY, seed=seed), asked_by="one") for seed in range(5)]
    for _ in range(3):
        jobs.claim()
    _end(jobs, ids[0])
    jobs.cancel(ids[1])
    jobs.cancel(ids[4])
    jobs.take_over()
    assert [_state(jobs, job_id) for job_id in ids] == ["done", "cancelled", "queued", "queued", "cancelled"]


def test_the_first_start_is_remembered(jobs: JobTable) -> None:
    job_id = jobs.submit(STUDY, asked_by="one")
    first = jobs.claim()
    jobs.take_over()
    second = jobs.claim()
    assert first is not None and second is not None and first.started_at == second.started_at
    _end(jobs, job_id)
    assert jobs.get(job_id).seconds == 1.0


def test_only_what_is_over_can_be_deleted(jobs: JobTable) -> None:
    job_id = jobs.submit(STUDY, asked_by="one")
    jobs.delete(job_id)
    assert _state(jobs, job_id) == "queued"
    jobs.claim()
    jobs.delete(job_id)
    assert _state(jobs, job_id) == "running"
    _end(jobs, job_id)
    jobs.delete(job_id)
    assert jobs.recent() == () and jobs.latest(STUDY) is None


def test_runs_of_the_command_line_are_in_the_same_table(jobs: JobTable) -> None:
    active = jobs.submit(STUDY, asked_by="visitor")
    recorded = jobs.record(STUDY, asked_by="command line (me)", seconds=3.5, state="failed", error="a sentence")
    job = jobs.get(recorded)
    assert (job.state, job.seconds, job.error, job.request) == ("failed", 3.5, "a sentence", STUDY)
    assert job.started_at == job.asked_at and jobs.submit(STUDY, asked_by="visitor") == active


def test_a_clock_that_goes_backwards_changes_nothing(jobs: JobTable, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()

    def backwards() -> float:
        nonlocal now
        now -= 86_400
        return now

    monkeypatch.setattr(time, "time", backwards)
    asked = [jobs.submit(replace(STUDY, seed=seed), asked_by="one") for seed in range(4)]
    taken = [job.id for _ in asked if (job := jobs.claim())]
    assert taken == asked and [job.id for job in jobs.recent()] == asked[::-1]
    _end(jobs, asked[0])
    again = jobs.submit(STUDY, asked_by="one")
    latest = jobs.latest(STUDY)
    assert latest is not None and latest.id == again and jobs.get(asked[0]).seconds == 1.0


LOOKS: dict[str, Callable[[JobTable, str], object]] = {
    "get": lambda jobs, job: jobs.get(job),
    "latest": lambda jobs, job: jobs.latest(jobs.get(job).request),
    "recent": lambda jobs, job: jobs.recent(),
    "active": lambda jobs, job: jobs.active(),
    "counts": lambda jobs, job: jobs.counts(),
    "queue": lambda jobs, job: jobs.queue(),
    "any_to_stop": lambda jobs, job: jobs.any_to_stop(),
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_stands_what_others_write_between_its_questions(jobs: JobTable, tmp_path: Path, look: str) -> None:
    job, asked = jobs.submit(STUDY, asked_by="first"), 0
    with JobTable(tmp_path / "app.db") as others:

        def another(statement: str) -> None:
            nonlocal asked
            if statement.lstrip().startswith("SELECT"):
                asked += 1
                others.submit(replace(STUDY, seed=asked), asked_by=f"visitor {asked}")

        jobs._connection.set_trace_callback(another)
        LOOKS[look](jobs, job)
        jobs._connection.set_trace_callback(None)
    assert asked > 0


def test_names_are_kept_short(jobs: JobTable) -> None:
    assert len(jobs.get(jobs.submit(STUDY, asked_by="x" * 1_000)).asked_by) == 80
