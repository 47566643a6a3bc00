"""The trade-off between separating numbers and keeping ordinary language, its uncertainty and its comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from numembed.core.wording import signed, span
from numembed.figures.merge.common import (
    Spot,
    Value,
    color_of,
    error_bars,
    measures,
    or_none,
    pale,
    placed,
    range_of,
    scatter,
    spots,
    symbol_of,
)
from numembed.figures.style import CLEAR, GREY, PALETTE, THEMES, figure_layout, note, value_axis
from numembed.merge_experiment.experiment import ExperimentResult
from numembed.merge_experiment.paths import KINDS
from numembed.merge_experiment.results import Candidate, Comparison

MAIN = ("lora", "soup", "slerp_base", "linear", "slerp", "slerp_task", "norm_matched")
_DASHES = {"slerp": "7px,7px", "multi_stage": "7px,7px", "karcher": "3px,3px"}  # lines below stay visible
_VEIL = {"light": "rgba(255,255,255,0.75)", "dark": "rgba(20,20,24,0.75)"}  # behind names, over lines
_LABEL_PIXELS = 17
_HEIGHT = 520  # of the plane, in pixels
_SLOPE = 80  # pixels of a figure's height that are no plot


def plane_figure(
    result: ExperimentResult,
    split: str,
    *,
    names: Sequence[str] = MAIN,
    each: bool = False,
    sure: bool = False,
    theme: str = "light",
) -> go.Figure:
    """Return the silhouette on ``split`` against retention, a line for each row of ``names``; the base is a star.

    A line is the mean over seeds, its cross at the named point spans them; with ``each`` every seed has a thin line
    too, with ``sure`` the main rows have pale bars: intervals over sentences and over sequences, and thin ones over
    redrawn windows.
    """
    traces, ends, value = [], [], measures()["silhouette"].value
    for name in (one for one in names if one in result.experiment.paths and one != "base"):
        if each:
            traces += [_thin(candidates, name, split) for candidates in result.of(name) if len(candidates) > 1]
        line = spots(
            result, name, lambda candidate: candidate.retention.spearman, lambda candidate: value(candidate, split)
        )
        if line:
            middle = line[len(line) // 2] if KINDS[name].sweeps == "t" and KINDS[name].of != "seed" else line[-1]
            traces.append(_line(line, name, "retention %{x:.2f} · silhouette %{y:.2f}"))
            if sure and name in MAIN:
                traces += [*_intervals(result, name, middle, split), *_redrawn(result, name, line, split)]
            traces.append(_cross(middle, name))
            ends.append((name, middle))
    if (base := result.base_candidate) is not None:
        traces.append(_star(base, split, theme))
        if sure:
            alone = spots(result, "base", lambda candidate: 1.0, lambda candidate: value(candidate, split))
            traces += _redrawn(result, "base", alone, split)
    layout = figure_layout(theme, _HEIGHT) | {
        "showlegend": False,  # every line has its name next to it, and the height of a legend is unknown
        "xaxis": value_axis(theme, "retention (rank correlation with the base)", zeroline=False),
        "yaxis": value_axis(theme, measures()["silhouette"].title.lower()),
    }
    _with_room(layout, traces)
    layout["annotations"] = _labels(ends, layout, theme)
    return go.Figure({"data": traces, "layout": layout})


def sweep_figure(
    result: ExperimentResult, split: str, measure: str, *, sweeps: str = "scale", theme: str = "light"
) -> go.Figure:
    """Return a score against t or the scale, a line for each row that sweeps it; the base's value is a dashed line."""
    shown, traces = measures()[measure], []
    for name in (one for one in result.experiment.paths if KINDS[one].sweeps == sweeps):
        line = spots(result, name, lambda candidate: candidate.at, lambda candidate: shown.value(candidate, split))
        if any(spot.count > 1 for spot in line):
            places = [(spot.x[0], spot.y[1], spot.y[2]) for spot in line]
            traces.append(range_of(places, color_of(name), legendgroup=name))
        if line:
            traces.append(_line(line, name, "at %{x:.2f}: %{y:.3f}"))
    words = {"scale": "scale of the update", "t": "t, from the first model to the second"}
    layout = figure_layout(theme, 430) | {
        "xaxis": value_axis(theme, words[sweeps], zeroline=False),
        "yaxis": value_axis(theme, shown.title.lower(), zeroline=False),
    }
    level = math.nan if result.base_candidate is None else shown.value(result.base_candidate, split)
    if math.isfinite(level):
        look = {"color": GREY, "width": 1.5, "dash": "dash"}
        layout["shapes"] = [{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": level, "y1": level, "line": look}]
        layout["annotations"] = [note("the base", theme, xref="paper", x=1, xanchor="right", y=level, yanchor="bottom")]
    return go.Figure({"data": traces, "layout": layout})


def comparisons_figure(listed: Sequence[Comparison], *, theme: str = "light") -> go.Figure:
    """Return for each comparison the mean difference at equal retention with its 95% interval, the first on top."""
    known = [one for one in listed if math.isfinite(one.difference)][::-1]
    sides = [[one.high - one.difference for one in known], [one.difference - one.low for one in known]]
    above, below = ([side if math.isfinite(side) else 0.0 for side in each] for each in sides)
    marks = scatter(
        [one.difference for one in known],
        [f"{KINDS[one.a].title}<br>– {KINDS[one.b].title}" for one in known],
        "markers",
        showlegend=False,
        marker={
            "size": 11,
            "symbol": ["circle" if one.distinguishable else "circle-open" for one in known],
            "color": PALETTE[0],
            "line": {"width": 2, "color": PALETTE[0]},
        },
        error_x=error_bars(above, below, PALETTE[0], thickness=2),
        customdata=[f"{signed(one.difference, 3)} ({span(one.low, one.high, 3, sign=True)})" for one in known],
        hovertemplate="%{customdata}<extra></extra>",
    )
    rows = value_axis(theme, "", showgrid=False, ticks="outside", ticklen=8, tickcolor=CLEAR)
    layout = figure_layout(theme, 90 + 46 * max(1, len(known))) | {
        "margin": {"l": 10, "r": 16, "t": 10, "b": 10},
        "xaxis": value_axis(theme, "difference of the silhouette", zerolinewidth=2),
        "yaxis": rows | {"range": [-0.6, len(known) - 0.4]},
    }
    return go.Figure({"data": [marks], "layout": layout})


def _line(line: Sequence[Spot], name: str, text: str) -> dict[str, Any]:
    color, many = color_of(name), len(line) > 1
    return scatter(
        [spot.x[0] for spot in line],
        [spot.y[0] for spot in line],
        "lines+markers" if many else "markers",
        name=KINDS[name].title,
        legendgroup=name,
        line={"color": color, "width": 2.5, "dash": _DASHES.get(KINDS[name].kind, "solid")},
        marker={"size": 7 if many else 11, "symbol": symbol_of(name), "color": color},
        customdata=[f"{KINDS[name].title}{placed(name, spot.at)}" for spot in line],
        hovertemplate=f"%{{customdata}}<br>{text}<extra></extra>",
    )


def _thin(candidates: Sequence[Candidate], name: str, split: str) -> dict[str, Any]:
    return scatter(
        [or_none(candidate.retention.spearman) for candidate in candidates],
        [or_none(measures()["silhouette"].value(candidate, split)) for candidate in candidates],
        "lines",
        legendgroup=name,
        showlegend=False,
        opacity=0.45,
        line={"color": color_of(name), "width": 1},
        customdata=[candidate.title for candidate in candidates],
        hovertemplate="%{customdata}<br>retention %{x:.2f} · %{y:.2f}<extra></extra>",
    )


def _cross(spot: Spot, name: str) -> dict[str, Any]:
    """Return the mark at the named point of a line, with bars from the lowest to the highest seed."""
    bars = [
        error_bars([highest - mean], [mean - lowest], color_of(name), thickness=1.5, width=4)
        for mean, lowest, highest in (spot.x, spot.y)
    ]
    marker = {"size": 12, "symbol": symbol_of(name), "color": color_of(name)}
    return _silent(spot, name) | {"error_x": bars[0], "error_y": bars[1], "marker": marker}


def _silent(spot: Spot, name: str) -> dict[str, Any]:
    """Return a mark of a row's line without a tooltip."""
    return scatter([spot.x[0]], [spot.y[0]], "markers", legendgroup=name, showlegend=False, hoverinfo="skip")


def _star(base: Candidate, split: str, theme: str) -> dict[str, Any]:
    scores = base.splits.get(split)
    interval = f" ({span(scores.low, scores.high)})" if scores and not math.isnan(scores.low) else ""
    return scatter(
        [1.0],
        [or_none(measures()["silhouette"].value(base, split))],
        "markers+text",
        name="Base",
        text=["Base"],
        textposition="bottom left",
        showlegend=False,
        marker={"size": 17, "symbol": "star", "color": THEMES[theme]["text"]},
        textfont={"color": THEMES[theme]["text"], "size": 13},
        hovertemplate=f"The base<br>%{{y:.2f}}{interval}<extra></extra>",
    )


def _intervals(result: ExperimentResult, name: str, spot: Spot, split: str) -> list[dict[str, Any]]:
    """Return the pale bars behind a cross: 95% intervals over sentences and over sequences, means over seeds."""

    def bar(middle: float, low: Value, high: Value) -> dict[str, Any]:
        ends = next((one for one in spots(result, name, low, high) if one.at == spot.at), None)
        if ends is None:
            return {}
        above, below = max(0.0, ends.y[0] - middle), max(0.0, middle - ends.x[0])
        return error_bars([above], [below], pale(color_of(name), 0.25), thickness=9)

    kept = bar(spot.x[0], lambda candidate: candidate.retention.low, lambda candidate: candidate.retention.high)
    apart = bar(
        spot.y[0], lambda candidate: candidate.splits[split].low, lambda candidate: candidate.splits[split].high
    )
    bars = {"error_x": kept, "error_y": apart, "marker": {"size": 9, "color": CLEAR}}
    return [_silent(spot, name) | bars] if kept or apart else []


def _redrawn(result: ExperimentResult, name: str, line: Sequence[Spot], split: str) -> list[dict[str, Any]]:
    """Return the bar of a row's named point over redrawn windows: their mean and 95% prediction interval."""
    known = next((one for one in result.redrawn if (one.name, one.split) == (name, split)), None)
    spot = next((one for one in line if known and one.at == known.at), None)
    if known is None or spot is None or not math.isfinite(known.low):
        return []
    text, color = f"{KINDS[name].title}{placed(name, known.at)}<br>{known.designs} redrawn choices", color_of(name)
    return [
        scatter(
            [spot.x[0]],
            [known.mean],
            "markers",
            legendgroup=name,
            showlegend=False,
            marker={"size": 9, "symbol": "diamond-open", "color": color},
            error_y=error_bars([known.high - known.mean], [known.mean - known.low], color, thickness=1, width=7),
            hovertemplate=f"{text} of windows: %{{y:.2f}} ({known.low:.2f} to {known.high:.2f})<extra></extra>",
        )
    ]


def _with_room(layout: dict[str, Any], traces: Sequence[dict[str, Any]]) -> None:
    """Fix both axes to the points, with room for the names on the left."""
    for letter, before, after in (("x", 0.22, 0.05), ("y", 0.1, 0.05)):
        values = [value for trace in traces for value in _reached(trace, letter) if value is not None]
        low, high = min(values, default=0.0), max(values, default=1.0)
        width = max(high - low, 0.01)  # where nothing has moved, no rounding is blown up
        layout[f"{letter}axis"]["range"] = [low - before * width, high + after * width]


def _reached(trace: dict[str, Any], letter: str) -> list[float | None]:
    """Return the coordinates of a trace, and the ends of its error bars."""
    middle: list[float | None] = list(trace[letter])
    if error := trace.get(f"error_{letter}"):
        middle += [trace[letter][0] + error["array"][0], trace[letter][0] - error["arrayminus"][0]]
    return middle


def _labels(ends: Sequence[tuple[str, Spot]], layout: dict[str, Any], theme: str) -> list[dict[str, Any]]:
    """Return the names of the lines, on the left below their ends; where all are about as high, below all of them."""
    low, high = layout["yaxis"]["range"]
    scale = (_HEIGHT - _SLOPE) / (high - low)  # pixels for one unit of the score
    labels: list[dict[str, Any]] = []
    heights = [spot.y[0] * scale for _, spot in ends] or [0.0]
    place = min(heights) if max(heights) - min(heights) < 3 * _LABEL_PIXELS else math.inf
    for name, spot in sorted(ends, key=lambda end: -end[1].y[0]):  # below the trade-off's curve there is room
        place = min(spot.y[0] * scale, place) - _LABEL_PIXELS
        arrow = {"showarrow": True, "arrowhead": 0, "arrowwidth": 1, "arrowcolor": color_of(name), "standoff": 7}
        box = {"ax": -26, "ay": spot.y[0] * scale - place, "xanchor": "right", "bgcolor": _VEIL[theme], "borderpad": 1}
        labels.append(note(KINDS[name].title, theme, x=spot.x[0], y=spot.y[0], **arrow, **box))
    return labels
