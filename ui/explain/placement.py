"""Your own text, on the Explain page: where it is placed in every model that has read the same sequences."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from numembed.analysis.clusters.attributes import family_title
from numembed.core.errors import NumembedError
from numembed.core.serialization import from_plain
from numembed.core.settings import LIMITS
from numembed.core.wording import plural
from numembed.examinations.clusters.compute import sequence_names
from numembed.examinations.placement.compute import Placement, Query, read_query
from numembed.examinations.placement.text import outlying, read_sentence, sentence_of
from numembed.models.spec import ModelSpec
from numembed.runs.job import Job
from numembed.studies.keys import result_key
from numembed.studies.results import ModelResult
from numembed.studies.stored import stored_examination
from numembed.studies.study import Study
from ui.shared.beforehand import absent
from ui.shared.figure import how_computed
from ui.shared.frame import callback, job_table, result_store
from ui.shared.large import results_of
from ui.shared.run_progress import newest_run, start, watch
from ui.shared.table import Cell, Column, number, table
from ui.shared.text import md_text

_COLUMNS = (
    Column("Model", "Baselines are shown in grey: they use a simple count only."),
    Column("Nearest family", "The family whose centre is nearest."),
    Column("How far out", "Each of its own sequences is compared with the centre of the others.", "line"),
    Column("Distance", "To the centre, in the model's own units: not comparable between models.", "number", digits=3),
    Column("Nearest sequence", "", "line"),
    Column("Distance", "To that sequence.", "number", digits=3),
)
_SHOWN = 300  # characters of the text as it is read
_EARLIER = 100  # runs whose models are looked for


def free_query(study: Study, *, waits: bool = False) -> None:
    """Draw the field for your own text and where it is placed; ``waits``: another answer's progress is shown."""
    heading = st.empty()
    heading.subheader("Where is your own sequence placed?", anchor=False)
    known = [one for one in results_of(_with_earlier_models(study)) if one is not None]
    models = [one for one in known if not absent([one.model])]
    many, left_out = plural(len(models), "model"), " ".join(absent([one.model for one in known]))
    with result_store() as store:
        first_run = any(store.is_prepared(result_key(study, one.model)) for one in models)
    what = f"Only this one text is encoded, by {many} that have read these sequences; baselines and earlier models"
    if first_run:
        what = f"The sequences are run here first, since what is shown was computed beforehand, by {many}; baselines"
    with st.form("land", border=False):
        st.text_input("Your own sequence", key="own_text", placeholder="2, 3, 5, 7, 11, 13", persist_state="session")
        st.form_submit_button("See the place", icon=":material/my_location:", on_click=_ask, args=(study, models))
    st.caption(md_text(f"{what} included. {left_out}".strip()))
    if (typed := st.session_state.get("landed")) is None:
        return
    try:
        query, asking = read_query(typed, study.text_format), _asked(study, models, typed)
    except NumembedError as error:
        st.error(md_text(str(error)), icon=":material/error:")
        return
    job, placements = newest_run(asking), _found(asking, models)
    if len(placements) < len(models):
        _wait(asking, job, len(models) - len(placements), waits=waits)
    if placements:
        sentence = sentence_of([(result.model.name, result.model.is_baseline, landed) for result, landed in placements])
        head, _, rest = sentence.partition(". ")
        heading.subheader(md_text(head.removesuffix(".")), anchor=False)
        _show(study, query, placements, rest)


def _with_earlier_models(study: Study) -> Study:
    """Return the study with the models of earlier runs behind its own, as many as a study takes."""
    with job_table() as jobs:
        texts = [job.request_json for job in jobs.recent(_EARLIER) if job.kind == Study.kind and job.state == "done"]
    models = {spec.name: spec for spec in study.models}
    for spec in (spec for text in texts for spec in _models_of(text)):
        models.setdefault(spec.name, spec)
    return replace(study, models=tuple(models.values())[: LIMITS.models])


@functools.lru_cache(maxsize=_EARLIER)
def _models_of(study_json: str) -> tuple[ModelSpec, ...]:
    try:
        return Study.from_json(study_json).models
    except NumembedError:  # a run of another version
        return ()


@callback
def _ask(study: Study, models: Sequence[ModelResult]) -> None:
    typed = st.session_state["landed"] = str(st.session_state["own_text"])
    try:
        read_query(typed, study.text_format)
        requested = _asked(study, models, typed)
    except NumembedError:
        return  # the page says what is wrong
    if len(_found(requested, models)) < len(models):
        start(requested)


def _asked(study: Study, models: Sequence[ModelResult], typed: str) -> Study:
    specs = tuple(result.model for result in models)
    return replace(study, models=specs, examine=("landing",), designs=0, query=typed.strip())


def _found(requested: Study, models: Sequence[ModelResult]) -> list[tuple[ModelResult, Placement]]:
    with result_store() as store:
        kept = [(result, stored_examination(requested, result.model, "landing", store)) for result in models]
    return [(result, from_plain(Placement, plain)) for result, plain in kept if plain is not None]


def _wait(requested: Study, job: Job | None, missing: int, *, waits: bool) -> None:
    """Draw the progress, or the button that asks for what is missing; a page shows one progress at a time."""
    if waits:
        st.caption("This follows the other ways of grouping, which are running now.")
        return
    watch(requested, job)
    if job is None or not job.active:
        st.button(f"Look in {plural(missing, 'more model')}", key="land_more", on_click=start, args=(requested,))


def _show(study: Study, query: Query, items: Sequence[tuple[ModelResult, Placement]], rest: str) -> None:
    names = sequence_names(study.sequences)
    shown = query.text if len(query.text) <= _SHOWN else query.text[:_SHOWN] + " …"
    st.markdown(f"{md_text(rest)} {read_sentence(query, study)} As the models read it: {md_text(shown)}")
    if (row := items[0][1].same_text) >= 0:
        st.markdown(f"This text is among the sequences ({md_text(names[row])}); it is left out of its family here.")
    table(
        _COLUMNS,
        [_row(result, landed, names) for result, landed in items],
        key="landing_table",
        label="Where the text is placed in each model",
        muted=[i for i, (result, _) in enumerate(items) if result.model.is_baseline],
    )
    with how_computed("landing"):
        st.markdown(
            "The text is encoded in the same way as the sequences. The nearest family is the one whose centre, the "
            "mean of its vectors, has the smallest distance; the text is part of no centre. For comparison, each "
            "sequence of that family is measured from the centre of the others. With four sequences, even a text of "
            "the same family lies farther out than all of them in about one case in five."
        )


def _row(result: ModelResult, one: Placement, names: Sequence[str]) -> list[Cell]:
    families = " or ".join(map(family_title, (one.family, *one.tied))) if one.family else "–"
    return [
        Cell(result.model.name),
        Cell(families, note=one.note),
        Cell(outlying(one)),
        number(one.distance, 3, note=one.note),
        Cell(names[one.nearest[0]] if one.nearest else "–"),
        number(one.distances[0] if one.distances else None, 3, note=one.note),
    ]
