"""The parts of the Explain page: each a question, a picture and one sentence of answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import streamlit as st

from numembed.analysis.attributes import ATTRIBUTES
from numembed.explain import Explanation, sentence_of, shares_sentence
from numembed.export import PLOTLY_CONFIG
from numembed.figures.explain import agreement_figure, confusion_figure, shares_figure, similarity_figure
from numembed.results import ModelResult
from numembed.sequences.families import family
from numembed.study import Study
from ui.frame import theme
from ui.table import Cell, Column, number, table
from ui.words import md_text, plural

_AGREEMENTS = (
    Column("Attribute"),
    Column("ARI", "Adjusted Rand index: 1 is the same grouping, 0 is chance.", "number", better="high"),
    Column("AMI", "Adjusted mutual information: 1 is the same grouping, 0 is chance.", "number", better="high"),
    Column("p", "How often shuffled groups agree at least as well.", "number", digits=3),
    Column("Classes", kind="number"),
    Column("What it is", kind="wide"),
)
_ASTRAY = (
    Column("Sequence"),
    Column("Silhouette", "Below 0: nearer to another family than to its own.", "number", better="high"),
    Column("Nearest other family"),
    Column("First terms", kind="line"),
)


def followed(result: ModelResult, found: Explanation) -> None:
    """Draw what the clusters agree with."""
    st.subheader(md_text(sentence_of(result.model.name, found)), anchor=False)
    told = "; ".join(f"{ATTRIBUTES[one.attribute].title} {one.ari:.2f}" for one in found.agreements)
    _figure(lambda: agreement_figure(found, theme=theme()), "agreement", f"Agreement of the clusters (ARI): {told}.")
    with st.expander("All numbers, and how this is computed", key="agreement_more"):
        rows = [
            [
                Cell(ATTRIBUTES[one.attribute].title), number(one.ari), number(one.ami), number(one.p, 3),
                number(one.classes, 0), Cell(ATTRIBUTES[one.attribute].summary),
            ]
            for one in found.agreements
        ]  # fmt: skip
        table(_AGREEMENTS, rows, key="agreement_table", label="What the clusters agree with")
        st.markdown(
            "As many KMeans groups as families, 10 restarts. Each attribute sorts the sequences into classes; the "
            "adjusted Rand index (Hubert and Arabie 1985) compares the two sortings, and p is the share of 999 "
            "shuffles that agree at least as well."
        )


def variance(found: Explanation) -> None:
    """Draw what makes the vectors differ."""
    st.subheader("How much of the difference is family?", anchor=False)
    st.markdown(shares_sentence(found))
    told = ", ".join(f"{share.name} {share.share:.0%}" for share in found.shares)
    _figure(lambda: shares_figure(found, theme=theme()), "shares", f"Shares of the variance: {told}.")
    with st.expander("How this is computed", key="shares_more"):
        ps = ", ".join(f"{one.name} p {one.p:.3f}" for one in found.shares if not math.isnan(one.p))
        st.markdown(f"PERMANOVA (Anderson 2001): squared distances divided by factor, p from 999 shuffles. {ps}.")


def mixed(study: Study, found: Explanation) -> None:
    """Draw which families lie in which cluster."""
    st.subheader("Which families lie in which group?", anchor=False)
    st.markdown(
        f"{found.matched:.0%} of the sequences lie in the group that stands for their family. The names say what most "
        "members of a group share; they are made by rule."
    )
    told = f"{len(found.counts)} clusters against {len(study.sequences.families)} families"
    _figure(lambda: confusion_figure(found, study.sequences, theme=theme()), "confusion", f"Counts of {told}.")


def astray(study: Study, found: Explanation) -> None:
    """Draw the silhouette of each sequence, those astray first."""
    lost = sum(value < 0 for value in found.silhouettes)
    st.subheader("Which sequences lie astray?", anchor=False)
    st.markdown(f"{plural(lost, 'sequence lies', 'sequences lie')} nearer to another family than to their own.")
    rows = []
    for row in sorted(range(len(found.silhouettes)), key=lambda row: found.silhouettes[row]):
        item, other = study.sequences.items[row], found.nearest[row]
        window = int(study.sequences.windows[row]) + 1
        rows.append(
            [
                Cell(f"{family(item.family).title}, window {window}"),
                number(found.silhouettes[row]),
                Cell(family(study.sequences.families[other]).title if other >= 0 else "–"),
                Cell(study.sequences.texts[row][:60] + " …"),
            ]
        )
    with st.expander("All sequences, the most astray first", key="astray"):
        table(_ASTRAY, rows, key="astray_table", label="Silhouette of each sequence", height=420)


def look_alike(study: Study, found: Explanation) -> None:
    """Draw the similarity of all pairs."""
    st.subheader("Which sequences look alike?", anchor=False)
    with st.expander("Heat map of all pairs", key="alike", on_change="rerun") as folded:
        if not folded.open:
            return
        orders = {
            "Families side by side": tuple(range(len(study.sequences))),
            "What is alike side by side": found.order,
        }
        chosen = st.segmented_control("Order", list(orders), default=next(iter(orders)), key="order", required=True)
        order = orders[str(chosen)]
        alt = "Cosine similarity of every pair of sequences."
        _figure(lambda: similarity_figure(found, study.sequences, order, theme=theme()), f"similarity {chosen}", alt)


def _figure(draw: Callable[[], Any], key: str, alt: str) -> None:
    st.plotly_chart(draw(), theme=None, key=key, config=PLOTLY_CONFIG, alt=alt)
