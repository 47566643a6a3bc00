"""The parts of the Maps page: whether a map shows what is there, each part a question, a picture and its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from numembed.analysis.maps.projections import PROJECTIONS, opening_map, seeded_maps
from numembed.core.wording import decimal, listed
from numembed.examinations.maps import text
from numembed.examinations.maps.compute import SEEDS_UP_TO, Maps, Picture
from numembed.figures.map_faithfulness import kept_figure, noise_figure, scores_figure, seeds_figure
from numembed.figures.maps import COLOR_BY, groups_of
from numembed.studies.results import ModelResult, badged
from numembed.studies.study import Study
from ui.shared.figure import figure, how_computed
from ui.shared.table import Cell, Column, number, table
from ui.shared.text import md_text

_NUMBERS = (
    Column("Map"),
    Column("Trustworthiness", "1: all neighbours in the map are neighbours in the vectors.", "number", better="high"),
    Column("Continuity", "1: all neighbours in the vectors stay neighbours in the map.", "number", better="high"),
    Column("Shared neighbours", "The share of nearest neighbours in common.", "number", better="high"),
    Column("Score in the map", "Silhouette of the families.", "number"),
    Column("Noise: trustworthiness", kind="number"),
    Column("Noise: shared", kind="number"),
    Column("Noise: score", "The highest score in a map of noise.", "number"),
    Column("Would be seen", "The smallest score in a map that noise would not have matched (80% power).", "number"),
    Column("Groups seen", "Silhouette of the groups that KMeans finds in the map.", "number"),
    Column("Same, in the vectors", "Silhouette of the same groups in the vectors.", "number"),
    Column("Note", kind="wide"),
)
_MAPS_WIDTH = 860  # pixels
_COLORS = {"family": "Family", "window": "Window", "cluster": "KMeans cluster"}


def verdict(result: ModelResult, maps: Maps) -> None:
    """Draw the answer in one sentence: red where a map shows groups that the vectors do not have."""
    said = md_text(text.maps_sentence(badged(result), maps))
    caught = [one for one in maps.maps if one.warning]
    st.subheader(said, anchor=False)
    for one in caught:
        st.error(f"**{text.title(one)}.** {md_text(one.warning)}", icon=":material/error:")


def kept(maps: Maps) -> None:
    """Draw how much of the neighbourhoods and of the score each map keeps."""
    st.subheader("Are neighbours in the map neighbours in the vectors?", anchor=False)
    values = "; ".join(
        f"{text.title(one)} {decimal(one.trustworthiness)}, {decimal(one.continuity)}, {decimal(one.overlap)}"
        for one in maps.maps
        if one.dims == 2
    )
    alt = f"Trustworthiness, continuity and shared neighbours: {values}."
    figure(lambda look: kept_figure(maps, theme=look), "honesty kept", alt)
    st.markdown(md_text(text.kept_sentence(maps)))


def scored(maps: Maps) -> None:
    """Draw the families' score in each map beside that in the vectors."""
    st.subheader("Is the score in the map the score in the vectors?", anchor=False)
    values = "; ".join(f"{text.title(one)} {decimal(one.silhouette)}" for one in maps.maps)
    alt = f"Silhouette of the families: {decimal(maps.space)} in the vectors; {values}."
    figure(lambda look: scores_figure(maps, theme=look), "honesty scores", alt)
    st.markdown(md_text(text.scores_sentence(maps)))


def six_seeds(study: Study, result: ModelResult, maps: Maps) -> None:
    """Draw the maps of six seeds side by side."""
    st.subheader("Would another seed give the same map?", anchor=False)
    if not maps.seeds:
        st.caption(f"Six maps are drawn for up to {SEEDS_UP_TO:,} sequences.")
        return
    with st.container(horizontal=True, key="seeds_controls"):
        method = _choice("Map", [one.method for one in maps.seeds], "seeds_method", _map_title)
        color = _choice("Colour", COLOR_BY, "seeds_color", _COLORS.__getitem__)
    seeds = next(one for one in maps.seeds if one.method == method)
    st.markdown(md_text(text.seeds_sentence(seeds, maps.n)))
    groups = groups_of(study.sequences, result.clusters, color)
    alt = f"Six {_map_title(method)} maps from six seeds, aligned; agreement {decimal(seeds.stability)}."
    _maps(lambda look: seeds_figure(seeds, study.sequences, groups, theme=look), f"seeds {method} {color}", alt)
    fixed = [entry.title for entry in PROJECTIONS if entry.name not in seeded_maps()]
    st.caption(
        "Above each map, its number and the families' score in it. Do not trust what differs between the six. The same "
        f"for every seed: {', '.join(fixed)}."
    )


