"""Each thing is done in one place: numbers and levels are written, figures drawn and answers kept there alone."""

from __future__ import annotations

import ast
import math
from dataclasses import replace
from pathlib import Path

import pytest
import streamlit as st

from numembed.core.significance import holm
from numembed.figures.style import PALETTE, THEMES, figure_layout, legend
from numembed.models.catalogue.names import model
from numembed.models.spec import BaselineWeights, ModelSpec
from numembed.studies.study import Study
from ui.shared.cache import cached, same_study
from ui.shared.table import Cell, interval_cell, number, p_cell

ROOT = Path(__file__).parents[1]
FILES = {
    file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8")
    for top in ("numembed", "ui", "pages")
    for file in (ROOT / top).rglob("*.py")
}


@pytest.mark.parametrize(
    ("words", "home"),
    [
        ("plotly_chart(", "ui/shared/figure.py"),
        ('replace("-", "−")', "numembed/core/wording.py"),
        ('"template": "none"', "numembed/figures/style.py"),
        ("Source Sans", "numembed/figures/style.py"),
        ('"All numbers, and how this is computed"', "ui/shared/figure.py"),
        ("def holm(", "numembed/core/significance.py"),
        ("st.cache_data(show_spinner=False", "ui/shared/cache.py"),
    ],
)
def test_it_is_done_in_one_file(words: str, home: str) -> None:
    assert [file for file, text in FILES.items() if words in text] == [home]


def _compared(text: str) -> set[object]:
    """Return the constants that something is compared with."""
    pairs = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Compare))
    return {one.value for node in pairs for one in (node.left, *node.comparators) if isinstance(one, ast.Constant)}


def test_nothing_is_compared_with_a_level_of_its_own() -> None:
    assert _compared("p <= 0.05") == {0.05}
    assert [file for file, text in FILES.items() if 0.05 in _compared(text)] == []


@pytest.mark.parametrize("theme", THEMES)
def test_what_figures_share_can_be_changed_by_one_of_them_alone(theme: str) -> None:
    changed = figure_layout(theme, 300, showlegend=False, legend=legend(-0.5))
    assert changed["legend"]["y"] == -0.5 and changed["font"]["color"] == THEMES[theme]["text"]
    changed["colorway"].clear()
    changed["legend"]["y"] = 2
    usual = figure_layout(theme, 300)
    assert usual["colorway"] == list(PALETTE) and usual["legend"]["y"] < 0 and "showlegend" not in usual


def test_cells_are_sorted_by_what_they_show() -> None:
    assert number(-0.126) == Cell("−0.13", -0.126) and number(math.nan, note="why") == Cell("–", None, "why")
    assert [p_cell(p).text for p in (0.0002, 0.0123, 0.5, None, math.nan)] == ["< 0.001", "0.012", "0.500", "–", "–"]
    assert p_cell(0.0002, "few") == Cell("< 0.001", 0.0002, "few")
    assert interval_cell(-0.5, 0.25) == Cell("−0.50 to 0.25", -0.125)
    assert interval_cell(math.nan, 0.25, "why") == interval_cell(None, 0.25, "why") == Cell("–", None, "why")


def test_what_is_unknown_takes_no_part_in_the_adjustment() -> None:
    first, unknown, none, second = holm([0.02, math.nan, None, 0.03])
    assert (first, none, second) == (0.04, None, 0.04) and unknown is not None and math.isnan(unknown)


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
    same_study.cache_clear()
    first = same_study(_study())
    assert same_study(_study()) is first and same_study(_study()).sequences is first.sequences
    assert same_study(_study(seed=1)) is not first
    assert first.key == _study().key != _study(seed=1).key
