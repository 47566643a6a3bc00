"""A ladder while it is climbed: one bar over everything, the curves of training, and a way to stop it."""

from __future__ import annotations

import streamlit as st

from numembed.export import PLOTLY_CONFIG
from numembed.figures.merge import training_figure
from numembed.jobs import Job, ModelProgress
from numembed.ladder.ladder import Ladder
from ui.frame import job_table, theme
from ui.merge import found_so_far
from ui.merge_designs import with_designs
from ui.running import poll_seconds, stop
from ui.words import about, md_text

_TRAINING_SHARE = 0.4  # of the bar
_WORDS = {"download": "downloading", "load": "loading", "project": "drawing maps", "score": "comparing"}


def watch_ladder(ladder: Ladder) -> Job | None:
    """Draw the newest run of ``ladder``, or of its redrawn windows, while it is active, or how it ended; return it."""
    if notice := st.session_state.pop("notice", ""):
        st.error(md_text(notice), icon=":material/error:")
    with job_table() as jobs:
        listed = [job for one in (ladder, with_designs(ladder)) if (job := jobs.latest(one))]
    job = max(listed, key=lambda one: (one.active, one.asked_at), default=None)
    if job is not None and job.active:
        st.fragment(_live, run_every=poll_seconds())(job.id, ladder)
    elif job is not None and job.state == "failed":
        st.error(md_text(job.error), icon=":material/error:")
    elif job is not None and job.state == "cancelled":
        st.info(
            "This ladder was stopped. What was computed is kept; press the button again to go on.",
            icon=":material/stop_circle:",
        )
    return job


def _live(job_id: str, ladder: Ladder) -> None:
    with job_table() as jobs:
        job = jobs.get(job_id)
    done = sum(step.stage == "done" for step in job.progress)
    before = st.session_state.get("climbed", (job_id, done))
    st.session_state["climbed"] = (job_id, done)
    if not job.active or before != (job_id, done):
        st.rerun()  # the page below shows each path as it comes
    with st.container(border=True, key="running"):
        st.progress(_share(job.progress), text=_told(job))
        found = found_so_far(ladder) if not done else None
        if found is not None and found.training:
            last = found.training[-1]
            st.plotly_chart(
                training_figure(found.training, theme=theme()), theme=None, key="training live", config=PLOTLY_CONFIG,
                alt=f"Loss and validation silhouette so far, at step {last.step} of seed {last.seed}.",
            )  # fmt: skip
        st.button(
            "Stopping …" if job.cancel else "Cancel", key="cancel", on_click=stop, args=(job_id,), disabled=job.cancel,
            icon=":material/stop_circle:", help="Stops after the present step. What is done is kept.",
        )  # fmt: skip


def _share(progress: tuple[ModelProgress, ...]) -> float:
    """Return how far the whole ladder is, from 0 to 1: training, then the paths, each by its own part."""
    if not progress:
        return 0.0
    parts = [1.0 if one.stage == "done" else one.done / one.total if one.total else 0.0 for one in progress]
    rest = sum(parts[1:]) / max(1, len(parts) - 1)
    return min(1.0, _TRAINING_SHARE * parts[0] + (1 - _TRAINING_SHARE) * rest)


def _told(job: Job) -> str:
    working = [one for one in job.progress if one.stage not in ("waiting", "done")]
    if job.state == "queued" or not working:
        return "Starting. The first run after a start loads its libraries for some seconds."
    step = working[-1]
    parts = [f"**{md_text(step.model, most=60)}**", _WORDS.get(step.stage, "")]
    if step.total > 1:
        parts.append(f"{step.done:,} of {step.total:,}")
    if step.seconds_left is not None and step.seconds_left >= 1:
        parts.append(f"{about(step.seconds_left)} left of this part")
    return " · ".join(filter(None, parts))
