"""How every figure is drawn on a page, and the folded panel below it on how its numbers are computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from numembed.figures.spec import SpecFigure, spec_of
from numembed.figures.style import PLOTLY_CONFIG
from ui.shared.frame import callback, theme
from ui.shared.kept import Kept

_HIDDEN_BUTTONS = ["autoScale2d", "zoomIn2d", "zoomOut2d", "hoverClosestCartesian", "hoverCompareCartesian"]


def figure(
    draw: Callable[[str], Any],
    key: str,
    alt: str,
    *,
    by: tuple[object, ...] | None = None,
    still: bool = False,
    file: str = "figure",
    on_select: Callable[[], None] | None = None,
) -> None:
    """Draw the Plotly figure that ``draw`` makes for a theme, with ``alt`` for those who do not see it.

    ``by`` is everything that decides the figure beside ``key`` and theme: it is then made once for all visitors who
    see the same. A ``still`` one has no buttons and cannot be zoomed. ``file`` is the name under which it is saved.
    """
    look = theme()
    made = draw(look) if by is None else SpecFigure(_drawn().get((key, look, *by), lambda: spec_of(draw(look))))
    image = {"format": "svg", "filename": f"numembed-{file}"}
    config = PLOTLY_CONFIG | {"modeBarButtonsToRemove": _HIDDEN_BUTTONS, "toImageButtonOptions": image}
    modes = ("points", "box", "lasso")
    chosen: dict[str, Any] = {"on_select": callback(on_select), "selection_mode": modes} if on_select else {}
    st.plotly_chart(made, theme=None, key=key, config=config | {"staticPlot": still}, alt=alt, **chosen)


def how_computed(key: str, *, numbers: bool = False, compact: bool = False) -> Any:
    """Return the folded panel on how something is computed, to be filled; ``numbers``: it has all of them."""
    title = "All numbers, and how this is computed" if numbers else "How this is computed"
    return st.expander(title, key=f"{key}_more", type="compact" if compact else "default")


@st.cache_resource(show_spinner=False)
def _drawn() -> Kept[str]:
    return Kept(len, entries=500, most=20_000_000)
