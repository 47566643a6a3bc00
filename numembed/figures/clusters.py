"""What a model's clusters encode, as Plotly figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from numembed.analysis.clusters.attributes import ATTRIBUTES
from numembed.core.wording import percent
from numembed.examinations.clusters.compute import Explanation, tree_members
from numembed.examinations.clusters.grouping import Grouping
from numembed.examinations.clusters.together import followed
from numembed.figures import style
from numembed.figures.maps import family_style
from numembed.sequences.families.family import family
from numembed.sequences.sets import SequenceSet

_DIVERGING = "Cividis"


def agreement_figure(explanation: Explanation, *, theme: str = "light") -> go.Figure:
    """Return a bar for each attribute, best on top: how well the clusters agree with it, and where chance ends."""
    rows, sure = explanation.agreements[::-1], followed(explanation)
    names = [ATTRIBUTES[row.attribute].title for row in rows]
    kinds = (("more than chance", style.PALETTE[0], True), ("may be chance", style.GREY, False))
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "y": names,
            "name": title,
            "marker": {"color": color},
            "x": [row.ari if (row in sure) is wanted else None for row in rows],
            "hovertemplate": "%{y}: ARI %{x:.2f}<extra></extra>",
        }
        for title, color, wanted in kinds
    ]
    chance = {
        "type": "scatter",
        "mode": "markers",
        "y": names,
        "x": [row.limit_page for row in rows],
        "marker": {"symbol": "line-ns", "size": 16, "line": {"width": 2, "color": style.SIGNAL}},
        "name": "chance ends here",
        "hoverinfo": "skip",
    }
    layout = style.figure_layout(
        theme,
        90 + 30 * len(rows),
        xaxis=style.value_axis(theme, "agreement with KMeans (ARI)"),
        yaxis=style.name_axis(),
        barmode="overlay",
        legend=style.legend(-0.3),
    )
    return go.Figure({"data": [*bars, style.edge(chance, theme), chance], "layout": layout})


def shares_figure(explanation: Explanation, *, theme: str = "light") -> go.Figure:
    """Return one bar divided by what makes the vectors differ."""
    colors = (style.PALETTE[0], style.PALETTE[1], style.GREY)
    words = {"family": "Family", "window": "Window", "rest": "The rest"}
    traces: list[dict[str, Any]] = [
        {
            "type": "bar",
            "orientation": "h",
            "y": [""],
            "x": [share.share],
            "name": words.get(share.name, share.name),
            "marker": {"color": color},
            "text": [percent(share.share)],
            "textposition": "inside",
            "insidetextanchor": "middle",
            "hovertemplate": "%{x:.0%}<extra></extra>",
        }
        for share, color in zip(explanation.shares, colors, strict=False)
    ]
    layout = style.figure_layout(
        theme,
        150,
        barmode="stack",
        xaxis=style.value_axis(theme, tickformat=".0%", range=[0, 1]),
        yaxis=style.name_axis(showticklabels=False),
        legend=style.legend(-0.5, traceorder="normal"),
    )
    return go.Figure({"data": traces, "layout": layout})


def confusion_figure(explanation: Explanation, sequences: SequenceSet, *, theme: str = "light") -> go.Figure:
    """Return how many sequences of each family lie in each cluster, with the clusters' names."""
    columns = [style.plotly_text(family(name).title, most=24) for name in sequences.families]
    names = [f"{i + 1}: {style.plotly_text(name, most=40)}" for i, name in enumerate(explanation.cluster_names)]
    heat = {
        "type": "heatmap",
        "x": columns,
        "y": names,
        "z": [list(row) for row in explanation.counts],
        "showscale": False,
        "colorscale": style.SHADES[theme],
        "texttemplate": "%{z}",
        "xgap": 2,
        "ygap": 2,
        "hovertemplate": "%{x} in cluster %{y}: %{z}<extra></extra>",
    }
    layout = style.figure_layout(
        theme, 130 + 34 * len(names), xaxis=style.name_axis(side="top"), yaxis=style.name_axis(autorange="reversed")
    )
    return go.Figure({"data": [heat], "layout": layout})


def similarity_figure(
    explanation: Explanation, sequences: SequenceSet, order: Sequence[int], *, theme: str = "light"
) -> go.Figure:
    """Return the cosine of every pair of sequences, rows and columns in ``order``."""
    titles = [
        f"{style.plotly_text(family(item.family).title, most=20)} {int(window) + 1}"
        for item, window in zip(sequences.items, sequences.windows, strict=True)
    ]
    names = [titles[row] for row in order]
    heat = {
        "type": "heatmap",
        "z": [[explanation.similarity[row][column] for column in order] for row in order],
        "x": list(range(len(names))),
        "y": list(range(len(names))),
        "colorscale": _DIVERGING,
        "text": [[f"{one} – {other}" for other in names] for one in names],
        "hovertemplate": "%{text}: %{z:.2f}<extra></extra>",
        "colorbar": {"title": {"text": "cosine"}},
    }
    ticks = {"tickvals": list(range(len(names))), "ticktext": names}
    few = len(names) <= 40
    shown = ticks if few else {"showticklabels": False}
    axis = style.name_axis(fixedrange=False) | shown
    layout = style.figure_layout(
        theme, 620 if few else 560, dragmode="zoom", xaxis=axis, yaxis=axis | {"autorange": "reversed"}
    )
    return go.Figure({"data": [heat], "layout": layout})


