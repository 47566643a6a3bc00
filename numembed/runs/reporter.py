"""Writes how far a job is into the table, and stops it where somebody has asked for that or its time is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from numembed.core.errors import Cancelled, TookTooLong
from numembed.core.gains import gains
from numembed.core.progress import SCORE, Stage
from numembed.core.wording import duration
from numembed.runs.job import ModelProgress
from numembed.runs.jobs import JobTable

_SHOW_SECONDS = 0.2  # between two writes of the progress


class Reporter:
    """Called by a job after each step: writes its progress, and raises Cancelled or TookTooLong.

    ``give_way`` is called then too, with whether the job can stop just here and go on later without computing again.
    """

    def __init__(
        self,
        job_id: str,
        jobs: JobTable,
        *,
        most_seconds: float = float("inf"),
        spent: float = 0.0,
        give_way: Callable[[bool], None] = lambda safe: None,
    ) -> None:
        self._job_id, self._jobs, self._give_way = job_id, jobs, give_way
        self._most_seconds, self._began = most_seconds, time.monotonic() - spent
        self._gains, self._in_vain = gains(), True
        self.progress: tuple[ModelProgress, ...] = ()
        self._shown = 0.0
        self._stage_began: dict[tuple[int, str], tuple[float, int]] = {}

    def __call__(self, index: int, stage: Stage, done: int, total: int, note: str) -> None:
        now = time.monotonic()
        began, first = self._stage_began.setdefault((index, stage), (now, done))
        left = (now - began) / (done - first) * (total - done) if done > first else None
        before = self.progress[index]
        step = replace(before, stage=stage, done=done, total=total, note=note, seconds_left=left)
        if step.stage.begins < SCORE.begins <= before.stage.begins:
            step = before  # a later turn reads what is stored: nothing goes back
        self.progress = (*self.progress[:index], step, *self.progress[index + 1 :])
        has_stored, self._gains = gains() > self._gains, gains()
        if self._in_vain and has_stored:
            self._jobs.not_in_vain(self._job_id)
            self._in_vain = False  # once is enough
        if self._jobs.cancel_requested(self._job_id):
            raise Cancelled("Stopped.")
        if now - self._began > self._most_seconds:
            raise TookTooLong(took_too_long(self._most_seconds))
        if step.stage != before.stage or now - self._shown >= _SHOW_SECONDS:
            self._jobs.show(self._job_id, self.progress)
            self._shown = now
        self._give_way(has_stored or step.stage.anywhere)


def took_too_long(most_seconds: float) -> str:
    """Return the sentence of a job that was stopped by its time limit."""
    return (
        f"This run took longer than {duration(most_seconds)}, the most that this installation allows, and was stopped. "
        "Computed results are kept: run it again to continue, or choose fewer models or sequences."
    )
