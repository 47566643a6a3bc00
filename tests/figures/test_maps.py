"""Figures: user text stays text, colours stay put, points cost few bytes."""

from __future__ import annotations

import html
import itertools
import re
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest

from numembed.export import figure_html
from numembed.figures.maps import (
    COLOR_BY,
    HOVER_POINTS,
    Group,
    family_style,
    groups_of,
    growth_figure,
    map_figure,
    map_rows,
    overview_figure,
)
from numembed.figures.style import PALETTE, SIGNS, SYMBOLS, THEMES, plotly_text, sign
from numembed.sequences.families.family import FAMILIES
from numembed.sequences.sets import SequenceSet, TextFormat, make_sequences
from numembed.studies.results import Projection

PAPERS_SIX = ("consecutive", "even", "odd", "primes", "recaman", "composites")
HOSTILE = [
    '<a href="https://x.example">odd</a>',
    "<a href='javascript:alert(1)'>x</a>",
    "<b>bold</b><br>next",
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<svg/onload=alert(1)>",
    "<span style='position:fixed'>x</span>",
    "$\\href{https://x.example}{x}$",
    "%{customdata} %{y:.3f}",
    "&lt;b&gt; &#60;b&#62;",
    "\x00\x1b[31m\u202eabc\u2066",
    "x" * 5_000 + "<",
]


def _sequences(per_family: int = 4) -> SequenceSet:
    return make_sequences(["even", "odd", "primes"], per_family=per_family, length=6)


def _projection(n: int, dims: int = 2) -> Projection:
    return Projection(np.random.default_rng(0).standard_normal((n, dims)).astype(np.float32), "pca", {})


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_has_nothing_that_plotly_reads(text: str) -> None:
    shown = plotly_text(text)
    assert not re.search(r"[<>$]", shown)
    assert "%{" not in shown
    assert not re.search(r"&(?!amp;|lt;|gt;)", shown)
    assert not re.search("[\x00-\x1f\u200e\u200f\u202a-\u202e\u2066-\u2069]", shown)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_shown_is_what_was_written_as_far_as_it_fits(text: str) -> None:
    shown = html.unescape(plotly_text(text))
    assert len(shown.replace("\u200a", "")) <= 80
    written = re.sub("[\x00-\x1f\u202e\u2066]", "", text).replace("$", "＄")
    assert written.startswith(shown.replace("\u200a", "").removesuffix("…"))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_reach_no_figure_as_they_are(text: str) -> None:
    sequences = _sequences()
    groups = [Group(text, PALETTE[0], 0, np.arange(12))]
    page = figure_html(overview_figure([(text, _projection(12))], sequences, groups), whole=False)
    single = map_figure(_projection(12), sequences, groups).to_json()
    for dangerous in ("<script>alert", "<img src=x", "<svg/onload", "<a href", "%{customdata}", "</script><script>"):
        assert dangerous not in page
        assert dangerous not in single


@pytest.mark.parametrize("text", ["primes", "Residues 1 mod 4", "50%", "ab–c ä 数", 'say "x"'])
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert plotly_text(text) == text


def test_hover_texts_show_the_terms_as_text() -> None:
    sequences = make_sequences(["even", "odd"], per_family=2, length=4, text_format=TextFormat(" <b>$ "))
    groups = groups_of(sequences, np.zeros(4, dtype=np.int64), "family")
    (first, _) = map_figure(_projection(4), sequences, groups).data
    assert first.hovertext[0] == "Even numbers · window 1<br>2 &lt;b&gt;＄ 4 &lt;b&gt;＄ 6 &lt;b&gt;＄ 8"


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("dims", [2, 3])
def test_exports_hold_no_colour_of_streamlits_placeholders(theme: str, dims: int) -> None:
    sequences = _sequences()
    clusters = np.arange(12) % 3
    for color_by in COLOR_BY:
        groups = groups_of(sequences, clusters, color_by)
        figures = [
            map_figure(_projection(12, dims), sequences, groups, chosen=(1, 2), theme=theme),
            overview_figure([("m", _projection(12))] * 3, sequences, groups, theme=theme),
            growth_figure(sequences, theme=theme),
        ]
        for figure in figures:
            assert not re.search(r"#00000[0-9a-f]", figure.to_json(), re.IGNORECASE)
            assert figure.layout.font.color == THEMES[theme]["text"]


