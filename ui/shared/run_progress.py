"""A run while it is active: what it waits for, one bar a model, and a way to stop it. The worker does the work."""

from __future__ import annotations

import time
from dataclasses import replace

import streamlit as st

from numembed.core.wording import about, plural, size
from numembed.runs.job import Job, ModelProgress
from numembed.runs.kinds import Request
from numembed.runs.logs import note
from numembed.runs.queue import wait_of
from numembed.studies.stored import previously_pinned
from numembed.studies.study import Study
from ui.shared.frame import callback, fragment, job_table, result_store, settings, visitor
from ui.shared.rights import refuse_lookers, requester
from ui.shared.text import md_text

STARTING = "Starting. The first run after a start loads its libraries for some seconds."


def waiting_text(job: Job) -> str:
    """Return which place in the queue a run has and for how long; "" where it does not wait for another one."""
    if job.state != "queued":
        return ""
    with job_table() as jobs:
        wait = wait_of(jobs.queue(), job.id, active_runs=settings().limits.active_runs)
        if wait is None or not wait.ahead:
            return ""
        first = f"“{md_text(jobs.get(wait.ahead[0]).title, most=80)}”"
    more = f" and {plural(len(wait.ahead) - 1, 'more run')}" if len(wait.ahead) > 1 else ""
    begins = "" if wait.seconds is None else f" It goes on in {about(wait.seconds)}."
    return f"Place {wait.place} in the queue. Before it: {first}{more}.{begins}"


_FORGET_SECONDS = 15
_MOST_CHARS = 4_000  # of what failed in a run


@callback
def start(requested: Request) -> None:
    """Request a run from the worker; equal requests share one run."""
    refuse_lookers()
    with job_table() as jobs:
        name, limits = requester()
        job_id = jobs.submit(requested, asked_by=visitor(), visitor=name, limits=limits)
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
        follow(job)
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


def follow(job: Job) -> None:
    """Draw the bars of an active run of any kind until it ends, then the whole page once more."""
    fragment(_bars, run_every=poll_seconds())(job.id)


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
        job = jobs.get(job_id)
    finished = sum(step.stage.answers for step in job.progress)
    if not job.active or st.session_state.get("answered", (job_id, finished)) != (job_id, finished):
        st.session_state["answered"] = (job_id, finished)
        st.rerun()  # the page below shows each model's answer as it comes
    st.session_state["answered"] = (job_id, finished)
    with st.container(border=True, key="running"):
        waits = waiting_text(job)
        if not job.progress:
            st.progress(0.0, text=waits or STARTING)
        elif waits:
            st.caption(waits)
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
