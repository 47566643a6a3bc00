"""Maps beside the table, with one selection for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st

from numembed.analysis.maps.projections import PROJECTIONS, caption_of, opening_map
from numembed.core.wording import decimal
from numembed.figures.maps import COLOR_BY, Group, groups_of, map_figure, map_rows, small_figure
from numembed.studies.maps import disagreement
from numembed.studies.results import ModelResult, Projection, ResultStore, badged
from numembed.studies.stored import missing_projection, stored_projection, stored_warning
from numembed.studies.study import FLAT_ABOVE, Study, dimensions
from ui.shared.figure import figure
from ui.shared.frame import callback
from ui.shared.kept import Known
from ui.shared.text import md_text

_BATCHES = (
    "Texts that were first encoded in other batches, in a smaller study for instance, have vectors that differ by "
    "about 1e-7. In trials with up to 100 sequences their map was the same, with 200 or more often another; PCA "
    "hardly moves."
)
_COLOR_WORDS = {"family": "Family", "cluster": "KMeans cluster", "window": "Window"}


def map_controls(n: int) -> tuple[str, int, str]:
    """Draw the choice of map of ``n`` sequences and return (method, dims, what gives the colour)."""
    names = PROJECTIONS.names
    if not st.session_state.get("method_chosen"):
        st.session_state["method"] = opening_map(n)
    with st.container(horizontal=True, key="map_controls"):
        method = st.segmented_control(
            "Map",
            names,
            key="method",
            on_change=_choose_method,
            required=True,
            persist_state="session",
            format_func=lambda name: PROJECTIONS[name].title,
            help="\n\n".join([*(f"**{entry.title}**: {entry.summary}" for entry in PROJECTIONS), _BATCHES]),
        )
        dims = st.segmented_control(
            "View",
            (2, 3),
            default=2,
            key="dims",
            required=True,
            persist_state="session",
            format_func=lambda dims: f"{dims}-D",
        )
        color = st.segmented_control(
            "Colour",
            COLOR_BY,
            default="family",
            key="color",
            required=True,
            persist_state="session",
            format_func=_COLOR_WORDS.__getitem__,
        )
    return str(method), int(dims or 2), str(color)


@callback
def _choose_method() -> None:
    st.session_state["method_chosen"] = True


def show_map(
    study: Study,
    result: ModelResult,
    store: ResultStore,
    *,
    among: Sequence[ModelResult] = (),
    method: str,
    dims: int,
    color: str,
) -> None:
    """Draw one model's map; points that are selected in it are selected everywhere.

    p values of a sentence below it are adjusted over the models ``among`` which it is shown.
    """
    projection = stored_projection(study, result.model, store, method=method, dims=dims)
    name = md_text(badged(result), most=90)
    if projection is None and dims not in dimensions(len(study.sequences)):
        st.caption(f"3-D maps are drawn for up to {FLAT_ABOVE:,} sequences. Choose 2-D.")
        return
    if projection is None:
        reason = missing_projection(study, result.model, store, method=method, dims=dims)
        why = f": {md_text(reason)} Press Run to try again." if reason else " yet. Press Run."
        st.caption(f"**{name}** has no {PROJECTIONS[method].title} map{why}")
        return
    groups = groups_of(study.sequences, result.clusters, color)
    key = f"map {result.model.name} {method} {dims} {color} {study.key[:8]} {st.session_state.get('cleared', 0)}"
    rows = () if st.session_state.get("lit_in") == key else chosen_rows(study)
    st.markdown(f"**{name}**")
    figure(
        lambda look: map_figure(projection, study.sequences, groups, chosen=rows, theme=look),
        key,
        _alt(study, result, method, dims),
        by=(study.key, result.model.key, rows),
        file="map",
        on_select=(lambda: _take(key, groups)) if dims == 2 else None,
    )
    st.caption(md_text(caption_of(method, projection.used)))
    if warning := stored_warning(study, result.model, store, method=method, dims=dims):
        st.markdown(f":red[{md_text(warning)}]")
    elif said := disagreement(result, projection, among=among):
        st.markdown(md_text(said))


def show_overview(study: Study, known: Known, store: ResultStore, *, method: str, color: str) -> None:
    """Draw small maps of all models with the same colours and the same selection."""

    def read() -> list[tuple[ModelResult, Projection]]:
        maps = [(r, stored_projection(study, r.model, store, method=method, dims=2)) for r in known.results]
        return [(result, projection) for result, projection in maps if projection is not None]

    drawn = known.once(("maps", method), read)
    if len(drawn) < 2:
        return
    st.subheader("All maps", anchor=False)
    by = color if color != "cluster" else "family"  # clusters of different models have nothing in common
    groups, chosen = groups_of(study.sequences, drawn[0][0].clusters, by), chosen_rows(study)
    with st.container(horizontal=True, key="overview"):
        for place, (result, projection) in enumerate(drawn):
            with st.container(width=270, gap=None, key=f"small-{place}"):
                st.caption(md_text(badged(result), most=48))
                figure(
                    partial(_small, projection, study, groups, chosen),
                    f"small {result.model.name}",
                    _alt(study, result, method, 2),
                    by=(study.key, result.model.key, method, by, chosen),
                    still=True,
                )


def chosen_rows(study: Study) -> tuple[int, ...]:
    """Return the selected sequences of ``study``; a selection made in another study is forgotten."""
    if st.session_state.get("lit_study") != study.sequences.digest:
        st.session_state.update(lit=(), lit_in="", lit_study=study.sequences.digest)
    return tuple(st.session_state["lit"])


@callback
def clear_selection() -> None:
    """Forget the selection; new keys make the maps forget theirs."""
    st.session_state.update(lit=(), lit_in="", cleared=st.session_state.get("cleared", 0) + 1)


def _take(key: str, groups: Sequence[Group]) -> None:
    event: Any = st.session_state[key]
    points = [(point["curve_number"], point["point_index"]) for point in event["selection"]["points"]]
    st.session_state.update(lit=map_rows(groups, points), lit_in=key if points else "")


def _small(projection: Projection, study: Study, groups: Sequence[Group], chosen: tuple[int, ...], look: str) -> Any:
    return small_figure(projection, study.sequences, groups, chosen=chosen, theme=look)


def _alt(study: Study, result: ModelResult, method: str, dims: int) -> str:
    score = result.score("silhouette", "families").value
    return (
        f"{PROJECTIONS[method].title} map in {dims} dimensions of {len(study.sequences)} sequences of "
        f"{len(study.sequences.families)} families by {badged(result)}; silhouette {decimal(score)}."
    )
