"""The trade-off between separating numbers and keeping ordinary language, as Plotly figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from numembed.core.wording import span
from numembed.figures.merge.common import Spot, color_of, measures, or_none, pale, placed, spots, symbol_of
from numembed.figures.merge.intervals import redrawn_bar, sure_bars
from numembed.figures.style import GREY, THEMES, figure_layout, note, value_axis
from numembed.merge_experiment.experiment import ExperimentResult
from numembed.merge_experiment.paths import KINDS
from numembed.merge_experiment.results import Candidate, Separation

MAIN = ("lora", "soup", "slerp_base", "linear", "slerp", "slerp_task", "norm_matched")
_DASHES = {"slerp": "7px,7px", "multi_stage": "7px,7px", "karcher": "3px,3px"}  # what lies beneath shows through
_VEIL = {"light": "rgba(255,255,255,0.75)", "dark": "rgba(20,20,24,0.75)"}  # behind names, over lines
_LABEL_PIXELS = 17
_SLOPE = 80  # pixels of a figure's height that are no plot


def plane_figure(
    result: ExperimentResult,
    split: str,
    *,
    names: Sequence[str] = MAIN,
    measure: str = "silhouette",
    each: bool = False,
    sure: bool = False,
    theme: str = "light",
    height: int = 520,
) -> go.Figure:
    """Return separability on ``split`` against retention, a line for each row of ``names``; the base is a star.

    A line is the mean over seeds, its cross at the named place spans them; with ``each`` every seed has a thin line
    too, with ``sure`` the main rows have pale bars: intervals over sentences and over sequences, and thin ones over
    redrawn windows.
    """
    traces, ends, shown = [], [], measures()[measure]
    for name in (one for one in names if one in result.experiment.paths and one != "base"):
        if each:
            traces += [_thin(candidates, name, split, measure) for candidates in result.of(name) if len(candidates) > 1]
        line = spots(
            result,
            name,
            lambda candidate: candidate.retention.spearman,
            lambda candidate: shown.value(candidate, split),
        )
        if line:
            text = line[len(line) // 2] if KINDS[name].sweeps == "t" and KINDS[name].of != "seed" else line[-1]
            traces.append(_line(line, name, f"kept %{{x:.2f}} · {_short(measure)} %{{y:.2f}}"))
            traces += sure_bars(result, name, text, split, measure) if sure and name in MAIN else []
            traces += (
                redrawn_bar(result, name, line, split) if sure and name in MAIN and measure == "silhouette" else []
            )
            traces.append(_cross(text, name))
            ends.append((name, text))
    base = next((candidate for candidate in result.candidates if candidate.path == "base"), None)
    if base is not None:
        traces.append(_star(base, split, measure, theme))
        alone = spots(result, "base", lambda candidate: 1.0, lambda candidate: shown.value(candidate, split))
        traces += redrawn_bar(result, "base", alone, split) if sure and measure == "silhouette" else []
    layout = figure_layout(theme, height) | {
        "showlegend": False,  # every line has its name beside it; how high a legend is nobody knows before it is drawn
        "xaxis": value_axis(theme, "kept of the base: order of sentence similarities (1 = all)", zeroline=False),
        "yaxis": value_axis(theme, shown.title.lower()),
    }
    _with_room(layout, traces)
    layout["annotations"] = _labels(ends, layout, theme, height)
    return go.Figure({"data": traces, "layout": layout})


def sweep_figure(
    result: ExperimentResult, split: str, measure: str, *, sweeps: str = "scale", theme: str = "light"
) -> go.Figure:
    """Return a score against t or the scale, a line for each row that sweeps it; the base's value is a dashed line."""
    shown = measures()[measure]
    value = shown.value
    traces: list[dict[str, Any]] = []
    for name in (one for one in result.experiment.paths if KINDS[one].sweeps == sweeps):
        line = spots(result, name, lambda candidate: candidate.at, lambda candidate: value(candidate, split))
        if line and any(spot.count > 1 for spot in line):
            traces.append(_band(line, name))
        if line:
            traces.append(_line(line, name, "at %{x:.2f}: %{y:.3f}"))
    base = next((candidate for candidate in result.candidates if candidate.path == "base"), None)
    level = value(base, split) if base is not None else math.nan
    words = {"scale": "how many times the adapter is taken", "t": "t, from the first model to the second"}
    layout = figure_layout(theme, 430) | {
        "xaxis": value_axis(theme, words[sweeps], zeroline=False),
        "yaxis": value_axis(theme, shown.title.lower(), zeroline=False),
    }
    if math.isfinite(level):
        layout |= _level(level, "the base", theme)
    return go.Figure({"data": traces, "layout": layout})


def _line(line: Sequence[Spot], name: str, text: str) -> dict[str, Any]:
    color = color_of(name)
    where = [f"{KINDS[name].title}{placed(name, spot.at)}" for spot in line]
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(line) > 1 else "markers",
        "name": KINDS[name].title,
        "legendgroup": name,
        "x": [spot.x[0] for spot in line],
        "y": [spot.y[0] for spot in line],
        "line": {"color": color, "width": 2.5, "dash": _DASHES.get(KINDS[name].kind, "solid")},
        "marker": {"size": 7 if len(line) > 1 else 11, "symbol": symbol_of(name), "color": color},
        "customdata": where,
        "hovertemplate": f"%{{customdata}}<br>{text}<extra></extra>",
    }


