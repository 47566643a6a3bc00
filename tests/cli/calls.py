"""Calls of the command line and their answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ("--families", "even", "primes", "--per-family", "3", "--length", "10")
Row = dict[str, Any]


class Answer(NamedTuple):
    """What a command printed and its exit code."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[Row]:
        """One object a line, and nothing else, in strict JSON."""
        return [json.loads(line, parse_constant=lambda name: pytest.fail(name)) for line in self.out.splitlines()]


Call = Callable[..., Answer]
ONE_PROCESS = """
import contextlib, io, json, sys
from numembed.cli import main
for arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as stopped:
            code = stopped.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
print(json.dumps([name for name in ("torch", "transformers", "sentence_transformers", "sklearn", "umap", "plotly",
                                    "pandas", "sympy", "streamlit") if name in sys.modules]))
"""


def calls(*commands: tuple[object, ...]) -> tuple[list[Answer], list[str]]:
    """Run commands in one fresh process; return their answers and the heavy libraries that were imported."""
    done = subprocess.run(
        [sys.executable, "-c", ONE_PROCESS],
        input=json.dumps([list(map(str, command)) for command in commands]),
        capture_output=True,
        text=True,
        timeout=240,
        cwd=ROOT,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    *answers, imported = map(json.loads, done.stdout.splitlines())
    return [Answer(*answer) for answer in answers], imported


def values(rows: list[Row]) -> dict[tuple[str, str, str], float]:
    return {(row["model"], row["metric"], row["labels"]): row["value"] for row in rows}
