"""Writes how far a job is into the table, and stops it where somebody has asked for that or its time is over."""

from __future__ import annotations

import time
from dataclasses import replace

from numembed.core.errors import Cancelled, TookTooLong
from numembed.core.gains import gains
from numembed.core.progress import Stage
from numembed.core.wording import duration
from numembed.runs.jobs import JobTable, ModelProgress

_SHOW_SECONDS = 0.2  # between two writes of the progress


class Reporter:
    """Called by a job after each step: writes its progress, and raises Cancelled or TookTooLong."""

    def __init__(self, job_id: str, jobs: JobTable, *, most_seconds: float = float("inf")) -> None:
        self._job_id, self._jobs = job_id, jobs
        self._most_seconds, self._began = most_seconds, time.monotonic()
        self._gains: int | None = gains()
        self.progress: tuple[ModelProgress, ...] = ()
        self._shown = 0.0
        self._stage_began: dict[tuple[int, str], tuple[float, int]] = {}

    def __call__(self, index: int, stage: Stage, done: int, total: int, note: str) -> None:
        now = time.monotonic()
        began, first = self._stage_began.setdefault((index, stage), (now, done))
        left = (now - began) / (done - first) * (total - done) if done > first else None
        before = self.progress[index]
        step = replace(before, stage=stage, done=done, total=total, note=note, seconds_left=left)
        self.progress = (*self.progress[:index], step, *self.progress[index + 1 :])
        if self._gains is not None and gains() > self._gains:
            self._jobs.not_in_vain(self._job_id)
            self._gains = None  # once is enough
        if self._jobs.cancel_requested(self._job_id):
            raise Cancelled("Stopped.")
        if now - self._began > self._most_seconds:
            raise TookTooLong(took_too_long(self._most_seconds))
        if step.stage != before.stage or now - self._shown >= _SHOW_SECONDS:
            self._jobs.show(self._job_id, self.progress)
            self._shown = now


def took_too_long(most_seconds: float) -> str:
    """Return the sentence of a job that was stopped by its time limit."""
    return (
        f"This run took longer than {duration(most_seconds)}, the most that this installation allows, and was stopped. "
        "Computed results are kept: run it again to continue, or choose fewer models or sequences."
    )
