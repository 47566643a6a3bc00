"""The parts of the Paper page: each a question, a chart, an answer, and how it is computed."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import astuple
from functools import partial
from typing import Any

import streamlit as st

from numembed.core.wording import decimal, plural, signed, span
from numembed.figures.paper import STYLES, Metric, score_figure, size_figure, standing_figure
from numembed.models.catalogue.names import CATALOGUE
from numembed.paper.claims import CLAIMS, Claim, judged
from numembed.paper.comparison import (
    CHANCE,
    KINDS,
    agreement,
    baseline_levels,
    facts_of_line,
    figure_number,
    own_line,
    own_results,
    redrawn_interval,
    size_of,
)
from numembed.paper.judging import FAILS, FEW, HOLDS, OPEN, Verdict
from numembed.paper.protocol import paper_study
from numembed.paper.published import TABLE_1, TABLE_2, PublishedScore, published
from numembed.studies.results import ModelResult
from ui.models.card import recipe_of
from ui.shared.figure import figure, how_computed
from ui.shared.frame import result_store
from ui.shared.study_choice import put_choice
from ui.shared.table import Cell, Column, number, p_cell, table
from ui.shared.text import md_text

_BADGES = {
    HOLDS: ("green", ":material/check_circle:"),
    FAILS: ("red", ":material/cancel:"),
    OPEN: ("gray", ":material/help:"),
    FEW: ("gray", ":material/hourglass_empty:"),
}
_VERSIONS = ("torch", "transformers", "sentence-transformers", "scikit-learn")
_FAMILY, _KMEANS, _SILHOUETTE = "With the families", "With KMeans clusters", "Silhouette with the families"
_TABLE_2 = (
    Column("Model", "Name in the paper."),
    Column("Kind", "According to the makers' reports.", "line"),
    Column("Million parameters", kind="number", digits=0),
    Column("Silhouette", "Higher is better.", "number", _FAMILY, 4, "high"),
    Column("Davies–Bouldin", "Lower is better.", "number", _FAMILY, 4, "low"),
    Column("Silhouette", "Higher is better.", "number", _KMEANS, 4, "high"),
    Column("Davies–Bouldin", "Lower is better.", "number", _KMEANS, 4, "low"),
)
_TABLE_1 = (Column("Model"), Column("Architecture", kind="wide"), Column("How a text becomes one vector", kind="wide"))
_OURS = (
    Column("Model"),
    Column("Here", "Our run.", "number", _SILHOUETTE, 3),
    Column("Paper", "Its Table 2.", "number", _SILHOUETTE, 3),
    Column("Difference", "Our value minus the paper's.", "number", _SILHOUETTE, 3),
    Column("Our interval", "95% prediction interval for other choices of windows (resampled).", "line", _SILHOUETTE),
    Column("p", "p value: how often shuffled families score at least as high.", "number", _SILHOUETTE, 3),
    Column("Here", "Our run.", "number", "Davies–Bouldin with the families", 3),
    Column("Paper", "Its Table 2.", "number", "Davies–Bouldin with the families", 3),
)


def stored_runs() -> tuple[ModelResult, ...]:
    """Return what was run here on the paper's sequences."""
    with result_store(own=True) as results:
        return own_results(results)


def findings() -> None:
    """Draw what the paper found: its two figures, redrawn, and its tables."""
    st.subheader("What did the paper find?", anchor=False)
    baseline = baseline_levels()[0]
    figures: tuple[tuple[Metric, str], ...] = (
        ("silhouette", "Figure 1: silhouette"),
        ("davies_bouldin", "Figure 2: Davies–Bouldin"),
    )
    _legend(kmeans=True)
    for place, (metric, title) in zip(st.columns(2, gap="medium"), figures, strict=True):
        with place:
            st.markdown(f"**{title} of all models**")
            figure(partial(_score_chart, metric), f"figure {metric}", _figure_alt(title, metric), by=(), file="paper")
    best = max(TABLE_2, key=lambda line: line.silhouette_families)
    st.markdown(
        f"**{md_text(best.model)} has the highest printed silhouette, "
        f"{decimal(best.silhouette_families)}. Counts of last digits alone reach {decimal(baseline.silhouette)}. The "
        f"chance level is not 0: it is {decimal(CHANCE.silhouette)} for the model where it was measured.**"
    )
    with how_computed("found"):
        _how_found()
    with st.expander("Table 2: every number", key="table_2"):
        table(_TABLE_2, [_table_2_row(line) for line in TABLE_2], key="published", label="Table 2 of the paper")
    with st.expander("Table 1: the models as the paper describes them", key="table_1"):
        rows = [
            [Cell(line.model, line.model.casefold()), Cell(line.architecture), Cell(line.pooling)] for line in TABLE_1
        ]
        table(_TABLE_1, rows, key="architectures", label="Table 1 of the paper")
        st.caption("Where the report of a model's makers differs, its card on the Models page says so.")


