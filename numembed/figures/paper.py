"""The paper's Figures 1 and 2 redrawn from its Table 2, and the charts of its claims."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import plotly.graph_objects as go

from numembed.analysis.metrics import METRICS
from numembed.figures.style import PALETTE, THEMES, figure_layout, name_axis, note, plotly_text, value_axis
from numembed.paper.comparison import CHANCE, KINDS, Level, facts_of_line, size_of
from numembed.paper.published import PublishedScore

Metric = Literal["silhouette", "davies_bouldin"]  # what the paper draws

# the shape repeats what the colour shows
STYLES = {  # of a kind of model: its colour, its shape, and that shape as a character
    "encoder": (PALETTE[0], "circle", "●"),
    "llm": (PALETTE[7], "square", "■"),
    "lora": (PALETTE[4], "diamond", "◆"),
    "souping": (PALETTE[3], "cross", "✚"),
    "slerp": (PALETTE[2], "triangle-up", "▲"),
    "static": (PALETTE[6], "star", "★"),
    "scratch": (PALETTE[1], "hexagon", "⬢"),
}
_GROUND = {"light": "#FFFFFF", "dark": "#0E1117"}
_BAND = {"light": "rgba(127,127,127,0.18)", "dark": "rgba(180,180,180,0.20)"}
_OWN = {"light": "#0B62A4", "dark": "#5CB3F0"}
_WRAP = 19  # characters of a name on one line: room for the dots on a phone
_ROW = 34


def score_figure(
    table: Sequence[PublishedScore], metric: Metric, *, baseline: Level, theme: str = "light"
) -> go.Figure:
    """Return one score of every model, by the true families (filled) and by KMeans' groups (open), as rows in order."""
    names, traces = [_wrapped(line.model) for line in table], []
    pairs = [(getattr(line, f"{metric}_families"), getattr(line, f"{metric}_kmeans")) for line in table]
    for kind in KINDS:
        rows = [i for i, line in enumerate(table) if _kind(line) == kind]
        for place, filled in enumerate((True, False)):
            traces.append(_dots([pairs[i][place] for i in rows], [names[i] for i in rows], kind, filled))
    look = {"type": "line", "layer": "below", "line": {"color": "rgba(127,127,127,0.5)", "width": 2}}
    joined = [look | {"x0": a, "x1": b, "y0": name, "y1": name} for name, (a, b) in zip(names, pairs, strict=True)]
    behind, notes = _levels(metric, baseline, theme, "x")
    layout = _layout(theme, 90 + _ROW * len(table)) | {
        "xaxis": value_axis(theme, _titled(metric)) | _room(metric, [v for pair in pairs for v in pair], baseline),
        "yaxis": _names(names, theme),
        "shapes": [*behind, *joined],
        "annotations": notes,
    }
    return go.Figure({"data": traces, "layout": layout})


def size_figure(table: Sequence[PublishedScore], *, baseline: Level, theme: str = "light") -> go.Figure:
    """Return the silhouette by family against the number of parameters, on a logarithmic axis."""
    traces = []
    for kind in KINDS:
        if lines := [line for line in table if _kind(line) == kind and size_of(line)]:
            sizes, scores = [size_of(line) / 1000 for line in lines], [line.silhouette_families for line in lines]
            hover = "%{customdata}<br>%{x:.1f} billion parameters, silhouette %{y:.3f}<extra></extra>"
            texts = {"customdata": [plotly_text(line.model) for line in lines], "hovertemplate": hover}
            traces.append(_dots(sizes, scores, kind, True) | texts)
    behind, notes = _levels("silhouette", baseline, theme, "y")
    ticks = {"type": "log", "tickvals": [0.1, 0.3, 1, 3, 10], "ticktext": ["0.1", "0.3", "1", "3", "10"]}
    layout = _layout(theme, 400) | {
        "xaxis": value_axis(theme, "Billion parameters", **ticks),
        "yaxis": value_axis(theme, "Silhouette by family"),
        "shapes": behind,
        "annotations": notes,
    }
    return go.Figure({"data": traces, "layout": layout})


