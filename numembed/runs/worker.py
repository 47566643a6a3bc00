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
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from numembed.core.errors import AcceleratorLost, BadSettings, Cancelled, ModelUnavailable, NumembedError, reason_of
from numembed.core.places import library_places
from numembed.core.progress import Stage
from numembed.core.settings import Settings, harmless, read_settings, secrets_of, with_secrets
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.loading.devices import device_memory
from numembed.runs.jobs import Job, JobTable, ModelProgress
from numembed.runs.kinds import Ending, Workplace, kind_called
from numembed.storage.vectors import VectorStore
from numembed.studies.cost import Machine, remember_machine, this_processor
from numembed.studies.results import ResultStore

_ROOT = str(Path(__file__).parents[2])  # where numembed is imported from
_IDLE_SECONDS = 0.2
_SHOW_SECONDS = 0.2  # between two writes of the progress
_SUPERVISE_SECONDS = 0.2
_MOST_BACKOFF_SECONDS = 5.0
_SUPERVISOR = "numembed-supervisor"
_NICE = 10
_LOOK_SECONDS = 0.5  # between two looks for a cancel beside a running job
_LOST = 75  # exit code: start another worker
_GRACE_SECONDS = 5.0  # for a job to stop by itself
_TRIES_OF_A_LOST_CARD = 2
_log = logging.getLogger(__name__)
_starting = threading.Lock()


def main(settings: Settings, parent: int) -> int:
    """Work until process ``parent`` is gone and nothing waits; return at once where another worker is alive."""
    settings.home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(settings.home / "worker.lock", timeout=0):
            _be_polite()
            _serve(settings, parent)
    except Timeout:
        _log.info("another worker is alive")
    return 0


def run_job(job: Job, jobs: JobTable, *, settings: Settings, loaded: LoadedModel) -> str:
    """Carry out one job and close it; return its final state."""
    began = time.monotonic()
    reporter = Reporter(job.id, jobs)
    state, error = "failed", ""
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
    jobs.finish(job.id, state=state, seconds=time.monotonic() - began, progress=reporter.progress, error=error)
    return state


def _carried_out(job: Job, reporter: Reporter, settings: Settings, loaded: LoadedModel) -> Ending:
    """Carry out what the job asks for; return what failed in it.

    Raises BadChoice where an older version has accepted what this one refuses.
    """
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        kind, request = kind_called(job.kind), job.request
        reporter.progress = tuple(map(ModelProgress, kind.rows(request)))
        return kind.carry_out(request, Workplace(vectors, results, loaded, settings, reporter))


class Reporter:
    """Writes the progress of a job to the table and raises Cancelled when somebody has requested a stop."""

    def __init__(self, job_id: str, jobs: JobTable) -> None:
        self._job_id, self._jobs = job_id, jobs
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
        if self._jobs.cancel_requested(self._job_id):
            raise Cancelled("Stopped.")
        if step.stage != before.stage or now - self._shown >= _SHOW_SECONDS:
            self._jobs.show(self._job_id, self.progress)
            self._shown = now


def start_supervisor(settings: Settings) -> None:
    """Keep a worker alive for as long as this process lives; a second call does nothing."""
    with _starting:
        if not any(thread.name == _SUPERVISOR for thread in threading.enumerate()):
            threading.Thread(target=_supervise, args=(settings,), name=_SUPERVISOR, daemon=True).start()


def _supervise(settings: Settings) -> None:
    backoff, lock = _SUPERVISE_SECONDS, settings.home / "worker.lock"
    while True:
        with contextlib.suppress(OSError):
            settings.home.mkdir(parents=True, exist_ok=True)
            if not _held(lock):
                began = time.monotonic()
                _start_worker(settings).wait()
                quick = time.monotonic() - began < 2
                backoff = min(backoff * 2, _MOST_BACKOFF_SECONDS) if quick else _SUPERVISE_SECONDS
        time.sleep(backoff)


def _held(lock: os.PathLike[str]) -> bool:
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def _start_worker(settings: Settings) -> subprocess.Popen[bytes]:
    threads = str(max(1, (os.cpu_count() or 2) - 1))  # one core stays free for the pages
    environment = {
        **harmless(os.environ, settings.secrets),
        **library_places(settings.home),
        "NUMEMBED_HOME": str(settings.home),
        "NUMEMBED_COMPILED": str(settings.compiled or ""),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads),
        "OMP_WAIT_POLICY": "passive",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONSAFEPATH": "1",  # this very package, whatever lies in the present folder
        "PYTHONPATH": os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")])),
    }
    with (settings.home / "worker.log").open("ab") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "numembed.runs.worker", str(os.getpid())],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    with contextlib.suppress(OSError):  # it died at once; the supervisor sees that
        worker.stdin.write(secrets_of(settings).encode())  # type: ignore[union-attr]
        worker.stdin.close()  # type: ignore[union-attr]
    return worker


def _serve(settings: Settings, parent: int) -> None:
    loaded, prewarming = LoadedModel(settings), _prewarming(settings)
    with JobTable(settings.app_db) as jobs:
        jobs.take_over()
        while True:
            if job := jobs.claim():
                try:
                    with _stoppable(job.id, settings):
                        run_job(job, jobs, settings=settings, loaded=loaded)
                except AcceleratorLost:
                    _log.exception("the graphics card was lost; a new worker continues")
                    os._exit(_LOST)
            elif os.getppid() != parent:
                return
            elif (step := next(prewarming, None)) is not None:
                step()
            else:
                time.sleep(_IDLE_SECONDS)


@contextlib.contextmanager
def _stoppable(job_id: str, settings: Settings) -> Iterator[None]:
    """End this process where a job that is to stop does not notice it: deep in a map of many points, say.

    The store survives that, the next worker closes the job as cancelled, and the supervisor starts it at once.
    """
    over = threading.Event()

    def watch() -> None:
        with JobTable(settings.app_db) as jobs:
            while not over.wait(_LOOK_SECONDS):
                if jobs.cancel_requested(job_id):
                    if not over.wait(_GRACE_SECONDS):
                        _log.info("job %s did not stop; ending the worker", job_id)
                        os._exit(_LOST)
                    return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


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


class _Redacting(logging.Formatter):
    """Keeps secrets out of the log, tracebacks included."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._settings = settings

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without secrets."""
        return self._settings.redact(super().format(record))


def log_to_stderr(settings: Settings) -> None:
    """Send log lines and uncaught errors to standard error, without secrets."""
    lines = logging.StreamHandler()
    lines.setFormatter(_Redacting(settings))
    logging.basicConfig(handlers=[lines], level=logging.INFO)
    for chatty in ("httpx2", "httpcore2"):  # they tell every request
        logging.getLogger(chatty).setLevel(logging.WARNING)
    threading.excepthook = lambda text: _log.critical("a thread ended", exc_info=text[:3])  # type: ignore[arg-type]
    sys.excepthook = lambda kind, error, trace: _log.critical("ended", exc_info=(kind, error, trace))


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
