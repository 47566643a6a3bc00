"""What every page needs: the app around it, the settings, the files and the worker."""

from __future__ import annotations

import functools
import gc
import logging
import mimetypes
import os
import secrets
import sqlite3
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, ParamSpec

import streamlit as st

from numembed.core.errors import BadChoice, NumembedError
from numembed.core.places import library_places
from numembed.core.settings import Settings, read_settings
from ui.shared.text import md_text

if TYPE_CHECKING:  # imported where they are used: the title of the first page does not wait for them
    from numembed.runs.jobs import JobTable
    from numembed.storage.bundle import Bundle
    from numembed.storage.vectors import VectorStore
    from numembed.studies.results import ResultStore

P = ParamSpec("P")
_FAILED = "failed_callback"  # what is shown of a callback that failed, until it is shown
_GARBAGE, _COLLECT_SECONDS = "numembed-garbage", 30.0
_WHOLE = "whole_page"  # a callback inside a fragment changed what stands outside it
_BUG = "numembed has an internal error on this page. See the server's log for details."


def inside_app(page: str) -> None:
    """Return when app.py runs this page; otherwise visit app.py first.

    A fresh server whose first visit is a deep link runs the page alone, without frame and error boundary.
    """
    if "pages" not in st.session_state:
        query = {name: st.query_params.get_all(name) for name in st.query_params}  # may repeat a name
        st.session_state["wanted"] = (page, query)
        st.switch_page("app.py")


@st.cache_resource(show_spinner=False)
def settings() -> Settings:
    """Return the settings, read once a server: no page looks into a folder that a visitor names."""
    found = replace(read_settings(), looks_into_folders=False)
    os.environ.update(library_places(found.home))  # before a library is imported
    return found


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
        .stMainBlockContainer [data-testid="stCaptionContainer"] { opacity: 0.72; }
        .stMainBlockContainer h3 { font-size: 1.3rem; font-weight: 600; line-height: 1.35; }
        </style>"""
    )


@contextmanager
def error_boundary() -> Iterator[None]:
    """Show an error of the block, or of the callback before it, as one sentence; a bug is logged without secrets."""
    if _FAILED in st.session_state:
        _show(*st.session_state.pop(_FAILED))
    try:
        yield
    except Exception as error:
        _show(*_described(error))


def tell_store(chosen: Settings) -> None:
    """Say above every page that nothing can be kept, and, until the visitor has read it, what was damaged lately."""
    from numembed.storage.damage import notice_of
    from numembed.storage.failures import can_be_written

    if not can_be_written(chosen.app_db):
        st.warning(
            "Nothing can be kept: the folder of this app can only be read. Stored results are shown; "
            "new runs cannot be started.",
            icon=":material/lock:",
        )
    notice = notice_of(chosen.app_db)
    if notice is not None and st.session_state.get("notice_read") != notice.at:
        with st.container(border=True, key="notice"):
            st.markdown(f":material/warning: {md_text(notice.sentence)}")
            st.button("Understood", key="notice_read_now", on_click=_notice_is_read, args=(notice.at,))


def callback(function: Callable[P, None]) -> Callable[P, None]:
    """Return ``function`` for a widget to call: it runs before app.py, which then shows an error in it."""

    @functools.wraps(function)
    def guarded(*arguments: P.args, **named: P.kwargs) -> None:
        try:
            function(*arguments, **named)
        except Exception as error:
            st.session_state[_FAILED] = _described(error)

    return guarded


@callback
def _notice_is_read(at: float) -> None:
    st.session_state["notice_read"] = at


def fragment(draw: Callable[P, None], *, run_every: float | None = None) -> Callable[P, None]:
    """Return ``draw`` as a part of a page that a click inside it runs alone, without app.py around it.

    It also runs every ``run_every`` seconds; and with the whole page after :func:`whole_page`.
    """

    @functools.wraps(draw)
    def guarded(*arguments: P.args, **named: P.kwargs) -> None:
        if st.session_state.pop(_WHOLE, False):
            st.rerun()
        with error_boundary():
            draw(*arguments, **named)

    return st.fragment(guarded, run_every=run_every)


def whole_page() -> None:
    """Let the whole page follow a click inside a fragment; for callbacks."""
    st.session_state[_WHOLE] = True


def download(label: str, data: Callable[[], str], file: str, *, key: str | None = None, quiet: bool = True) -> None:
    """Draw a button that saves what ``data`` returns; it is called at the click, outside app.py, and in no rerun."""

    def made() -> str:
        try:
            return data()
        except Exception as error:
            raise RuntimeError(_described(error)[0]) from None  # Streamlit logs it, and shows a sentence of its own

    st.download_button(
        label,
        made,
        file,
        mimetypes.guess_type(file)[0],
        key=key,
        on_click="ignore",
        icon=":material/download:" if quiet else None,
        type="tertiary" if quiet else "secondary",
    )


def _described(error: Exception) -> tuple[str, str]:
    """Return what is shown of an error, and its icon; a bug is logged."""
    if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.ProgrammingError):
        from numembed.storage.failures import sentence_of

        error = sentence_of(error, settings().app_db)
    if isinstance(error, NumembedError):
        return str(error), ":material/error:"
    logging.getLogger("numembed").error("a page failed\n%s", settings().redact(traceback.format_exc()))
    return _BUG, ":material/bug_report:"


def _show(sentence: str, icon: str) -> None:
    st.error(md_text(sentence), icon=icon)


def supervise(chosen: Settings) -> None:
    """Keep a worker alive while this server lives."""
    from numembed.runs.supervisor import start_supervisor

    start_supervisor(chosen)


@st.cache_resource(show_spinner=False)
def settle() -> None:
    """Collect garbage twice a minute: each visitor who left keeps an event loop with three open files until then.

    What is imported by now is taken out of it; its time would grow with all objects that were ever imported.
    """
    gc.collect()
    gc.freeze()
    if not any(thread.name == _GARBAGE for thread in threading.enumerate()):
        threading.Thread(target=_collect_again_and_again, name=_GARBAGE, daemon=True).start()


def _collect_again_and_again() -> None:
    while True:
        time.sleep(_COLLECT_SECONDS)
        gc.collect()


def job_table() -> JobTable:
    """Return the job table; use it in a ``with`` block."""
    from numembed.runs.jobs import JobTable

    return JobTable(settings().app_db)


def result_store(*, own: bool = False) -> ResultStore:
    """Return the results, or only one's ``own`` without what came with the program; use it in a ``with`` block."""
    from numembed.studies.results import ResultStore

    return ResultStore(settings().app_db, beside=None if own else prepared())


@st.cache_resource(show_spinner=False)
def prepared() -> Bundle | None:
    """Return the results that came with the program; None where none are to be shown, or their file is damaged."""
    from numembed.prepared import PREPARED
    from numembed.storage.bundle import Bundle

    try:
        return Bundle(PREPARED) if settings().prepared else None
    except BadChoice as error:
        logging.getLogger("numembed").error("%s", error)
        return None


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

    The browser gets a value in the run that sets it only, and may not have heard of it; then it would send back an
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