def standing_figure(
    table: Sequence[PublishedScore], own: Sequence[PublishedScore], *, baseline: Level, theme: str = "light"
) -> go.Figure:
    """Return the paper's silhouettes by family in one row, and below it a row for each model that was run here."""
    printed = {line.model: line.silhouette_families for line in table}
    everything, rows = f"the paper's {len(table)}", {line.model: _wrapped(line.model) for line in own}
    shared = [name for name in rows if name in printed]
    dots = [(printed[name], everything, name) for name in printed] + [(printed[n], rows[n], n) for n in shared]
    stars = [(line.silhouette_families, rows[line.model], line.model) for line in own]
    edge = {"color": _GROUND[theme], "width": 1}
    traces = [
        {
            "x": [x for x, _, _ in points],
            "y": [y for _, y, _ in points],
            "mode": "markers",
            "name": title,
            "customdata": [plotly_text(name) for _, _, name in points],
            "marker": {"symbol": symbol, "color": color, "size": size, "line": edge},
            "hovertemplate": f"%{{customdata}}<br>{title}: %{{x:.3f}}<extra></extra>",
        }
        for title, points, symbol, color, size in (
            ("in the paper", dots, "circle", PALETTE[7], 12),
            ("run here", stars, "star", _OWN[theme], 15),
        )
    ]
    behind, notes = _levels("silhouette", baseline, theme, "x")
    room = _room("silhouette", [*printed.values(), *(x for x, _, _ in stars)], baseline)
    layout = _layout(theme, 110 + _ROW * (1 + len(rows))) | {
        "xaxis": value_axis(theme, _titled("silhouette")) | room,
        "yaxis": _names([everything, *rows.values()], theme) | {"showgrid": True, "gridcolor": THEMES[theme]["line"]},
        "shapes": behind,
        "annotations": notes,
    }
    return go.Figure({"data": traces, "layout": layout})


def _dots(x: Sequence[float], y: Sequence[Any], kind: str, filled: bool) -> dict[str, Any]:
    color, symbol, _ = STYLES[kind]
    marker = {"color": color, "size": 11, "line": {"width": 0 if filled else 2}}
    marker["symbol"] = symbol if filled else f"{symbol}-open"
    hover = f"%{{y}}<br>{'by family' if filled else 'by KMeans'}: %{{x:.3f}}<br>{KINDS[kind]}<extra></extra>"
    dots = {"x": list(x), "y": list(y), "mode": "markers", "name": KINDS[kind]}
    return dots | {"marker": marker, "hovertemplate": hover}


def _levels(
    metric: Metric, baseline: Level, theme: str, axis: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return chance as a band and the best baseline as a line, behind the data, with their names."""
    other = "y" if axis == "x" else "x"
    low, high = getattr(CHANCE, f"{metric}_band")
    best = getattr(baseline, metric)
    across = {f"{other}ref": "paper", f"{other}0": 0, f"{other}1": 1, "layer": "below"}
    dotted = {"color": THEMES[theme]["text"], "width": 1.5, "dash": "dot"}
    shapes = [
        {"type": "rect", f"{axis}0": low, f"{axis}1": high, "fillcolor": _BAND[theme], "line": {"width": 0}, **across},
        {"type": "line", f"{axis}0": best, f"{axis}1": best, "line": dotted, **across},
    ]
    if axis == "x":
        at = {"yref": "paper", "y": 1, "yanchor": "bottom"}
        notes = [note("chance", theme, x=(low + high) / 2, **at), note(baseline.name.lower(), theme, x=best, **at)]
    else:
        at = {"xref": "paper", "x": 1, "xanchor": "right"}
        notes = [
            note("chance, for one model", theme, y=low, yanchor="top", **at),
            note(f"{baseline.name.lower()}, no model", theme, y=best, yanchor="bottom", **at),
        ]
    return shapes, notes


def _layout(theme: str, height: int) -> dict[str, Any]:
    return figure_layout(theme, height, margin={"l": 10, "r": 16, "t": 26, "b": 10}, showlegend=False)


def _titled(metric: Metric) -> str:
    entry = METRICS[metric]
    return f"{entry.title} ({'higher' if entry.facts['higher_is_better'] else 'lower'} is better)"


def _names(names: Sequence[str], theme: str) -> dict[str, Any]:
    font = {"size": 12, "color": THEMES[theme]["text"]}
    order = {"categoryorder": "array", "categoryarray": list(names), "autorange": "reversed"}
    return name_axis(type="category", tickfont=font, **order)


def _kind(line: PublishedScore) -> str:
    facts = facts_of_line(line)
    return facts.family if facts else ""


def _room(metric: Metric, values: Sequence[float], baseline: Level) -> dict[str, Any]:
    """Return the range of an axis that contains all values and both levels, with a margin."""
    shown = [*values, *getattr(CHANCE, f"{metric}_band"), getattr(baseline, metric)]
    spare = 0.05 * (max(shown) - min(shown))
    return {"range": [min(shown) - spare, max(shown) + spare]}


def _wrapped(name: str) -> str:
    """Return a name on as many lines as it needs, broken at hyphens, spaces and brackets."""
    rows = [""]
    for part in re.findall(r"[^-\s(]*[-\s]?|\([^)]*\)?", plotly_text(name)):
        if len(rows[-1] + part) > _WRAP and rows[-1]:
            rows.append("")
        rows[-1] += part
    return "<br>".join(rows)
