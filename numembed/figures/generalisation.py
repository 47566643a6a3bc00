"""How many held-out sequences were named correctly, next to chance and simple counts, as Plotly figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from numembed.core.wording import p_text, percent
from numembed.examinations.generalisation.result import Probe
from numembed.figures.style import PALETTE, SIGNAL, THEMES, figure_layout, legend, name_axis, plotly_text, value_axis
from numembed.models.baselines import BASELINES

_BANDS = {"light": "#DADDE3", "dark": "#3A3F4B"}
_MODEL = {"light": PALETTE[0], "dark": PALETTE[5]}
Row = tuple[str, Probe]  # label and what was found


def accuracy_figure(rows: Sequence[Row], *, theme: str = "light", chance: str = "guessing") -> go.Figure:
    """Return one line for each probe: its accuracy with the interval, the shuffles' band, chance and the best baseline.

    Filled circles are better than chance. What is undefined is left out.
    """
    shown = [(plotly_text(label, most=34), probe) for label, probe in rows if not math.isnan(probe.value)]
    places = list(range(len(shown)))
    traces = [_band(shown, theme), _chance(shown, theme, chance), _simple(shown), *_model(shown, _MODEL[theme])]
    layout = figure_layout(
        theme,
        190 + 40 * len(shown),
        xaxis=value_axis(theme, "named correctly", range=[-0.02, 1.03], tickformat=".0%", dtick=0.25, zeroline=False),
        yaxis=name_axis(tickvals=places, ticktext=[label for label, _ in shown], range=[len(shown) - 0.5, -0.5]),
        legend=legend(0, yref="container", yanchor="bottom", xref="container", itemsizing="trace"),
        barmode="overlay",
        bargap=0,
    )
    return go.Figure({"data": traces, "layout": layout})


def _band(shown: Sequence[Row], theme: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "y": list(range(len(shown))),
        "name": "95% of shuffles",
        "width": min(0.62, 0.2 + 0.14 * len(shown)),
        "base": [probe.null_low for _, probe in shown],
        "hoverinfo": "skip",
        "x": [max(0.006, probe.null_high - probe.null_low) for _, probe in shown],
        "marker": {"color": _BANDS[theme], "line": {"width": 0}},
    }


def _chance(shown: Sequence[Row], theme: str, name: str) -> dict[str, Any]:
    line = {"width": 2, "color": THEMES[theme]["text"]}
    return {
        "type": "scatter",
        "mode": "markers",
        "y": list(range(len(shown))),
        "x": [p.chance for _, p in shown],
        "name": name,
        "marker": {"symbol": "line-ns", "size": 20, "line": line},
        "hovertemplate": name + " %{x:.0%}<extra></extra>",
    }


def _simple(shown: Sequence[Row]) -> dict[str, Any]:
    rows = [(row, probe) for row, (_, probe) in enumerate(shown) if probe.baseline]
    return {
        "type": "scatter",
        "mode": "markers",
        "y": [row for row, _ in rows],
        "x": [probe.baseline_value for _, probe in rows],
        "name": "best simple count",
        "marker": {"symbol": "diamond", "size": 11, "color": SIGNAL},
        "text": [BASELINES[probe.baseline].title for _, probe in rows],
        "hovertemplate": "%{text}: %{x:.0%}<extra></extra>",
    }


def _model(shown: Sequence[Row], color: str) -> list[dict[str, Any]]:
    """Return the model's accuracies: first the intervals, then the points."""
    known = [(row, p) for row, (_, p) in enumerate(shown) if not math.isnan(p.low)]
    interval = {
        "type": "scatter",
        "mode": "markers",
        "y": [row for row, _ in known],
        "x": [p.value for _, p in known],
        "marker": {"size": 1, "color": color},
        "showlegend": False,
        "hoverinfo": "skip",
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [p.high - p.value for _, p in known],
            "arrayminus": [p.value - p.low for _, p in known],
            "color": color,
            "thickness": 2,
            "width": 5,
        },
    }
    marker = {"size": 13, "color": color, "line": {"width": 2.5, "color": color}}
    kinds = (("circle", "the model, better than chance", True), ("circle-open", "the model, may be chance", False))
    points = []
    for symbol, name, sure in kinds:
        own = [(row, p) for row, (_, p) in enumerate(shown) if p.sure is sure]
        point = {
            "type": "scatter",
            "mode": "markers",
            "y": [row for row, _ in own],
            "x": [p.value for _, p in own],
            "name": name,
            "marker": marker | {"symbol": symbol},
            "text": [f"{percent(p.value)}, {p_text(p.p_told)}" for _, p in own],
            "hovertemplate": "%{text}<extra></extra>",
        }
        points += [point] if own else []
    return [interval, *points]
