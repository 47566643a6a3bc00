"""A home with its files open, and the processes that are started and killed there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.page import ROOT, served
from benchmarks.visitor import Visitor
from numembed.core.errors import LIGHT, MODEL
from numembed.core.settings import Settings
from numembed.runs.job import Job
from numembed.runs.jobs import JobTable
from numembed.runs.supervisor import beat_file, is_alive
from numembed.storage.vectors import VectorStore

SUPERVISOR = """
import time
from numembed.core.settings import read_settings
from numembed.runs.supervisor import start_supervisor
start_supervisor(read_settings())
time.sleep(600)
"""


class Place:
    """A home with its files open, and the processes that were started there."""

    def __init__(self, settings: Settings, *, log: str | Path = "") -> None:
        self.settings, self.log = settings, Path(log or settings.home.with_name("server.log"))
        self.vectors, self.jobs = VectorStore(settings.cache_db), JobTable(settings.app_db)
        self.started: list[subprocess.Popen[bytes]] = []
        self.url = ""  # of the server that was started last

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start Python with these arguments, in this home."""
        environment = {**os.environ, "NUMEMBED_HOME": str(self.settings.home), "NUMEMBED_PREWARM": "0"}
        process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, env=environment)
        self.started.append(process)
        return process

    def worker(self, lane: str = MODEL) -> subprocess.Popen[bytes]:
        """Start the worker of a lane without a server, and the light one before the other; wait until it works."""
        if lane == MODEL and not is_alive(self.settings, LIGHT):
            self.worker(LIGHT)
        process = self.start("-m", "numembed.runs.worker", lane)
        wait_until(lambda: is_alive(self.settings, lane))
        return process

    def serve(self) -> subprocess.Popen[bytes]:
        """Start the app; its first visitor starts a worker."""
        with self.log.open("ab") as log:
            process, self.url = served(ROOT / "app.py", self.settings.home, log=log)
        self.started.append(process)
        with Visitor(self.url):
            return process

    def locked(self) -> bool:
        """Return whether a worker that loads models holds its lock."""
        return is_alive(self.settings, MODEL)

    def runs(self, job_id: str, attempt: int = 1) -> bool:
        """Return whether a job's model is at work, in this attempt."""
        job = self.job(job_id)
        return (job.state, job.lane, job.attempts) == ("running", MODEL, attempt)

    def worker_pid(self, lane: str = MODEL) -> int:
        """Return the number of the present worker's process, or 0."""
        import psutil

        with contextlib.suppress(OSError, ValueError, KeyError, psutil.Error):
            named = json.loads(beat_file(self.settings, lane).read_text(encoding="ascii"))
            if psutil.Process(named["pid"]).create_time() == named["created"]:
                return int(named["pid"])
        return 0

    def job(self, job_id: str) -> Job:
        """Return a job of this home."""
        return self.jobs.get(job_id)

    def clear(self) -> None:
        """Kill all that was started, and close the files."""
        for process in self.started:
            for one in (*children(process), process):
                kill(one.pid)
            process.wait()
        for lane in (LIGHT, MODEL):
            kill(self.worker_pid(lane))
        self.vectors.close()
        self.jobs.close()


def wait_until(condition: Callable[[], object], *, seconds: float = 240) -> None:
    """Wait until ``condition`` holds; raises AssertionError where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def kill(pid: int) -> None:
    """Kill a process, where it is there; 0 is none."""
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def children(process: subprocess.Popen[bytes]) -> list[Any]:
    """Return the processes that a process has started, as psutil's."""
    import psutil

    try:
        return list(psutil.Process(process.pid).children())
    except psutil.NoSuchProcess:
        return []
