"""Maps along a path from a base, as Plotly figures with a slider; all frames are in the figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from numembed.figures.maps import family_style
from numembed.figures.style import CLEAR, GREY, THEMES, figure_layout, framed_axis, legend, plotly_text, sign
from numembed.merge_experiment.results import Frame
from numembed.sequences.families.family import family

_SECONDS = 0.25  # of one step of the slider


def morph_figure(
    result: Sequence[Frame], families: Sequence[str], *, sweeps: str = "t", theme: str = "light"
) -> go.Figure:
    """Return one map with a slider through the points of a path; it moves only with the slider."""
    listed = sorted(result, key=lambda one: one.at)
    names = tuple(dict.fromkeys(families))
    places, reach = list(range(len(names))), reach_of(listed)
    frames = [
        {"name": f"{one.at:g}", "data": [_points(one, families, name) for name in names], "traces": places}
        for one in listed
    ]
    layout = figure_layout(theme, 520) | {
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "xaxis": _box(theme, reach),
        "yaxis": _box(theme, reach) | {"scaleanchor": "x"},
        "sliders": [_slider(listed, sweeps, theme)],
        "legend": legend(-0.3),
    }
    traces = [_trace(listed[0], families, name, size=10) for name in names]
    return go.Figure({"data": traces, "layout": layout, "frames": frames})


def small_map(one: Frame, families: Sequence[str], *, reach: float, theme: str = "light") -> go.Figure:
    """Return one small map without a legend, on the same scale as others."""
    names = tuple(dict.fromkeys(families))
    layout = figure_layout(theme, 210) | {
        "margin": {"l": 4, "r": 4, "t": 4, "b": 4},
        "showlegend": False,
        "xaxis": _box(theme, reach),
        "yaxis": _box(theme, reach),
    }
    return go.Figure({"data": [_trace(one, families, name, size=7) for name in names], "layout": layout})


def reach_of(result: Sequence[Frame]) -> float:
    """Return the largest coordinate of several maps, with a margin: their common scale."""
    return 1.08 * max((float(np.abs(np.asarray(one.points)).max(initial=0.1)) for one in result), default=1.0)


def _trace(one: Frame, families: Sequence[str], name: str, *, size: int) -> dict[str, Any]:
    color, symbol = family_style(name)
    title = plotly_text(family(name).title, most=40)
    return _points(one, families, name) | {
        "type": "scatter",
        "mode": "markers",
        "name": title,
        "marker": sign(color, symbol, size),
        "hovertemplate": f"{title}<extra></extra>",
    }


def _points(one: Frame, families: Sequence[str], name: str) -> dict[str, Any]:
    points: NDArray[np.float64] = np.asarray(one.points, dtype=np.float64).reshape(-1, 2)
    rows = [row for row, own in enumerate(families) if own == name and row < len(points)]
    return {"x": points[rows, 0].round(4).tolist(), "y": points[rows, 1].round(4).tolist()}


def _slider(listed: Sequence[Frame], sweeps: str, theme: str) -> dict[str, Any]:
    turn = {
        "frame": {"duration": 0, "redraw": False},
        "mode": "immediate",
        "transition": {"duration": round(1000 * _SECONDS), "easing": "cubic-in-out"},
    }
    word = "t" if sweeps == "t" else "scale"
    steps = [{"label": f"{one.at:.3g}", "method": "animate", "args": [[f"{one.at:g}"], turn]} for one in listed]
    return {
        "steps": steps,
        "active": 0,
        "x": 0.02,
        "len": 0.96,
        "y": 0,
        "yanchor": "top",
        "pad": {"t": 14, "b": 4},
        "currentvalue": {"prefix": f"{word} = ", "xanchor": "left", "font": {"size": 14}},
        "font": {"color": THEMES[theme]["text"], "size": 12},
        "bgcolor": GREY,
        "bordercolor": GREY,
        "tickcolor": THEMES[theme]["text"],
        "activebgcolor": THEMES[theme]["text"],
    }


def _box(theme: str, reach: float) -> dict[str, Any]:
    return framed_axis(theme, fixedrange=True, zerolinecolor=CLEAR, range=[-reach, reach])
