"""A soak: visitors click, runs are asked for and stopped, files backed up, the worker killed; nothing is left over."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults_places import Place, kill, wait_until
from benchmarks.load import CLICKS
from benchmarks.visitor import Visitor
from numembed.core.errors import NumembedError
from numembed.core.settings import Settings
from numembed.storage.backups import back_up

_FAMILIES = "families=primes&families=even&per_family=8"
_SAMPLE_SECONDS = 2.0
_BAD = re.compile(r"Traceback|\b(ERROR|CRITICAL)\b|internal error")


@dataclass
class Soaked:
    """What a soak led to."""

    clicks: int = 0
    runs: int = 0
    kills: int = 0
    faults: list[str] = field(default_factory=list)
    samples: list[tuple[float, float, float]] = field(default_factory=list)  # MiB of the server, its files, MiB worker

    def grown(self, column: int) -> float:
        """Return by how much a column has grown in the second half: the last fifth compared with the third one."""
        values = [sample[column] for sample in self.samples]
        fifth = max(1, len(values) // 5)
        return statistics.median(values[-fifth:]) - statistics.median(values[2 * fifth : 3 * fifth])

    @property
    def worker_grown(self) -> float:
        """By how much a worker's largest memory is larger in the second half: each begins anew after a kill."""
        values = [sample[2] for sample in self.samples]
        half = len(values) // 2
        return max(values[half:]) - max(values[:half], default=0.0)


def soaked(seconds: float, folder: Path, *, visitors: int = 4, name: str = "number-lm", seed: int = 0) -> Soaked:
    """Return what so many seconds of a real server led to."""
    place, found = Place(Settings(folder / "home", offline=True, prewarm=False, folders=())), Soaked()
    try:
        server = place.serve()
        ends = time.monotonic() + seconds
        works: list[Callable[[random.Random], None]] = [_visitor(place, found, name) for _ in range(visitors)]
        works += [_disturb(place, found), _watch(server.pid, place, found)]
        threads = [threading.Thread(target=_again, args=(one, n + seed, ends, found)) for n, one in enumerate(works)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not place.jobs.active(), seconds=600)
        found.faults += [f"run {job.id} is still {job.state}" for job in place.jobs.active()]
        if server.poll() is not None:
            found.faults.append(f"the server has ended with {server.returncode}")
        found.faults += [f"run {job.id} failed: {job.error}" for job in place.jobs.recent() if job.state == "failed"]
        found.runs = place.jobs.counts()[0]
        for log in (place.log, place.settings.home / "worker.log"):
            found.faults += [f"{log.name}: {line}" for line in odd_lines(log)]
    finally:
        place.clear()
    return found


def _again(work: Callable[[random.Random], None], seed: int, ends: float, found: Soaked) -> None:
    """Do one work again and again until the time is over; what it raises is noted, and it goes on."""
    dice = random.Random(seed)
    while time.monotonic() < ends:
        try:
            work(dice)
        except NumembedError as sentence:
            print(f"said: {sentence}", flush=True)
        except Exception as error:
            found.faults.append(f"{work.__qualname__}: {error!r}")
            time.sleep(1)


def _visitor(place: Place, found: Soaked, name: str) -> Callable[[random.Random], None]:
    """Return one visit: a study is asked for, looked at with some clicks, and perhaps stopped."""

    def visit(dice: random.Random) -> None:
        query = f"models=last_digits&models={name}&{_FAMILIES}&first_window={dice.randrange(40)}"
        with Visitor(place.url, query=query) as visitor:
            visitor.click("run", trigger_value=True)
            for click in range(dice.randrange(3, 12)):
                time.sleep(dice.uniform(0, 2))
                key, value = CLICKS[click % len(CLICKS)]
                if key in visitor.elements:
                    visitor.rerun({visitor.elements[key].id: {"string_array_value": [value]}})
                else:
                    visitor.rerun()
                found.clicks += 1
                found.faults += visitor.raw_errors
            if "cancel" in visitor.elements and dice.random() < 0.5:
                visitor.rerun({visitor.elements["cancel"].id: {"trigger_value": True}})
                found.faults += visitor.raw_errors

    return visit


def _disturb(place: Place, found: Soaked) -> Callable[[random.Random], None]:
    """Return one disturbance: the worker is killed or asked to end, a run is cancelled, or a backup is made."""

    def disturb(dice: random.Random) -> None:
        time.sleep(dice.uniform(2, 20))
        match dice.choice(("kill", "end", "cancel", "back up", "back up")):
            case "kill":
                kill(place.worker_pid())
                found.kills += 1
            case "end" if pid := place.worker_pid():
                os.kill(pid, signal.SIGTERM)
                found.kills += 1
            case "cancel":
                for job in place.jobs.active()[:1]:
                    place.jobs.cancel(job.id)
            case "back up":
                back_up(place.settings.app_db, time.strftime("%Y-%m-%d-%H%M%S"))

    return disturb


def _watch(server: int, place: Place, found: Soaked) -> Callable[[random.Random], None]:
    """Return one look at the memory and the files of server and worker."""
    import psutil

    def watch(dice: random.Random) -> None:
        process, pid = psutil.Process(server), place.worker_pid()
        worker = psutil.Process(pid).memory_info().rss / 2**20 if pid and psutil.pid_exists(pid) else 0.0
        found.samples.append((process.memory_info().rss / 2**20, float(process.num_fds()), worker))
        time.sleep(_SAMPLE_SECONDS)

    return watch


def odd_lines(log: Path) -> list[str]:
    """Return what a log tells of faults: each odd line, and a traceback to the line that names its error."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    found: list[str] = []
    following = False  # within a traceback: its lines are indented, and the first one that is not names the error
    for line in lines:
        if following:
            found[-1] += "\n    " + line[:300]
            following = not line or line[0].isspace()
        elif _BAD.search(line):
            found.append(line[:300])
            following = "Traceback" in line
    return found
