"""What an experiment has found, part by part: a question, a picture, the sentence that the numbers allow, and how."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import streamlit as st

from numembed.core.wording import decimal, plural, signed, span
from numembed.figures.merge.common import measures, spots
from numembed.figures.merge.plane import MAIN, comparisons_figure, plane_figure, sweep_figure
from numembed.figures.merge.weights import training_figure
from numembed.merge_experiment.comparisons import SPLITS
from numembed.merge_experiment.experiment import ExperimentResult
from numembed.merge_experiment.paths import KINDS
from numembed.merge_experiment.results import Comparison
from numembed.merge_experiment.text import main_split
from numembed.models.adapters.recipe import Recipe
from ui.merge.charts import chart
from ui.merge.choice import SPLIT_TITLES
from ui.merge.maps import morph
from ui.merge.redrawn import redrawn_windows
from ui.merge.weights import dominance, straight
from ui.shared.figure import how_computed
from ui.shared.table import Cell, Column, interval_cell, number, p_cell, table
from ui.shared.text import md_text

_COMPARED = (
    Column("First"),
    Column("Second"),
    Column("Difference", "Difference of the silhouettes, first minus second, at equal retention.", "number", digits=3),
    Column("95% interval", kind="line"),
    Column("p", kind="number", digits=3),
    Column("p, adjusted", "p value, adjusted for all comparisons on these sequences (Holm).", "number", digits=3),
    Column("Kept", "The retention at which both were compared.", "line"),
    Column("Over", kind="wide"),
)

_ASKED = ("slerp", "slerp_base", "slerp_task")  # what the verdict says first of them
_WORDS = (
    "Silhouette: how well families of numbers are separated, from −1 to 1; 0 where they mix. Retention: how well the "
    "order of similarities among ordinary sentences agrees with the base’s, 1 at most."
)


def show_experiment(result: ExperimentResult) -> None:
    """Draw everything that was found so far."""
    _verdict(result)
    split = _split_control(result)
    _plane(result, split)
    if result.comparisons:
        _compared(result, split)
    _sweep(result, split)
    if result.maps:
        morph(result)
    if result.straight:
        straight(result)
    if any(candidate.path.startswith("lora") for candidate in result.candidates):
        dominance(result, SPLIT_TITLES)
    _trained(result)


def _verdict(result: ExperimentResult) -> None:
    """Draw what may be said of the whole experiment, once it is complete."""
    if not result.complete:
        done = len({candidate.path for candidate in result.candidates})
        st.info(
            f"{done} of {plural(len(result.experiment.drawn), 'path')} scored. The verdict and the comparisons come "
            "once all are there.",
            icon=":material/hourglass_top:",
        )
        return
    main = main_split(result)
    compared = {one.sentence for one in result.comparisons}
    first, *more = [sentence for sentence in result.sentences if sentence not in compared] or [""]
    asked = [one.sentence for name in _ASKED for one in result.comparisons if one.split == main and one.a == name]
    first_asked, rest = asked[:1], list(dict.fromkeys([*more, *asked[1:]]))
    with st.container(border=True, key="verdict"):
        st.subheader("What came out", anchor=False)
        for sentence in filter(None, dict.fromkeys([first, *first_asked])):
            st.markdown(md_text(sentence))
        st.caption(_WORDS)
        if rest:
            with st.expander("More results", key="verdict_more"):
                st.markdown("\n".join(f"- {md_text(sentence)}" for sentence in rest))


def _split_control(result: ExperimentResult) -> str:
    order = [name for name in SPLIT_TITLES if name in result.experiment.splits]
    order += [name for name in result.experiment.splits if name not in order]
    chosen = st.segmented_control(
        "Scored on",
        order,
        default=main_split(result),
        required=True,
        key=f"merge_split_{'-'.join(order)}",
        format_func=lambda name: SPLIT_TITLES.get(name, name),
        persist_state="session",
        help="\n\n".join(f"**{SPLIT_TITLES.get(name, name)}**: {SPLITS.get(name, name)}." for name in order),
    )
    return str(chosen)


def _plane(result: ExperimentResult, split: str) -> None:
    st.subheader("What does separating numbers cost?", anchor=False)
    more = [name for name in result.experiment.paths if name not in (*MAIN, "base")]
    with st.container(horizontal=True, vertical_alignment="bottom", key="plane_controls"):
        shown = (
            st.segmented_control(
                "Paths",
                ("main", "all"),
                default="main",
                required=True,
                key="merge_paths",
                persist_state="session",
                format_func={"main": "The main ones", "all": "All"}.__getitem__,
            )
            if more
            else "main"
        )
        each = st.toggle("Each seed", key="merge_each", persist_state="session", help="A thin line for every seed.")
        sure = st.toggle(
            "How sure",
            key="merge_sure",
            persist_state="session",
            help="Pale bars: 95% intervals for other sentences (across) and sequences (up). Thin "
            "bars: where other choices of windows score, once they are redrawn.",
        )
    names = (*MAIN, *more) if shown == "all" else MAIN
    chart(
        result,
        "plane",
        lambda look: plane_figure(result, split, names=names, each=each, sure=sure, theme=look),
        f"Silhouette against retention on {SPLITS.get(split, split)}. {_ends_text(result, split)}",
        choices=(split, names, each, sure),
    )
    st.markdown(md_text(_ends_text(result, split)))
    redrawn_windows(result)
    with how_computed("plane"):
        st.markdown(
            "Across: Spearman’s correlation between the base’s and the model’s cosine similarities of all pairs of "
            "about 120 ordinary sentences. Up: the silhouette of the families. Each line is the mean over the seeds "
            "or over pairs of them, at one t or scale; the cross at its named place goes from the lowest to the "
            "highest. With “How sure”, pale bars behind it are 95% intervals of the two numbers for other sentences "
            "and other sequences of the kind (jackknives: each one left out in turn; the mean over the seeds). Once "
            "windows are redrawn, a thin bar with a diamond beside them shows, for half-way places and adapters "
            "taken once, the mean of the seeds on other windows, which begin anywhere up to term 1,000, and where "
            "95% of further choices of windows score (Student’s t). Two paths share both, so their difference is "
            "more certain than the bars suggest: see the comparisons. Right and up is better. Compare lines where "
            "they stand above each other, never at the same t."
        )
        drawn = [KINDS[name] for name in names if name in result.experiment.paths]
        st.markdown("\n".join(f"- **{row.title}.** {row.about}" for row in drawn))


def _ends_text(result: ExperimentResult, split: str) -> str:
    """Return what the adapters reach at full scale, and what the base has."""
    base = [candidate for candidate in result.candidates if candidate.path == "base" and split in candidate.splits]
    of = measures()["silhouette"].value
    drawn = spots(
        result, "lora", lambda candidate: candidate.retention.spearman, lambda candidate: of(candidate, split)
    )
    full = [spot for spot in drawn if spot.at == 1]
    if not base or not full:
        return "The adapters are being scored."
    spot, before = full[0], base[0].splits[split].silhouette
    seeds = f" ({span(*spot.y[1:])} over {spot.count} seeds)" if spot.count > 1 else ""
    kept = f" ({span(*spot.x[1:])})" if spot.count > 1 else ""
    return (
        f"The base scores {decimal(before)}. The adapters as they were trained score {decimal(spot.y[0])}{seeds} and "
        f"keep {decimal(spot.x[0])}{kept} of the order of sentence similarities."
    )


def _compared(result: ExperimentResult, split: str) -> None:
    st.subheader("Which separates better at equal retention?", anchor=False)
    listed = [one for one in result.comparisons if one.split == split]
    known = [one for one in listed if math.isfinite(one.difference)]
    if known:
        text = "; ".join(
            f"{KINDS[one.a].title} minus {KINDS[one.b].title} {signed(one.difference, 3)}" for one in known
        )
        chart(
            result,
            "compared",
            lambda look: comparisons_figure(listed, theme=look),
            f"Differences at equal retention: {text}.",
            choices=(split,),
        )
        st.caption(
            "Right of 0 the first is better. Lines: 95% intervals. Filled: the difference is significant, also after "
            "adjusting for all comparisons."
        )
    for sentence in _sentences(listed):
        st.markdown(md_text(sentence))
    with st.expander("All comparisons, and how this is computed", key="compared_more"):
        table(_COMPARED, [_row(one) for one in listed], key="table compared", label="Comparisons at equal retention")
        st.markdown("\n".join(f"- {md_text(one.sentence)}" for one in listed))
        st.markdown(
            "Both paths are read off at the same few levels of retention that both reach, between two scored places on "
            "a straight line; where a path comes by a level more than once, the mean counts. The interval holds two "
            "errors: of the seeds (from three on, and not where all are held against one model), and of the "
            "sequences, each left out in turn; it is the square root of the sum of the squares of their own "
            "intervals. p values are adjusted for all comparisons on the same sequences (Holm "
            "1979). “Linear, length kept” and “Soup, length kept” are controls: the straight line, stretched to the "
            "length that SLERP would keep."
        )


def _sentences(listed: Sequence[Comparison]) -> list[str]:
    """Return the sentences of differences that were seen, else the one about SLERP."""
    seen = [one.sentence for one in listed if one.distinguishable]
    return seen[:3] or [one.sentence for one in listed if one.a == "slerp"][:1]


def _row(one: Comparison) -> list[Cell]:
    kept = span(min(one.retention), max(one.retention)) if one.retention else "never equal"
    return [
        Cell(KINDS[one.a].title),
        Cell(KINDS[one.b].title),
        number(one.difference, 3),
        interval_cell(one.low, one.high, digits=3, sign=True),
        p_cell(one.p),
        p_cell(one.p_holm),
        Cell(kept),
        Cell(one.over),
    ]


def _sweep(result: ExperimentResult, split: str) -> None:
    st.subheader("How does each score change along a path?", anchor=False)
    swept = [name for name in ("scale", "t") if any(KINDS[one].sweeps == name for one in result.experiment.paths)]
    known = {
        name: one
        for name, one in measures().items()
        if any(math.isfinite(one.value(candidate, split)) for candidate in result.candidates)
    }
    with st.container(horizontal=True, vertical_alignment="bottom", key="sweep_controls"):
        sweeps = st.segmented_control(
            "Along",
            swept,
            default=swept[0],
            required=True,
            key="merge_sweeps",
            persist_state="session",
            format_func={"scale": "Scale, from the base", "t": "t, from one model to another"}.__getitem__,
        )
        measure = st.selectbox(
            "Score",
            tuple(known),
            key="merge_measure",
            persist_state="session",
            width=340,
            format_func=lambda name: known[name].title,
        )
    chosen = known[str(measure)]
    where = f" on {SPLITS.get(split, split)}" if chosen.split else ""
    chart(
        result,
        "sweep",
        lambda look: sweep_figure(result, split, str(measure), sweeps=str(sweeps), theme=look),
        f"{chosen.title}{where} along the {sweeps}, one line for each path; the base is dashed.",
        choices=(split, measure, sweeps),
    )
    better = {"high": "Higher is better.", "low": "Lower is better.", "": ""}[chosen.better]
    st.caption(
        f"{better} Lines are means, bands go from the lowest to the highest seed. Equal t is not equal retention: "
        "for which is better see above."
    )


def _trained(result: ExperimentResult) -> None:
    """Draw how training went, folded away."""
    last: dict[int, Any] = {one.seed: one for one in sorted(result.adapters, key=lambda one: one.step)}
    readings = [reading for one in last.values() for reading in one.readings]
    if not readings:
        return
    with st.expander("How did training go?", key="trained"):
        recipe = result.experiment.recipe
        measured = [one.silhouette for one in readings if one.silhouette is not None]
        text = f"Validation silhouette from {span(measured[0], measured[-1])}." if measured else ""
        chart(
            result,
            "training",
            lambda look: training_figure(readings, theme=look),
            f"Loss and validation by step. {text}",
        )
        st.markdown(
            f"LoRA of rank {recipe.rank} on all linear layers, {recipe.steps:,} steps of {recipe.batch} sequences for "
            f"each of {plural(len(recipe.seeds), 'seed')}, {recipe.loss.replace('_', '-')} loss, learning rate "
            f"{recipe.learning_rate:g}. {_beginnings(recipe)} Validation: windows of the training families that "
            "training never reads."
        )


def _beginnings(recipe: Recipe) -> str:
    if recipe.apart is None:
        return "Each sequence begins at a random term of its own."
    first, last = recipe.apart
    return (
        f"The sequences of a step begin around one random term: at first within {first:g} times its index, at the end "
        f"within {last:g} times. Where all numbers are about as large, only the family is left to tell them apart by."
    )
