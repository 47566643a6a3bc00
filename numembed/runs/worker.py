"""The one process that holds torch: takes jobs from the table, one at a time, and says how far it is.

``python -m numembed.runs.worker`` is started by the app; a file lock, freed by the kernel on any death,
keeps it to one. It ends by itself when the app is gone and nothing waits.
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

from filelock import FileLock, Timeout

from numembed.core.errors import AcceleratorLost, BadSettings, Cancelled, ModelUnavailable, NumembedError, reason_of
from numembed.core.settings import Settings, read_settings, with_secrets
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.loading.devices import device_memory
from numembed.runs.jobs import Job, JobTable, ModelProgress
from numembed.runs.kinds import Ending, Workplace, kind_called
from numembed.runs.logs import log_to_stderr
from numembed.runs.reporter import Reporter
from numembed.runs.watch import LOST, AskedToEnd, Watch
from numembed.storage.backups import daily
from numembed.storage.vectors import VectorStore
from numembed.studies.cost import Machine, remember_machine, this_processor
from numembed.studies.results import ResultStore

_IDLE_SECONDS = 0.2
_NICE = 10
_TRIES_OF_A_LOST_CARD = 2
_log = logging.getLogger(__name__)


def main(settings: Settings, parent: int) -> int:
    """Work until process ``parent`` is gone and nothing waits; return at once where another worker is alive."""
    settings.home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock := settings.home / "worker.lock", timeout=0):
            _be_polite()
            with Watch(settings, lock) as watch:
                _serve(settings, parent, watch)
    except Timeout:
        _log.info("another worker is alive")
    except AskedToEnd:  # between two jobs
        _log.info("asked to end")
    except NumembedError as error:  # its files are of a newer version, say
        _log.error("%s", error)
        return 1
    return 0


def run_job(job: Job, jobs: JobTable, *, settings: Settings, loaded: LoadedModel) -> str:
    """Carry out one job and close it; return its final state."""
    began = time.monotonic()
    reporter = Reporter(job.id, jobs, most_seconds=settings.limits.job_seconds)
    state, error = "failed", ""
    _log.info("job %s begins: %s, attempt %d", job.id, job.kind, job.attempts)
    try:
        ending = _carried_out(job, reporter, settings, loaded)
        state, error = ending.state, ending.error
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


def _carried_out(job: Job, reporter: Reporter, settings: Settings, loaded: LoadedModel) -> Ending:
    """Carry out what the job asks for; return what failed in it.

    Raises BadChoice where an older version has accepted what this one refuses.
    """
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        kind, request = kind_called(job.kind), job.request
        reporter.progress = tuple(map(ModelProgress, kind.rows(request)))
        return kind.carry_out(request, Workplace(vectors, results, loaded, settings, reporter))


def _serve(settings: Settings, parent: int, watch: Watch) -> None:
    loaded, prewarming = LoadedModel(settings), _prewarming(settings)
    with JobTable(settings.app_db) as jobs:
        jobs.take_over()
        while True:
            if job := jobs.claim():
                try:
                    with watch.job(job.id):
                        run_job(job, jobs, settings=settings, loaded=loaded)
                except AcceleratorLost:
                    _log.exception("the graphics card was lost; a new worker continues")
                    os._exit(LOST)
                except AskedToEnd:
                    jobs.put_back(job.id)
                    return
            elif os.getppid() != parent:
                return
            elif (step := next(prewarming, None)) is not None:
                step()
            else:
                daily(settings.app_db)
                time.sleep(_IDLE_SECONDS)


def _prewarming(settings: Settings) -> Iterator[Callable[[], object]]:
    """Yield what makes the first run quick, one step between two looks at the queue."""
    if not settings.prewarm:
        return

    if (
        settings.compiled is not None and not settings.compiled.exists()
    ):  # beside this process: compiling takes longer than a visitor waits
        yield lambda: subprocess.Popen([sys.executable, "-m", "numembed", "prime"], stdout=subprocess.DEVNULL)
    for library in ("sklearn.manifold", "torch"):
        yield partial(importlib.import_module, library)
    yield partial(_tell_machine, settings)
    for library in ("transformers", "sentence_transformers"):
        yield partial(importlib.import_module, library)


def _tell_machine(settings: Settings) -> None:
    with contextlib.suppress(ModelUnavailable), ResultStore(settings.app_db) as results:
        device, name, memory = device_memory(settings.device)
        remember_machine(results, Machine(device, name, memory) if memory else this_processor())


def _be_polite() -> None:
    with contextlib.suppress(OSError, AttributeError):
        os.nice(_NICE)


def _started(items: Sequence[str]) -> int:
    try:
        settings = with_secrets(read_settings(), "" if sys.stdin.isatty() else sys.stdin.read())
    except BadSettings as error:
        sys.exit(f"numembed: {error}")
    log_to_stderr(settings)
    # passed on, because the parent may have ended by now; on Windows a launcher is between the two
    return main(settings, parent=int(items[0]) if items and os.name == "posix" else os.getppid())


if __name__ == "__main__":
    sys.exit(_started(sys.argv[1:]))
