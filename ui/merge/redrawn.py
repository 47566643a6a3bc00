"""How sure a finished experiment is: its windows redrawn by a click, what that costs, and what came of it."""

from __future__ import annotations

import functools
from dataclasses import replace

import streamlit as st

from numembed.core.wording import about, plural
from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment
from numembed.merge_experiment.redrawn import USUAL_DESIGNS, named_places, redrawn_split, redrawn_texts
from numembed.studies.cost import cost_of
from ui.merge.splits import TITLES
from ui.shared.frame import job_table, result_store, settings
from ui.shared.run_progress import start
from ui.shared.text import md_text


def with_designs(experiment: MergeExperiment) -> MergeExperiment:
    """Return the same experiment with its windows redrawn as often as the page asks."""
    return replace(experiment, designs=USUAL_DESIGNS)


def redrawn_windows(result: ExperimentResult) -> None:
    """Draw what redrawn windows say of a finished experiment, or the button that asks for them with its price."""
    if not result.complete:
        return
    if result.redrawn:
        for sentence in result.redrawn_sentences:
            st.markdown(md_text(sentence))
        return
    experiment = with_designs(result.experiment)
    with job_table() as jobs:
        job = jobs.latest(experiment)
    if job is not None and job.active:  # its progress stands above
        return
    with st.container(horizontal=True, vertical_alignment="center", key="redrawing"):
        st.button(
            "How sure: redraw the windows",
            key="merge_redraw",
            on_click=start,
            args=(experiment,),
            icon=":material/shuffle:",
            help="One choice of windows is one sample. The named points are scored on others: how much a score varies "
            "with them is its error bar.",
        )
        texts, characters = redrawn_reading(experiment)
        models = len(named_places(experiment))
        with result_store() as results:
            seconds = cost_of(
                result.experiment.base, characters=characters * models, settings=settings(), results=results
            ).seconds
        takes = "" if seconds is None else f" · {about(seconds)} on this machine"
        where = TITLES[redrawn_split(experiment.recipe.split)]
        st.caption(
            f"{where}, {plural(USUAL_DESIGNS, 'time')} elsewhere: {plural(models, 'model')} × {plural(texts, 'text')}"
            f"{takes}. What is stored is not computed again."
        )


@functools.lru_cache(maxsize=16)
def redrawn_reading(experiment: MergeExperiment) -> tuple[int, int]:
    """Return how many texts every named place reads on redrawn windows, and their characters."""
    texts = redrawn_texts(experiment).texts
    return len(texts), sum(map(len, texts))
