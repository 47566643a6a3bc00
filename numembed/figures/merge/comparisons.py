"""Differences between merging paths at equal retention, as a Plotly figure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from numembed.core.wording import signed, span
from numembed.figures.style import CLEAR, PALETTE, figure_layout, value_axis
from numembed.merge_experiment.paths import KINDS
from numembed.merge_experiment.results import Comparison


def comparisons_figure(listed: Sequence[Comparison], *, theme: str = "light") -> go.Figure:
    """Return for each comparison the mean difference at equal retention with its 95% interval, the first on top."""
    known = [one for one in listed if math.isfinite(one.difference)][::-1]
    names = [f"{KINDS[one.a].title}<br>– {KINDS[one.b].title}" for one in known]
    marks = {
        "type": "scatter",
        "mode": "markers",
        "x": [one.difference for one in known],
        "y": names,
        "showlegend": False,
        "marker": {
            "size": 11,
            "symbol": ["circle" if one.distinguishable else "circle-open" for one in known],
            "color": PALETTE[0],
            "line": {"width": 2, "color": PALETTE[0]},
        },
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [_finite(one.high - one.difference) for one in known],
            "arrayminus": [_finite(one.difference - one.low) for one in known],
            "color": PALETTE[0],
            "thickness": 2,
            "width": 0,
        },
        "customdata": [f"{signed(one.difference, 3)} ({span(one.low, one.high, 3, sign=True)})" for one in known],
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    rows = value_axis(theme, "") | {"showgrid": False, "ticks": "outside", "ticklen": 8, "tickcolor": CLEAR}
    layout = figure_layout(theme, 90 + 46 * max(1, len(known))) | {
        "margin": {"l": 10, "r": 16, "t": 10, "b": 10},
        "xaxis": value_axis(theme, "difference of the silhouette") | {"zerolinewidth": 2},
        "yaxis": rows | {"range": [-0.6, len(known) - 0.4]},
    }
    return go.Figure({"data": [marks], "layout": layout})


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0
