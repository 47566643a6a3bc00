"""Curves of training, changes of weights by training and merging, and the shift of vectors, as Plotly figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from numembed.figures.merge.common import Spot, measures, or_none, range_of, scatter, spots
from numembed.figures.style import PALETTE, SYMBOLS, THEMES, figure_layout, note, plotly_text, value_axis
from numembed.merge_experiment.experiment import ExperimentResult
from numembed.merge_experiment.results import Dominance, Straight
from numembed.models.adapters.recipe import Reading
from numembed.models.merging.methods import MERGEKIT_PARALLEL

SPACES = {"weights": "Weights", "task_vectors": "Updates"}
MERGEKIT_DEGREES = math.degrees(math.acos(MERGEKIT_PARALLEL))
_BINS = 24
_DASHES = ("solid", "dash", "dot", "dashdot")


def training_figure(readings: Sequence[Reading], *, theme: str = "light") -> go.Figure:
    """Return the loss above and the validation silhouette below against the training step, a line for each seed."""
    traces: list[dict[str, Any]] = []
    for place, seed in enumerate(sorted({one.seed for one in readings})):
        own = sorted({one.step: one for one in readings if one.seed == seed}.items())
        losses = {step: one.loss for step, one in own if one.loss is not None}
        measured = {step: one.silhouette for step, one in own if one.silhouette is not None}
        marker = {"size": 8, "symbol": SYMBOLS[place % 8]}
        for points, mode, what, width, more in (
            (losses, "lines", "loss", 1.5, {"yaxis": "y"}),
            (measured, "lines+markers", "silhouette", 2, {"yaxis": "y2", "showlegend": False, "marker": marker}),
        ):
            trace = scatter(list(points), list(points.values()), mode, name=f"seed {seed}", legendgroup=str(seed))
            look = {"line": {"color": PALETTE[place % len(PALETTE)], "width": width, "dash": _DASHES[place % 4]}}
            hover = f"seed {seed}, step %{{x}}: {what} %{{y:.2f}}<extra></extra>"
            traces.append(trace | look | more | {"hovertemplate": hover})
    layout = figure_layout(theme, 380) | {
        "xaxis": value_axis(theme, "training step", anchor="y2", zeroline=False, rangemode="tozero"),
        "yaxis": value_axis(theme, "loss", domain=[0.56, 1], zeroline=False),
        "yaxis2": value_axis(theme, "validation silhouette", domain=[0, 0.44], anchor="x", zeroline=False),
    }
    return go.Figure({"data": traces, "layout": layout})


def angles_figure(straights: Sequence[Straight], *, theme: str = "light") -> go.Figure:
    """Return histograms of the angles of tensors, of weights above and of updates below, with mergekit's threshold.

    Left of the line mergekit's SLERP is linear interpolation. Tensors that are zero in one model have no angle.
    """
    spaces = [space for space in SPACES if any(one.space == space for one in straights)]
    traces: list[dict[str, Any]] = []
    layout = figure_layout(theme, 70 + 205 * max(1, len(spaces))) | {"barmode": "stack", "bargap": 0.06}
    layout |= {"margin": {"l": 10, "r": 16, "t": 34, "b": 10}, "shapes": [], "annotations": []}
    for row, space in enumerate(spaces):
        own = [one for one in straights if one.space == space]
        every = [angle for one in own for angle in degrees_of(one)]
        widest = 1.08 * max(*every, MERGEKIT_DEGREES * (1.6 if space == "weights" else 1), 0.1, 0.1)
        suffix = str(row + 1) if row else ""
        for of_base, name, color in ((True, "base and a seed", PALETTE[0]), (False, "two seeds", PALETTE[1])):
            group = [one for one in own if one.between.startswith("base") == of_base]
            if group:
                bars = _bars([angle for one in group for angle in degrees_of(one)], widest, name, color, suffix)
                traces.append(bars | {"showlegend": name not in {trace["name"] for trace in traces}})  # once for both
        domain = [0.0, 1.0] if len(spaces) == 1 else ([0.6, 1.0], [0.0, 0.4])[row]
        title = f"angle between two {'models' if space == 'weights' else 'updates'}, in degrees"
        across = {"range": [0, widest], "anchor": f"y{suffix}", "showgrid": False, "zeroline": False}
        layout[f"xaxis{suffix}"] = value_axis(theme, title, **across)
        layout[f"yaxis{suffix}"] = value_axis(theme, "tensors", domain=domain, anchor=f"x{suffix}", zeroline=False)
        layout["shapes"].append(_mark(suffix, theme))
        layout["annotations"].append(_name(suffix, theme, widest))
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
        scatter(
            [layer.name for layer in one.layers],
            [or_none(layer.relative) for layer in one.layers],
            "lines+markers",
            name=f"seed {one.seed}",
            line={"color": PALETTE[place % len(PALETTE)], "width": 2, "dash": _DASHES[place % 4]},
            marker={"size": 8, "symbol": SYMBOLS[place % len(SYMBOLS)]},
            hovertemplate=f"%{{x}}, seed {one.seed}: %{{y:.2%}}<extra></extra>",
        )
        for place, one in enumerate(dominances)
    ]
    layout = figure_layout(theme, 360) | {
        "xaxis": value_axis(theme, "", showgrid=False, zeroline=False),
        "yaxis": value_axis(theme, "update, share of the weights", tickformat=".1%", rangemode="tozero"),
    }
    layout["legend"] |= {"y": -0.22}
    return go.Figure({"data": traces, "layout": layout})


def shift_figure(dominances: Sequence[Dominance], directions: Sequence[int], *, theme: str = "light") -> go.Figure:
    """Return the share of the vectors' shift in its first directions against the scale, the mean over seeds."""
    traces = []
    for place, count in enumerate(directions):
        by: dict[float, list[float]] = {}
        for shift in (shift for one in dominances for shift in one.shifts if len(shift.shares) > place):
            if math.isfinite(shift.shares[place]):
                by.setdefault(shift.scale, []).append(shift.shares[place])
        words = "first direction" if count == 1 else f"first {count}"
        traces.append(
            scatter(
                sorted(by),
                [sum(by[scale]) / len(by[scale]) for scale in sorted(by)],
                "lines+markers",
                name=words,
                **_look(place),
                hovertemplate=f"scale %{{x:.2f}}, {words}: %{{y:.0%}}<extra></extra>",
            )
        )
    layout = figure_layout(theme, 360) | {
        "xaxis": value_axis(theme, "scale of the adapter", zeroline=False, range=[0, 1.55]),
        "yaxis": value_axis(theme, "share of the shift", tickformat=".0%", range=[0, 1.03], zeroline=False),
    }
    layout["legend"] |= {"y": -0.22}
    return go.Figure({"data": traces, "layout": layout})


