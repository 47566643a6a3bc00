"""What runs beside the worker's job: its heartbeat, and the end of a job that does not stop by itself."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from numembed.core.errors import NumembedError
from numembed.core.settings import Settings
from numembed.runs.jobs import JobTable
from numembed.runs.logs import limit
from numembed.runs.reporter import took_too_long
from numembed.runs.supervisor import beat_file, lock_file

LOST = 75  # exit code: start another worker
_LOOK_SECONDS = 0.5
_GRACE_SECONDS = 5.0  # for a job to stop by itself
_log = logging.getLogger(__name__)


class AskedToEnd(BaseException):
    """Somebody has asked this process to end; no part of a run may take it for a failure of its own."""


@dataclass
class _Present:
    """The job that runs, and since when it should have stopped."""

    id: str
    began: float
    late_since: float | None = None


class Watch:
    """A thread that touches the heartbeat, and ends the process where its job does not stop: deep in a map, say.

    The store survives that, the next worker closes the job, and the supervisor starts it at once. Within the block a
    request to end the process raises :class:`AskedToEnd`.
    """

    def __init__(self, settings: Settings, lane: str) -> None:
        lock = lock_file(settings, lane)
        self._settings, self._file = settings, beat_file(settings, lane)
        self._lock, self._number = lock, lock.stat().st_ino
        self._over = threading.Event()
        self._present: _Present | None = None
        self._signal_before: signal.Handlers | None = None

    def __enter__(self) -> Self:
        import psutil

        created = psutil.Process().create_time()
        self._file.write_text(json.dumps({"pid": os.getpid(), "created": created}), encoding="ascii")
        if threading.current_thread() is threading.main_thread():
            self._signal_before = signal.signal(signal.SIGTERM, _end)  # type: ignore[assignment]
        threading.Thread(target=self._watch, name="numembed-watch", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        if self._signal_before is not None:
            signal.signal(signal.SIGTERM, self._signal_before)

    @contextlib.contextmanager
    def job(self, job_id: str, *, spent: float = 0.0) -> Iterator[None]:
        """Watch a job, which took ``spent`` seconds before, in the block; then again the one that waits for it."""
        outer, began = self._present, time.monotonic()
        self._present = _Present(job_id, began - spent)
        try:
            yield
        finally:
            if outer is not None:
                outer.began += time.monotonic() - began
            self._present = outer

    def _watch(self) -> None:
        jobs: JobTable | None = None
        while not self._over.wait(_LOOK_SECONDS):
            self._beat()
            if (present := self._present) is not None:
                with contextlib.suppress(NumembedError, sqlite3.Error):
                    jobs = jobs or JobTable(self._settings.app_db)
                    self._look(present, jobs)

    def _beat(self) -> None:
        with contextlib.suppress(OSError):
            os.utime(self._file)
        limit(self._settings.home / "worker.log")
        if not self._holds_lock():
            _log.warning("the home folder was replaced; ending the worker")
            os._exit(LOST)

    def _holds_lock(self) -> bool:
        try:
            return self._lock.stat().st_ino == self._number
        except OSError:
            return False

    def _look(self, present: _Present, jobs: JobTable) -> None:
        """End the process where the job should have stopped some seconds ago."""
        now, most = time.monotonic(), self._settings.limits.job_seconds
        is_late = now - present.began > most
        if not is_late and not jobs.cancel_requested(present.id):
            return
        present.late_since = present.late_since or now
        if now - present.late_since > _GRACE_SECONDS and self._present is present:
            if is_late:
                seconds = now - present.began
                jobs.finish(present.id, state="failed", seconds=seconds, progress=None, error=took_too_long(most))
            _log.warning("job %s did not stop; ending the worker", present.id)
            os._exit(LOST)


def _end(number: int, frame: object) -> None:
    raise AskedToEnd
