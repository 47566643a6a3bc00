"""Many visitors who click on one server, with and without a run at work; and the server's CPU for one click.

``python -m benchmarks.load CHECKOUT`` compares the CPU of a click and of a whole page with those of another checkout.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure
from benchmarks.page import ROOT, app
from benchmarks.visitor import Visitor

WINDOW, THINKS = 12.0, 2.0  # seconds
COUNTS = (1, 5, 20, 50)
CLICKS = (("method", "UMAP"), ("color", "KMeans cluster"), ("method", "PCA"), ("color", "Family"))
BUSY = "models=all-MiniLM-L6-v2&families=primes&families=even&families=odd&families=squares&per_family=250&length=400"


def load() -> list[Figure]:
    """Clicks of 1, 5, 20 and 50 visitors on Compare with results, beside one visitor's, and with a run at work."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:  # the workers end after the server
        home = prepared(ROOT, Path(name))
        with app(ROOT / "app.py", home) as (url, pid):
            free = {count: waited(url, pid, count) for count in COUNTS}
            with Visitor(url, query=BUSY) as asking:
                asking.click("run", trigger_value=True)
                _until_running(home)
                busy = {count: waited(url, pid, count) for count in COUNTS}
                running = _running(home)
                _stop(home)
    one = free[1][0]
    for count in COUNTS:
        (alone, cpu), (beside, cpu_beside) = free[count], busy[count]
        print(
            f"{count:2} visitors: p95 {alone * 1000:.0f} ms, with a run {beside * 1000:.0f} ms ({beside / alone:.2f}); "
            f"CPU of a click {cpu * 1000:.0f} and {cpu_beside * 1000:.0f} ms"
        )
    print("the run was at work in the last window" if running else "THE RUN ENDED BEFORE THE LAST WINDOW")
    return [
        *(_beside_one(f"load p95 of {count} visitors", free[count][0] / one) for count in COUNTS),
        *(_beside_one(f"load p95 of {count} visitors and a run", busy[count][0] / one) for count in COUNTS),
        Figure("load p95 of 20 visitors with a run, beside without", busy[20][0] / free[20][0], 1.5, at_most=True),
        Figure("load the run was at work (1)", float(running), 1),
    ]


def _beside_one(name: str, ratio: float) -> Figure:
    return Figure(f"{name}, beside one idle visitor", ratio, 10, at_most=True)


def prepared(checkout: Path, home: Path) -> Path:
    """Return ``home`` with the results of the paper's study as this checkout stores them."""
    environment = {**os.environ, "NUMEMBED_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "numembed", "run"]
    subprocess.run(command, check=True, cwd=checkout, env=environment, stdout=subprocess.DEVNULL)
    return home


def waited(url: str, pid: int, count: int) -> tuple[float, float]:
    """Return the 95th percentile of the seconds of a click among ``count`` visitors, and the server's CPU for each."""
    import psutil

    visitors = [Visitor(url) for _ in range(count)]
    for visitor in visitors:  # what is made once is made before
        for key, value in CLICKS:
            visitor.click(key, string_array_value=[value])
    spent: list[float] = []
    process, ends = psutil.Process(pid), time.monotonic() + WINDOW
    before = sum(process.cpu_times()[:2])
    threads = [threading.Thread(target=_clicks, args=(one, i, ends, spent)) for i, one in enumerate(visitors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used = sum(process.cpu_times()[:2]) - before
    for one in visitors:
        one.socket.close()
    return statistics.quantiles(spent, n=20)[-1], used / len(spent)


def _clicks(visitor: Visitor, number: int, ends: float, spent: list[float]) -> None:
    chance, place = random.Random(number), number
    while (pause := chance.uniform(0, 2 * THINKS)) < ends - time.monotonic():
        time.sleep(pause)
        key, value = CLICKS[place % len(CLICKS)]
        spent.append(visitor.click(key, string_array_value=[value]))
        place += 1


def _running(home: Path) -> bool:
    from numembed.runs.jobs import JobTable

    with JobTable(home / "app.db") as jobs:
        return any(job.state == "running" for job in jobs.recent())


def _stop(home: Path) -> None:
    from numembed.runs.jobs import JobTable

    with JobTable(home / "app.db") as jobs:
        for job in jobs.active():
            jobs.cancel(job.id)


def _until_running(home: Path) -> None:
    for _ in range(600):
        if _running(home):
            return
        time.sleep(0.1)
    raise TimeoutError("the run did not begin")


def beside(other: Path, *, rounds: int = 10) -> None:
    """Print the server's CPU of a click on a map's menu and of a whole page, beside that of another checkout."""
    import psutil

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        checkouts = (other, ROOT)
        homes = [prepared(one, Path(name) / str(i)) for i, one in enumerate(checkouts)]
        servers = [app(one / "app.py", home) for one, home in zip(checkouts, homes, strict=True)]
        with servers[0] as first, servers[1] as second:
            visitors = [(Visitor(url), psutil.Process(pid)) for url, pid in (first, second)]
            for what in ("a click", "a whole page"):
                theirs, ours = _cpu_of(visitors, rounds, whole=what == "a whole page")
                print(f"{what}: {theirs * 1000:.0f} ms there, {ours * 1000:.0f} ms here, ratio {ours / theirs:.2f}")


def _cpu_of(visitors: list[tuple[Visitor, Any]], rounds: int, *, whole: bool) -> list[float]:
    spent: list[list[float]] = [[] for _ in visitors]
    for _ in range(rounds + 1):
        for own, (visitor, process) in zip(spent, visitors, strict=True):
            before = sum(process.cpu_times()[:2])
            for key, value in CLICKS:
                state = {visitor.elements[key].id: {"string_array_value": [value]}}
                visitor.rerun(state) if whole else visitor.click(key, string_array_value=[value])
            own.append((sum(process.cpu_times()[:2]) - before) / len(CLICKS))
    return [statistics.mean(own[1:]) for own in spent]


if __name__ == "__main__":
    beside(Path(sys.argv[1]).resolve())
