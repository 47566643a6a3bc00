"""The README is executed, so that it stays true."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from numembed.cli import main

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SHELL = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
COMMANDS = [line for block in SHELL for line in block.splitlines() if line.startswith("python -m numembed")]
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_readme_has_the_two_commands_and_examples() -> None:
    assert "pip install -r requirements.txt && streamlit run app.py\n" in SHELL
    assert "pip install -r requirements-dev.txt && python -m pytest\n" in SHELL
    assert len(COMMANDS) >= 7
    assert PYTHON


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_readme_works(command: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(command.replace("OUT/", f"{home.parent}/"))[3:]) == 0
    printed = capsys.readouterr()
    assert not printed.err
    if "--json" in command:
        assert [json.loads(line) for line in printed.out.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("code", PYTHON)
def test_every_example_of_the_readme_works(code: str, home: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "silhouette" in done.stdout


def test_every_linked_file_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (Path(__file__).parents[1] / target).exists(), target
    for path in re.findall(r"`((?:app\.py|pages/|ui/|numembed/|benchmarks|tests|\.streamlit|\.ci)[\w./-]*)`", README):
        assert (Path(__file__).parents[1] / path).exists(), path