def our_runs(own: Sequence[ModelResult]) -> None:
    """Draw what was run here together with the paper's numbers, or links to where it can be run."""
    st.subheader("Do our runs agree?", anchor=False)
    lines = [own_line(result) for result in own]
    shared = [(result, line) for result, line in zip(own, lines, strict=True) if published(line.model) is not None]
    if not lines:
        st.markdown(f"None of the paper's {len(TABLE_2)} models has been run here on its sequences so far.")
        _links()
        return
    baseline = baseline_levels()[0]
    text = ", ".join(f"{line.model} {decimal(line.silhouette_families)}" for line in lines)
    st.html('<div style="font-size:.875rem">● in the paper &emsp; ★ run here</div>')
    figure(
        lambda look: standing_figure(TABLE_2, lines, baseline=baseline, theme=look),
        "standing",
        f"Silhouettes of the paper's 14 models, and those that were run here: {text}.",
        by=tuple(lines),
        file="paper",
    )
    st.markdown(f"**{md_text(agreement(lines, shared))}**")
    if not shared:
        _links()
    with st.expander("The numbers, ours and the paper's", key="ours"):
        rows = [_our_row(result, line) for result, line in zip(own, lines, strict=True)]
        table(_OURS, rows, key="agreement", label="Our scores and the paper's")
    with how_computed("ours"):
        _why_different(own, [line for _, line in shared])


def claim_cards(own: Sequence[ModelResult]) -> None:
    """Draw the claims, each with its verdict on Table 2 and on what was run here."""
    st.subheader("Do its claims hold?", anchor=False)
    baseline = baseline_levels()[0]
    text = ", ".join(f"{line.model} {decimal(line.silhouette_families)}" for line in sorted(TABLE_2, key=size_of))
    alt = f"Silhouette by family against parameters, from the smallest model to the largest: {text}."
    _legend()
    figure(lambda look: size_figure(TABLE_2, baseline=baseline, theme=look), "sizes", alt, by=(), file="paper")
    outcome, ours = judged(TABLE_2), judged([own_line(result) for result in own])
    words = [verdict.word for verdict in outcome]
    tested = sum(verdict.word != FEW for verdict in ours)
    here = f"With the {plural(len(own), 'model')} run here, {plural(tested, 'claim')} can be tested too."
    st.markdown(
        f"**Of {len(CLAIMS)} claims, {words.count(HOLDS)} hold, {words.count(FAILS)} do not, and {words.count(OPEN)} "
        f"cannot be determined from the paper's own numbers.** {here if tested else ''}"
    )
    cards = list(zip(CLAIMS, outcome, ours, strict=True))
    for first in range(0, len(cards), 2):
        for place, card in zip(st.columns(2), cards[first : first + 2], strict=False):
            with place:
                _card(*card)


def maps(own: Sequence[ModelResult]) -> None:
    """Draw buttons that open the maps of the paper's models that were run here."""
    st.subheader("Where are its maps?", anchor=False)
    names = {own_line(result).model: result.model.name for result in own}
    missing = [line for line in TABLE_2 if line.model not in names]
    with st.container(horizontal=True, key="figures"):
        for line in TABLE_2:
            if line.model in names and st.button(
                f"Figure {figure_number(line)}: {md_text(line.model)}",
                key=f"map {line.model}",
                icon=":material/scatter_plot:",
                help="Show its map on Compare.",
            ):
                put_choice(paper_study(names[line.model]))
                st.switch_page("pages/compare.py")
    drawn = len(TABLE_2) - len(missing)
    text = f"Figures 3 to 16 are maps of the {len(TABLE_2)} models; {drawn or 'none'} of them can be shown here so far."
    rest = f" Not run yet: {md_text(', '.join(line.model for line in missing))}." if missing else ""
    st.markdown(f"**{text}**{rest}")
    with how_computed("maps"):
        st.markdown(
            "The paper draws t-SNE maps with perplexity 10 and 1,000 iterations (section 4.4). Compare draws them with "
            "perplexity 6, a quarter of the 24 sequences, and PCA and UMAP. A map distorts distances: the scores are "
            "computed from the vectors, never from the map."
        )


def _card(claim: Claim, outcome: Verdict, ours: Verdict) -> None:
    color, icon = _BADGES[outcome.word]
    with st.container(border=True, height="stretch", gap="small", key=f"claim-{claim.name}"):
        st.badge(outcome.word, color=color, icon=icon)  # type: ignore[arg-type]
        st.markdown(f"**{claim.question}**")
        st.caption(
            f"“{md_text(claim.quotation)}” ({claim.section if claim.section[0] == 'A' else '§ ' + claim.section})"
        )
        st.markdown(md_text(outcome.sentence))
        if more := " ".join(filter(None, (outcome.detail, outcome.spread))):
            st.caption(md_text(more))
        if ours.word != FEW:
            st.markdown(f"**On the runs here: {ours.word}.** {md_text(ours.sentence)}")
        with how_computed(claim.name, compact=True):
            st.markdown(md_text(f"{claim.test} {claim.computed}", most=1_200))
            if ours.word == FEW:
                st.caption(f"On the runs here: {FEW}. {md_text(ours.sentence)}")


