"""The job table: who requested what, and its progress. Pages write and read it; the worker carries the jobs out."""

from __future__ import annotations

import secrets
import sqlite3
import time

from numembed.core.errors import LIGHT, MODEL, BadChoice, UnknownName
from numembed.core.progress import DONE, FAILED, WAITING
from numembed.core.settings import RunLimits
from numembed.runs.job import COLUMNS, Job, ModelProgress, job_of, progress_json, progress_of
from numembed.runs.job_rows import close_damaged, job_checksum, number_in
from numembed.runs.kinds import Request, kind_called
from numembed.runs.queue import Place, next_in
from numembed.storage.sqlite import steady, transaction
from numembed.studies.results import AppStore

MAX_ATTEMPTS = 3  # in a row, without a gain
_ANY = 1_000_000  # so many runs of one visitor are no limit
_LANE = f"CASE lane WHEN '{MODEL}' THEN lane ELSE '{LIGHT}' END"  # damage could leave a row in no lane
_OF_LANE = f"? IN ('', {_LANE})"


class JobTable(AppStore):
    """Jobs in ``app.db``. Equal ones share one active job."""

    @steady
    def submit(self, requested: Request, *, asked_by: str, visitor: str = "", limits: RunLimits | None = None) -> str:
        """Return the id of the active job for a request: the one that runs already, or a new one.

        ``visitor`` is whose turn it is in the queue; the requester's, if "". Raises BadChoice where as many of the
        visitor's runs wait as ``limits`` allow.
        """
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
            if limits is not None:
                _refuse_too_many(connection, visitor, limits)
            job = self._insert(requested, asked_by, "queued", visitor, limited=limits is not None)
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
            connection.execute(ended, (seconds, error, progress_json(progress), job))
        return job

    @steady
    def get(self, job_id: str) -> Job:
        """Return one job; raise UnknownName where there is none."""
        row = self._connection.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (job_id,)).fetchone()
        if row is None:
            raise UnknownName(f"There is no run {job_id[:40]!r}. The Runs page lists all.")
        return job_of(row)

    @steady
    def latest(self, requested: Request) -> Job | None:
        """Return the newest job for a request, or None."""
        query = f"SELECT {COLUMNS} FROM jobs WHERE key IN (?, ? || ' stopping ' || id) ORDER BY number DESC LIMIT 1"
        row = self._connection.execute(query, (requested.key, requested.key)).fetchone()
        return job_of(row) if row else None

    @steady
    def recent(self, limit: int = 200) -> tuple[Job, ...]:
        """Return the newest jobs, newest first."""
        query = f"SELECT {COLUMNS} FROM jobs ORDER BY number DESC LIMIT ?"
        return tuple(job_of(row) for row in self._connection.execute(query, (limit,)))

    @steady
    def active(self) -> tuple[Job, ...]:
        """Return all jobs that wait or run, newest first."""
        query = f"SELECT {COLUMNS} FROM jobs WHERE state IN ('queued', 'running') ORDER BY number DESC"
        return tuple(job_of(row) for row in self._connection.execute(query))

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
    def claim(
        self, lane: str = "", *, active_runs: int = _ANY, long_first: bool = False, short_only: bool = False
    ) -> Job | None:
        """Return the next waiting job of a lane (of any, if ""), now running, or None: :mod:`numembed.runs.queue`."""
        if not self._waits(lane):  # a look that disturbs nobody
            return None
        with transaction(self._connection) as connection:
            close_damaged(connection)
            following = next_in(
                _places(connection), lane, active_runs=active_runs, long_first=long_first, short_only=short_only
            )
            if following is None:
                return None
            connection.execute(
                """UPDATE jobs SET state = 'running', attempts = attempts + 1, in_vain = in_vain + 1, error = '',
                    started_at = coalesce(started_at, ?), turn = 1 + (SELECT max(turn) FROM jobs) WHERE id = ?""",
                (time.time(), following.id),
            )
        return self.get(following.id)

    @steady
    def queue(self) -> tuple[Place, ...]:
        """Return all active jobs as the queue sees them."""
        return _places(self._connection)

    @steady
    def _waits(self, lane: str) -> bool:
        query = f"SELECT 1 FROM jobs WHERE state = 'queued' AND {_OF_LANE} LIMIT 1"
        return self._connection.execute(query, (lane,)).fetchone() is not None

    @steady
    def pause(
        self,
        job_id: str,
        *,
        lane: str,
        expected: float | None,
        seconds: float,
        progress: tuple[ModelProgress, ...],
        notes: str,
    ) -> None:
        """Let a running job wait again, in a lane that is expected to need so many seconds; it is no new attempt."""
        with transaction(self._connection) as connection:
            connection.execute(
                """UPDATE jobs SET state = CASE cancel WHEN 1 THEN 'cancelled' ELSE 'queued' END, lane = ?,
                    expected = ?, seconds = coalesce(seconds, 0) + ?, progress = ?, notes = ?,
                    attempts = attempts - 1, in_vain = max(0, in_vain - 1) WHERE id = ? AND state = 'running'""",
                (lane, expected, seconds, progress_json(progress), notes, job_id),
            )

    @steady
    def cancel_requested(self, job_id: str) -> bool:
        """Return True when somebody has requested that the job stop, or it is gone."""
        row = self._connection.execute("SELECT cancel FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return row is None or bool(row[0])

    @steady
    def show(self, job_id: str, progress: tuple[ModelProgress, ...]) -> None:
        """Write how far a running job is."""
        with transaction(self._connection) as connection:
            connection.execute("UPDATE jobs SET progress = ? WHERE id = ?", (progress_json(progress), job_id))

    @steady
    def finish(
        self, job_id: str, *, state: str, seconds: float, progress: tuple[ModelProgress, ...] | None, error: str = ""
    ) -> None:
        """Close a job as done, failed or cancelled; ``progress`` None leaves what was shown."""
        written = None if progress is None else progress_json(progress)
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
    def any_to_stop(self, lane: str = "") -> bool:
        """Return True where a running job of a lane (of any, if "") is to stop."""
        query = f"SELECT 1 FROM jobs WHERE state = 'running' AND cancel = 1 AND {_OF_LANE}"
        return self._connection.execute(query, (lane,)).fetchone() is not None

    @steady
    def note_end(self, how: str, lane: str = "") -> None:
        """Note at the running jobs of a lane how their worker ended, for :meth:`take_over`."""
        with transaction(self._connection) as connection:
            noted = f"UPDATE jobs SET error = ? WHERE state = 'running' AND error = '' AND {_OF_LANE}"
            connection.execute(noted, (how, lane))

    @steady
    def take_over(self, lane: str = "") -> None:
        """Put the jobs of a lane's dead worker back in the queue; fail those that ended it too often without a gain.

        Only the holder of the lane's lock may call this: then no other worker of the lane is alive.
        """
        left = f"state = 'running' AND {_OF_LANE}"
        with transaction(self._connection) as connection:
            connection.execute(f"UPDATE jobs SET state = 'cancelled', error = '' WHERE {left} AND cancel = 1", (lane,))
            given_up = connection.execute(
                f"SELECT id, progress, error FROM jobs WHERE {left} AND in_vain >= ?", (lane, MAX_ATTEMPTS)
            ).fetchall()
            for job, progress, how in given_up:
                failed = "UPDATE jobs SET state = 'failed', error = ? WHERE id = ?"
                connection.execute(failed, (_gave_up(progress, how), job))
            connection.execute(f"UPDATE jobs SET state = 'queued', error = '' WHERE {left}", (lane,))

    def _insert(
        self, requested: Request, asked_by: str, state: str, visitor: str = "", *, limited: bool = False
    ) -> str:
        job, kind = secrets.token_hex(4), kind_called(requested.kind)
        fixed = (job, requested.kind, requested.to_json(), asked_by[:80], time.time())
        queued = (requested.key, state, kind.lane, kind.seconds, visitor or asked_by, limited)
        self._connection.execute(
            """INSERT INTO jobs (id, kind, study, asked_by, asked_at, key, state, lane, expected, visitor, limited,
                checksum) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)""",
            (*fixed, *queued, job_checksum(fixed)),
        )
        return job


def _places(connection: sqlite3.Connection) -> tuple[Place, ...]:
    # one statement: between two of them a new visitor may ask for a run
    rows = connection.execute(
        f"""SELECT id, number, {_LANE}, state = 'queued', started_at IS NOT NULL, visitor, last, expected, limited
            FROM jobs LEFT JOIN (SELECT visitor AS who, max(turn) AS last FROM jobs GROUP BY visitor) ON who IS visitor
            WHERE state IN ('queued', 'running') ORDER BY number"""
    )
    return tuple(
        Place(job, number, lane, waits, begun, visitor, int(number_in(last) or 0), number_in(seconds), limited)
        for job, number, lane, waits, begun, visitor, last, seconds, limited in rows
    )


def _refuse_too_many(connection: sqlite3.Connection, visitor: str, limits: RunLimits) -> None:
    waiting = "SELECT count(*) FROM jobs WHERE visitor = ? AND state = 'queued' AND started_at IS NULL"
    if connection.execute(waiting, (visitor,)).fetchone()[0] >= limits.waiting_runs:
        raise BadChoice(
            f"{limits.waiting_runs:,} of your runs are waiting, the most that one visitor may have here. This one was "
            "not requested. Wait until one of them begins, or stop one on the Runs page."
        )


def _gave_up(progress: str, how: str) -> str:
    """Return the sentence of a job that ended its worker too often: at which model, and how."""
    at = [step.model for step in progress_of(progress) if step.stage not in (WAITING, DONE, FAILED)]
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
