"""The command line, called in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from numembed.cli import main
from tests.cli.calls import Answer, Call


@pytest.fixture
def call(home: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run one command in this process."""

    def command(*arguments: object) -> Answer:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stopped:
            code = int(str(stopped.code))
        return Answer(code, *capsys.readouterr())

    return command
