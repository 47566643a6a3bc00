"""What refreshes itself on a page goes on doing so, whenever the visitor clicks."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import ROOT, Server

pytestmark = pytest.mark.slow
PAGE = """
import time
import streamlit as st

def bars():
    st.session_state["looks"] = st.session_state.get("looks", 0) + 1
    st.write(f"looked {st.session_state['looks']} times")

def start():
    st.session_state["active"] = True

st.button("Run", on_click=start)
if st.session_state.get("active"):
    st.fragment(bars, run_every=0.2)()
else:
    time.sleep(2)  # the end of a first visit on a busy machine: Streamlit looks for clicks between elements only
"""


def test_a_click_while_the_page_is_drawn_does_not_stop_what_refreshes_itself(
    tmp_path: Path, new_page: Callable[..., Page]
) -> None:
    (tmp_path / "app.py").write_text(PAGE)
    shutil.copytree(ROOT / ".streamlit", tmp_path / ".streamlit")
    server = Server(tmp_path / "home", tmp_path)
    try:
        page = new_page()
        page.goto(server.url)
        page.get_by_role("button", name="Run").click()
        expect(page.get_by_text(re.compile(r"looked \d+ times"))).to_be_visible()
        expect(page.get_by_text(re.compile(r"looked [3-9]\d times"))).to_be_visible()
    finally:
        server.stop()
