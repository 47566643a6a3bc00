"""What gives families away, as Plotly figures: the numbers that they share, and one number of each sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from numembed.figures.maps import family_style
from numembed.figures.style import SHADES, figure_layout, name_axis, plotly_text, sign, value_axis
from numembed.sequences.families.family import family
from numembed.sequences.leakage import Clue, Leakage
from numembed.sequences.sets import SequenceSet

_MOST_COUNTS = 12  # families whose counts stand in the cells; of more, only the colours
_HIGHEST = 900  # pixels


def shared_figure(leakage: Leakage, *, theme: str = "light") -> go.Figure:
    """Return how many numbers each two families share, coloured by the share of the smaller family's numbers.

    Below the diagonal only: above stands the same, and on it each family shares everything with itself.
    """
    names = [plotly_text(family(name).title, most=20) for name in leakage.families]
    count = len(names)
    texts = [
        [f"{names[row]} and {names[column]}: {leakage.shared[row, column]:,} numbers" for column in range(count)]
        for row in range(count)
    ]
    heat: dict[str, Any] = {
        "type": "heatmap",
        "x": list(range(count)),
        "y": list(range(count)),
        "xgap": 2,
        "ygap": 2,
        "z": [
            [leakage.share[row, column] if column < row else None for column in range(count)] for row in range(count)
        ],
        "zmin": 0,
        "zmax": 1,
        "hoverongaps": False,
        "colorscale": SHADES[theme],
        "customdata": texts,
        "hovertemplate": "%{customdata} (%{z:.0%})<extra></extra>",
        "colorbar": {"tickformat": ".0%", "thickness": 12, "outlinewidth": 0, "ticks": ""},
    }
    if count <= _MOST_COUNTS:
        counts = [
            [f"{n:,}" if at < row else "" for at, n in enumerate(leakage.shared[row].tolist())] for row in range(count)
        ]
        heat |= {"text": counts, "texttemplate": "%{text}"}
    ticks = name_axis(tickvals=list(range(count)), ticktext=names)
    layout = figure_layout(
        theme,
        min(_HIGHEST, 150 + 32 * count),
        xaxis=ticks | {"range": [-0.5, max(0.5, count - 1.5)], "tickangle": -45},
        yaxis=ticks | {"range": [count - 0.5, min(0.5, count - 1.0)]},
    )
    return go.Figure({"data": [heat], "layout": layout})


def clue_figure(clue: Clue, sequences: SequenceSet, *, theme: str = "light") -> go.Figure:
    """Return a strip for each family: its range, and a dot for each of its sequences."""
    traces: list[dict[str, Any]] = []
    names = [plotly_text(family(name).title, most=20) for name in sequences.families]
    for label, reference in enumerate(sequences.families):
        rows = np.flatnonzero(sequences.labels == label)
        values = clue.values[rows]
        color, symbol = family_style(reference)
        windows = [f"window {window + 1}" for window in sequences.windows[rows].tolist()]
        traces += [
            {
                "type": "scatter",
                "mode": "lines",
                "x": [values.min(), values.max()],
                "y": [label, label],
                "line": {"color": color, "width": 6},
                "opacity": 0.35,
                "hoverinfo": "skip",
            },
            {
                "type": "scatter",
                "mode": "markers",
                "x": values,
                "y": [label] * len(rows),
                "text": windows,
                "marker": sign(color, symbol, 8),
                "hovertemplate": f"{names[label]}, %{{text}}: %{{x:,.4~g}}<extra></extra>",
            },
        ]
    layout = figure_layout(
        theme,
        min(_HIGHEST, 90 + 30 * len(names)),
        showlegend=False,
        xaxis=value_axis(theme, clue.unit, zeroline=False),
        yaxis=name_axis(tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.5, -0.5]),
    )
    return go.Figure({"data": traces, "layout": layout})
