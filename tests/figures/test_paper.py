"""Figures of the paper's numbers: every value is there, kinds are told by shape as well as by colour."""

from __future__ import annotations

from dataclasses import replace

import pytest

from numembed.figures.paper import score_figure, size_figure, standing_figure
from numembed.paper.comparison import (
    baseline_levels,
)
from numembed.paper.published import TABLE_2, PublishedScore


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_figures_hold_every_number_and_only_explicit_colours(theme: str) -> None:
    baseline = baseline_levels()[0]
    first = score_figure(TABLE_2, "silhouette", baseline=baseline, theme=theme)
    second = score_figure(TABLE_2, "davies_bouldin", baseline=baseline, theme=theme)
    own = [replace(TABLE_2[5], silhouette_families=0.2), PublishedScore("all-MiniLM-L6-v2", -0.09, 3.1, 0.23, 1.2)]
    sizes, standing = (
        size_figure(TABLE_2, baseline=baseline, theme=theme),
        standing_figure(TABLE_2, own, baseline=baseline),
    )
    drawn = sorted(x for trace in first.data for x in trace.x)
    assert drawn == sorted(value for line in TABLE_2 for value in (line.silhouette_families, line.silhouette_kmeans))
    assert len([x for trace in second.data for x in trace.x]) == 28
    assert sorted(y for trace in sizes.data for y in trace.y) == sorted(line.silhouette_families for line in TABLE_2)
    assert [len(trace.x) for trace in standing.data] == [15, 2]
    for figure in (first, second, sizes, standing):
        assert "#00000" not in figure.to_json() and figure.layout.template.layout.to_plotly_json() == {}
        assert any(shape.type == "rect" for shape in figure.layout.shapes)
        assert {note.text for note in figure.layout.annotations} & {"last digits", "last digits, no model"}


def test_kinds_differ_in_shape_as_well_as_in_colour() -> None:
    figure = score_figure(TABLE_2, "silhouette", baseline=baseline_levels()[0])
    looks = {(trace.marker.color, trace.marker.symbol.removesuffix("-open")) for trace in figure.data if len(trace.x)}
    assert len(looks) == len({color for color, _ in looks}) == len({symbol for _, symbol in looks}) == 5