def scale_figure(result: ExperimentResult, *, titles: Mapping[str, str], theme: str = "light") -> go.Figure:
    """Return the silhouette of every split as the adapters' scale goes from 0 to its end: the mean over seeds.

    The band goes from the lowest to the highest seed.
    """
    traces: list[dict[str, Any]] = []
    for place, split in enumerate(result.experiment.splits):
        line = silhouettes_by_scale(result, split)
        bands = [(spot.at, spot.y[1], spot.y[2]) for spot in line]
        traces.append(range_of(bands, PALETTE[place % len(PALETTE)], legendgroup=split))
        traces.append(
            scatter(
                [spot.at for spot in line],
                [spot.y[0] for spot in line],
                "lines+markers",
                name=plotly_text(titles.get(split, split)),
                legendgroup=split,
                **_look(place),
                hovertemplate="scale %{x:.2f}: %{y:.2f}<extra></extra>",
            )
        )
    layout = figure_layout(theme, 380) | {
        "xaxis": value_axis(theme, "scale of the adapter", zeroline=False),
        "yaxis": value_axis(theme, "silhouette of the families"),
    }
    layout["legend"] |= {"y": -0.2}
    return go.Figure({"data": traces, "layout": layout})


def silhouettes_by_scale(result: ExperimentResult, split: str) -> list[Spot]:
    """Return the silhouette of a split at every scale of the adapters, over the seeds."""
    value = measures()["silhouette"].value
    return spots(result, "lora", lambda candidate: candidate.at, lambda candidate: value(candidate, split))


def _look(place: int) -> dict[str, Any]:
    """Return the colour and the symbol of one line of several."""
    marker = {"size": 7, "symbol": SYMBOLS[place % len(SYMBOLS)]}
    return {"line": {"color": PALETTE[place % len(PALETTE)], "width": 2}, "marker": marker}


def _bars(angles: Sequence[float], widest: float, name: str, color: str, suffix: str) -> dict[str, Any]:
    """Return the histogram of ``angles`` from 0 to ``widest``, as bars."""
    step, counts = widest / _BINS, [0] * _BINS
    for angle in angles:
        counts[min(_BINS - 1, int(angle / step))] += 1
    return {
        "type": "bar",
        "x": [(place + 0.5) * step for place in range(_BINS)],
        "y": counts,
        "width": step * 0.94,
        "name": name,
        "marker": {"color": color},
        "xaxis": f"x{suffix}",
        "yaxis": f"y{suffix}",
        "legendgroup": name,
        "hovertemplate": f"{name}, %{{x:.1f}}°: %{{y}} tensors<extra></extra>",
    }


def _mark(suffix: str, theme: str) -> dict[str, Any]:
    across = {"xref": f"x{suffix}", "x0": MERGEKIT_DEGREES, "x1": MERGEKIT_DEGREES}
    line = {"color": THEMES[theme]["text"], "width": 2, "dash": "dash"}
    return {"type": "line", **across, "yref": f"y{suffix} domain", "y0": 0, "y1": 1, "line": line}


def _name(suffix: str, theme: str, widest: float) -> dict[str, Any]:
    near_left = widest / 2 > MERGEKIT_DEGREES
    words = "mergekit’s threshold (cosine 0.9995)" if near_left else "← linear in mergekit (cosine 0.9995)"
    place = {"xref": f"x{suffix}", "x": MERGEKIT_DEGREES, "xanchor": "left" if near_left else "right"}
    return note(words, theme, yref=f"y{suffix} domain", y=1, yanchor="bottom", **place)
