"""What every page about one model needs: the choice of the model, stored results, and the button that requests them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, TypeVar

import streamlit as st

from numembed.core.errors import NumembedError
from numembed.core.serialization import as_plain, from_plain
from numembed.core.wording import about, plural
from numembed.examinations.clusters.compute import LARGEST
from numembed.studies.cost import cost_of
from numembed.studies.keys import examined_key
from numembed.studies.results import ModelResult
from numembed.studies.stored import stored_examination
from numembed.studies.study import Study
from ui.shared.beforehand import absent, tell_prepared
from ui.shared.frame import download, result_store, settings
from ui.shared.large import characters_of, results_of
from ui.shared.run_progress import newest_run, start, watch
from ui.shared.study_choice import chosen_study, seed_choice
from ui.shared.text import md_text

T = TypeVar("T")


def choose_model(page: str) -> tuple[Study | None, ModelResult | None]:
    """Draw the choice among the models of Compare that have results; return the study and the model's result."""
    seed_choice(page)
    try:
        study = chosen_study()
    except NumembedError as error:
        st.error(md_text(str(error)), icon=":material/error:")
        return None, None
    results = {values.model.name: values for values in results_of(study) if values is not None}
    if not results:
        st.info("The current choice has not been run yet. Press Run on the Compare page.", icon=":material/info:")
        st.page_link("pages/compare.py", label="To Compare", icon=":material/scatter_plot:")
        return None, None
    name = st.selectbox("Model", list(results), key="explained", persist_state="session")
    if study.texts > LARGEST:
        st.info(f"This page examines up to {LARGEST:,} sequences one by one; Compare has {study.texts:,}.")
        return None, None
    tell_failed(results[str(name)])
    return study, results[str(name)]


def tell_reading(result: ModelResult) -> None:
    """Say where a model has not read the whole of its texts."""
    if result.reading and result.reading.cut:
        st.caption(f":material/content_cut: {md_text(f'{result.model.name} {result.reading.sentence}.')}")


def tell_failed(result: ModelResult) -> None:
    """Warn above everything that is drawn of a model which ran although its check had failed, or has cut the texts."""
    tell_reading(result)
    if result.check is not None and not result.check.ok:
        st.warning(
            md_text(f"{result.model.name} did not pass its check, so the results below may be wrong. ")
            + md_text(result.check.sentence),
            icon=":material/warning:",
        )


def examined(
    study: Study,
    result: ModelResult,
    name: str,
    kind: type[T],
    *,
    button: str,
    text: str,
    texts: int = 0,
    designs: int = 0,
    query: str = "",
) -> T | None:
    """Return the ``kind`` that an examination found about one model; where there is none, draw the button that asks.

    ``text`` says in one sentence what the click does; ``texts`` is how many texts it may have to encode at most.
    """
    requested = replace(study, models=(result.model,), examine=(name,), designs=designs, query=query)
    job = newest_run(requested)
    with result_store() as store:
        values = stored_examination(requested, result.model, name, store)
        beforehand = store.is_prepared(examined_key(requested, result.model, name))
    if values is not None:
        if beforehand:
            watch(requested, job)
            tell_prepared(requested, requested.models, key=name)
        return from_plain(kind, values)
    watch(requested, job)
    if needs := absent(requested.models):
        st.caption(md_text(" ".join(needs)))
    elif job is None or not job.active:
        icon = ":material/search:"
        st.button(button, key=f"ask {name}", type="primary", icon=icon, on_click=start, args=(requested,))
        st.caption(text + _cost(requested, result, texts))
    return None


def _cost(study: Study, result: ModelResult, texts: int) -> str:
    """Return how many texts are to be encoded at most and about how long that takes, as far as anybody knows."""
    if not texts or result.model.is_baseline:
        return ""
    characters = texts * characters_of(study) // study.texts
    with result_store() as store:
        cost = cost_of(result.model, characters=characters, settings=settings(), results=store)
    text = f", {about(cost.seconds)} on this machine" if cost.seconds is not None else ""
    return f" It encodes up to {plural(texts, 'text')}{text}; what is stored is not encoded again."


def numbers_download(study: Study, result: ModelResult, name: str, values: Any) -> None:
    """Draw the button that saves all numbers of an examination, with the study that they belong to."""

    def whole() -> str:
        described = replace(study, models=(result.model,)).as_dict()
        return json.dumps({"study": described, "examination": name, "found": as_plain(values)}, indent=2)

    download("All numbers (JSON)", whole, f"numembed-{name}.json", key=f"save {name}")