def tree_figure(explanation: Explanation, sequences: SequenceSet, *, theme: str = "light") -> go.Figure:
    """Return the tree of the families: those whose centres lie closest are joined first, from left to right."""
    order = tree_members(explanation)[-1][::-1]  # the first on top
    heights, places = [0.0] * len(order), [float(order.index(leaf)) for leaf in range(len(order))]
    xs: list[float | None] = []
    ys: list[float | None] = []
    for one, other, gap in explanation.tree:
        xs += [heights[one], gap, gap, heights[other], None]
        ys += [places[one], places[one], places[other], places[other], None]
        heights.append(gap)
        places.append((places[one] + places[other]) / 2)
    lines = {
        "type": "scatter",
        "mode": "lines",
        "x": xs,
        "y": ys,
        "line": {"color": style.PALETTE[7], "width": 2},
        "hovertemplate": "joined at distance %{x:.3g}<extra></extra>",
    }
    signs = [style.sign(*family_style(sequences.families[leaf]), 10) for leaf in order]
    names = [style.plotly_text(family(sequences.families[leaf]).title, most=24) for leaf in order]
    leaves = {
        "type": "scatter",
        "mode": "markers",
        "x": [0] * len(order),
        "y": list(range(len(order))),
        "text": names,
        "marker": {
            "size": 10,
            "color": [one["color"] for one in signs],
            "symbol": [one["symbol"] for one in signs],
            "line": {part: [one["line"][part] for one in signs] for part in ("width", "color")},
        },
        "hovertemplate": "%{text}<extra></extra>",
        "cliponaxis": False,
    }
    apart = {"ticks": "outside", "ticklen": 8, "tickcolor": style.CLEAR}  # room for the markers
    furthest = max(heights) or 1.0
    layout = style.figure_layout(
        theme,
        110 + 28 * len(order),
        showlegend=False,
        xaxis=style.value_axis(theme, "distance at which centres join", zeroline=False, range=[0, 1.03 * furthest]),
        yaxis=style.name_axis(tickvals=list(range(len(order))), ticktext=names, **apart),
    )
    return go.Figure({"data": [lines, leaves], "layout": layout})


def steps_figure(grouping: Grouping, *, theme: str = "light") -> go.Figure:
    """Return silhouette and stability of KMeans against the number of groups, with that of the families marked."""
    ks = [step.k for step in grouping.steps]
    band = {
        "type": "scatter",
        "x": ks + ks[::-1],
        "fill": "toself",
        "fillcolor": "rgba(127,127,127,0.28)",
        "y": [step.noise_high for step in grouping.steps] + [step.noise_low for step in grouping.steps][::-1],
        "mode": "lines",
        "line": {"width": 0},
        "name": "silhouette without groups",
        "hoverinfo": "skip",
    }
    lines = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "x": ks,
            "y": values,
            "name": name,
            "yaxis": axis,
            "line": {"color": color, "width": 2},
            "marker": {"size": 8, "symbol": symbol},
            "hovertemplate": "%{x} groups: " + name + " %{y:.2f}<extra></extra>",
        }
        for name, values, axis, color, symbol in (
            ("silhouette", [step.silhouette for step in grouping.steps], "y", style.PALETTE[0], "circle"),
            ("stability", [step.stability for step in grouping.steps], "y2", style.PALETTE[4], "square"),
        )
    ]
    marked = {
        "type": "line",
        "xref": "x",
        "yref": "paper",
        "x0": grouping.families,
        "x1": grouping.families,
        "y0": 0,
        "y1": 1,
        "line": {"color": style.THEMES[theme]["text"], "width": 1, "dash": "dot"},
    }
    text = style.note(
        f"{grouping.families} families",
        theme,
        xref="x",
        x=grouping.families,
        yref="paper",
        y=1,
        xanchor="left",
        yanchor="bottom",
    )
    below = {"dtick": 1 if ks[-1] < 13 else 5, "anchor": "y2", "zeroline": False}
    layout = style.figure_layout(
        theme,
        430,
        margin={"l": 10, "r": 16, "t": 34, "b": 10},
        xaxis=style.value_axis(theme, "number of groups", **below),
        yaxis=style.value_axis(theme, "silhouette", domain=[0.55, 1]),
        yaxis2=style.value_axis(theme, "stability", domain=[0, 0.45], anchor="x"),
        shapes=[marked],
        annotations=[text],
        legend=style.legend(-0.22),
    )
    return go.Figure({"data": [band, *lines] if grouping.best else lines, "layout": layout})