def _thin(candidates: Sequence[Candidate], name: str, split: str, measure: str) -> dict[str, Any]:
    value = measures()[measure].value
    return {
        "type": "scatter",
        "mode": "lines",
        "legendgroup": name,
        "showlegend": False,
        "opacity": 0.45,
        "x": [or_none(candidate.retention.spearman) for candidate in candidates],
        "y": [or_none(value(candidate, split)) for candidate in candidates],
        "line": {"color": color_of(name), "width": 1},
        "customdata": [candidate.title for candidate in candidates],
        "hovertemplate": "%{customdata}<br>kept %{x:.2f} · %{y:.2f}<extra></extra>",
    }


def _cross(spot: Spot, name: str) -> dict[str, Any]:
    """Return the mark at the named place of a line, with candidates from the lowest to the highest seed."""

    def candidates(three: tuple[float, float, float]) -> dict[str, Any]:
        return {
            "type": "data",
            "symmetric": False,
            "array": [three[2] - three[0]],
            "arrayminus": [three[0] - three[1]],
            "color": color_of(name),
            "thickness": 1.5,
            "width": 4,
        }

    return {
        "type": "scatter",
        "mode": "markers",
        "legendgroup": name,
        "showlegend": False,
        "hoverinfo": "skip",
        "x": [spot.x[0]],
        "y": [spot.y[0]],
        "error_x": candidates(spot.x),
        "error_y": candidates(spot.y),
        "marker": {"size": 12, "symbol": symbol_of(name), "color": color_of(name)},
    }


def _star(base: Candidate, split: str, measure: str, theme: str) -> dict[str, Any]:
    said: Separation | None = base.splits.get(split)
    known = said is not None and measure == "silhouette" and said.low == said.low
    interval = f" ({span(said.low, said.high)})" if said and known else ""
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": "Base",
        "text": ["Base"],
        "textposition": "bottom left",
        "x": [1.0],
        "y": [or_none(measures()[measure].value(base, split))],
        "showlegend": False,
        "marker": {"size": 17, "symbol": "star", "color": THEMES[theme]["text"]},
        "textfont": {"color": THEMES[theme]["text"], "size": 13},
        "hovertemplate": f"The base<br>%{{y:.2f}}{interval}<extra></extra>",
    }


def _band(line: Sequence[Spot], name: str) -> dict[str, Any]:
    xs = [spot.x[0] for spot in line]
    return {
        "type": "scatter",
        "mode": "lines",
        "legendgroup": name,
        "showlegend": False,
        "hoverinfo": "skip",
        "x": xs + xs[::-1],
        "y": [spot.y[2] for spot in line] + [spot.y[1] for spot in line][::-1],
        "fill": "toself",
        "fillcolor": pale(color_of(name)),
        "line": {"width": 0},
    }


def _with_room(layout: dict[str, Any], traces: Sequence[dict[str, Any]]) -> None:
    """Fix both axes to the points, with room for the names on the left."""
    for letter, before, after in (("x", 0.22, 0.05), ("y", 0.1, 0.05)):
        values = [value for trace in traces for value in _reached(trace, letter) if value is not None]
        low, high = min(values, default=0.0), max(values, default=1.0)
        span = max(high - low, 0.01)  # where nothing has moved, no rounding is blown up
        layout[f"{letter}axis"]["range"] = [low - before * span, high + after * span]


def _reached(trace: dict[str, Any], letter: str) -> list[float | None]:
    """Return the coordinates of a trace, and the ends of its error bars."""
    middle: list[float | None] = list(trace[letter])
    if error := trace.get(f"error_{letter}"):
        middle += [trace[letter][0] + error["array"][0], trace[letter][0] - error["arrayminus"][0]]
    return middle


def _labels(ends: Sequence[tuple[str, Spot]], layout: dict[str, Any], theme: str, height: int) -> list[dict[str, Any]]:
    """Return the names at the ends of the lines, on their left and below, held apart where ends lie close together."""
    low, high = layout["yaxis"]["range"]
    scale = (height - _SLOPE) / (high - low)  # pixels for one unit of the score
    listed = sorted(ends, key=lambda end: -end[1].y[0])
    places: list[float] = []
    for _, spot in listed:  # below the trade-off's curve there is room
        wanted = spot.y[0] * scale - _LABEL_PIXELS
        places.append(min(wanted, places[-1] - _LABEL_PIXELS) if places else wanted)
    return [
        {
            "x": spot.x[0],
            "y": spot.y[0],
            "text": KINDS[name].title,
            "showarrow": True,
            "arrowhead": 0,
            "arrowwidth": 1,
            "arrowcolor": color_of(name),
            "ax": -26,
            "ay": spot.y[0] * scale - place,
            "xanchor": "right",
            "font": {"size": 12, "color": THEMES[theme]["text"]},
            "standoff": 7,
            "bgcolor": _VEIL[theme],
            "borderpad": 1,
        }
        for place, (name, spot) in zip(places, listed, strict=True)
    ]


def _level(y: float, words: str, theme: str) -> dict[str, Any]:
    line = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": y,
        "y1": y,
        "line": {"color": GREY, "width": 1.5, "dash": "dash"},
    }
    name = note(words, theme, xref="paper", x=1, xanchor="right", y=y, yanchor="bottom")
    return {"shapes": [line], "annotations": [name]}


def _short(measure: str) -> str:
    return measure.replace("_", " ")
