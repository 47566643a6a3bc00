"""What is kept for all visitors: bounded, equal to what is made anew, and never older than the store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import plotly.io
import pytest
import streamlit as st

from numembed.figures.spec import SpecFigure, spec_of
from numembed.figures.style import figure_layout
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel
from numembed.runs.study_run import run
from numembed.studies.study import Study
from ui.shared.frame import result_store, settings, vector_store
from ui.shared.kept import Kept, Known, known_results

STUDY = Study(("even", "odd"), (model("last_digits"),), per_family=3, length=5)


def test_beyond_its_bounds_it_forgets_what_nobody_asked_for_longest() -> None:
    made: list[str] = []
    kept = Kept[str](len, entries=3, most=10)

    def get(key: str, text: str) -> str:
        def make() -> str:
            made.append(key)
            return text

        return kept.get(key, make)

    for key, text in (("a", "12345"), ("b", "123"), ("a", ""), ("c", "1234"), ("a", ""), ("b", "1")):
        get(key, text)
    assert (made, len(kept), kept.bytes) == (["a", "b", "c", "b"], 3, 10)  # b went for c, 12 bytes with it
    get("d", "")
    assert len(kept) == 3
    assert get("e", "x" * 11) == "x" * 11
    assert (len(kept), kept.bytes <= 10) == (3, True)


def test_a_kept_figure_is_sent_as_it_was_made() -> None:
    import numpy as np
    import plotly.graph_objects as go

    made = go.Figure({"data": [{"type": "scatter", "x": np.arange(4.0)}], "layout": figure_layout("dark", 300)})
    shown = SpecFigure(spec_of(made))
    assert plotly.io.to_json(shown.to_dict(), validate=False) == plotly.io.to_json(made, validate=False)
    shown.to_dict()["data"].clear()
    assert shown.to_dict()["data"]


@pytest.fixture
def cleared(home: Path) -> None:
    st.cache_resource.clear()


def _run(study: Study) -> None:
    with vector_store() as vectors, result_store() as results:
        run(study, vectors=vectors, results=results, loaded=LoadedModel(settings()), settings=settings())


def _known(study: Study) -> Known:
    with result_store() as results:
        return known_results(study, results)


def test_results_are_read_again_after_a_writing_and_not_before(cleared: None) -> None:
    assert _known(STUDY).items == (None,)
    _run(STUDY)
    known = _known(STUDY)
    assert known.items[0] is not None
    assert _known(STUDY) is known
    assert known.once("word", lambda: "first") == known.once("word", lambda: "second") == "first"
    more = replace(STUDY, models=(*STUDY.models, model("string_length")))
    assert [one is None for one in _known(more).items] == [False, True]
    _run(more)
    assert None not in _known(more).items
    assert _known(STUDY).once("word", lambda: "second") == "second"
