"""A home that can only be read: what is stored is shown, and all that would write is a sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from numembed.cli import main
from numembed.paper.protocol import paper_study
from numembed.runs.jobs import JobTable
from numembed.storage.sqlite import connect
from numembed.storage.vectors import VectorStore
from numembed.studies.results import APP_SCHEMA
from tests.nobody import run_as_nobody

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
_SMALL = ("--models", "number-lm", "last_digits", "--families", "even", "odd", "primes", "--length", "8")
STORED = [["run", *_SMALL], ["stress", *_SMALL]]
PAGES = """
from tests.pages.elements import PAGES, opened, plain, told, walk
from tests.pages.visit import Visit

for page in PAGES:
    app = opened(Visit(), page)
    assert "Nothing can be kept: the folder of this app can only be read." in told(app), told(app)
    assert not app.error
    if page == "pages/runs.py":
        assert any("command line (me)" in str(element.proto) for element in walk(app.main))
app = opened(Visit(), "pages/compare.py")
app.button(key="run").click().run()
assert not app.exception
(error,) = app.error
assert plain(error.value).startswith("Nothing can be stored here: numembed's folder can only be read."), error.value
"""


@pytest.fixture(scope="module")
def stored() -> Iterator[Path]:
    """A home with the results of one run, owned by another user than who reads it."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        home = Path(folder) / "home"
        patch.setenv("NUMEMBED_HOME", str(home))
        os.chmod(folder, 0o755)
        with JobTable(home / "app.db") as jobs, VectorStore(home / "cache.db"):
            jobs.record(paper_study("last_digits"), asked_by="command line (me)", seconds=1.0, state="done")
        for command in STORED:
            assert main(command) == 0
        if os.getuid() != 0:
            for path in (home, *home.rglob("*")):
                path.chmod(0o555 if path.is_dir() else 0o444)
        yield home
        home.chmod(0o755)


def _told(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return run_as_nobody(["-m", "numembed", *arguments], folder=str(ROOT), NUMEMBED_HOME=str(home))


def test_stored_results_are_printed_and_a_new_run_is_one_line(stored: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in stored.rglob("*")}
    listed = _told("runs", home=stored)
    assert listed.returncode == 0 and "command line" in listed.stdout, listed.stderr
    assert _told("store", home=stored).returncode == _told("paper", home=stored).returncode == 0
    for command in STORED:
        again = _told(*command, home=stored)
        assert again.returncode == 0 and "silhouette" in again.stdout, again.stderr
    for new in (["--models", "string_length"], ["--models", "number-lm", "--length", "7"], [*_SMALL, "--seed", "4"]):
        done = _told("run", *new, home=stored)
        assert done.returncode == 1 and not done.stdout, done.stdout
        (line,) = [line for line in done.stderr.splitlines() if not line.startswith("\r")]
        assert line.startswith("numembed: Nothing can be stored here:")
    trained = _told("merge-experiment", "--steps", "2", home=stored)
    assert trained.returncode == 1 and trained.stderr.startswith("numembed: Nothing can be stored here:")
    assert {path: path.stat().st_mtime_ns for path in stored.rglob("*")} == before


def test_every_page_is_drawn_with_a_banner_and_run_is_a_sentence(stored: Path) -> None:
    done = run_as_nobody(["-c", PAGES], folder=str(ROOT), NUMEMBED_HOME=str(stored), NUMEMBED_PREWARM="0")
    assert done.returncode == 0, done.stderr[-3_000:]


@pytest.mark.parametrize("state", ["older", "no files", "write-ahead log"])
def test_an_older_or_missing_file_or_one_with_a_log_is_read_too(stored: Path, state: str) -> None:
    home = Path(tempfile.mkdtemp())
    if state != "no files":
        shutil.copyfile(stored / "app.db", home / "app.db")
    connection = connect(home / "app.db", APP_SCHEMA) if state == "write-ahead log" else None
    if connection is not None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
    if state == "older":
        (home / "app.db").unlink()
        old = connect(home / "app.db", APP_SCHEMA[:2])
        old.execute(
            "INSERT INTO jobs (id, key, study, asked_by, asked_at, state) VALUES ('a', 'b', '{}', 'me', 1.0, 'done')"
        )
        old.close()
    home.chmod(0o555 if os.getuid() else 0o755)
    try:
        listed = _told("runs", home=home)
        assert listed.returncode == 0, listed.stderr
        assert ("me " in listed.stdout, "command line" in listed.stdout) == (
            state == "older",
            state == "write-ahead log",
        )
    finally:
        home.chmod(0o755)
        shutil.rmtree(home)
