"""What merging does to weights and what an adapter does to vectors, as Plotly figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from numembed.figures.merge.common import or_none, pale
from numembed.figures.style import PALETTE, SYMBOLS, THEMES, figure_layout, note, plotly_text, value_axis
from numembed.merge_experiment.experiment import ExperimentResult
from numembed.merge_experiment.results import Dominance, Straight
from numembed.models.merging.methods import MERGEKIT_PARALLEL

SPACES = {"weights": "Weights", "task_vectors": "Updates"}
MERGEKIT_DEGREES = math.degrees(math.acos(MERGEKIT_PARALLEL))
_BINS = 24
_DASHES = ("solid", "dash", "dot", "dashdot")


def angles_figure(straights: Sequence[Straight], *, theme: str = "light") -> go.Figure:
    """Return how many tensors lie at which angle, the weights' above and the updates' below, with mergekit's line.

    Left of the line mergekit's SLERP is the straight line. Tensors that are zero in one model have no angle.
    """
    spaces = [space for space in SPACES if any(one.space == space for one in straights)]
    traces: list[dict[str, Any]] = []
    layout = figure_layout(theme, 70 + 205 * max(1, len(spaces))) | {"barmode": "stack", "bargap": 0.06}
    layout |= {"margin": {"l": 10, "r": 16, "t": 34, "b": 10}, "shapes": [], "annotations": []}
    for row, space in enumerate(spaces):
        of_base = [one for one in straights if one.space == space and one.between.startswith("base")]
        between = [one for one in straights if one.space == space and not one.between.startswith("base")]
        every = [angle for one in (*of_base, *between) for angle in degrees_of(one)]
        widest = 1.08 * max(*every, MERGEKIT_DEGREES * (1.6 if space == "weights" else 1), 0.1, 0.1)
        suffix = str(row + 1) if row else ""
        for group, name, color in ((of_base, "base and a seed", 0), (between, "two seeds", 1)):
            counts = _counted([angle for one in group for angle in degrees_of(one)], widest)
            if group:
                traces.append(_bars(counts, widest, name, PALETTE[color], suffix, shown=row == 0 or not of_base))
        bottom, top = (0.0, 1.0) if len(spaces) == 1 else ((0.6, 1.0), (0.0, 0.4))[row]
        title = (
            "angle between two models, in degrees" if space == "weights" else "angle between two updates, in degrees"
        )
        layout[f"xaxis{suffix}"] = value_axis(theme, title) | {
            "range": [0, widest],
            "anchor": f"y{suffix}",
            "showgrid": False,
            "zeroline": False,
        }
        layout[f"yaxis{suffix}"] = value_axis(theme, "tensors") | {
            "domain": [bottom, top],
            "anchor": f"x{suffix}",
            "zeroline": False,
        }
        layout["shapes"].append(_mark(suffix, theme))
        layout["annotations"].append(_name(suffix, theme, widest))
    seen: set[str] = set()
    for trace in traces:  # one entry in the legend for each colour
        trace["showlegend"] = trace["name"] not in seen
        seen.add(trace["name"])
    layout["legend"] |= {"y": -0.15 if len(spaces) > 1 else -0.3}
    return go.Figure({"data": traces, "layout": layout})


def degrees_of(one: Straight) -> list[float]:
    """Return the angles of all tensors in degrees; those that are zero in one model have none."""
    return [
        math.degrees(math.acos(max(-1.0, min(1.0, part.cosine)))) for part in one.angles if math.isfinite(part.cosine)
    ]


def layers_figure(dominances: Sequence[Dominance], *, theme: str = "light") -> go.Figure:
    """Return how much training changed each layer as a share of its weights, a line for each seed."""
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": f"seed {one.seed}",
            "x": [layer.name for layer in one.layers],
            "y": [or_none(layer.relative) for layer in one.layers],
            "line": {"color": PALETTE[place % len(PALETTE)], "width": 2, "dash": _DASHES[place % 4]},
            "marker": {"size": 8, "symbol": SYMBOLS[place % len(SYMBOLS)]},
            "hovertemplate": f"%{{x}}, seed {one.seed}: %{{y:.2%}}<extra></extra>",
        }
        for place, one in enumerate(dominances)
    ]
    layout = figure_layout(theme, 360) | {
        "xaxis": value_axis(theme, "") | {"showgrid": False, "zeroline": False},
        "yaxis": value_axis(theme, "update, share of the weights") | {"tickformat": ".1%", "rangemode": "tozero"},
    }
    layout["legend"] |= {"y": -0.22}
    return go.Figure({"data": traces, "layout": layout})


def shift_figure(dominances: Sequence[Dominance], directions: Sequence[int], *, theme: str = "light") -> go.Figure:
    """Return the share of the vectors' shift in its first directions against the scale, the mean over seeds."""
    scales = sorted({shift.scale for one in dominances for shift in one.shifts if shift.shares})
    traces = []
    for place, count in enumerate(directions):
        known = [
            (
                scale,
                [
                    shift.shares[place]
                    for one in dominances
                    for shift in one.shifts
                    if shift.scale == scale and len(shift.shares) > place and math.isfinite(shift.shares[place])
                ],
            )
            for scale in scales
        ]
        line = [(scale, sum(shares) / len(shares)) for scale, shares in known if shares]
        words = "first direction" if count == 1 else f"first {count}"
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": words,
                "x": [scale for scale, _ in line],
                "y": [share for _, share in line],
                "line": {"color": PALETTE[place % len(PALETTE)], "width": 2},
                "marker": {"size": 7, "symbol": SYMBOLS[place % len(SYMBOLS)]},
                "hovertemplate": f"scale %{{x:.2f}}, {words}: %{{y:.0%}}<extra></extra>",
            }
        )
    layout = figure_layout(theme, 360) | {
        "xaxis": value_axis(theme, "how many times the adapter is taken") | {"zeroline": False, "range": [0, 1.55]},
        "yaxis": value_axis(theme, "share of the shift") | {"tickformat": ".0%", "range": [0, 1.03], "zeroline": False},
    }
    layout["legend"] |= {"y": -0.22}
    return go.Figure({"data": traces, "layout": layout})


