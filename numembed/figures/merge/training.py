"""How the training of adapters goes, as a Plotly figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from numembed.figures.style import PALETTE, SYMBOLS, figure_layout, value_axis
from numembed.models.adapters.recipe import Reading


def training_figure(readings: Sequence[Reading], *, theme: str = "light") -> go.Figure:
    """Return the loss above and the validation silhouette below against the training step, a line for each seed."""
    traces: list[dict[str, Any]] = []
    for place, seed in enumerate(sorted({one.seed for one in readings})):
        own = sorted({one.step: one for one in readings if one.seed == seed}.items())
        losses = [(step, one.loss) for step, one in own if one.loss is not None]
        measured = [(step, one.silhouette) for step, one in own if one.silhouette is not None]
        color, dash = PALETTE[place % len(PALETTE)], ("solid", "dash", "dot", "dashdot")[place % 4]
        common = {"type": "scatter", "name": f"seed {seed}", "legendgroup": str(seed)}
        traces.append(
            common
            | {
                "mode": "lines",
                "x": [step for step, _ in losses],
                "y": [loss for _, loss in losses],
                "line": {"color": color, "width": 1.5, "dash": dash},
                "yaxis": "y",
                "hovertemplate": f"seed {seed}, step %{{x}}: loss %{{y:.2f}}<extra></extra>",
            }
        )
        traces.append(
            common
            | {
                "mode": "lines+markers",
                "x": [step for step, _ in measured],
                "y": [value for _, value in measured],
                "line": {"color": color, "width": 2, "dash": dash},
                "marker": {"size": 8, "symbol": SYMBOLS[place % 8]},
                "yaxis": "y2",
                "showlegend": False,
                "hovertemplate": f"seed {seed}, step %{{x}}: silhouette %{{y:.2f}}<extra></extra>",
            }
        )
    layout = figure_layout(theme, 380) | {
        "xaxis": value_axis(theme, "training step") | {"anchor": "y2", "zeroline": False, "rangemode": "tozero"},
        "yaxis": value_axis(theme, "loss") | {"domain": [0.56, 1], "zeroline": False},
        "yaxis2": value_axis(theme, "validation silhouette") | {"domain": [0, 0.44], "anchor": "x", "zeroline": False},
    }
    return go.Figure({"data": traces, "layout": layout})
