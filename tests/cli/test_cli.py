"""The command line: lists, the store, what it imports, and how it ends."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import sqlite3
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from numembed.analysis.metrics import METRICS
from numembed.core.settings import Settings
from numembed.models.baselines import BASELINES
from numembed.models.catalogue.names import CATALOGUE
from numembed.paper.protocol import paper_study
from numembed.runs.jobs import JobTable
from numembed.sequences.families.family import FAMILIES
from numembed.studies.study import Study
from tests.cli.calls import ROOT, SMALL, Answer, Call, calls


def test_lists(call: Call) -> None:
    families, models, metrics = (call(name, "--json") for name in ("families", "models", "metrics"))
    assert [answer.code for answer in (families, models, metrics)] == [0, 0, 0]
    assert [row["name"] for row in families.rows] == list(FAMILIES.names)
    assert families.rows[0] == {
        "name": "consecutive",
        "title": families.rows[0]["title"],
        "oeis": "A000027",
        "first_terms": "1, 2, 3, 4, 5, 6, 7, 8",
    }
    assert [row["name"] for row in models.rows] == [*CATALOGUE, *BASELINES.names]
    assert all(row["note"] for row in models.rows if row["kind"] == "baseline")
    assert [row["name"] for row in metrics.rows] == list(METRICS.names)
    assert [row["bounds"] for row in metrics.rows][:2] == [[-1.0, 1.0], [0.0, None]]
    assert all(row["help"] and "higher_is_better" in row for row in metrics.rows)


@pytest.mark.parametrize("name", ["families", "models", "metrics"])
def test_lists_for_people_have_a_head_and_a_line_each(call: Call, name: str) -> None:
    answer = call(name)
    assert (
        answer.out.splitlines()[0].startswith("name") and answer.out.count("\n") == len(call(name, "--json").rows) + 1
    )


@pytest.mark.slow
def test_runs_lists_what_was_run(call: Call) -> None:
    assert call("runs", "--json") == Answer(0, "", "") == call("runs")
    call("run", "--models", "last_digits", *SMALL)
    call("run", "--models", "/no/such/folder", *SMALL)
    newest, oldest = call("runs", "--json").rows
    assert (oldest["state"], oldest["error"], newest["state"]) == ("done", "", "failed")
    assert newest["error"].startswith("There is no folder") and oldest["asked_by"].startswith("command line (")
    assert oldest["seconds"] >= 0 and Study.from_dict(oldest["study"]).families == ("even", "primes")
    assert "study" not in call("runs").out.splitlines()[0]


@pytest.mark.parametrize("damage", ["no JSON", "", "[" * 100_000])
def test_runs_lists_a_run_whose_request_is_not_json(call: Call, settings: Settings, damage: str) -> None:
    with JobTable(settings.app_db) as jobs:
        jobs.record(paper_study("last_digits"), asked_by="test", seconds=1.0, state="done")
    with sqlite3.connect(settings.app_db) as app_db:
        app_db.execute("UPDATE jobs SET study = ?", (damage,))
    (row,) = call("runs", "--json").rows
    assert (row["state"], row["study"]) == ("done", None)
    assert row["id"] in call("runs").out


@pytest.mark.slow
def test_the_store_is_listed_and_deleted(call: Call, tiny_model: Path) -> None:
    assert call("store", "--json") == Answer(0, "", "")
    assert call("run", "--models", tiny_model, *SMALL).code == 0
    row, twin = call("store", "--json").rows
    assert twin["name"] == "tiny weights=random" and twin["vectors"] == 6
    assert (row["name"], row["vectors"]) == ("tiny", 6) and len(row["key"]) == 64 and row["size_bytes"] > 6 * 32 * 4
    refused = call("store", "--delete", "nothing", "--json")
    assert (refused.code, refused.out) == (1, "") and "The store holds nothing of 'nothing'" in refused.err
    deleted = call("store", "--delete", "tiny", "--json")
    assert deleted.err == "numembed: 6 vectors deleted.\n" and [row["name"] for row in deleted.rows] == [twin["name"]]
    assert call("run", "--models", tiny_model, *SMALL[:3], "squares", *SMALL[3:], "--json").code == 0
    assert call("store", "--delete", "all").err.startswith("numembed: ") and call("store", "--json").rows == []


@pytest.mark.slow
def test_a_run_from_the_store_imports_nothing_heavy(call: Call, tiny_model: Path) -> None:
    run = ("run", "--models", tiny_model, "all-MiniLM-L6-v2", "last_digits", *SMALL, "--json")
    first = call(*run)
    assert first.code == 0 and len(first.rows) == 18
    (second, families), imported = calls(run, ("families", "--json"))
    assert second == first and families.code == 0
    assert imported == ["sympy"] or imported == []  # the families' own arithmetic


@pytest.mark.slow
def test_a_terminal_sees_progress_and_a_pipe_does_not(home: Path, tiny_model: Path) -> None:
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    done = subprocess.run(
        [sys.executable, "-m", "numembed", "run", "--models", str(tiny_model), "last_digits", *SMALL, "--json"],
        stdout=subprocess.PIPE,
        stderr=follower,
        cwd=ROOT,
        timeout=240,
    )
    os.close(follower)
    seen = b""
    while chunk := _read(leader):
        seen += chunk
    os.close(leader)
    assert done.returncode == 0 and len(Answer(0, done.stdout.decode(), "").rows) == 12
    text = seen.decode()
    assert "tiny" in text and "Last digits" in text and "Traceback" not in text
    assert {"load", "encode", "score", "project"} <= set(re.findall(r"[a-z]+", text))


@pytest.mark.slow
def test_prime_does_the_slow_things(call: Call) -> None:
    answer = call("prime", "--json")
    assert answer.code == 0 and answer.err == "" and answer.rows[0]["ready"] is True


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # the other side is closed
        return b""


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["true", "head -c 1"])
def test_a_reader_that_leaves_early_hears_no_complaint(home: Path, reader: str) -> None:
    command = f"{sys.executable} -m numembed families --json | {reader}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=240, cwd=ROOT)
    assert done.stderr == ""


@pytest.mark.slow
def test_exit_codes_reach_the_shell(home: Path) -> None:
    def code(*arguments: str) -> int:
        return subprocess.run([sys.executable, "-m", "numembed", *arguments], capture_output=True, cwd=ROOT).returncode

    assert (code("metrics"), code("run", "--models", "nope"), code("nope")) == (0, 1, 2)
