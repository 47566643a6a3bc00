"""What pages share: cells of tables, and answers that are kept by value."""

from __future__ import annotations

import math
from dataclasses import replace

import streamlit as st

from numembed.models.catalogue.names import model
from numembed.models.spec import BaselineWeights, ModelSpec
from numembed.studies.study import Study
from ui.shared.cache import cached
from ui.shared.table import Cell, interval_cell, number, p_cell


def test_cells_are_sorted_by_what_they_show() -> None:
    assert number(-0.126) == Cell("−0.13", -0.126) and number(math.nan, note="why") == Cell("–", None, "why")
    assert [p_cell(p).text for p in (0.0002, 0.0123, 0.5, None, math.nan)] == ["< 0.001", "0.012", "0.500", "–", "–"]
    assert p_cell(0.0002, "few") == Cell("< 0.001", 0.0002, "few")
    assert interval_cell(-0.5, 0.25) == Cell("−0.50 to 0.25", -0.125)
    assert interval_cell(math.nan, 0.25, "why") == interval_cell(None, 0.25, "why") == Cell("–", None, "why")


def _study(**choices: object) -> Study:
    return Study(("even", "odd"), (model("last_digits"),), length=10, **choices)  # type: ignore[arg-type]


def test_an_answer_is_found_again_by_value() -> None:
    asked: list[tuple[Study, ModelSpec, int]] = []

    @cached(entries=8)
    def answer(study: Study, spec: ModelSpec, row: int = 0) -> int:
        asked.append((study, spec, row))
        return len(asked)

    st.cache_data.clear()
    spec = ModelSpec("a name", BaselineWeights("last_digits"))
    assert [answer(_study(), spec), answer(_study(), replace(spec)), len(asked)] == [1, 1, 1]
    assert answer(_study(seed=1), spec) == 2 and answer(_study(), spec, 1) == 3
    other = replace(spec, weights=BaselineWeights("string_length"))  # another model under the same name
    assert answer(_study(), other) == 4 and answer(_study(), spec) == 1


def test_equal_studies_share_their_sequences() -> None:
    assert _study().sequences is _study(seed=1).sequences is not _study(first_window=1).sequences
    assert _study().key == _study().key != _study(seed=1).key
