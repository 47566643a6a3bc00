"""The app as it first starts: nothing was run, and what comes with the program is shown."""

from __future__ import annotations

import pytest

from tests.pages.conftest import app as plain_app  # noqa: F401  the fixture that `app` below is made of
from tests.pages.visit import Visit


@pytest.fixture
def app(plain_app: Visit, monkeypatch: pytest.MonkeyPatch) -> Visit:  # noqa: F811
    """The first visit of a server on a fresh machine."""
    monkeypatch.setenv("NUMEMBED_PREPARED", "1")
    return plain_app
