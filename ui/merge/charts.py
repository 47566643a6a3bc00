"""Charts of the Merge page beyond the trade-off: maps, angles of the weights, and what an adapter does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import streamlit as st

from numembed.core.wording import decimal, percent, small
from numembed.figures.merge.maps import morph_figure, reach_of, small_map
from numembed.figures.merge.plane import MAIN
from numembed.figures.merge.weights import (
    MERGEKIT_DEGREES,
    SPACES,
    angles_figure,
    degrees_of,
    layers_figure,
    scale_figure,
    shift_figure,
    silhouettes_by_scale,
)
from numembed.merge_experiment.experiment import ExperimentResult
from numembed.merge_experiment.measures import DIRECTIONS
from numembed.merge_experiment.paths import KINDS
from numembed.merge_experiment.results import Frame, Straight
from ui.merge.splits import SPLIT_TITLES, in_order
from ui.shared.figure import figure, how_computed
from ui.shared.table import Cell, Column, number, table
from ui.shared.text import md_text

_WIDTH = 860  # pixels
_FEWEST_POINTS = 3  # of a path that gets a slider
_STRAIGHT = (
    Column("Between"),
    Column("Space", "Whether between the models’ weights, or between their updates of the base.", "line"),
    Column("Angle", "Of all changed tensors together, in degrees.", "number"),
    Column("Fell back", "Share of the parameters in tensors where mergekit’s SLERP is the straight line.", "number"),
    Column("Largest weight", "Largest difference of one weight, at the midpoint.", "number"),
    Column("Of the distance", "How far the arc is from the line, relative to the distance of both models.", "number"),
    Column("Largest vector", "Largest distance between the two vectors of one text; vectors have length 1.", "number"),
)


def chart(
    result: ExperimentResult,
    name: str,
    draw: Callable[[str], Any],
    alt: str,
    *,
    choices: tuple[object, ...] = (),
    still: bool = False,
) -> None:
    """Draw the figure that ``draw`` makes for a theme, once for all visitors who see the same.

    ``choices`` is everything that decides it in addition to ``name`` and the content of ``result``.
    """
    figure(draw, name, alt, by=(*choices, result.digest), still=still, file="merge")


def one_of(
    label: str, options: Sequence[str], key: str, title: Callable[[str], str], *, default: str = "", **more: Any
) -> str:
    """Draw a choice of one of ``options``, the first one unless ``default`` is given, and return it."""
    first = default or options[0]
    more |= {"key": key, "format_func": title}
    return str(st.segmented_control(label, options, default=first, required=True, **more))


def morph(result: ExperimentResult) -> None:
    """Draw how the map changes along a path, with a slider, and one map of every path."""
    st.subheader("How does the map change along a path?", anchor=False)
    splits = in_order(dict.fromkeys(one.split for one in result.maps))
    by = {path.id: path for path in result.experiment.drawn}
    with st.container(horizontal=True, vertical_alignment="bottom", key="morph_controls"):
        key = f"merge_map_split_{'-'.join(splits)}"
        split = one_of("Sequences", splits, key, lambda name: SPLIT_TITLES.get(name, name))
        here = [one for one in result.maps if one.split == split and one.path in by]
        swept = [name for name in by if sum(one.path == name for one in here) >= _FEWEST_POINTS]
        if swept:
            key = f"merge_map_path_{'-'.join(swept)}"
            path = by[one_of("From the base to", swept, key, lambda name: by[name].title)]
    families = result.families.get(split, ())
    if swept:
        frames = sorted((one for one in here if one.path == path.id), key=lambda one: one.at)
        ends = ", ".join(f"{decimal(one.silhouette)} at {one.at:g}" for one in (frames[0], frames[-1]))
        with st.container(width=_WIDTH, gap="small", key="morph"):
            chart(
                result,
                f"morph {path.id} {split}",
                lambda look: morph_figure(frames, families, sweeps=path.sweeps or "t", theme=look),
                f"Map of {len(families)} sequences with a slider from the base along {path.title}. "
                f"Silhouette of the vectors: {ends}.",
            )
            st.caption(f"Move the slider. Silhouette of the vectors: {ends}.")
    st.caption("Below: the base, and one point of each path. After the colon: the silhouette of the vectors.")
    _overview(result, here, families)
    with how_computed("morph"):
        st.markdown(
            "Each map is the two-dimensional view with the most variance of the vectors (PCA). It is rotated, "
            "mirrored, shifted and scaled as a whole (Procrustes) to match the map before it; the first one matches "
            "the base’s. So movements on the slider are changes of the vectors, as far as two dimensions show them. "
            "The silhouettes are computed from the vectors, not from the maps."
        )


def _overview(result: ExperimentResult, here: Sequence[Frame], families: Sequence[str]) -> None:
    """Draw one map of each row of KINDS, all aligned with the base's and on one scale."""
    shown: dict[str, Frame] = {}
    for path in result.experiment.drawn:
        own = [one for one in here if one.path == path.id]
        wanted = 0.5 if path.sweeps == "t" else 1.0
        if own and path.name not in shown:
            shown[path.name] = min(own, key=lambda one: abs(one.at - wanted))
    reach = reach_of(list(shown.values()))
    main = {name: one for name, one in shown.items() if name in (*MAIN, "base")}
    _row_of_maps(result, main, families, reach, "overview")
    if more := {name: one for name, one in shown.items() if name not in main}:
        with st.expander("Maps of the other paths", key="maps_more"):
            _row_of_maps(result, more, families, reach, "overview-more")


