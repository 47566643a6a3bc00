"""What one model scores when its tokens become one vector in several ways, as a Plotly figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from numembed.core.wording import decimal
from numembed.figures import style
from numembed.studies.evidence import Evidence

_BANDS = {"light": "#DADDE3", "dark": "#3A3F4B"}
_COLORS = {"light": style.PALETTE[0], "dark": style.PALETTE[5]}
Row = tuple[str, Evidence, bool]  # its name, its silhouette with the families, and whether its check passed


def readings_figure(rows: Sequence[Row], *, theme: str = "light") -> go.Figure:
    """Return one line for each reading: its silhouette with the 95% interval, chance's band and random weights.

    An open circle is a reading that its check has refused.
    """
    places = list(range(len(rows)))
    known = [(place, one) for place, (_, one, _) in zip(places, rows, strict=True)]
    band = [(place, one.chance_low, one.chance_high) for place, one in known if one.chance_low is not None]
    untrained = [(place, one.random_weights) for place, one in known if one.random_weights is not None]
    chance = {
        "type": "bar",
        "orientation": "h",
        "name": "95% of shuffled families",
        "y": [place for place, _, _ in band],
        "base": [low for _, low, _ in band],
        "x": [(high or 0.0) - (low or 0.0) for _, low, high in band],
        "width": 0.5,
        "marker": {"color": _BANDS[theme], "line": {"width": 0}},
        "hoverinfo": "skip",
    }
    marks = {
        **_marks("random weights", [place for place, _ in untrained], [value for _, value in untrained]),
        "marker": {"symbol": "line-ns", "size": 20, "line": {"width": 2, "color": style.THEMES[theme]["text"]}},
    }
    points = []
    for name, symbol, passed in (("this reading", "circle", True), ("refused by its check", "circle-open", False)):
        own = [(place, one) for place, (_, one, ok) in zip(places, rows, strict=True) if ok is passed]
        point = _marks(name, [place for place, _ in own], [one.value for _, one in own])
        color = _COLORS[theme]
        point["marker"] = {"symbol": symbol, "size": 13, "color": color, "line": {"width": 2.5, "color": color}}
        point["error_x"] = {
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, (one.high if one.high is not None else one.value) - one.value) for _, one in own],
            "arrayminus": [max(0.0, one.value - (one.low if one.low is not None else one.value)) for _, one in own],
            "color": color,
            "thickness": 2,
            "width": 5,
        }
        points += [point] if own else []
    layout = style.figure_layout(
        theme,
        180 + 44 * len(rows),
        xaxis=style.value_axis(theme, "silhouette with the families"),
        yaxis=style.name_axis(
            tickvals=places, ticktext=[style.plotly_text(name) for name, _, _ in rows], range=[len(rows) - 0.5, -0.5]
        ),
        legend=style.legend(0, yref="container", yanchor="bottom", xref="container", itemsizing="trace"),
        barmode="overlay",
    )
    behind = [*([chance] if band else []), *([marks] if untrained else [])]
    return go.Figure({"data": [*behind, *points], "layout": layout})


def _marks(name: str, places: Sequence[int], values: Sequence[float | None]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "y": list(places),
        "x": list(values),
        "text": [decimal(value or 0.0, 3) for value in values],
        "hovertemplate": f"{name}: %{{text}}<extra></extra>",
    }
