"""The parts of the Runs page: what was asked for, and what is stored."""

from __future__ import annotations

import streamlit as st

from numembed.errors import NumembedError
from numembed.jobs import Job
from numembed.study import Study
from ui.choice import put_choice
from ui.frame import job_table, vector_store
from ui.running import start, stop
from ui.table import Cell, Column, number, selected_rows, table
from ui.words import duration, md_text, moment, plural, size

_STATES = {
    "queued": "waiting", "running": "running", "done": "done", "failed": "failed", "cancelled": "stopped",
}  # fmt: skip
_RUNS = (
    Column("Asked for", kind="wide"),
    Column("When", kind="line"),
    Column("State"),
    Column("Took", kind="number"),
    Column("By"),
    Column("What went wrong", kind="wide"),
)
_STORED = (Column("Model"), Column("Vectors", kind="number"), Column("Size", kind="number"))


def run_list() -> None:
    """Draw all runs, newest first; a selected one can be opened, asked for again, stopped or forgotten."""
    with job_table() as jobs:
        listed = jobs.recent()
    if not listed:
        st.info("Nothing was asked for yet. Press Run on the Compare page.", icon=":material/info:")
        return
    ids = [job.id for job in listed]
    chosen = st.session_state.get("run_chosen", "")
    table(
        _RUNS, [_row(job) for job in listed], key="runs", label="Runs, newest first", height=420,
        selected=[ids.index(chosen)] if chosen in ids else [], on_select=lambda: _remember(ids),
    )  # fmt: skip
    if chosen in ids:
        _actions(listed[ids.index(chosen)])
    else:
        st.caption("Click a run to open it, ask for it again, stop it or forget it.")


def live_run_list() -> None:
    """Draw the runs while one is active; then the whole page once more, without a clock."""
    if not any_active():
        st.rerun()
    run_list()


def any_active() -> bool:
    """Return True while a run waits or works."""
    with job_table() as jobs:
        return any(job.active for job in jobs.recent(20))


def stored_vectors() -> None:
    """Draw what the store holds, and a way to delete it that asks twice."""
    with vector_store() as vectors:
        models, total = vectors.models(), vectors.size_bytes()
    held = plural(sum(model.vectors for model in models), "vector")
    st.markdown(f"{held} of {plural(len(models), 'model')} take {size(total)} on this machine. "
                "They save computing the same text twice; deleting them loses nothing but time.")  # fmt: skip
    if not models:
        return
    rows = [[Cell(m.name), number(m.vectors, 0), Cell(size(m.size_bytes), m.size_bytes)] for m in models]
    table(_STORED, rows, key="stored", label="Stored vectors of each model")
    with st.popover("Delete vectors", icon=":material/delete:"):
        names = {model.key: model.name for model in models} | {"all": "All models"}
        key = st.selectbox("Whose vectors?", names, format_func=names.__getitem__, key="delete_which")
        st.caption("Scores and maps stay. The vectors are computed again when a run needs them.")
        st.button(
            f"Delete the vectors of: {md_text(names[key])}", on_click=_delete_vectors, args=(key,), key="delete_now"
        )


def _row(job: Job) -> list[Cell]:
    return [
        Cell(_title(job)),
        Cell(moment(job.asked_at), job.asked_at),
        Cell(_STATES[job.state]),
        Cell(duration(job.seconds), job.seconds),
        Cell(job.asked_by),
        Cell(job.error),
    ]


def _title(job: Job) -> str:
    try:
        study = job.study
    except NumembedError:
        return "a study of another version"
    models = ", ".join(spec.name for spec in study.models[:2])
    more = f" and {len(study.models) - 2} more" if len(study.models) > 2 else ""
    return f"{models}{more} · {plural(len(study.families), 'family', 'families')} × {study.per_family} × {study.length}"


def _actions(job: Job) -> None:
    try:
        study = job.study
    except NumembedError as error:
        st.warning(md_text(f"This run cannot be opened: {error}"))
        study = None
    with st.container(horizontal=True):
        if study is not None and st.button("Open", type="primary", key="open", icon=":material/open_in_new:"):
            put_choice(study)
            st.switch_page("pages/compare.py")
        if job.active:
            st.button("Stop", key="stop", on_click=stop, args=(job.id,), icon=":material/stop_circle:")
        else:
            if study is not None:
                st.button("Run again", key="again", on_click=_again, args=(study,), icon=":material/replay:")
            st.button("Forget this run", key="forget", on_click=_forget, args=(job.id,), icon=":material/delete:",
                      help="Takes it off this list. Its vectors, scores and maps stay.")  # fmt: skip


def _again(study: Study) -> None:
    st.session_state["run_chosen"] = ""
    start(study)


def _forget(job_id: str) -> None:
    st.session_state["run_chosen"] = ""
    with job_table() as jobs:
        jobs.delete(job_id)


def _delete_vectors(key: str) -> None:
    with vector_store() as vectors:
        vectors.delete(None if key == "all" else key)


def _remember(ids: list[str]) -> None:
    rows = selected_rows("runs")
    st.session_state["run_chosen"] = ids[rows[-1]] if rows else ""
