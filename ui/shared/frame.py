"""What every page stands on: the app around it, the settings, the files and the worker."""

from __future__ import annotations

import gc
import logging
import secrets
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING

import streamlit as st

from numembed.core.settings import Settings, read_settings

if TYPE_CHECKING:  # imported where they are used: the title of the first page does not wait for them
    from numembed.runs.jobs import JobTable
    from numembed.storage.vectors import VectorStore
    from numembed.studies.results import ResultStore


def inside_app(page: str) -> None:
    """Return when app.py runs this page; otherwise visit app.py first.

    A fresh server whose first visit is a deep link runs the page alone, without frame and error boundary.
    """
    if "framed" not in st.session_state:
        query = {name: st.query_params.get_all(name) for name in st.query_params}  # may repeat a name
        st.session_state["wanted"] = (page, query)
        st.switch_page("app.py")


@st.cache_resource(show_spinner=False)
def settings() -> Settings:
    """Return the settings, read once a server."""
    return read_settings()


def calm() -> None:
    """Give the page less empty space above and beside its content than Streamlit's default."""
    st.html(
        """<style>
        .stMainBlockContainer { padding: 4.5rem 2.5rem 4rem; max-width: 1400px; }
        @media (max-width: 640px) { .stMainBlockContainer { padding: 4rem 1rem 3rem; } }
        @media (max-width: 640px) {
            .st-key-overview [data-testid="stLayoutWrapper"] { flex: 0 0 46% !important; max-width: 46%; }
            .st-key-overview [class*="st-key-small-"] { width: 100%; max-width: 100%; }
        }
        .stMainBlockContainer h1 { font-size: 2rem; padding: 0.25rem 0 0; }
        .stMainBlockContainer h3 { font-size: 1.3rem; font-weight: 600; line-height: 1.35; }
        </style>"""
    )


def log_fault() -> None:
    """Write the present error into the server's log, without secrets."""
    logging.getLogger("numembed").error("a page failed\n%s", settings().redact(traceback.format_exc()))


def supervise(chosen: Settings) -> None:
    """Keep a worker alive while this server lives."""
    from numembed.runs.worker import start_supervisor

    start_supervisor(chosen)


@st.cache_resource(show_spinner=False)
def settle() -> None:
    """Take what is imported by now out of the garbage collector's rounds.

    Streamlit collects all garbage after every run of a page; that time grows with all objects that were ever imported.
    """
    gc.collect()
    gc.freeze()


def job_table() -> JobTable:
    """Return the job table; use it in a ``with`` block."""
    from numembed.runs.jobs import JobTable

    return JobTable(settings().app_db)


def result_store() -> ResultStore:
    """Return the results; use it in a ``with`` block."""
    from numembed.studies.results import ResultStore

    return ResultStore(settings().app_db)


def vector_store() -> VectorStore:
    """Return the vectors; use it in a ``with`` block."""
    from numembed.storage.vectors import VectorStore

    return VectorStore(settings().cache_db)


def visitor() -> str:
    """Return a name for this visit: nobody logs in here, but two visitors can be told apart."""
    if "visitor" not in st.session_state:
        st.session_state["visitor"] = f"visitor {secrets.token_hex(2)}"
    return str(st.session_state["visitor"])


def set_cut_fields(group: str, keys: Iterable[str]) -> None:
    """Set fields once more where a click came before the last drawing of their ``group`` was through.

    The browser is told a value in the run that sets it only, and may not have heard of it; then it would send back an
    empty or lowest one. Call it before the fields are drawn, and :func:`fields_drawn` after them.
    """
    if not st.session_state.get(f"{group}_drawn", True):
        for key in keys:
            if key in st.session_state:
                st.session_state[key] = st.session_state[key]
    st.session_state[f"{group}_drawn"] = False


def fields_drawn(group: str) -> None:
    """Note that all fields of the ``group`` were drawn."""
    st.session_state[f"{group}_drawn"] = True


def theme() -> str:
    """Return "light" or "dark", as the visitor sees the page."""
    return "dark" if st.context.theme.type == "dark" else "light"
