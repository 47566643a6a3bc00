"""A click among the results is answered, whatever the page above them says meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from benchmarks.visitor import Visitor
from numembed.models.catalogue.names import model
from numembed.runs.jobs import JobTable
from numembed.studies.study import Study
from tests.browser.conftest import Server

pytestmark = pytest.mark.slow
STUDY = Study(("primes", "even"), (model("last_digits"),), per_family=3, length=20)
LINK = "models=last_digits&families=primes&families=even&per_family=3&length=20"


def test_the_results_keep_their_place_while_a_run_begins_and_ends(tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [sys.executable, "-m", "numembed", "run", "--models", "last_digits", "--families", "primes", "even"]
    environment = {**os.environ, "NUMEMBED_HOME": str(home)}
    subprocess.run([*command, "--per-family", "3", "--length", "20"], check=True, env=environment)
    locks = FileLock(home / "worker.lock"), FileLock(home / "light.lock")  # no worker begins: the test says what runs
    with locks[0], locks[1], JobTable(home / "app.db") as jobs:
        server = Server(home)
        try:
            with Visitor(server.url, query=LINK) as visitor:
                before = visitor.place_of("scores")
                job = jobs.submit(STUDY, asked_by="visitor")
                visitor.rerun()
                assert "cancel" in visitor.elements
                during = visitor.place_of("scores")
                jobs.cancel(job)
                visitor.rerun()
                assert "This run was stopped" in visitor.text
                assert before and before == during == visitor.place_of("scores")
        finally:
            server.stop()