def _figure_alt(title: str, metric: str) -> str:
    text = ", ".join(
        f"{line.model} {decimal(getattr(line, f'{metric}_families'))} by family and "
        f"{decimal(getattr(line, f'{metric}_kmeans'))} by KMeans"
        for line in TABLE_2
    )
    return f"{title} of the paper's 14 models: {text}."


def _how_found() -> None:
    levels = ", ".join(f"{level.name.lower()} {decimal(level.silhouette)}" for level in baseline_levels())
    low, high = CHANCE.silhouette_band
    st.markdown(
        "Drawn from the paper's Table 2. The **silhouette** measures how much closer a sequence lies to its own group "
        "than to the nearest other group (Rousseeuw 1987). The **Davies–Bouldin index** compares the width of groups "
        "with the gaps between them (Davies and Bouldin 1979). Filled marks are by family, open marks by KMeans "
        "clusters."
    )
    st.markdown(
        "The dotted line is the best trivial baseline, computed here on the paper's 24 sequences. Silhouettes of all "
        f"baselines: {levels}. The grey band holds 95% of the scores of shuffled families: {span(low, high)}, "
        f"measured with {CHANCE.name}. Every model has its own band."
    )


def _table_2_row(line: PublishedScore) -> list[Cell]:
    facts = facts_of_line(line)
    return [
        Cell(line.model, line.model.casefold()),
        Cell(KINDS[facts.family] if facts else "unknown"),
        Cell(f"{size_of(line):,.0f}", size_of(line)),
        *(number(value, 4) for value in astuple(line)[1:5]),
    ]


def _our_row(result: ModelResult, line: PublishedScore) -> list[Cell]:
    printed, score = published(line.model), result.score("silhouette", "families")
    theirs = printed.silhouette_families if printed else None
    none, away = "The paper does not have this model.", None if theirs is None else score.value - theirs
    return [
        Cell(line.model, line.model.casefold()),
        number(score.value, 3),
        number(theirs, 3, note=none),
        number(None, note=none) if away is None else Cell(signed(away, 3), away),
        _interval(result, theirs),
        p_cell(score.p),
        number(line.davies_bouldin_families, 3),
        number(printed.davies_bouldin_families if printed else None, 3, note=none),
    ]


def _interval(result: ModelResult, theirs: float | None) -> Cell:
    """Return the interval over other windows, and whether the paper's value is inside."""
    interval = redrawn_interval(result)
    if interval is None:
        return Cell("no interval yet", None, "Redraw the windows on Compare, under: How sure are these numbers?")
    low, high = interval
    where = "" if theirs is None else f", the paper's is {'inside' if low <= theirs <= high else 'outside'}"
    return Cell(span(low, high) + where, (low + high) / 2)


def _links() -> None:
    with st.container(horizontal=True, key="run_them"):
        st.page_link("pages/models.py", label="Choose one on Models", icon=":material/deployed_code:")
        st.page_link("pages/compare.py", label="Run it on Compare", icon=":material/scatter_plot:")


def _why_different(own: Sequence[ModelResult], shared: Sequence[PublishedScore]) -> None:
    st.markdown(
        "Our numbers are stored results for the same 24 sequences: six families with four windows of 50 terms, "
        "Euclidean distance, KMeans with 10 restarts. The interval holds 95% of the scores of other windows. "
        f"{_how_compared(own)} The paper does not state the terms of its windows, a prompt or a version."
    )
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _VERSIONS)
    st.markdown(f"Libraries installed here: {md_text(versions)}. The paper names Google Colab, but no versions.")
    for line in shared:
        if (row := facts_of_line(line)) is not None:
            st.markdown(f"**{md_text(row.name)}.** {md_text(' '.join(recipe_of(CATALOGUE[row.name])))}")


def _how_compared(own: Sequence[ModelResult]) -> str:
    """Return how the differences are judged: of how many runs the windows were redrawn."""
    known = sum(redrawn_interval(result) is not None for result in own)
    if not known:
        return "No windows have been redrawn yet, so a difference is reported, not tested."
    if known < len(own):
        return f"The windows of {known} of {len(own)} runs were redrawn; other differences are reported, not tested."
    return "A difference counts where the paper's value lies outside the interval."


def _legend(*, kmeans: bool = False) -> None:
    """Draw one legend for the charts below."""
    known = {facts.family for line in TABLE_2 if (facts := facts_of_line(line)) is not None}
    shown = [(STYLES[kind], title) for kind, title in KINDS.items() if kind in known]
    marks = [f'<span style="color:{color}">{glyph}</span> {title}' for (color, _, glyph), title in shown]
    marks += ["● filled: by family", "○ open: by KMeans"] if kmeans else []
    text = "".join(f"<span>{mark}</span>" for mark in marks)
    st.html(f'<div style="font-size:.875rem;display:flex;flex-wrap:wrap;gap:.1rem 1.1rem">{text}</div>')


def _score_chart(metric: Metric, look: str) -> Any:
    return score_figure(TABLE_2, metric, baseline=baseline_levels()[0], theme=look)
