"""How far the maps may be believed, as Plotly figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from numembed.analysis.maps.projections import PROJECTIONS
from numembed.core.wording import decimal
from numembed.examinations.maps.compute import Maps, MapTruth, Picture, Seeds
from numembed.figures import style
from numembed.figures.maps import Group, overview_figure
from numembed.sequences.sets import SequenceSet
from numembed.studies.results import Projection

_MEASURES = {
    "trustworthiness": "True neighbours",
    "continuity": "Kept neighbours",
    "overlap": "Shared neighbours",
}


def kept_figure(result: Maps, *, theme: str = "light") -> go.Figure:
    """Return for each measure of faithfulness a bar per flat map, with a mark where maps of noise lie."""
    flat, places, names, headings = _flat(result), [], [], []
    for block, words in enumerate(_MEASURES.values()):
        top = block * (len(flat) + 1)
        headings.append(_heading(words, top, theme))
        places += [top + 1 + i for i in range(len(flat))]
        names += [PROJECTIONS[one.method].title for one in flat]
    shown = [getattr(one, measure) for measure in _MEASURES for one in flat]
    noise = [getattr(one, "noise_" + measure) for measure in _MEASURES for one in flat]
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": places,
        "x": shown,
        "marker": {"color": style.PALETTE[0]},
        "width": 0.72,
        "text": [decimal(value) for value in shown],
        "textposition": "inside",
        "insidetextanchor": "start",
        "textangle": 0,
        "constraintext": "none",
        "insidetextfont": {"color": "#FFFFFF", "size": 13},
        "customdata": names,
        "showlegend": False,
        "hovertemplate": "%{customdata}: %{x:.2f}<extra></extra>",
    }
    marks = _mark("line-ns", style.THEMES[theme]["text"], 20) | {
        "y": places,
        "x": noise,
        "name": "maps of pure noise",
        "hovertemplate": "noise: %{x:.2f}<extra></extra>",
    }
    rows = len(_MEASURES) * (len(flat) + 1)
    layout = _layout(theme, 90 + 27 * rows) | {
        "xaxis": style.value_axis(theme, "1 is perfect", range=[0, 1.02]),
        "yaxis": _rows(places, names, rows),
        "annotations": headings,
    }
    return go.Figure({"data": [bars, style.edge(marks, theme), marks], "layout": layout})


def scores_figure(result: Maps, *, theme: str = "light") -> go.Figure:
    """Return for each map the families' silhouette in the vectors joined to that in the map, beside both chances."""
    listed = [one for one in result.maps if one.silhouette == one.silhouette]
    names = [PROJECTIONS[one.method].title + (" 3-D" if one.dims == 3 else "") for one in listed]
    places = list(range(len(listed)))
    joins = [value for one in listed for value in (result.space, one.silhouette, None)]
    lines = {
        "type": "scatter",
        "mode": "lines",
        "x": joins,
        "y": [place for place in places for _ in range(3)],
        "line": {"color": style.PALETTE[0], "width": 3},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    ends = [value for one in listed for value in (one.chance_low, one.chance_high, None)]
    chance = {
        "type": "scatter",
        "mode": "lines",
        "x": ends,
        "y": [place + 0.3 for place in places for _ in range(3)],
        "line": {"color": style.GREY, "width": 5},
        "name": "shuffled families, in the map",
        "hovertemplate": "shuffled families: %{x:.2f}<extra></extra>",
    }
    space = _mark("circle-open", style.THEMES[theme]["text"], 11) | {
        "x": [result.space] * len(listed),
        "y": places,
        "name": "in the vectors",
        "hovertemplate": "in the vectors: %{x:.2f}<extra></extra>",
    }
    shown = {
        "type": "scatter",
        "mode": "markers",
        "x": [one.silhouette for one in listed],
        "y": places,
        "marker": {"size": 13, "color": [style.SIGNAL if one.warning else style.PALETTE[0] for one in listed]},
        "name": "in the map",
        "hovertemplate": "in the map: %{x:.2f}<extra></extra>",
    }
    band = {
        "type": "scatter",
        "mode": "markers",
        "x": [None],
        "y": [None],
        "name": "shuffled families, in the vectors",
        "marker": {"symbol": "square", "size": 14, "color": style.GREY, "opacity": 0.35},
        "hoverinfo": "skip",
    }
    layout = _layout(theme, 170 + 38 * len(listed)) | {
        "xaxis": style.value_axis(theme, "silhouette of the families", zeroline=False),
        "yaxis": _rows(places, names, len(listed)) | {"range": [len(listed) - 0.4, -0.6]},
        "shapes": _band(result),
    }
    return go.Figure({"data": [lines, space, shown, chance, band], "layout": layout})


def seeds_figure(
    seeds: Seeds, sequences: SequenceSet, groups: Sequence[Group], *, theme: str = "light", columns: int = 3
) -> go.Figure:
    """Return one method's maps from several seeds side by side, aligned with the first, with one legend."""
    named = zip(seeds.points, seeds.silhouettes, strict=True)
    maps = [(f"{i}: {decimal(score)}", _projection(points, seeds.method)) for i, (points, score) in enumerate(named, 1)]
    figure = overview_figure(maps, sequences, groups, theme=theme, columns=columns)
    return _same_scale(figure, 110 + 200 * -(-len(maps) // columns), len(maps) // columns)


def noise_figure(
    named: Sequence[tuple[str, Picture]], sequences: SequenceSet, groups: Sequence[Group], *, theme: str = "light"
) -> go.Figure:
    """Return a model's map and one of noise side by side, in the order and under the names that are given."""
    maps = [(name, _projection(picture.points, picture.method)) for name, picture in named]
    figure = overview_figure(maps, sequences, groups, theme=theme, columns=2)
    return _same_scale(figure, 340, 1)


def _same_scale(figure: go.Figure, height: int, lines: int) -> go.Figure:
    """Draw all maps from −1 to 1 on both axes, with the legend below them and nothing to drag."""
    for name in (name for name in figure.layout if name.startswith(("xaxis", "yaxis"))):
        figure.layout[name].update(range=[-1.1, 1.1], fixedrange=True)
    figure.update_layout(height=height, legend={"y": -0.03, "itemsizing": "constant"}, dragmode=False)
    return figure


def _projection(points: Sequence[Sequence[float]], method: str) -> Projection:
    return Projection(np.asarray(points, dtype=np.float32).reshape(len(points), -1), method, {})


def _flat(result: Maps) -> list[MapTruth]:
    return [one for one in result.maps if one.dims == 2]


def _band(result: Maps) -> list[dict[str, Any]]:
    """Return the stretch where shuffled families score in the vectors; nothing where that is undefined."""
    if result.chance_low != result.chance_low:
        return []
    ends = {"x0": result.chance_low, "x1": result.chance_high, "y0": 0, "y1": 1, "yref": "paper"}
    return [{"type": "rect", "layer": "below", "line": {"width": 0}, "fillcolor": style.GREY, "opacity": 0.25} | ends]


def _heading(words: str, place: float, theme: str) -> dict[str, Any]:
    font = {"size": 13, "color": style.THEMES[theme]["text"]}
    return style.note(f"<b>{words}</b>", theme, x=0, xref="x", xanchor="left", y=place, yref="y", font=font)


def _mark(symbol: str, color: str, size: int) -> dict[str, Any]:
    marker = {"symbol": symbol, "size": size, "color": color, "line": {"width": 2.5, "color": color}}
    return {"type": "scatter", "mode": "markers", "marker": marker}


def _rows(places: Sequence[float], names: Sequence[str], rows: int) -> dict[str, Any]:
    apart = {"ticks": "outside", "ticklen": 6, "tickcolor": style.CLEAR}
    return style.name_axis(tickvals=list(places), ticktext=list(names), range=[rows - 0.3, -0.7], **apart)


def _layout(theme: str, height: int) -> dict[str, Any]:
    above = style.legend(1.02, yanchor="bottom")
    return style.figure_layout(theme, height, margin={"l": 10, "r": 16, "t": 40, "b": 10}, legend=above)
