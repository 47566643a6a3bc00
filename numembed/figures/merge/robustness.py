"""What changes of the texts do to the named models of a merging experiment, as a Plotly figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from numembed.figures.merge.common import color_of, error_bars, scatter
from numembed.figures.style import PALETTE, THEMES, figure_layout, legend, value_axis
from numembed.merge_experiment.robustness.results import LINE, Change, Robustness
from numembed.merge_experiment.robustness.text import change_text, group_title, row_title

_SYMBOLS = {"base": "star", "lora": "circle", "soup": "square", "slerp_base": "cross", LINE: "circle-open"}
_ROW_PIXELS, _REST_PIXELS = 92, 130
_SPREAD = 0.72  # of a row, over which its models are spread


def robustness_figure(found: Robustness, *, theme: str = "light") -> go.Figure:
    """Return for each kind of change how far it moves the silhouette of each row of models, with 95% intervals.

    Left of 0 the score falls.
    """
    groups = list(found.groups)[::-1]
    traces = []
    for number, row in enumerate(found.rows):
        own = [one for one in found.changes if one.row == row and math.isfinite(one.mean)]
        offset = _SPREAD * (0.5 - (number + 0.5) / len(found.rows))
        traces.append(_marks(own, row, [groups.index(one.group) + offset for one in own], theme))
    rest = _ROW_PIXELS * max(1, len(groups))
    names = value_axis(theme, "", showgrid=False, zeroline=False, ticks="")
    names |= {"tickvals": list(range(len(groups))), "ticktext": [_broken(group_title(one)) for one in groups]}
    bands = [_band(place, theme) for place in range(len(groups) - 1)]
    layout = figure_layout(theme, _REST_PIXELS + rest, shapes=bands, legend=legend(-70 / rest)) | {
        "margin": {"l": 10, "r": 16, "t": 10, "b": 10},
        "xaxis": value_axis(theme, "change of the silhouette", zerolinewidth=2),
        "yaxis": names | {"range": [-0.5, len(groups) - 0.5]},
    }
    return go.Figure({"data": traces, "layout": layout})


def _marks(own: Sequence[Change], row: str, places: Sequence[float], theme: str) -> dict[str, Any]:
    color = _color(row, theme)
    above, below = (
        [side if math.isfinite(side) else 0.0 for side in sides]
        for sides in ([one.high - one.mean for one in own], [one.mean - one.low for one in own])
    )
    return scatter(
        [one.mean for one in own],
        list(places),
        "markers",
        name=row_title(row),
        marker={
            "size": 12 if row == "base" else 9,
            "symbol": _SYMBOLS[row],
            "color": color,
            "line": {"width": 1.5, "color": color},
        },
        error_x=error_bars(above, below, color, thickness=1.8),
        customdata=[f"{row_title(row)}, {group_title(one.group).lower()}: {change_text(one)}" for one in own],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _color(row: str, theme: str) -> str:
    """Return the colour of a row: its kind's; the base is the colour of text, the straight line that of controls."""
    if row == "base":
        return THEMES[theme]["text"]
    return PALETTE[2] if row == LINE else color_of(row)


def _band(place: int, theme: str) -> dict[str, Any]:
    """Return the thin line between two kinds of change."""
    line = {"color": THEMES[theme]["line"], "width": 1}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": place + 0.5, "y1": place + 0.5, "line": line}


def _broken(title: str) -> str:
    """Return a title on two lines where it has three words or more, so that a phone has room for the plot."""
    words = title.split()
    half = -(-len(words) // 2)
    return f"{' '.join(words[:half])}<br>{' '.join(words[half:])}" if len(words) > 2 else title