def test_a_point_of_a_trace_is_the_row_of_its_sequence() -> None:
    sequences = _sequences()
    groups = groups_of(sequences, np.arange(12) % 5, "cluster")
    projection = _projection(12)
    figure = map_figure(projection, sequences, groups)
    for trace, data in enumerate(figure.data):
        for i, (x, y) in enumerate(zip(data.x, data.y, strict=True)):
            (row,) = map_rows(groups, [(trace, i)])
            assert (x, y) == tuple(projection.points[row])


def test_selected_points_become_sorted_rows_once_and_strangers_are_ignored() -> None:
    groups = groups_of(_sequences(), np.zeros(12, dtype=np.int64), "family")
    assert map_rows(groups, [(2, 3), (0, 1), (2, 3), (1, 0)]) == (1, 4, 11)
    assert map_rows(groups, [(9, 0), (0, 99)]) == ()
    assert map_rows(groups, []) == ()


@pytest.mark.parametrize("color_by", COLOR_BY)
def test_groups_hold_every_row_once(color_by: str) -> None:
    groups = groups_of(_sequences(), np.arange(12) % 5, color_by)
    assert sorted(np.concatenate([group.rows for group in groups]).tolist()) == list(range(12))
    assert len({group.name for group in groups}) == len(groups)


def test_chosen_rows_are_lit_in_two_and_three_dimensions() -> None:
    sequences = _sequences()
    groups = groups_of(sequences, np.zeros(12, dtype=np.int64), "family")
    flat = map_figure(_projection(12), sequences, groups, chosen=(0, 5))
    assert [list(trace.selectedpoints) for trace in flat.data] == [[0], [1], []]
    deep = map_figure(_projection(12, 3), sequences, groups, chosen=(0, 5))
    sizes = np.concatenate([trace.marker.size for trace in deep.data])
    assert np.flatnonzero(sizes == sizes.max()).tolist() == [0, 5]
    assert map_figure(_projection(12), sequences, groups).data[0].selectedpoints is None


@pytest.mark.parametrize("dims", [2, 3])
def test_a_hundred_thousand_points_cost_few_bytes(dims: int) -> None:
    n = 100_000
    groups = [Group(f"Group {i}", PALETTE[i], i, np.arange(i, n, 6)) for i in range(6)]
    size = len(map_figure(_projection(n, dims), _sequences(), groups).to_json())
    assert size <= 8 * dims * n  # 16 bytes a point in two dimensions