def show_noise(study: Study, result: ModelResult, maps: Maps) -> None:
    """Draw the model's map and one of noise side by side; which is which is shown on demand."""
    st.subheader("Can you distinguish this map from noise?", anchor=False)
    if not maps.noise:
        st.caption("Noise is mapped for 2 to 3,000 sequences.")
        return
    st.markdown(
        "One of these is the model's map. The other is made of random vectors: as many, in as many dimensions, with "
        "the same colours."
    )
    with st.container(horizontal=True, key="noise_controls", vertical_alignment="bottom"):
        method = _choice("Map", [one.method for one in maps.noise], "noise_method", _map_title, opening_map(maps.n))
        revealed = st.toggle("Show which is which", key="noise_told")
    pair = _pair(study, result, maps, method)
    named = [(name if revealed else f"Map {letter}", one) for (name, one), letter in zip(pair, "AB", strict=True)]
    groups = groups_of(study.sequences, result.clusters, "family")
    names = listed([name for name, _ in named])
    _maps(
        lambda look: noise_figure(named, study.sequences, groups, theme=look),
        f"noise {method} {revealed}",
        f"{_map_title(method)} maps side by side: {names}.",
    )
    if revealed:
        st.markdown(md_text(f"{text.noise_sentence(maps, method)} {text.groups_sentence(maps, method)}"))


def method_and_numbers(maps: Maps) -> None:
    """Draw all numbers and how they were computed."""
    with how_computed("honesty", numbers=True):
        rows = [
            [
                Cell(text.title(one)),
                number(one.trustworthiness),
                number(one.continuity),
                number(one.overlap),
                number(one.silhouette),
                number(one.noise_trustworthiness),
                number(one.noise_overlap),
                number(one.noise_highest),
                number(text.smallest_in_map(maps, one)),
                number(one.groups),
                number(one.groups_space),
                Cell(one.note),
            ]
            for one in maps.maps
        ]
        table(_NUMBERS, rows, key="honesty_table", label="How far each map can be trusted")
        count = maps.maps[0].neighbours if maps.maps else 0
        seeded = " and ".join(
            f"{_map_title(name)} {PROJECTIONS[name].facts.get('seeded_note', '')}".strip() for name in seeded_maps()
        )
        st.markdown(_METHOD.format(count=count, noises=maps.noise_maps, dimension=maps.dimension, seeded=seeded))
        if seen := text.seen_sentence(maps):
            st.markdown(seen)


_METHOD = """
- **True and kept neighbours** are trustworthiness and continuity (Venna and Kaski 2001), and **shared neighbours** is
  the overlap of the {count} nearest (Lee and Verleysen 2009). Above 3,000 sequences, 3,000 drawn at random are compared.
- **The score** is the silhouette of the families (Rousseeuw 1987): in the vectors with the distance of the study, in the
  map with Euclidean distance, as the eye reads it. 95% of shuffles of the families lie in the grey areas.
- **A red warning** appears if the families score above 0.25 and above 95% of shuffles in the map, 0.25 more than in the
  vectors, and there no more than chance; or if KMeans finds groups in the map that are clearer than in 99 even
  scatters of points and 0.25 clearer than in the vectors, where they are no clearer than in noise.
- **Six seeds**: {seeded}. The maps are moved, turned, mirrored and scaled onto the first (Procrustes; Gower 1975);
  agreement is the share of the squared spread that then fits. Where groups lie far apart, t-SNE puts them
  anywhere: the layout then agrees little, but neighbours stay.
- **Noise**: {noises} sets of random directions in {dimension:,} dimensions, mapped with the same method, options and seed.
"""  # noqa: E501  a line here is a line on the page


def _pair(study: Study, result: ModelResult, maps: Maps, method: str) -> list[tuple[str, Picture]]:
    """Return the model's map and that of noise with their names, in an order that nobody can guess but that stays."""
    own = next(one for one in maps.drawn if one.method == method)
    noise = next(one for one in maps.noise if one.method == method)
    pair = [(badged(result), own), ("Pure noise", noise)]
    turned = sum(f"{study.sequences.digest}{result.model.key}{method}".encode()) % 2
    return pair[::-1] if turned else pair


def _choice(label: str, names: Any, key: str, words: Callable[[str], str], first: str = "") -> str:
    default = first if first in names else names[0]
    chosen = st.segmented_control(
        label, names, default=default, key=key, required=True, persist_state="session", format_func=words
    )
    return str(chosen)


def _map_title(method: str) -> str:
    return PROJECTIONS[method].title


def _maps(draw: Callable[[str], Any], key: str, alt: str) -> None:
    with st.container(width=_MAPS_WIDTH):  # maps that are pulled wide mislead the eye
        figure(draw, f"honesty {key}", alt, still=True)
