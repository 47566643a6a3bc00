"""A run while it is active: what it waits for, one bar a model, and a way to stop it. The worker does the work."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from numembed.core.wording import about, plural, size
from numembed.runs.jobs import Job, ModelProgress
from numembed.runs.kinds import Request
from numembed.runs.logs import note
from numembed.studies.stored import previously_pinned
from numembed.studies.study import Study
from ui.shared.frame import callback, fragment, job_table, result_store, settings, visitor
from ui.shared.rights import refuse_lookers
from ui.shared.text import md_text


def waiting_text(job: Job, listed: Sequence[Job]) -> str:
    """Return what a run that has not begun waits for; ``listed`` are the active runs, newest first."""
    earlier = [one.id for one in listed].index(job.id) + 1 if job in listed else 0
    before = [one for one in listed if one.state == "running" and one.id != job.id]
    before += [one for one in listed[earlier:][::-1] if one.state == "queued"]
    if job.state != "queued" or not before:
        return "Starting. The first run after a start loads its libraries for some seconds."
    first = f"“{md_text(before[0].title, most=80)}”"
    more = f" and {plural(len(before) - 1, 'more run')}" if len(before) > 1 else ""
    return f"In the queue. Before it: {first}{more}."


_FORGET_SECONDS = 15
_MOST_CHARS = 4_000  # of what failed in a run


@callback
def start(requested: Request) -> None:
    """Request a run from the worker; equal requests share one run."""
    refuse_lookers()
    with job_table() as jobs:
        job_id = jobs.submit(requested, asked_by=visitor())
    note(settings(), f"job {job_id} is asked for: {requested.kind}")


@callback
def stop(job_id: str) -> None:
    """Ask a run to stop after its present batch."""
    refuse_lookers()
    with job_table() as jobs:
        jobs.cancel(job_id)
    note(settings(), f"job {job_id} is to stop")


def newest_run(*requests: Request) -> Job | None:
    """Return the newest run of any of these requests, active ones first.

    A page reads it before the results: those of a run that ends in between are then drawn by the next run of the page.
    """
    with job_table() as jobs:
        listed = [job for one in requests if (job := jobs.latest(one))]
    return max(listed, key=lambda one: (one.active, one.asked_at), default=None)


def watch(study: Study, job: Job | None) -> None:
    """Draw a run of ``study`` while it is active, or how it ended."""
    if job is not None and job.active:
        fragment(_bars, run_every=poll_seconds())(job.id)
    elif job is not None and job.state in ("failed", "done") and job.error:
        tell_failed_parts(job)
        if _failed_checks(study):
            st.button(
                "Run them anyway",
                key="anyway",
                on_click=_start_anyway,
                args=(study,),
                icon=":material/warning:",
                help="Their results will say on every chart that the check failed.",
            )
    elif job is not None and job.state == "cancelled":
        st.info("This run was stopped. Its results are kept; press Run to continue.", icon=":material/stop_circle:")


def tell_failed_parts(job: Job) -> None:
    """Say what failed in a run that has ended: all of it, or some models or parts while the rest was done."""
    if job.state == "failed":
        st.error(md_text(job.error, most=_MOST_CHARS), icon=":material/error:")
    elif job.error:
        words = job.words[0].upper() + job.words[1:]
        st.warning(f"**{md_text(words)}.** {md_text(job.error, most=_MOST_CHARS)}", icon=":material/warning:")


def _failed_checks(study: Study) -> bool:
    if study.despite_checks:
        return False
    with result_store() as results:
        pinned = [previously_pinned(spec, results) for spec in study.models]
        checks = [results.check(spec) for spec in pinned if spec is not None]
    return any(check is not None and not check.ok for check in checks)


@callback
def _start_anyway(study: Study) -> None:
    st.session_state["despite_checks"] = True
    start(replace(study, despite_checks=True))


def _bars(job_id: str) -> None:
    with job_table() as jobs:
        job, listed = jobs.get(job_id), jobs.active()
    finished = sum(step.stage.answers for step in job.progress)
    if not job.active or st.session_state.get("answered", (job_id, finished)) != (job_id, finished):
        st.session_state["answered"] = (job_id, finished)
        st.rerun()  # the page below shows each model's answer as it comes
    st.session_state["answered"] = (job_id, finished)
    with st.container(border=True, key="running"):
        if job.state == "queued" or not job.progress:
            st.progress(0.0, text=waiting_text(job, listed))
        places = st.columns(2 if len(job.progress) > 3 else 1)
        for i, step in enumerate(job.progress):
            places[i * len(places) // len(job.progress)].progress(_share(step), text=_text(step))
        requested = job.cancel
        st.button(
            "Stopping …" if requested else "Cancel",
            key="cancel",
            on_click=stop,
            args=(job_id,),
            disabled=requested,
            icon=":material/stop_circle:",
            help="Stops after the current batch. Finished work is kept.",
        )


def _share(step: ModelProgress) -> float:
    low, high = step.stage.begins, step.stage.ends
    return low + (high - low) * (step.done / step.total if step.total else 0)


def _text(step: ModelProgress) -> str:
    parts = [f"**{md_text(step.model, most=60)}**", step.stage.words]
    if step.stage.in_bytes:
        parts.append(f"{size(step.done)} of {size(step.total)}")
    elif step.total > 1:
        parts.append(f"{step.done:,} of {step.total:,}")
    if step.stage.timed and step.seconds_left is not None and step.seconds_left >= 1:
        parts.append(f"{about(step.seconds_left)} left")
    if step.note:
        parts.append(md_text(step.note))
    return " · ".join(parts)


@st.cache_resource(show_spinner=False)
def _watchers() -> dict[str, float]:
    return {}


def poll_seconds() -> float:
    """Return how often this page asks: every second, more slowly as more people watch."""
    now, watchers = time.monotonic(), _watchers()
    watchers[visitor()] = now
    for name, seen in list(watchers.items()):
        if now - seen > _FORGET_SECONDS:
            watchers.pop(name, None)
    return max(1.0, len(watchers) / 10)
