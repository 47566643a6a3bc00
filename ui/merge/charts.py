"""How every figure of the Merge page is drawn: made once for all visitors who see the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from numembed.figures.style import PLOTLY_CONFIG
from numembed.merge_experiment.experiment import LadderResult
from ui.shared.frame import theme


def chart(
    found: LadderResult,
    name: str,
    draw: Callable[[str], Any],
    alt: str,
    *,
    choices: tuple[object, ...] = (),
    config: Mapping[str, Any] = PLOTLY_CONFIG,
) -> None:
    """Draw the figure that ``draw`` makes for a theme; ``choices`` are what decides it beside what was found."""
    look = theme()
    key = (
        found.ladder.key,
        *(one.digest for one in found.adapters),
        len(found.arms),
        len(found.maps),
        found.complete,
        found.redrawn_sentences,
    )
    figure = _drawn((name, look, *choices, *key), lambda: draw(look))
    st.plotly_chart(figure, theme=None, key=name, config=dict(config), alt=alt)


@st.cache_resource(show_spinner=False, max_entries=300)
def _drawn(key: tuple[object, ...], _draw: Callable[[], Any]) -> Any:
    return _draw()
