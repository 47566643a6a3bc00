"""The app as every test of a page begins with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit import config
from streamlit.runtime.pages_manager import PagesManager

from tests.pages.elements import ROOT
from tests.pages.visit import Visit


@pytest.fixture
def app(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visit]:
    """The first visit of a server with an empty store, not run yet; nobody works off its jobs but the test."""
    monkeypatch.setattr("numembed.runs.supervisor.start_supervisor", lambda settings: None)
    monkeypatch.setattr(PagesManager, "uses_pages_directory", None)  # as on a server that has run nothing yet
    monkeypatch.chdir(ROOT)
    st.cache_resource.clear()
    st.cache_data.clear()
    yield Visit()
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture
def shared() -> Iterator[None]:
    """The server listens at another address than this machine's own."""
    before = config.get_option("server.address")
    config.set_option("server.address", "0.0.0.0")
    yield
    config.set_option("server.address", before)
