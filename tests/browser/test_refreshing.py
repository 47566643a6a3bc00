"""A visitor may click while a page is still being drawn."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
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

CHOICE = """
import sys, time
sys.path.insert(0, ROOT)
import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from ui.shared.study_choice import choose

if "sent" not in sys.modules:
    sys.modules["sent"] = DeltaGenerator._enqueue

def slowly(place, kind, told, *more, **named):
    if (kind, getattr(told, "label", "")) == SLOW and "slow" not in st.session_state:
        st.session_state["slow"] = True
        time.sleep(3)  # a busy machine, after the field's value was taken and before the browser hears of it
    return sys.modules["sent"](place, kind, told, *more, **named)

DeltaGenerator._enqueue = slowly
study = choose()
if study is not None:
    numbers = study.per_family, study.length, study.text_format.max_chars, len(study.families), len(study.models)
    st.write(", ".join(map(str, numbers)))
"""
Serve = Callable[[str], str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serve a script under the app's own settings; gives its address."""
    servers: list[Server] = []

    def served(script: str) -> str:
        (tmp_path / "app.py").write_text(script)
        shutil.copytree(ROOT / ".streamlit", tmp_path / ".streamlit")
        servers.append(Server(tmp_path / "home", tmp_path))
        return servers[0].url

    yield served
    for server in servers:
        server.stop()


def test_a_click_while_the_page_is_drawn_does_not_stop_what_refreshes_itself(
    serve: Serve, new_page: Callable[..., Page]
) -> None:
    page = new_page()
    page.goto(serve(PAGE))
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text(re.compile(r"looked \d+ times"))).to_be_visible()
    expect(page.get_by_text(re.compile(r"looked [3-9]\d times"))).to_be_visible()


@pytest.mark.parametrize("slow", [("number_input", "Longest text"), ("multiselect", "Families of sequences")])
def test_a_click_before_the_choice_is_drawn_leaves_no_field_empty_or_at_its_lowest_value(
    serve: Serve, new_page: Callable[..., Page], slow: tuple[str, str]
) -> None:
    page = new_page()
    page.goto(serve(CHOICE.replace("ROOT", repr(str(ROOT))).replace("SLOW", repr(slow))))
    page.get_by_role("button", name="Remove Random vectors").click()
    expect(page.get_by_text("4, 50, 20000, 6, 7")).to_be_visible()
    page.get_by_role("button", name="Remove Character n-grams").click()
    expect(page.get_by_text("4, 50, 20000, 6, 6")).to_be_visible()
