"""Two web processes on one home: what one is asked for the other shows, and one worker serves both."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.visitor import Visitor
from numembed.runs.jobs import JobTable
from tests.browser.conftest import Server

pytestmark = pytest.mark.slow
STUDY = "models=last_digits&families=primes&families=even&per_family=3&length={length}"


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    first, second = Server(tmp_path / "home"), Server(tmp_path / "home")
    yield first, second
    for server in (first, second):
        server.stop()


def _workers(*servers: Server) -> list[psutil.Process]:
    found = [one for server in servers for one in psutil.Process(server.process.pid).children(recursive=True)]
    return [one for one in found if "numembed.runs.worker" in " ".join(one.cmdline())]


def _seen(server: Server, query: str) -> bool:
    """Return whether a new visitor of a server sees the scores of a study before a minute is over."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        with Visitor(server.url, query=query) as visitor:
            if "scores" in visitor.elements:
                return True
        time.sleep(0.5)
    return False


def _ended(home: Path) -> list[tuple[str, int]]:
    """Return the states of all jobs with their attempts, once none is active or a minute is over."""
    ends = time.monotonic() + 60
    with JobTable(home / "app.db") as jobs:
        while any(job.active for job in jobs.recent()) and time.monotonic() < ends:
            time.sleep(0.2)
        return [(job.state, job.attempts) for job in jobs.recent()]


def test_two_servers_share_one_home_and_one_outlives_the_other(servers: tuple[Server, Server]) -> None:
    first, second = servers
    asked, later = STUDY.format(length=20), STUDY.format(length=21)
    with Visitor(first.url, query=asked) as here, Visitor(second.url, query=asked) as there:
        here.click("run", trigger_value=True)
        there.click("run", trigger_value=True)
    assert _seen(second, asked) and _seen(first, asked)
    assert len(_workers(first, second)) == 2  # one a lane
    assert _ended(first.home) == [("done", 1)]
    first.kill()
    with Visitor(second.url, query=later) as visitor:
        visitor.click("run", trigger_value=True)
    assert _seen(second, later)
    assert [state for state, _ in _ended(second.home)] == ["done", "done"]
    assert len(_workers(second)) <= 2