def scale_figure(result: ExperimentResult, *, titles: dict[str, str], theme: str = "light") -> go.Figure:
    """Return the silhouette of every split as the adapters' scale goes from 0 to its end: the mean over seeds.

    The band goes from the lowest to the highest seed.
    """
    drawn = result.of("lora")
    traces: list[dict[str, Any]] = []
    for place, split in enumerate(result.experiment.splits):
        by: dict[float, list[float]] = {}
        for candidate in (candidate for candidates in drawn for candidate in candidates if split in candidate.splits):
            if math.isfinite(value := candidate.splits[split].silhouette):
                by.setdefault(candidate.at, []).append(value)
        line = sorted(by.items())
        color = PALETTE[place % len(PALETTE)]
        xs = [at for at, _ in line]
        band = [max(values) for _, values in line] + [min(values) for _, values in line][::-1]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": xs + xs[::-1],
                "y": band,
                "fill": "toself",
                "hoverinfo": "skip",
                "fillcolor": pale(color),
                "line": {"width": 0},
                "showlegend": False,
                "legendgroup": split,
            }
        )
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": plotly_text(titles.get(split, split)),
                "x": xs,
                "y": [sum(values) / len(values) for _, values in line],
                "legendgroup": split,
                "line": {"color": color, "width": 2},
                "marker": {"size": 7, "symbol": SYMBOLS[place % len(SYMBOLS)]},
                "hovertemplate": "scale %{x:.2f}: %{y:.2f}<extra></extra>",
            }
        )
    layout = figure_layout(theme, 380) | {
        "xaxis": value_axis(theme, "how many times the adapter is taken", zeroline=False),
        "yaxis": value_axis(theme, "silhouette of the families"),
    }
    layout["legend"] |= {"y": -0.2}
    return go.Figure({"data": traces, "layout": layout})


def _bars(counts: Sequence[int], widest: float, name: str, color: str, suffix: str, *, shown: bool) -> dict[str, Any]:
    step = widest / _BINS
    return {
        "type": "bar",
        "x": [(place + 0.5) * step for place in range(_BINS)],
        "y": list(counts),
        "width": step * 0.94,
        "name": name,
        "marker": {"color": color},
        "xaxis": f"x{suffix}",
        "yaxis": f"y{suffix}",
        "showlegend": shown,
        "legendgroup": name,
        "hovertemplate": f"{name}, %{{x:.1f}}°: %{{y}} tensors<extra></extra>",
    }


def _counted(angles: Sequence[float], widest: float) -> list[int]:
    counts = [0] * _BINS
    for angle in angles:
        counts[min(_BINS - 1, int(angle / widest * _BINS))] += 1
    return counts


def _mark(suffix: str, theme: str) -> dict[str, Any]:
    return {
        "type": "line",
        "xref": f"x{suffix}",
        "x0": MERGEKIT_DEGREES,
        "x1": MERGEKIT_DEGREES,
        "yref": f"y{suffix} domain",
        "y0": 0,
        "y1": 1,
        "line": {"color": THEMES[theme]["text"], "width": 2, "dash": "dash"},
    }


def _name(suffix: str, theme: str, widest: float) -> dict[str, Any]:
    near_left = widest / 2 > MERGEKIT_DEGREES
    words = "mergekit’s line (cosine 0.9995)" if near_left else "← straight line in mergekit (cosine 0.9995)"
    place = {"xref": f"x{suffix}", "x": MERGEKIT_DEGREES, "xanchor": "left" if near_left else "right"}
    return note(words, theme, yref=f"y{suffix} domain", y=1, yanchor="bottom", **place)
