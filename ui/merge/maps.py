"""The maps of the Merge page: a slider from the base to what was made of it, and the other ends beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import streamlit as st

from numembed.core.wording import decimal
from numembed.figures.merge.maps import morph_figure, reach_of, small_map
from numembed.figures.merge.plane import MAIN
from numembed.merge_experiment.experiment import ExperimentResult
from numembed.merge_experiment.paths import KINDS, Path
from numembed.merge_experiment.results import Frame
from ui.merge.charts import chart
from ui.merge.choice import SPLIT_TITLES
from ui.shared.figure import how_computed
from ui.shared.text import md_text

_WIDTH = 860  # pixels
_STEPS = 3  # of a path, from which a slider is worth it


def morph(result: ExperimentResult) -> None:
    """Draw how the map changes on the way, with a slider, and the maps of the other paths beside the base's."""
    st.subheader("How does the map change along a path?", anchor=False)
    splits = [name for name in SPLIT_TITLES if any(one.split == name for one in result.maps)]
    splits += [name for name in dict.fromkeys(one.split for one in result.maps) if name not in splits]
    by = {path.id: path for path in result.experiment.drawn}
    with st.container(horizontal=True, vertical_alignment="bottom", key="morph_controls"):
        split = str(
            st.segmented_control(
                "Sequences",
                splits,
                default=splits[0],
                required=True,
                key=f"merge_map_split_{'-'.join(splits)}",
                format_func=lambda name: SPLIT_TITLES.get(name, name),
            )
        )
        here = [one for one in result.maps if one.split == split and one.path in by]
        moving = [name for name in by if sum(one.path == name for one in here) >= _STEPS]
        chosen = (
            st.segmented_control(
                "From the base to",
                moving,
                default=moving[0],
                required=True,
                key=f"merge_map_path_{'-'.join(moving)}",
                format_func=lambda name: by[name].title,
            )
            if moving
            else None
        )
    families = result.families.get(split, ())
    if chosen is not None:
        _slider(result, by[str(chosen)], [one for one in here if one.path == chosen], families)
    st.caption("Below: the base, and one point of each path. After the colon: the silhouette in the vectors.")
    _beside(result, here, families)
    with how_computed("morph"):
        st.markdown(
            "Each map is the flat view with the most spread of the vectors (PCA), turned, mirrored, moved and scaled "
            "as a whole (Procrustes) onto the map before it, and the first one onto the base’s. So what moves on the "
            "slider are the vectors, as far as a flat view shows them. The silhouettes are of the vectors and not of "
            "the maps."
        )


def _slider(result: ExperimentResult, path: Path, frames: list[Frame], families: tuple[str, ...]) -> None:
    listed = sorted(frames, key=lambda one: one.at)
    ends = (f"{decimal(one.silhouette)} at {one.at:g}" for one in (listed[0], listed[-1]))
    text = f"Silhouette in the vectors: {', '.join(ends)}."
    with st.container(width=_WIDTH, gap="small", key="morph"):
        _slid(result, path, listed, families, text)


def _slid(result: ExperimentResult, path: Path, listed: list[Frame], families: tuple[str, ...], text: str) -> None:
    chart(
        result,
        f"morph {path.id} {listed[0].split}",
        lambda look: morph_figure(listed, families, sweeps=path.sweeps or "t", theme=look),
        f"Map of {len(families)} sequences with a slider from the base along {path.title}. {text}",
    )
    st.caption(f"Move the slider. {text}")


def _beside(result: ExperimentResult, here: list[Frame], families: tuple[str, ...]) -> None:
    """Draw one map of each row of KINDS, all laid upon the base's and on one scale."""
    shown: dict[str, Frame] = {}
    for path in result.experiment.drawn:
        own = [one for one in here if one.path == path.id]
        wanted = 0.5 if path.sweeps == "t" else 1.0
        if own and path.name not in shown:
            shown[path.name] = min(own, key=lambda one: abs(one.at - wanted))
    reach = reach_of(list(shown.values()))
    main = [name for name in shown if name in (*MAIN, "base")]
    _row_of_maps(result, {name: shown[name] for name in main}, families, reach, "overview")
    if more := {name: one for name, one in shown.items() if name not in main}:
        with st.expander("Maps of the other paths", key="maps_more"):
            _row_of_maps(result, more, families, reach, "overview-more")


def _row_of_maps(
    result: ExperimentResult, shown: Mapping[str, Frame], families: tuple[str, ...], reach: float, key: str
) -> None:
    with st.container(horizontal=True, key=key):
        for place, (name, one) in enumerate(shown.items()):
            with st.container(width=220, gap=None, key=f"small-{key}-{place}"):
                sweeps = KINDS[name].sweeps
                at = f", {'t =' if sweeps == 't' else '×'} {one.at:g}" if sweeps else ""
                st.caption(md_text(f"{KINDS[name].title}{at}: {decimal(one.silhouette)}", most=60))
                chart(
                    result,
                    f"small map {name}",
                    partial(_small, one, families, reach),
                    f"Map of {one.title}; silhouette {decimal(one.silhouette)}.",
                    choices=(one.split,),
                    still=True,
                )


def _small(one: Frame, families: tuple[str, ...], reach: float, look: str) -> Any:
    return small_map(one, families, reach=reach, theme=look)
