"""The parts of the Runs page: the list of runs, and what is stored."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import streamlit as st

from numembed.core.errors import NumembedError
from numembed.core.wording import duration, moment, plural, size
from numembed.runs.job import Job
from numembed.runs.kinds import JobKind, Request, kind_called
from numembed.runs.logs import note
from numembed.storage.vectors import StoredModel
from ui.shared.frame import callback, job_table, settings, vector_store
from ui.shared.rights import refuse_lookers
from ui.shared.run_progress import start, stop
from ui.shared.table import Cell, Column, number, selected_rows, table
from ui.shared.text import md_text

_RUNS = (
    Column("Asked for", kind="wide"),
    Column("State", kind="phrase"),  # second: in sight on a phone
    Column("When", kind="line"),
    Column("Took", kind="number"),
    Column("By"),
    Column("What went wrong", kind="wide"),
)
_ALL = ""  # no model's name
_STORED = (Column("Model"), Column("Vectors", kind="number"), Column("Size", kind="number"))


def run_list() -> None:
    """Draw all runs, newest first; a selected one can be opened, repeated, stopped or removed."""
    with job_table() as jobs:
        listed, (total, waiting, _) = jobs.recent(), jobs.counts()
    if not listed:
        st.info("There are no runs yet. Press Run on the Compare page.", icon=":material/info:")
        return
    ids = [job.id for job in listed]
    chosen = st.session_state.get("run_chosen", "")
    failed = any(job.error for job in listed)
    table(
        _RUNS if failed else _RUNS[:-1],
        [_row(job)[: None if failed else -1] for job in listed],
        key="runs",
        label="Runs, newest first",
        height=420,
        selected=[ids.index(chosen)] if chosen in ids else [],
        on_select=lambda: _remember(ids),
    )
    if chosen in ids:
        _actions(listed[ids.index(chosen)])
    else:
        st.caption("Click a run to open it, request it again, stop it or remove it.")
    if total > len(listed):
        queued = f" {plural(waiting, 'run')} in all {'waits' if waiting == 1 else 'wait'}." if waiting else ""
        st.caption(f"The newest {len(listed)} of {plural(total, 'run')} are listed.{queued}")


def live_run_list() -> None:
    """Draw the runs while one is active; then the whole page once more, without a clock."""
    if not any_active():
        st.rerun()
    run_list()


def any_active() -> bool:
    """Return True while a run waits or works."""
    with job_table() as jobs:
        return any(jobs.counts()[1:])


def stored_vectors() -> None:
    """Draw what the store holds, and a way to delete it that asks twice."""
    with vector_store() as vectors:
        models, total = vectors.models(), vectors.size_bytes()
    named: dict[str, list[StoredModel]] = {}
    for model in models:  # a merging experiment's models have their base's name
        named.setdefault(model.name, []).append(model)
    held = plural(sum(model.vectors for model in models), "vector")
    st.markdown(
        f"{held} of {plural(len(named), 'model')} take {size(total)} on this machine. "
        "They avoid computing the same text twice; deleting them costs only time."
    )
    if not models:
        return
    titles = {  # variants: other prompts, or merges made of the model
        name: name if len(alike) == 1 else f"{name}, in {len(alike)} variants" for name, alike in named.items()
    }
    rows = [[Cell(titles[name]), *_held(alike)] for name, alike in named.items()]
    table(_STORED, rows, key="stored", label="Stored vectors of each model")
    with st.popover("Delete vectors", icon=":material/delete:"):
        choices = [*named, _ALL]
        titles[_ALL] = "All models"
        chosen = st.selectbox("Whose vectors?", choices, format_func=titles.__getitem__, key="delete_which")
        st.caption("Scores and maps stay. The vectors are computed again when a run needs them.")
        keys = [None] if chosen == _ALL else [model.key for model in named[chosen]]
        st.button(
            f"Delete the vectors of: {md_text(titles[chosen])}",
            on_click=_delete_vectors,
            args=(keys,),
            key="delete_now",
        )


def _held(models: Sequence[StoredModel]) -> list[Cell]:
    total = sum(model.size_bytes for model in models)
    return [number(sum(model.vectors for model in models), 0), Cell(size(total), total)]


def _row(job: Job) -> list[Cell]:
    return [
        Cell(job.title),
        Cell(job.words),
        Cell(moment(job.asked_at), job.asked_at),
        Cell(duration(job.seconds), job.seconds),
        Cell(job.asked_by),
        Cell(job.error),
    ]


def _actions(job: Job) -> None:
    kind = request = None
    try:
        kind, request = kind_called(job.kind), job.request
    except NumembedError as error:
        st.warning(md_text(f"This run cannot be opened: {error}"))
    with st.container(horizontal=True):
        shown = kind is not None and kind.page is not None
        if shown and st.button("Open", type="primary", key="open", icon=":material/open_in_new:"):
            _open(kind, request)
        if job.active:
            st.button("Stop", key="stop", on_click=stop, args=(job.id,), icon=":material/stop_circle:")
        else:
            if kind is not None and kind.repeatable:
                st.button("Run again", key="again", on_click=_again, args=(request,), icon=":material/replay:")
            st.button(
                "Forget this run",
                key="forget",
                on_click=_forget,
                args=(job.id,),
                icon=":material/delete:",
                help="Removes it from this list. Computed and saved results are kept.",
            )


def _open(kind: JobKind | None, request: Any) -> None:
    """Show what a run has found on its page, or say why the page cannot."""
    assert kind is not None and kind.page is not None
    module, _, function = kind.open_with.partition(":")
    if module and (reason := getattr(importlib.import_module(module), function)(request)):
        st.warning(reason, icon=":material/info:")
    else:
        st.switch_page(kind.page(request))


@callback
def _again(request: Request) -> None:
    st.session_state["run_chosen"] = ""
    start(request)


@callback
def _forget(job_id: str) -> None:
    refuse_lookers()
    st.session_state["run_chosen"] = ""
    with job_table() as jobs:
        jobs.delete(job_id)
    note(settings(), f"job {job_id} is forgotten")


@callback
def _delete_vectors(keys: Sequence[str | None]) -> None:
    refuse_lookers()
    with vector_store() as vectors:
        rows = sum(vectors.delete(key) for key in keys)
    note(settings(), f"{plural(rows, 'vector')} deleted")


def _remember(ids: list[str]) -> None:
    rows = selected_rows("runs")
    st.session_state["run_chosen"] = ids[rows[-1]] if rows else ""
