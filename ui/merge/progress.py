"""A merging experiment while it runs, and the runs that are asked afterwards: redrawn windows, robustness."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from numembed.core.progress import DONE, FAILED, WAITING
from numembed.core.wording import about, plural
from numembed.figures.merge.weights import training_figure
from numembed.merge_experiment.experiment import REDRAWING, ROBUSTNESS, ExperimentResult, MergeExperiment
from numembed.merge_experiment.redrawn import USUAL_DESIGNS, named_places, redrawn_split, redrawn_texts
from numembed.merge_experiment.robustness.plan import encoded_texts, places_of
from numembed.models.adapters.recipe import Reading
from numembed.runs.job import Job, ModelProgress
from numembed.studies.cost import cost_of
from ui.merge.choice import reading, results_so_far, training_characters
from ui.merge.splits import TITLES
from ui.shared.figure import figure
from ui.shared.frame import fragment, job_table, result_store, settings
from ui.shared.run_progress import STARTING, newest_run, poll_seconds, start, stop, tell_failed_parts, waiting_text
from ui.shared.text import md_text

_ASKED = (REDRAWING, ROBUSTNESS)  # rows of what is asked afterwards
_MEASURES_AS_CANDIDATES = 4  # scoring this many models takes as long as angles and maps


def watch_experiment(experiment: MergeExperiment, job: Job | None) -> None:
    """Draw a run of ``experiment`` or of what is asked afterwards: its progress, or how it ended."""
    if job is not None and job.active:
        fragment(_live, run_every=poll_seconds())(job.id, experiment)
    elif job is not None and job.state in ("failed", "done"):
        tell_failed_parts(job)
    elif job is not None and job.state == "cancelled":
        st.info(
            "This merging experiment was stopped. Computed results are kept; press the button again to continue.",
            icon=":material/stop_circle:",
        )


def _live(job_id: str, experiment: MergeExperiment) -> None:
    with job_table() as jobs:
        job = jobs.get(job_id)
    done = sum(step.stage == DONE for step in job.progress)
    before = st.session_state.get("merge_rows_done", (job_id, done))
    st.session_state["merge_rows_done"] = (job_id, done)
    if not job.active or before != (job_id, done):
        st.rerun()  # the page below shows each path as it comes
    with st.container(border=True, key="running"):
        share, left = share_and_left(job.progress, parts_of(job.request))
        st.progress(share, text=_bar_text(job, left))
        result = results_so_far(experiment) if not done else None
        if result is not None and result.training:
            last = result.training[-1]
            alt = f"Loss and validation silhouette so far, at step {last.step} of seed {last.seed}."
            figure(partial(_training, result.training), "training live", alt)
        cancel_button(job, "cancel", help_text="Stops after the current step. Finished work is kept.")


def cancel_button(job: Job, key: str, *, help_text: str | None = None) -> None:
    """Draw the button that stops a run."""
    st.button(
        "Stopping …" if job.cancel else "Cancel",
        key=key,
        on_click=stop,
        args=(job.id,),
        disabled=job.cancel,
        icon=":material/stop_circle:",
        help=help_text,
    )


def _training(readings: Sequence[Reading], look: str) -> Any:
    return training_figure(readings, theme=look)


def parts_of(experiment: MergeExperiment) -> tuple[int, ...]:
    """Return about how much work each row of an experiment's progress is, in characters to encode."""
    _, characters = reading(experiment.recipe.split)
    candidates = Counter[str]()
    for path in experiment.drawn:
        candidates[path.name] += len(path.values)
    parts = [training_characters(experiment.recipe), *(characters * candidates[name] for name in experiment.paths)]
    parts.append(characters * _MEASURES_AS_CANDIDATES)
    if experiment.robustness:
        parts.append(changed_reading(experiment.plain)[1] * len(places_of(experiment)))
    if experiment.designs:
        parts.append(redrawn_reading(experiment)[1] * len(named_places(experiment)))
    return tuple(parts)


