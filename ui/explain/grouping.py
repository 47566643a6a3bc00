"""Other ways of grouping, on the Explain page: requested by a button, computed by the worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import streamlit as st

from numembed.core.wording import decimal
from numembed.examinations.clusters import text
from numembed.examinations.clusters.compute import Explanation
from numembed.examinations.clusters.grouping import FACTORS, Factor, Grouping, Way
from numembed.examinations.clusters.seen import steps_seen, ways_seen
from numembed.examinations.clusters.together import found_of, of_way
from numembed.figures.clusters import steps_figure
from numembed.studies.results import ModelResult
from numembed.studies.study import Study
from ui.shared.examination import examined, numbers_download
from ui.shared.figure import figure, how_computed
from ui.shared.run_progress import newest_run
from ui.shared.table import Cell, Column, number, p_cell, table
from ui.shared.text import md_text

_ARI = "Adjusted Rand index: 1 is the same grouping, 0 is chance."
_AMI = "Adjusted mutual information: 1 is the same grouping, 0 is chance."
_P = (
    "p value: how often shuffled groups agree at least as well, adjusted because several are tested (Holm), and no "
    "smaller than that of the tests above about the same attribute."
)
_COLUMNS = (
    Column("Way of grouping"),
    Column("Groups", "How many it finds, or must find: as many as there are families.", "number"),
    Column("ARI", _ARI, "number", "with the family"),
    Column("AMI", _AMI, "number", "with the family"),
    Column("p", _P, "number", "with the family", digits=3),
    Column("ARI", _ARI, "number", "with the window"),
    Column("AMI", _AMI, "number", "with the window"),
    Column("p", _P, "number", "with the window", digits=3),
    Column("Attribute", "The one with the highest ARI.", "line", "agrees most with"),
    Column("ARI", _ARI, "number", "agrees most with"),
    Column("p", _P, "number", "agrees most with", digits=3),
    Column("Silhouette", "Silhouette of its own groups, without what it leaves out as noise.", "number"),
)


def other_ways(study: Study, result: ModelResult, explanation: Explanation) -> None:
    """Draw what other clusterers, numbers of groups and seeds find, or the button that requests it."""
    heading = st.empty()
    heading.subheader("Do other clustering methods agree?", anchor=False)
    grouping = examined(
        study,
        result,
        "grouping",
        Grouping,
        button="Try other ways of grouping",
        text="Six clustering methods, 2 to 12 groups and many seeds of KMeans, on the stored vectors: some seconds.",
    )
    if grouping is None:
        return
    heading.subheader(md_text(text.ways_sentence(grouping, explanation).removesuffix(".")), anchor=False)
    found = found_of(explanation)
    rows = [_row(way, found) for way in grouping.ways]
    table(_COLUMNS, rows, key="grouping_table", label="Ways of grouping")
    st.markdown(md_text(f"{text.seeds_sentence(grouping)} {text.steps_sentence(grouping)}".strip()))
    alt = "; ".join(
        f"{one.k} groups: silhouette {decimal(one.silhouette)}, stability {decimal(one.stability)}"
        for one in grouping.steps
    )
    figure(lambda look: steps_figure(grouping, theme=look), "steps", f"{alt}.")
    with how_computed("grouping"):
        st.markdown(
            "Each method must find as many groups as there are families. HDBSCAN finds its own number and leaves some "
            "sequences out as noise, which count as one more group. A p value here is no smaller than the adjusted one "
            "of the tests above about the same attribute, so that more ways add no false claims. The silhouette is "
            "that of the groups found, so it is above 0 for noise too. The grey band is KMeans on 19 sets of vectors "
            "without groups (null reference) with the same mean and the same variance along the same directions. "
            "Groups stand out if their largest distance from the band, in units of its standard deviation, is larger "
            "than that of all 19. Stability is the mean adjusted Rand index over all pairs of "
            f"{grouping.seeds} seeds (von Luxburg 2010), each with ten restarts."
        )
        st.markdown(" ".join(filter(None, (ways_seen(grouping), steps_seen(grouping)))))
        numbers_download(study, result, "grouping", grouping)


def grouping_runs(study: Study, result: ModelResult) -> bool:
    """Return whether the worker is computing it now: the page then shows its progress."""
    requested = replace(study, models=(result.model,), examine=("grouping",), designs=0, query="")
    job = newest_run(requested)
    return job is not None and job.active


def _row(way: Way, found: Mapping[str, float]) -> list[Cell]:
    left_out = f" + {way.left_out} alone" if way.left_out else ""
    return [
        Cell(text.title_of(way)),
        Cell(f"{way.groups}{left_out}", way.groups),
        *(cell for name in FACTORS for cell in _cells(getattr(way, name), name, way.note, found)),
        Cell(text.most_of(way) or "–"),
        number(way.most.ari),
        p_cell(of_way(way.most, way.attribute, found)),
        number(way.silhouette, note=way.note),
    ]


def _cells(factor: Factor, name: str, note: str, found: Mapping[str, float]) -> list[Cell]:
    p = of_way(factor, name, found)
    return [number(factor.ari, note=note), number(factor.ami, note=note), p_cell(p, note)]
