"""What tests of encoders begin with."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.models.encoders.lab import key_is_told


@pytest.fixture
def nothing_is_told(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test does: no log line, down to DEBUG, holds the key, also where a server sends it back."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx2", "httpcore2", "asyncio", "numembed"):
        caplog.set_level(logging.DEBUG, logger=name)
    yield
    lines = [record.getMessage() for record in caplog.get_records("call")]  # caplog.text would be of this phase alone
    assert not key_is_told("\n".join(lines))
