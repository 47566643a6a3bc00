"""The worker of a lane: takes jobs from the table, one at a time, and says how far it is. One lane holds torch.

``python -m numembed.runs.worker LANE`` is started by the app; a file lock, freed by the kernel on any death,
keeps it to one a lane. It ends by itself when the app is gone and nothing waits.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from numembed.core.errors import (
    LIGHT,
    MODEL,
    AcceleratorLost,
    BadSettings,
    Cancelled,
    ModelUnavailable,
    NumembedError,
    Paused,
    reason_of,
)
from numembed.core.settings import Settings, read_settings, with_secrets
from numembed.models.encoders.loaded import LoadedModel, WithoutModels
from numembed.models.loading.devices import device_memory
from numembed.runs.job import Job, ModelProgress
from numembed.runs.jobs import JobTable
from numembed.runs.kinds import Ending, Workplace, kind_called
from numembed.runs.logs import log_to_stderr
from numembed.runs.queue import LONG_SECONDS, SHORT_SECONDS, TURN_SECONDS, next_in
from numembed.runs.reporter import Reporter
from numembed.runs.state import Notes
from numembed.runs.supervisor import is_alive, lock_file
from numembed.runs.watch import LOST, AskedToEnd, Watch
from numembed.storage.backups import daily
from numembed.storage.vectors import VectorStore
from numembed.studies.cost import Machine, remember_machine, this_processor
from numembed.studies.results import ResultStore

_IDLE_SECONDS = 0.1
_LOOK_SECONDS = 1.0  # between two looks whether a short job waits
_SHORT_IN_A_ROW_SECONDS = 30.0  # then a long one has its turn
_MOST_UNDER_WAY = 4  # in the light lane: each keeps what it has in memory
_NICE = 10
_TRIES_OF_A_LOST_CARD = 2
_log = logging.getLogger(__name__)


def main(settings: Settings, lane: str, parent: int) -> int:
    """Work until process ``parent`` is gone and nothing waits; return at once where the lane has another worker."""
    settings.home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock_file(settings, lane), timeout=0):
            _be_polite()
            with Watch(settings, lane) as watch, JobTable(settings.app_db) as jobs:
                Lane(lane, settings, jobs, watch).serve(parent)
    except Timeout:
        _log.info("another worker is alive")
    except AskedToEnd:  # between two jobs
        _log.info("asked to end")
    except NumembedError as error:  # its files are of a newer version, say
        _log.error("%s", error)
        return 1
    return 0


class Lane:
    """What one worker carries out, one job at a time: MODEL what needs a loaded model, LIGHT everything else.

    A long job gives way to a short one. In MODEL it stops, because only one model is in memory, and goes on later from
    what is stored; in LIGHT the short one is carried out in between.
    """

    def __init__(self, name: str, settings: Settings, jobs: JobTable, watch: Watch) -> None:
        self._name, self._settings, self._jobs, self._watch = name, settings, jobs, watch
        self._loaded = LoadedModel(settings) if name == MODEL else WithoutModels(settings)
        self._began = self._looked = self._long_ended = time.monotonic()
        self._expected: float | None = None  # of the present job
        self._under_way = 0  # the present one, and those that have given way to it

    def serve(self, parent: int) -> None:
        """Carry out jobs until process ``parent`` is gone and nothing waits."""
        prewarming, active_runs = _prewarming(self._settings, self._name), self._settings.limits.active_runs
        self._jobs.take_over(self._name)
        while True:
            long_first = time.monotonic() - self._long_ended > _SHORT_IN_A_ROW_SECONDS
            if job := self._jobs.claim(self._name, active_runs=active_runs, long_first=long_first):
                self._carry_out(job)
            elif os.getppid() != parent and not self._may_get_more():
                return
            elif (step := next(prewarming, None)) is not None:
                step()
            else:
                self._long_ended = time.monotonic()  # nobody has waited
                if self._name == LIGHT:
                    daily(self._settings.app_db)
                time.sleep(_IDLE_SECONDS)

    def _may_get_more(self) -> bool:
        """Return whether the other worker may hand over a job."""
        other = LIGHT if self._name == MODEL else MODEL
        return bool(self._jobs.active()) and is_alive(self._settings, other)

    def _carry_out(self, job: Job) -> None:
        """Carry out a job; another one may wait for it, which has given way."""
        outer, self._began, self._expected = self._expected, time.monotonic(), job.expected
        self._under_way += 1
        try:
            with self._watch.job(job.id, spent=job.seconds or 0.0):
                run_job(
                    job,
                    self._jobs,
                    settings=self._settings,
                    loaded=self._loaded,
                    lane=self._name,
                    give_way=self._give_way,
                )
            if not self._is_short():
                self._long_ended = time.monotonic()
        except AcceleratorLost:
            _log.exception("the graphics card was lost; a new worker continues")
            os._exit(LOST)
        except AskedToEnd:
            self._jobs.put_back(job.id)
            raise
        finally:
            self._under_way -= 1
            self._began, self._expected = time.monotonic(), outer

    def _is_short(self) -> bool:
        """Return whether the present job is still one that others wait for."""
        if self._expected is not None and self._expected >= SHORT_SECONDS:
            return False
        return time.monotonic() - self._began < (TURN_SECONDS if self._expected is None else SHORT_SECONDS)

    def _give_way(self, safe: bool) -> None:
        """Let a short job go before the present one, where that is long and has had its turn."""
        now = time.monotonic()
        stops = self._name == MODEL
        if (stops and not safe) or now - self._looked < _LOOK_SECONDS or now - self._began < TURN_SECONDS:
            return
        self._looked = now
        if self._is_short():
            return
        active_runs = self._settings.limits.active_runs
        if not stops:
            if self._under_way < _MOST_UNDER_WAY:
                job = self._jobs.claim(self._name, active_runs=active_runs, short_only=True)
                if job is not None:
                    self._carry_out(job)
        elif next_in(self._jobs.queue(), self._name, active_runs=active_runs, short_only=True):
            known = self._expected if self._expected is not None else LONG_SECONDS
            left = known - (now - self._began) if known < LONG_SECONDS else LONG_SECONDS
            raise Paused(MODEL, max(left, SHORT_SECONDS))


def run_job(
    job: Job,
    jobs: JobTable,
    *,
    settings: Settings,
    loaded: LoadedModel,
    lane: str = "",
    give_way: Callable[[bool], None] = lambda safe: None,
) -> str:
    """Carry out one job, or the part of a lane, and close it or let it wait again; return its state."""
    began, notes = time.monotonic(), Notes.from_json(job.notes)
    most, spent = settings.limits.job_seconds, job.seconds or 0.0
    reporter = Reporter(job.id, jobs, most_seconds=most, spent=spent, give_way=give_way)
    state, error = "failed", ""
    _log.info("job %s begins: %s, attempt %d%s", job.id, job.kind, job.attempts, f", {lane}" if lane else "")
    try:
        ending = _carried_out(job, reporter, settings, loaded, lane, notes)
        state, error = ending.state, ending.error
    except Paused as pause:
        seconds = time.monotonic() - began
        jobs.pause(
            job.id,
            lane=pause.lane,
            expected=pause.seconds,
            seconds=seconds,
            progress=reporter.progress,
            notes=notes.to_json(),
        )
        _log.info("job %s waits again after %.1f s: %s", job.id, seconds, pause.lane)
        return "queued"
    except Cancelled:
        state, error = "cancelled", "Stopped. Computed results are kept."
    except AcceleratorLost:
        if job.attempts < _TRIES_OF_A_LOST_CARD:
            raise  # a new process may find it again, and goes on with this job
        error = (
            "The graphics card does not respond, not even in a new process. Computed results are kept. Restart the "
            "machine's driver, or let the operator set NUMEMBED_DEVICE=cpu."
        )
    except NumembedError as text:
        error = settings.redact(str(text))
    except Exception as bug:
        _log.exception("job %s failed", job.id)
        reason = settings.redact(reason_of(bug)).rstrip(".")
        error = f"numembed has an internal error here: {reason}. See worker.log for details."
    seconds = time.monotonic() - began
    jobs.finish(job.id, state=state, seconds=seconds, progress=reporter.progress, error=error)
    _log.info("job %s ends: %s after %.1f s", job.id, state, seconds)
    return state


def _carried_out(
    job: Job, reporter: Reporter, settings: Settings, loaded: LoadedModel, lane: str, notes: Notes
) -> Ending:
    """Carry out what the job asks for; return what failed in it.

    Raises BadChoice where an older version has accepted what this one refuses.
    """
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        kind, request = kind_called(job.kind), job.request
        rows = tuple(map(ModelProgress, kind.rows(request)))
        reporter.progress = job.progress if len(job.progress) == len(rows) and job.notes else rows
        return kind.carry_out(request, Workplace(vectors, results, loaded, settings, reporter, lane, notes))


def _prewarming(settings: Settings, lane: str) -> Iterator[Callable[[], object]]:
    """Yield what makes the first run quick, one step between two looks at the queue."""
    if not settings.prewarm:
        return
    if lane == LIGHT:
        if settings.compiled is not None and not settings.compiled.exists():
            # in a process of its own: compiling takes longer than a visitor waits
            yield lambda: subprocess.Popen([sys.executable, "-m", "numembed", "prime"], stdout=subprocess.DEVNULL)
        yield partial(importlib.import_module, "sklearn.manifold")
        return
    yield partial(importlib.import_module, "torch")
    yield partial(_tell_machine, settings)
    for library in ("sklearn.manifold", "transformers", "sentence_transformers"):
        yield partial(importlib.import_module, library)


def _tell_machine(settings: Settings) -> None:
    with contextlib.suppress(ModelUnavailable), ResultStore(settings.app_db) as results:
        device, name, memory = device_memory(settings.device)
        remember_machine(results, Machine(device, name, memory) if memory else this_processor())


def _be_polite() -> None:
    with contextlib.suppress(OSError, AttributeError):
        os.nice(_NICE)
        # a session is scheduled as one group, against which the number of one process says nothing
        Path("/proc/self/autogroup").write_text(str(_NICE), encoding="ascii")


def _started(items: Sequence[str]) -> int:
    try:
        settings = with_secrets(read_settings(), "" if sys.stdin.isatty() else sys.stdin.read())
    except BadSettings as error:
        sys.exit(f"numembed: {error}")
    log_to_stderr(settings)
    # passed on, because the parent may have ended by now; on Windows a launcher is between the two
    lane, *parent = items
    return main(settings, lane, parent=int(parent[0]) if parent and os.name == "posix" else os.getppid())


if __name__ == "__main__":
    sys.exit(_started(sys.argv[1:]))