def _row_of_maps(
    result: ExperimentResult, shown: Mapping[str, Frame], families: Sequence[str], reach: float, key: str
) -> None:
    with st.container(horizontal=True, key=key):
        for place, (name, one) in enumerate(shown.items()):
            with st.container(width=184, gap=None, key=f"small-{key}-{place}"):
                sweeps, score = KINDS[name].sweeps, decimal(one.silhouette)
                at = f", {'t =' if sweeps == 't' else '×'} {one.at:g}" if sweeps else ""
                st.caption(md_text(f"{KINDS[name].title}{at}: {score}", most=60))
                draw = partial(_small_map, one, families, reach)
                alt = f"Map of {one.title}; silhouette {score}."
                chart(result, f"small map {name}", draw, alt, choices=(one.split, reach), still=True)


def _small_map(one: Frame, families: Sequence[str], reach: float, look: str) -> Any:
    return small_map(one, families, reach=reach, theme=look)


def straight(result: ExperimentResult) -> None:
    """Draw the angle of every tensor, and how far SLERP was from the straight line."""
    st.subheader("Was it really SLERP?", anchor=False)
    texts = [text for space in SPACES if (text := _angles_text(result.straight, space))]
    chart(result, "angles", lambda look: angles_figure(result.straight, theme=look), " ".join(texts))
    for text in texts:
        st.markdown(md_text(text))
    with how_computed("straight", numbers=True):
        table(_STRAIGHT, [_row(one) for one in result.straight], key="table straight", label="How straight each arc is")
        st.markdown(
            "Angles are of whole tensors that training changes. Where the cosine of two tensors is above 0.9995 "
            f"({decimal(MERGEKIT_DEGREES, 1)}°), mergekit’s SLERP falls back to linear interpolation. The paths here "
            "always use the exact arc, so that its effect can be seen. Differences are between the arc and the "
            "straight line of the same two models at the midpoint (t = 0.5); those of vectors are over all number "
            "texts. Tensors that are zero in one model have no angle and count as fallen back."
        )


def _angles_text(listed: Sequence[Straight], space: str) -> str:
    """Return what the angles of one space show; "" where there are none."""
    own = [one for one in listed if one.space == space]
    if not own:
        return ""
    angles = sorted(angle for one in own for angle in degrees_of(one))
    vectors = [one.largest_vector for one in own if math.isfinite(one.largest_vector)]
    between = f"The angle between two {'models' if space == 'weights' else 'updates'} is"
    middle = f"{between} {decimal(angles[len(angles) // 2], 1)}° in the median tensor. " if angles else ""
    low, high = (percent(end(one.parallel for one in own)) for end in (min, max))
    apart = f", and the vector of one text by at most {small(max(vectors))}" if vectors else ""
    return (
        f"{middle}For {low if low == high else f'{low} to {high}'} of the parameters mergekit’s SLERP would be the "
        f"straight line. At the midpoint, the arc and the straight line differ in one weight by at most "
        f"{small(max(one.largest_weight for one in own))}{apart}."
    )


def _row(one: Straight) -> list[Cell]:
    angle = math.degrees(math.acos(max(-1.0, min(1.0, one.cosine)))) if math.isfinite(one.cosine) else math.nan
    weight, vector = (
        Cell(small(value), value) if math.isfinite(value) else Cell("–")
        for value in (one.largest_weight, one.largest_vector)
    )
    return [
        Cell(one.between),
        Cell(SPACES.get(one.space, one.space)),
        number(angle, 1),
        Cell(percent(one.parallel), one.parallel),
        weight,
        Cell(percent(one.of_step, 2), one.of_step),
        vector,
    ]


def dominance(result: ExperimentResult) -> None:
    """Draw how much of each layer changed, into how few directions vectors move, and the effect of the scale."""
    st.subheader("Does the adapter take over?", anchor=False)
    if result.dominance:
        layers = ((layer.relative, layer.name) for one in result.dominance for layer in one.layers)
        most = max((layer for layer in layers if math.isfinite(layer[0])), default=None)
        update = f"Most in {most[1]}: {percent(most[0], 1)} of the norm of its weights." if most else ""
        shifts = [shift for one in result.dominance for shift in one.shifts if shift.scale == 1 and shift.shares]
        known = [shift.shares[0] for shift in shifts if math.isfinite(shift.shares[0])]
        moved = f"At scale 1, {percent(sum(known) / len(known))} of the shift is in one direction." if known else ""
        left, right = st.columns(2, gap="medium")
        with left:
            st.markdown("**How much of each layer did training change?**")
            alt = f"Update by layer. {update}"
            chart(result, "layers", lambda look: layers_figure(result.dominance, theme=look), alt)
            st.caption(update)
        with right:
            st.markdown("**In how few directions do vectors move?**")
            alt = f"Shares of the shift. {moved}"
            chart(result, "shift", lambda look: shift_figure(result.dominance, DIRECTIONS, theme=look), alt)
            st.caption(moved)
    st.markdown("**What happens as the adapter is scaled up?**")
    bests = []
    for split in result.experiment.splits:
        if line := silhouettes_by_scale(result, split):
            best = max(line, key=lambda spot: spot.y[0])
            bests.append(f"{SPLIT_TITLES.get(split, split)}: highest at {best.at:g} ({decimal(best.y[0])})")
    text = "; ".join(bests) + "." if bests else ""
    alt = f"Silhouette against the scale. {text}"
    chart(result, "scale", lambda look: scale_figure(result, titles=SPLIT_TITLES, theme=look), alt)
    st.caption(f"Where families are separated best. {text} Bands go from the lowest to the highest seed.")
    with how_computed("dominance"):
        st.markdown(
            "The update of a layer is the norm of the difference of all its adapted weights, relative to their norm "
            "before. The shift is what an adapter adds to the vector of each number text. Its share in the first "
            "directions is the share of its squared length in its first singular vectors. It is not centred, so a "
            "shift that all vectors share counts as one direction. Scale 1 is the adapter as trained."
        )