def share_and_left(progress: Sequence[ModelProgress], parts: Sequence[int]) -> tuple[float, float | None]:
    """Return how far an experiment is, from 0 to 1, and the seconds that remain at the present pace.

    Rows that were finished before, as where only windows are redrawn, are not counted.
    """
    if len(progress) != len(parts):
        return 0.0, None
    asked = sum(one.model in _ASKED for one in progress)
    if asked < len(parts) and all(one.stage == DONE for one in progress[: len(parts) - asked]) and asked:
        progress, parts = progress[-asked:], parts[-asked:]
    rest = [part * (1 - _done(one)) for one, part in zip(progress, parts, strict=True)]
    left = None
    for one, its_rest in zip(progress, rest, strict=True):
        if one.stage not in (WAITING, DONE) and one.seconds_left is not None and its_rest > 0:
            left = one.seconds_left / its_rest * sum(rest)
    return 1 - sum(rest) / sum(parts), left


def _done(one: ModelProgress) -> float:
    if one.stage.prepares:
        return 0.0
    return 1.0 if one.stage == DONE else min(1.0, one.done / one.total) if one.total else 0.0


def _bar_text(job: Job, left: float | None) -> str:
    working = [one for one in job.progress if one.stage not in (WAITING, DONE, FAILED)]
    if job.state == "queued" or not working:
        return waiting_text(job) or STARTING
    step = working[-1]
    parts = [f"**{md_text(step.model, most=60)}**", step.stage.words]
    if step.total > 1:
        parts.append(f"{step.done:,} of {step.total:,}")
    if left is not None and left >= 1:
        parts.append(f"{about(left)} left in all")
    return " · ".join(parts)


def with_designs(experiment: MergeExperiment) -> MergeExperiment:
    """Return the same experiment with redrawn windows, as many as the page offers."""
    return replace(experiment, designs=USUAL_DESIGNS)


def redrawn_windows(result: ExperimentResult, *, came: bool = False) -> None:
    """Draw what redrawn windows show of a finished experiment, or the button that redraws them, with its cost."""
    if not result.complete:
        return
    if result.redrawn:
        for sentence in result.redrawn_sentences:
            st.markdown(md_text(sentence))
        return
    experiment = with_designs(result.experiment)
    job = newest_run(experiment)
    if came or (job is not None and job.active):  # its progress is shown above
        return
    with st.container(horizontal=True, vertical_alignment="center", key="redrawing"):
        st.button(
            "How sure: redraw the windows",
            key="merge_redraw",
            on_click=start,
            args=(experiment,),
            icon=":material/shuffle:",
            help="One choice of windows is one sample. The named points are scored on others: their variation is the "
            "error bar of a score.",
        )
        texts, characters = redrawn_reading(experiment)
        models = len(named_places(experiment))
        with result_store() as results:
            cost = cost_of(experiment.base, characters=characters * models, settings=settings(), results=results)
        takes = "" if cost.seconds is None else f" · {about(cost.seconds)} on this machine"
        where = TITLES[redrawn_split(experiment.recipe.split)]
        st.caption(
            f"{where}, {plural(USUAL_DESIGNS, 'other choice')} of windows: {plural(models, 'model')} × "
            f"{plural(texts, 'text')}{takes}. Stored results are not computed again."
        )


@functools.lru_cache(maxsize=16)
def changed_reading(experiment: MergeExperiment) -> tuple[int, int]:
    """Return how many texts every named model encodes for its robustness, and their characters."""
    return encoded_texts(experiment)


@functools.lru_cache(maxsize=16)
def redrawn_reading(experiment: MergeExperiment) -> tuple[int, int]:
    """Return how many texts every named point encodes for redrawn windows, and their characters."""
    texts = redrawn_texts(experiment).texts
    return len(texts), sum(map(len, texts))
