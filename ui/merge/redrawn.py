"""How sure a finished ladder is: its windows redrawn by a click, what that costs, and what came of it."""

from __future__ import annotations

import functools
from dataclasses import replace

import streamlit as st

from numembed.core.wording import about, plural
from numembed.merge_experiment.experiment import Ladder, LadderResult
from numembed.merge_experiment.redrawn import USUAL_DESIGNS, named_places, redrawn_split, redrawn_texts
from numembed.studies.cost import cost_of
from ui.merge.splits import TITLES
from ui.shared.frame import job_table, result_store, settings
from ui.shared.run_progress import start
from ui.shared.text import md_text


def with_designs(ladder: Ladder) -> Ladder:
    """Return the same ladder with its windows redrawn as often as the page asks."""
    return replace(ladder, designs=USUAL_DESIGNS)


def redrawn_windows(found: LadderResult) -> None:
    """Draw what redrawn windows say of a finished ladder, or the button that asks for them with its price."""
    if not found.complete:
        return
    if found.redrawn:
        for sentence in found.redrawn_sentences:
            st.markdown(md_text(sentence))
        return
    ladder = with_designs(found.ladder)
    with job_table() as jobs:
        job = jobs.latest(ladder)
    if job is not None and job.active:  # its progress stands above
        return
    with st.container(horizontal=True, vertical_alignment="center", key="redrawing"):
        st.button(
            "How sure: redraw the windows", key="merge_redraw", on_click=start, args=(ladder,),
            icon=":material/shuffle:",
            help="One choice of windows is one sample. The named places are scored on others: how far a score moves "
            "with them is its error bar.",
        )  # fmt: skip
        texts, characters = redrawn_reading(ladder)
        models = len(named_places(ladder))
        with result_store() as results:
            seconds = cost_of(found.ladder.base, characters=characters * models, settings=settings(),
                              results=results).seconds  # fmt: skip
        takes = "" if seconds is None else f" · {about(seconds)} on this machine"
        where = TITLES[redrawn_split(ladder.recipe.split)]
        st.caption(
            f"{where}, {plural(USUAL_DESIGNS, 'time')} elsewhere: {plural(models, 'model')} × {plural(texts, 'text')}"
            f"{takes}. What is stored is not computed again."
        )


@functools.lru_cache(maxsize=16)
def redrawn_reading(ladder: Ladder) -> tuple[int, int]:
    """Return how many texts every named place reads on redrawn windows, and their characters."""
    texts = redrawn_texts(ladder).texts
    return len(texts), sum(map(len, texts))
