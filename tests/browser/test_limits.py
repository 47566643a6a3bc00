"""Whose runs they are behind a proxy, and how many of them one visitor may have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from benchmarks.visitor import Visitor
from numembed.runs.jobs import JobTable
from tests.browser.conftest import Server

pytestmark = pytest.mark.slow
STUDY = "models=last_digits&families=primes&families=even&per_family=3&length={length}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server whose workers never begin, behind a proxy that passes addresses on."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "operator.toml").write_text('visitor_header = "X-Forwarded-For"\n[limits]\nwaiting_runs = 2\n')
    with FileLock(home / "worker.lock"), FileLock(home / "light.lock"):
        server = Server(home)
        yield server
        server.stop()


def _run(server: Server, length: int, passed_on: str = "") -> str:
    """Ask for a run as a visitor whom the proxy lets through; return what the page says."""
    headers = {"X-Forwarded-For": passed_on} if passed_on else None
    with Visitor(server.url, query=STUDY.format(length=length), headers=headers) as visitor:
        visitor.click("run", trigger_value=True)
        return visitor.text


def test_a_visitor_is_the_address_that_the_proxy_passes_on(server: Server) -> None:
    refused = "2 of your runs are waiting, the most that one visitor may have here."
    first, forged, other = "203.0.113.7", "198.51.100.1, 203.0.113.7", "203.0.113.8"
    assert refused not in _run(server, 10, first)
    assert "Place 2 in the queue. Before it: “Last digits" in _run(server, 11, forged)
    assert refused in _run(server, 12, first) and refused in _run(server, 13, forged), "what visitors send is not asked"
    assert refused not in _run(server, 14, other)
    assert refused not in _run(server, 10, first), "an equal run is no further one"
    for length in range(20, 24):
        assert refused not in _run(server, length), "on this machine there are no limits"
    with JobTable(server.home / "app.db") as jobs:
        visitors = [place.visitor for place in jobs.queue()]
        assert visitors[:3] == [first, first, other] and len(set(visitors[3:])) == 4
        assert [place.limited for place in jobs.queue()] == [True] * 3 + [False] * 4
