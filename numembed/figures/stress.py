"""How far each perturbation moves a score and the vectors, as Plotly figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from numembed.core.wording import decimal, signed, span
from numembed.examinations.stress.compute import Stress, TrialResult, variant_of
from numembed.examinations.stress.text import most_extreme
from numembed.examinations.stress.together import above_chance, told
from numembed.figures import style
from numembed.sequences.perturbations.terms import GROUPS, PERTURBATIONS

_COLORS = dict(zip(GROUPS, style.PALETTE, strict=False))
_PALE, _ROW_PIXELS, _REST_PIXELS = 0.4, 27, 175
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def tornado_figure(stress: Stress, *, theme: str = "light") -> go.Figure:
    """Return a bar for each perturbation, the largest change of the score on top, with its 95% interval.

    The bar is the variant with the largest change, of those beyond doubt where there are such; dots are the others.
    Bars whose change may be chance, all of them judged together, are pale; hatched ones stand for texts that became
    equal, which moves any model. A dashed line shows where the score would be at chance.
    """
    by = _by_perturbation(stress)
    best = [most_extreme(one for one in tried if _certain(stress, one)) or most_extreme(tried) for tried in by.values()]
    picked = [one for one in best if one is not None]
    rows = sorted(picked, key=lambda one: abs(one.change or 0))
    bars = [_bars(stress, rows, group) for group in GROUPS]
    others = [one for row in rows for one in by[row.perturbation] if one is not row and one.change is not None]
    dots = {
        "type": "scatter",
        "mode": "markers",
        "name": "other forms of the change",
        "y": [_title(one) for one in others],
        "x": [one.change for one in others],
        "customdata": [_hover(one) for one in others],
        "marker": {"size": 6, "color": style.CLEAR, "line": {"width": 1.2, "color": style.THEMES[theme]["text"]}},
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    layout = _layout(theme, rows) | {"barmode": "overlay", "bargap": 0.35}
    layout["xaxis"] = style.value_axis(theme, "change of the silhouette", zerolinecolor=style.THEMES[theme]["text"])
    base = stress.plain
    if above_chance(base) and base.value is not None and base.chance is not None:
        layout |= _marked(base.chance - base.value, "at chance", theme)
    return go.Figure({"data": [*filter(None, bars), *([dots] if others else [])], "layout": layout})


def displacement_figure(stress: Stress, *, theme: str = "light") -> go.Figure:
    """Return how many times as far as its nearest relative each perturbation moves a vector, the farthest on top.

    The dot is the mean over the sequences, the line holds the middle 80% of them. Variants that move nothing are left
    out.
    """
    rows = stress.farthest
    spans = {one.perturbation: np.quantile(one.ratios, (0.1, 0.9)) for one in rows}
    left = 0.6 * min([one.ratio or 1 for one in rows], default=1.0)  # a log axis has no 0
    right = 1.2 * max([float(high) for _, high in spans.values()], default=1.0)
    traces = []
    for group in GROUPS:
        own = [one for one in rows if PERTURBATIONS[one.perturbation].facts["group"] == group]
        if not own:
            continue
        low, high = np.array([spans[one.perturbation] for one in own]).T
        middle = np.array([one.ratio or 0 for one in own])
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": group,
                "y": [_title(one) for one in own],
                "x": middle.tolist(),
                "marker": {"size": 10, "color": _COLORS[group]},
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": np.maximum(high - middle, 0).tolist(),
                    "arrayminus": np.maximum(middle - np.maximum(low, left), 0).tolist(),
                    "color": _COLORS[group],
                    "thickness": 1.5,
                    "width": 0,
                },
                "customdata": [f"{_words(one)}: {decimal(one.ratio or 0)} times" for one in own],
                "hovertemplate": "%{customdata}<extra></extra>",
            }
        )
    layout = _layout(theme, rows)
    layout["xaxis"] = style.value_axis(
        theme,
        "moved, in distances to the nearest relative",
        type="log",
        range=[math.log10(min(left, 0.8)), math.log10(max(right, 1.25))],
        tickvals=list(_TICKS),
        ticktext=[f"{tick:g}" for tick in _TICKS],
    )
    return go.Figure({"data": traces, "layout": layout | _marked(1.0, "nearest relative", theme, at=0.0)})


def _by_perturbation(stress: Stress) -> dict[str, list[TrialResult]]:
    by: dict[str, list[TrialResult]] = {}
    for one in stress.tried:
        by.setdefault(one.perturbation, []).append(one)
    return by


def _bars(stress: Stress, rows: Sequence[TrialResult], group: str) -> dict[str, Any] | None:
    own = [one for one in rows if PERTURBATIONS[one.perturbation].facts["group"] == group]
    if not own:
        return None
    return {
        "type": "bar",
        "orientation": "h",
        "name": group,
        "y": [_title(one) for one in own],
        "x": [one.change for one in own],
        "marker": {
            "color": _COLORS[group],
            "opacity": [1 if _certain(stress, one) else _PALE for one in own],
            "pattern": {"shape": ["/" if one.repeated else "" for one in own], "solidity": 0.25},
        },
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [(_or(one.high, one) - (one.change or 0)) for one in own],
            "arrayminus": [(one.change or 0) - _or(one.low, one) for one in own],
            "color": style.GREY,
            "thickness": 1.5,
            "width": 3,
        },
        "customdata": [_hover(one) for one in own],
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _certain(stress: Stress, one: TrialResult) -> bool:
    return told(stress, one) and not one.repeated


def _or(bound: float | None, one: TrialResult) -> float:
    return bound if bound is not None else (one.change or 0.0)


def _title(one: TrialResult) -> str:
    return PERTURBATIONS[one.perturbation].title


def _words(one: TrialResult) -> str:
    variant = variant_of(one)
    return _title(one) + (f", {style.plotly_text(variant, most=50)}" if variant else "")


def _hover(one: TrialResult) -> str:
    interval = f" ({span(one.low, one.high, sign=True)})" if one.low is not None and one.high is not None else ""
    return f"{_words(one)}: {signed(one.change or 0)}{interval}"


def _marked(x: float, words: str, theme: str, *, at: float | None = None) -> dict[str, Any]:
    """Return a dashed line across the figure with its name on top; ``at`` is where the name stands on a log axis."""
    line = {
        "type": "line",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": {"color": style.GREY, "width": 1.5, "dash": "dash"},
    }
    name = style.note(words, theme, x=x if at is None else at, y=1, yref="paper", yanchor="bottom")
    return {"shapes": [line], "annotations": [name]}


def _layout(theme: str, rows: Sequence[TrialResult]) -> dict[str, Any]:
    pixels = _ROW_PIXELS * max(len(rows), 2)
    return style.figure_layout(
        theme,
        _REST_PIXELS + pixels,
        margin={"l": 10, "r": 16, "t": 34, "b": 10},
        legend=style.legend(-58 / pixels, itemsizing="trace"),
        yaxis=style.name_axis(categoryorder="array", categoryarray=[_title(one) for one in rows]),
    )