def test_few_points_have_hover_texts_and_many_have_none() -> None:
    sequences = make_sequences(["even"], per_family=HOVER_POINTS // 2 + 1, length=2)
    pair = make_sequences(["even", "odd"], per_family=HOVER_POINTS // 2 + 1, length=2)
    for some, told in ((sequences, True), (pair, False)):
        groups = groups_of(some, np.zeros(len(some), dtype=np.int64), "family")
        assert (map_figure(_projection(len(some)), some, groups).data[0].hovertext is not None) is told


def test_colours_of_the_papers_families_stay_as_they_are() -> None:
    assert [family_style(name) for name in PAPERS_SIX] == [(PALETTE[i], i) for i in range(6)]


def test_no_two_families_look_alike() -> None:
    styles = [family_style(name) for name in FAMILIES.names]
    assert len(FAMILIES) >= 43
    assert len(set(styles)) == len(styles)
    assert all(one[0] != other[0] for one, other in itertools.pairwise(styles))


def test_variants_of_a_family_look_different_from_it_and_from_each_other() -> None:
    variants = ["multiples", *(f"multiples:k={k}" for k in range(4, 12))]
    assert len({family_style(name) for name in variants}) == len(variants)
    assert family_style("multiples:k=3") == family_style("multiples")
    assert family_style("multiples:k=4") not in {family_style(name) for name in FAMILIES.names}


def test_signs_are_the_same_in_two_and_three_dimensions_and_no_look_repeats() -> None:
    assert len(set(SYMBOLS)) == len(SYMBOLS) and len(set(SIGNS)) == len(SIGNS) == 7 and "x" not in SIGNS
    for symbol in SYMBOLS:
        go.Scatter(marker={"symbol": symbol})
    sequences = make_sequences(PAPERS_SIX, per_family=4, length=6)
    for color_by in COLOR_BY:
        groups = groups_of(sequences, np.arange(24) % 12, color_by)
        figures = [map_figure(_projection(24, dims), sequences, groups).data for dims in (2, 3)]
        figures.append(overview_figure([("m", _projection(24))], sequences, groups).data)
        flat, deep, small = ([(one.marker.color, one.marker.symbol) for one in traces] for traces in figures)
        assert flat == deep == small and len(set(flat)) == len(flat), color_by
    groups = groups_of(_sequences(16), np.arange(48), "cluster")
    assert len({(group.color, group.symbol) for group in groups}) == 48


@pytest.mark.parametrize("number", range(len(SIGNS)))
@pytest.mark.parametrize("theme", THEMES)
def test_every_sign_is_seen_on_the_ground_of_both_themes(theme: str, number: int) -> None:
    ground = {"light": "#FFFFFF", "dark": "#0E1117"}[theme]
    for color in PALETTE:
        marker = sign(color, number, 9)
        edged = theme == "light" and marker["line"]["width"] and not marker["symbol"].endswith("-open")
        seen = marker["line"]["color"] if edged else marker["color"]
        assert _contrast(seen, ground) >= 3, (color, theme)
        assert marker["line"]["width"] >= 2 or not marker["symbol"].endswith("-open")


def _contrast(one: str, other: str) -> float:
    low, high = sorted(_luminance(color) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: str) -> float:
    shares = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    parts = [share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("dims", [2, 3])
def test_points_of_equal_vectors_show_how_many_lie_there(dims: int, theme: str) -> None:
    sequences = _sequences()
    points = _projection(12, dims).points.copy()
    points[[0, 1, 3, 9]] = points[0]
    points[5] = points[4] + 0.001  # nearly
    equal = ((0, 1, 3, 9), (4, 5), (10, 11))  # 10 and 11 lie apart
    projection = replace(Projection(points, "pca", {}), equal=equal)
    groups = groups_of(sequences, np.zeros(12, dtype=np.int64), "family")
    traces = map_figure(projection, sequences, groups, theme=theme).data
    assert [one.text and list(one.text) for one in traces] == [["\u00a0×4", "", "", ""], ["\u00a0×2", "", "", ""], None]
    assert [one.mode for one in traces] == ["markers+text", "markers+text", "markers"]
    assert traces[0].textfont.color == THEMES[theme]["text"]
    told = [text.split("<br>")[2:] for one in traces for text in one.hovertext]
    assert told[0] == told[1] == told[3] == told[9] == ["4 sequences have this vector"] and told[2] == []
    assert told[10] == ["2 sequences have this vector"]
    plain = map_figure(Projection(points, "pca", {}), sequences, groups, theme=theme).data
    assert {one.mode for one in plain} == {"markers"} and all(one.text is None for one in plain)
    if dims == 2:
        page = figure_html(overview_figure([("m", projection)], sequences, groups), whole=False)
        assert "\\u00d74" in page or "×4" in page


def test_growth_is_drawn_for_zero_negative_and_huge_terms() -> None:
    sequences = make_sequences(["recaman", "factorials"], per_family=2, length=60)
    for trace in growth_figure(sequences).data:
        assert np.isfinite(trace.y).all()
    first, second = growth_figure(make_sequences(["powers_of_2", "squares"], per_family=1, length=12)).data
    assert second.y[:3] == pytest.approx([0, 0, np.log10(4)])
    assert first.y[10] == pytest.approx(np.log10(1024))


def test_the_same_map_is_the_same_figure() -> None:
    sequences = _sequences()
    groups = groups_of(sequences, np.zeros(12, dtype=np.int64), "family")
    one, other = (map_figure(_projection(12), sequences, groups).to_json() for _ in range(2))
    assert one == other
