"""Each thing is done in one place: numbers and levels are written, figures drawn and answers kept there alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from numembed.figures.style import PALETTE, THEMES, figure_layout, legend

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
