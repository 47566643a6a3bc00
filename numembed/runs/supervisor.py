"""Keeps a worker alive for each lane, ends one that no longer responds, and notes how one ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

from filelock import FileLock, Timeout

from numembed.core.errors import LIGHT, MODEL, NumembedError
from numembed.core.places import library_places
from numembed.core.settings import Settings, harmless, secrets_of
from numembed.runs.jobs import JobTable
from numembed.runs.logs import limit
from numembed.storage.sqlite import is_locked

_ROOT = str(Path(__file__).parents[2])  # where numembed is imported from
_LOOK_SECONDS = 0.5
_QUICK_SECONDS = 2.0  # a worker that ends sooner could not begin
_BACKOFF_SECONDS = (0.2, 0.4, 0.8, 1.6, 5.0, 60.0)  # before the next worker, by how many ended quickly in a row
_SILENT_SECONDS = 60.0  # native code may keep Python waiting that long, but no longer
_SILENT_STOP_SECONDS = 4.0  # where a job is to stop
_TERM_SECONDS = 3.0  # between the request to end and the end
_NAME = "numembed-supervisor-"
_FILES = {MODEL: "worker", LIGHT: "light"}  # the older name is that of the older lane
_starting = threading.Lock()


def start_supervisor(settings: Settings) -> None:
    """Keep both workers alive for as long as this process lives; a second call does nothing."""
    with _starting:
        for lane in _FILES:
            name = _NAME + lane
            if not any(thread.name == name for thread in threading.enumerate()):
                threading.Thread(target=_supervise, args=(settings, lane), name=name, daemon=True).start()


def beat_file(settings: Settings, lane: str) -> Path:
    """Return the file that names the present worker of a lane; a living one touches it again and again."""
    return settings.home / f"{_FILES[lane]}.beat"


def lock_file(settings: Settings, lane: str) -> Path:
    """Return the file that the present worker of a lane holds locked."""
    return settings.home / f"{_FILES[lane]}.lock"


def is_alive(settings: Settings, lane: str) -> bool:
    """Return whether some process is the worker of a lane."""
    try:
        with FileLock(lock_file(settings, lane), timeout=0):
            return False
    except Timeout:
        return True


def _supervise(settings: Settings, lane: str) -> None:
    heartbeat, failures = Heartbeat(settings, lane), 0
    while True:
        with contextlib.suppress(OSError):
            settings.home.mkdir(parents=True, exist_ok=True)
            if is_alive(settings, lane):  # another app's worker; its own app may be gone
                heartbeat.end_silent_worker()
            else:
                began = time.monotonic()
                heartbeat.restart()
                _watched(start_worker(settings, lane), heartbeat)
                failures = failures + 1 if time.monotonic() - began < _QUICK_SECONDS else 0
        time.sleep(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)])


def _watched(worker: subprocess.Popen[bytes], heartbeat: Heartbeat) -> None:
    """Wait until the worker has ended, note how, and end one that no longer responds."""
    killed_before = _killed_for_memory()
    while True:
        try:
            code = worker.wait(_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            heartbeat.end_silent_worker(worker)
            continue
        if code:
            heartbeat.note(_how(code, for_memory=_killed_for_memory() > killed_before))
        return


class Heartbeat:
    """How long the present worker of a lane has been silent, by this process's own clock."""

    def __init__(self, settings: Settings, lane: str) -> None:
        self._settings, self._lane, self._file = settings, lane, beat_file(settings, lane)
        self._seen, self._since, self._expects = 0, time.monotonic(), False

    def silent_seconds(self) -> float:
        """Return since when the file has not been touched; 0 where there is none and none is expected."""
        try:
            touched = self._file.stat().st_mtime_ns
        except OSError:
            touched = 0
        if touched != self._seen or not (touched or self._expects):
            self._seen, self._since = touched, time.monotonic()
        return time.monotonic() - self._since

    def end(self) -> None:
        """End the worker that the file names: politely, then without asking. Another process of its number is safe."""
        import psutil

        with contextlib.suppress(OSError, ValueError, KeyError, psutil.Error):
            named = json.loads(self._file.read_text(encoding="ascii"))
            worker = psutil.Process(named["pid"])
            if worker.create_time() != named["created"]:
                return
            worker.terminate()
            try:
                worker.wait(_TERM_SECONDS)
            except psutil.TimeoutExpired:
                worker.kill()

    def restart(self) -> None:
        """Begin anew: another worker is about to start."""
        self._since, self._expects = time.monotonic(), True

    def end_silent_worker(self, own: subprocess.Popen[bytes] | None = None) -> None:
        """End a worker that is silent for too long; sooner where its job is to stop or others wait for a file.

        One of this process's ``own`` may hang before its first sign of life, and is then named in no file.
        """
        silent = self.silent_seconds()
        if silent < _SILENT_STOP_SECONDS:
            return
        if silent >= _SILENT_SECONDS or is_locked(self._settings.cache_db) or self._is_to_stop():
            self.end()
            if own is not None and silent >= _SILENT_SECONDS:
                own.kill()
            self.note(f"its process did not respond for {silent:.0f} seconds and was ended")

    def note(self, how: str) -> None:
        """Note at the worker's job how the worker ended."""
        with contextlib.suppress(NumembedError, sqlite3.Error), JobTable(self._settings.app_db) as jobs:
            jobs.note_end(how, self._lane)

    def _is_to_stop(self) -> bool:
        if is_locked(self._settings.app_db):
            return True  # nobody can even ask it
        try:
            with JobTable(self._settings.app_db) as jobs:
                return jobs.any_to_stop(self._lane)
        except (NumembedError, sqlite3.Error):
            return False


def _how(code: int, *, for_memory: bool) -> str:
    """Return how a worker ended, for the sentence of its job."""
    if for_memory and code == -signal.SIGKILL:
        return "the system ended its process because the machine had no memory left"
    if code < 0:
        return f"its process ended by signal {-code} ({signal.Signals(-code).name})"
    return f"its process ended with code {code}"


def _killed_for_memory() -> int:
    """Return how many processes the system has ended for lack of memory since it started; 0 where it does not say."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def start_worker(settings: Settings, lane: str) -> subprocess.Popen[bytes]:
    """Start the worker of a lane with an environment that holds no secret; it gets those through a pipe."""
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
    log_file = settings.home / "worker.log"
    limit(log_file)
    with log_file.open("ab") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "numembed.runs.worker", lane, str(os.getpid())],
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
