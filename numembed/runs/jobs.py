"""The job table: who requested what, and its progress. Pages write and read it; the worker carries the jobs out."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, fields
from typing import Any

from numembed.core.errors import BadChoice, NumembedError, UnknownName
from numembed.core.progress import DONE, FAILED, WAITING, Stage, stage_called
from numembed.runs.job_rows import ACTIVE, STATES, UNREADABLE, close_damaged, is_whole, job_checksum, number_in
from numembed.runs.kinds import JOB_KINDS, Request, kind_called
from numembed.storage.sqlite import steady, transaction
from numembed.studies.results import AppStore

MAX_ATTEMPTS = 3  # in a row, without a gain


@dataclass(frozen=True)
class ModelProgress:
    """How far one model of a running job is; ``seconds_left`` is None while nobody can tell."""

    model: str
    stage: Stage = WAITING
    done: int = 0
    total: int = 0
    note: str = ""
    seconds_left: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "stage", stage_called(self.stage))  # stored as its name


@dataclass(frozen=True)
class Job:
    """One row of the table. Times of day are for showing only; ``seconds`` was measured steadily."""

    id: str
    kind: str  # its row of JOB_KINDS
    request_json: str
    asked_by: str
    asked_at: float
    started_at: float | None
    seconds: float | None
    state: str
    attempts: int
    cancel: bool
    progress: tuple[ModelProgress, ...]
    error: str

    @property
    def active(self) -> bool:
        """True while the job waits or runs."""
        return self.state in ACTIVE

    @property
    def words(self) -> str:
        """Its state for people: "done, 1 of 9 could not run"."""
        if self.state != "done" or not self.error:
            return {"queued": "waiting", "cancelled": "stopped"}.get(self.state, self.state)
        failed = sum(step.stage == FAILED for step in self.progress)
        return f"done, {failed} of {len(self.progress)} could not run" if failed else "done, something is missing"

    @property
    def request(self) -> Any:
        """What the run carries out; raises BadChoice where this version cannot read it."""
        read = kind_called(self.kind).read
        if not self.request_json:
            raise BadChoice(UNREADABLE)
        try:
            return read(self.request_json)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise BadChoice(UNREADABLE) from None

    @property
    def title(self) -> str:
        """What the run is called."""
        try:
            return kind_called(self.kind).title(self.request)
        except NumembedError:
            return "a run that cannot be read" if self.kind in JOB_KINDS else "a run of another version"


_FIELDS = tuple(field.name for field in fields(Job))
_STEP = {field.name for field in fields(ModelProgress)}
# the column's name is older than other kinds
_COLUMNS = ", ".join((*_FIELDS, "checksum")).replace("request_json", "study")


class JobTable(AppStore):
    """Jobs in ``app.db``. Equal ones share one active job."""

    @steady
    def submit(self, requested: Request, *, asked_by: str) -> str:
        """Return the id of the active job for a request: the one that runs already, or a new one."""
        with transaction(self._connection) as connection:
            running = connection.execute(
                "SELECT id FROM jobs WHERE key = ? AND state IN ('queued', 'running') AND cancel = 0", (requested.key,)
            ).fetchone()
            if running:
                return str(running[0])
            # a job that is to stop makes room at once, so that an equal one can be submitted
            connection.execute(
                "UPDATE jobs SET key = key || ' stopping ' || id WHERE key = ? AND state IN ('queued', 'running')",
                (requested.key,),
            )
            job = self._insert(requested, asked_by, "queued")
        return job

    @steady
    def record(
        self,
        requested: Request,
        *,
        asked_by: str,
        seconds: float,
        state: str,
        error: str = "",
        progress: tuple[ModelProgress, ...] = (),
    ) -> str:
        """Enter a run that the command line carried out itself; return its id."""
        with transaction(self._connection) as connection:
            job = self._insert(requested, asked_by, state)
            ended = "UPDATE jobs SET started_at = asked_at, seconds = ?, error = ?, progress = ? WHERE id = ?"
            connection.execute(ended, (seconds, error, _progress_json(progress), job))
        return job

    @steady
    def get(self, job_id: str) -> Job:
        """Return one job; raise UnknownName where there is none."""
        row = self._connection.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (job_id,)).fetchone()
        if row is None:
            raise UnknownName(f"There is no run {job_id[:40]!r}. The Runs page lists all.")
        return _job(row)

    @steady
    def latest(self, requested: Request) -> Job | None:
        """Return the newest job for a request, or None."""
        query = f"SELECT {_COLUMNS} FROM jobs WHERE key IN (?, ? || ' stopping ' || id) ORDER BY number DESC LIMIT 1"
        row = self._connection.execute(query, (requested.key, requested.key)).fetchone()
        return _job(row) if row else None

    @steady
    def recent(self, limit: int = 200) -> tuple[Job, ...]:
        """Return the newest jobs, newest first."""
        query = f"SELECT {_COLUMNS} FROM jobs ORDER BY number DESC LIMIT ?"
        return tuple(_job(row) for row in self._connection.execute(query, (limit,)))

    @steady
    def active(self) -> tuple[Job, ...]:
        """Return all jobs that wait or run, newest first."""
        query = f"SELECT {_COLUMNS} FROM jobs WHERE state IN ('queued', 'running') ORDER BY number DESC"
        return tuple(_job(row) for row in self._connection.execute(query))

    @steady
    def counts(self) -> tuple[int, int, int]:
        """Return how many jobs there are, how many of them wait, and how many run."""
        query = "SELECT count(*), count(*) FILTER (WHERE state = 'queued'), count(*) FILTER (WHERE state = 'running')"
        total, waiting, running = self._connection.execute(f"{query} FROM jobs").fetchone()
        return total, waiting, running

    @steady
    def cancel(self, job_id: str) -> None:
        """Ask a job to stop: a waiting one stops at once, a running one after its present batch."""
        with transaction(self._connection) as connection:
            connection.execute("UPDATE jobs SET state = 'cancelled' WHERE id = ? AND state = 'queued'", (job_id,))
            connection.execute("UPDATE jobs SET cancel = 1 WHERE id = ? AND state = 'running'", (job_id,))

    @steady
    def delete(self, job_id: str) -> None:
        """Forget a job that is over; its vectors and results stay."""
        with transaction(self._connection) as connection:
            connection.execute("DELETE FROM jobs WHERE id = ? AND state NOT IN ('queued', 'running')", (job_id,))

    # what only the worker calls

    @steady
    def claim(self) -> Job | None:
        """Return the oldest waiting job, now running, or None."""
        with transaction(self._connection) as connection:
            close_damaged(connection)
            row = connection.execute("SELECT id FROM jobs WHERE state = 'queued' ORDER BY number LIMIT 1").fetchone()
            if row is None:
                return None
            connection.execute(
                """UPDATE jobs SET state = 'running', attempts = attempts + 1, in_vain = in_vain + 1, error = '',
                    started_at = coalesce(started_at, ?) WHERE id = ?""",
                (time.time(), row[0]),
            )
        return self.get(row[0])

    @steady
    def cancel_requested(self, job_id: str) -> bool:
        """Return True when somebody has requested that the job stop, or it is gone."""
        row = self._connection.execute("SELECT cancel FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return row is None or bool(row[0])

    @steady
    def show(self, job_id: str, progress: tuple[ModelProgress, ...]) -> None:
        """Write how far a running job is."""
        with transaction(self._connection) as connection:
            connection.execute("UPDATE jobs SET progress = ? WHERE id = ?", (_progress_json(progress), job_id))

    @steady
    def finish(
        self, job_id: str, *, state: str, seconds: float, progress: tuple[ModelProgress, ...] | None, error: str = ""
    ) -> None:
        """Close a job as done, failed or cancelled; ``progress`` None leaves what was shown."""
        written = None if progress is None else _progress_json(progress)
        with transaction(self._connection) as connection:
            connection.execute(
                """UPDATE jobs SET state = ?, seconds = coalesce(seconds, 0) + ?, progress = coalesce(?, progress),
                    error = ? WHERE id = ?""",
                (state, seconds, written, error, job_id),
            )

    @steady
    def not_in_vain(self, job_id: str) -> None:
        """Note that this start of a job has stored something: it does not count among those that gain nothing."""
        with transaction(self._connection) as connection:
            connection.execute("UPDATE jobs SET in_vain = 0 WHERE id = ?", (job_id,))

    @steady
    def put_back(self, job_id: str) -> None:
        """Let a running job wait again: its worker was asked to end, which says nothing against the job."""
        with transaction(self._connection) as connection:
            connection.execute(
                """UPDATE jobs SET state = CASE cancel WHEN 1 THEN 'cancelled' ELSE 'queued' END,
                    in_vain = max(0, in_vain - (error = '')) WHERE id = ? AND state = 'running'""",
                (job_id,),
            )

    @steady
    def any_to_stop(self) -> bool:
        """Return True where a running job is to stop."""
        query = "SELECT 1 FROM jobs WHERE state = 'running' AND cancel = 1"
        return self._connection.execute(query).fetchone() is not None

    @steady
    def note_end(self, how: str) -> None:
        """Note at the running jobs how their worker ended, for :meth:`take_over`."""
        with transaction(self._connection) as connection:
            connection.execute("UPDATE jobs SET error = ? WHERE state = 'running' AND error = ''", (how,))

    @steady
    def take_over(self) -> None:
        """Put the jobs of a dead worker back in the queue; fail those that have ended it too often without a gain.

        Only the holder of the worker's lock may call this: then no other worker is alive.
        """
        with transaction(self._connection) as connection:
            connection.execute("UPDATE jobs SET state = 'cancelled', error = '' WHERE state = 'running' AND cancel = 1")
            given_up = connection.execute(
                "SELECT id, progress, error FROM jobs WHERE state = 'running' AND in_vain >= ?", (MAX_ATTEMPTS,)
            ).fetchall()
            for job, progress, how in given_up:
                failed = "UPDATE jobs SET state = 'failed', error = ? WHERE id = ?"
                connection.execute(failed, (_gave_up(progress, how), job))
            connection.execute("UPDATE jobs SET state = 'queued', error = '' WHERE state = 'running'")

    def _insert(self, requested: Request, asked_by: str, state: str) -> str:
        job = secrets.token_hex(4)
        fixed = (job, requested.kind, requested.to_json(), asked_by[:80], time.time())
        self._connection.execute(
            "INSERT INTO jobs (id, kind, study, asked_by, asked_at, key, state, checksum) VALUES (?,?,?,?,?,?,?,?)",
            (*fixed, requested.key, state, job_checksum(fixed)),
        )
        return job


def _gave_up(progress: str, how: str) -> str:
    """Return the sentence of a job that ended its worker too often: at which model, and how."""
    at = [step.model for step in _progress(progress) if step.stage not in (WAITING, DONE, FAILED)]
    where = f" while it was at {at[0][:80]}" if at else ""
    what = f" The last time {how}." if how else ""
    if "memory" in how:
        advice = "Choose a smaller model, fewer sequences, or a machine with more memory."
    else:
        advice = "The worker's log may say more. Run the others without it."
    return (
        f"This run stopped its worker {MAX_ATTEMPTS} times{where} and was abandoned, because nothing new was stored in "
        f"between.{what} What was computed before is kept. {advice}"
    )


def _job(row: tuple[Any, ...]) -> Job:
    """Return the job of a row, whatever damage did to it: an unknown request or state is one that cannot be read."""
    named = dict(zip(_FIELDS, row, strict=False))
    if not is_whole(row[-1], [named[name] for name in ("id", "kind", "request_json", "asked_by", "asked_at")]):
        asked_at = number_in(named["asked_at"]) or 0.0
        named |= {"id": str(named["id"]), "kind": "study", "request_json": "", "asked_at": asked_at}
        named |= {"asked_by": str(named["asked_by"]), "error": UNREADABLE}
    if named["state"] not in STATES:
        named |= {"state": "failed", "error": UNREADABLE}
    return Job(
        **(
            named
            | {"progress": _progress(named["progress"]), "cancel": bool(named["cancel"])}
            | {name: number_in(named[name]) for name in ("started_at", "seconds")}
            | {"attempts": int(number_in(named["attempts"]) or 0), "error": str(named["error"])}
        )
    )


def _progress(text: object) -> tuple[ModelProgress, ...]:
    """Return the steps that were written; () where they are damaged. What a later version adds to them is ignored."""
    try:
        steps = [{name: value for name, value in step.items() if name in _STEP} for step in json.loads(str(text))]
        read = tuple(ModelProgress(**step) for step in steps)
        return read if all(isinstance(step.done + step.total, int) for step in read) else ()
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError, NumembedError):
        return ()


def _progress_json(progress: tuple[ModelProgress, ...]) -> str:
    return json.dumps([vars(step) for step in progress])
