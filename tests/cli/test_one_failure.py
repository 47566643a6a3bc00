"""A model that breaks in the middle of a command: what ran is printed, the rest is told, by the exit code too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from numembed.cli import main
from numembed.runs.jobs import JobTable
from tests import tiny
from tests.cli.calls import ROOT, SMALL, Call

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def breaking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model that today's library saves and cannot run: an LSTM behind a transformer."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import LSTM, Pooling

    place = tmp_path_factory.mktemp("models")
    base = tiny.write_model(place / "base")
    modules = [Transformer(str(base)), LSTM(tiny.HIDDEN, tiny.HIDDEN // 2), Pooling(tiny.HIDDEN, "mean")]
    SentenceTransformer(modules=modules, device="cpu").save(str(place / "lstm"), create_model_card=False)
    return place / "lstm"


def test_a_model_that_breaks_in_the_middle_leaves_the_scores_of_the_others_printed(home: Path, breaking: Path) -> None:
    command = [sys.executable, "-m", "numembed", "run", "--models", "last_digits", str(breaking), "digit_counts"]
    done = subprocess.run([*command, *SMALL, "--json"], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 3
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["model"] for row in rows if "metric" in row} == {"Last digits", "Digits"} and len(rows) >= 12
    assert done.stderr.startswith("numembed: lstm ") and done.stderr.count("\n") == 1
    assert "sentence_lengths" in done.stderr and str(breaking.parent) not in done.stderr
    assert "KeyError: 'sentence_lengths'" in (home / "command.log").read_text(encoding="utf-8")
    with JobTable(home / "app.db") as jobs:
        (job,) = jobs.recent()
    assert (job.state, job.words) == ("done", "done, 1 of 3 could not run") and "sentence_lengths" in job.error
    listed = subprocess.run(
        [sys.executable, "-m", "numembed", "runs"], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert "done, 1 of 3 could not run" in listed.stdout


def test_where_no_model_ran_the_command_failed(call: Call, breaking: Path) -> None:
    answer = call("run", "--models", breaking, "/no/such/folder", *SMALL)
    assert (answer.code, answer.out) == (1, "") and "sentence_lengths" in answer.err


def test_a_traceback_is_in_the_log_and_not_on_the_terminal(
    call: Call, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "hf_" + "a1B2" * 6

    def broken(*_: object, **__: object) -> None:
        raise ArithmeticError(f"no slope for {secret}")

    monkeypatch.setattr("numembed.runs.model_run.score_all", broken)
    answer = call("run", "--models", "last_digits", *SMALL)
    assert answer.code == 1 and "Traceback" not in answer.err and answer.err.count("\n") == 1
    log = (home / "command.log").read_text(encoding="utf-8")
    assert "Traceback" in log and "ArithmeticError: no slope for [secret]" in log and secret not in answer.err


def test_help_says_what_the_exit_codes_mean(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert "3, a part failed" in " ".join(capsys.readouterr().out.split())
