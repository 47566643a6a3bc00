"""The results of an experiment in parts: a question, a chart, its answer, and how it is computed."""

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
from numembed.merge_experiment.text import loss_texts, main_split, smallest_seen
from numembed.models.adapters.recipe import Recipe
from numembed.sequences.families.family import family
from ui.merge.charts import chart, dominance, morph, one_of, straight
from ui.merge.progress import redrawn_windows
from ui.merge.robustness import robustness
from ui.merge.splits import SPLIT_TITLES, in_order
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
    Column(
        "Would be seen", "The smallest difference that this design would have seen (80% power).", "number", digits=3
    ),
    Column("Retention", "The retention at which both were compared.", "line"),
    Column("Over", kind="wide"),
)
_SLERP = ("slerp", "slerp_base", "slerp_task")  # whose comparisons the verdict shows first
_WORDS = (
    "Silhouette: how well families of numbers are separated, from −1 to 1; 0 where they mix. Retention: rank "
    "correlation of the similarities among {texts} with the base’s, 1 at most."
)


def show_experiment(result: ExperimentResult, *, came: bool = False) -> None:
    """Draw all results so far; those that ``came`` with the program without what needs the trained models."""
    _verdict(result)
    if note := result.measured_on.note:
        st.info(md_text(note), icon=":material/info:")
    split = _split_control(result)
    if _has_retention(result):
        _plane(result, split, came=came)
    elif result.complete:
        redrawn_windows(result, came=came)
    if result.comparisons:
        _compared(result, split)
    robustness(result, came=came)
    _sweep(result, split)
    if result.maps:
        morph(result)
    if result.straight:
        straight(result)
    if any(candidate.path.startswith("lora") for candidate in result.candidates):
        dominance(result)
    _trained(result)


def _has_retention(result: ExperimentResult) -> bool:
    return any(math.isfinite(candidate.retention.spearman) for candidate in result.candidates)


def _verdict(result: ExperimentResult) -> None:
    """Draw the verdict on the whole experiment, once it is complete."""
    if not result.complete:
        done = len({candidate.path for candidate in result.candidates})
        st.info(
            f"{done} of {plural(len(result.experiment.drawn), 'path')} scored. The verdict and the comparisons "
            "follow once all are scored.",
            icon=":material/hourglass_top:",
        )
        return
    main = main_split(result)
    compared = {one.sentence for one in result.comparisons}
    base, others = result.base_candidate, [sentence for sentence in result.sentences if sentence not in compared]
    first = 1 if base is None or base.retention.lm_loss is None else 2  # the second says what a language model loses
    slerp = [one.sentence for name in _SLERP for one in result.comparisons if one.split == main and one.a == name]
    rest = list(dict.fromkeys([*others[first:], *slerp[1:]]))
    with st.container(border=True, key="verdict"):
        st.subheader("What came out", anchor=False)
        for sentence in filter(None, dict.fromkeys([*others[:first], *slerp[:1]])):
            st.markdown(md_text(sentence))
        st.caption(_WORDS.format(texts=result.measured_on.name))
        if rest:
            with st.expander("More results", key="verdict_more"):
                st.markdown("\n".join(f"- {md_text(sentence)}" for sentence in rest))


def _split_control(result: ExperimentResult) -> str:
    order = in_order(result.experiment.splits)
    return one_of(
        "Scored on",
        order,
        f"merge_split_{'-'.join(order)}",
        lambda name: SPLIT_TITLES.get(name, name),
        default=main_split(result),
        persist_state="session",
        help="\n\n".join(f"**{SPLIT_TITLES.get(name, name)}**: {SPLITS.get(name, name)}." for name in order),
    )


def _plane(result: ExperimentResult, split: str, *, came: bool) -> None:
    st.subheader("What does separating numbers cost?", anchor=False)
    more = [name for name in result.experiment.paths if name not in (*MAIN, "base")]
    with st.container(horizontal=True, vertical_alignment="bottom", key="plane_controls"):
        titles, shown = {"main": "The main ones", "all": "All"}, "main"
        if more:
            shown = one_of("Paths", list(titles), "merge_paths", titles.__getitem__, persist_state="session")
        each = st.toggle("Each seed", key="merge_each", persist_state="session", help="A thin line for every seed.")
        sure = st.toggle(
            "How sure",
            key="merge_sure",
            persist_state="session",
            help="Pale bars: 95% intervals over the texts of retention (horizontal) and over sequences (vertical). "
            "Thin bars: 95% prediction intervals for other choices of windows, once windows are redrawn.",
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
    redrawn_windows(result, came=came)
    with how_computed("plane"):
        st.markdown(
            "Horizontal: Spearman’s correlation between the base’s and the model’s cosine similarities of all pairs of "
            f"{result.measured_on.texts} {result.measured_on.name} (retention). {_families_of(result)}Vertical: the "
            "silhouette of the families. Each line is the mean over the seeds, or over pairs of them, at one t or "
            "scale. The cross at its named point spans the lowest to the highest seed. With “How sure” pale bars are "
            "95% jackknife intervals of both scores, over these texts and over sequences (each left out in turn; the "
            "mean over the seeds). Once windows are redrawn, a thin bar with a diamond shows the mean of the seeds "
            "on other windows, for midpoints and adapters at scale 1. These "
            "windows begin anywhere up to term 1,000; the bar holds 95% of further choices of windows (Student’s t). "
            "Two paths share these texts and sequences, so their difference is more certain than the bars suggest: see "
            "the comparisons. Right and up is better. Compare lines at the same retention, never at the same t."
        )
        drawn = [KINDS[name] for name in names if name in result.experiment.paths]
        st.markdown("\n".join(f"- **{row.title}.** {row.about}" for row in drawn))


def _families_of(result: ExperimentResult) -> str:
    """Return which families the number texts of retention are of; "" for sentences."""
    titles = [family(name).title for name in result.measured_on.families]
    return f"They are of {md_text(', '.join(titles), most=900)}. " if titles else ""


def _ends_text(result: ExperimentResult, split: str) -> str:
    """Return the scores of the base and of the adapters at scale 1."""
    base, value = result.base_candidate, measures()["silhouette"].value
    drawn = spots(
        result, "lora", lambda candidate: candidate.retention.spearman, lambda candidate: value(candidate, split)
    )
    spot = next((one for one in drawn if one.at == 1), None)
    if base is None or split not in base.splits or spot is None:
        return "The adapters are being scored."
    seeds = f" ({span(*spot.y[1:])} over {spot.count} seeds)" if spot.count > 1 else ""
    kept = f" ({span(*spot.x[1:])})" if spot.count > 1 else ""
    return (
        f"The base has a silhouette of {decimal(base.splits[split].silhouette)}. The adapters as trained reach "
        f"{decimal(spot.y[0])}{seeds}, with a retention of {decimal(spot.x[0])}{kept}."
    )


def _compared(result: ExperimentResult, split: str) -> None:
    st.subheader("Which separates better at equal retention?", anchor=False)
    listed = [one for one in result.comparisons if one.split == split]
    known = [one for one in listed if math.isfinite(one.difference)]
    if known:
        each = (f"{KINDS[one.a].title} minus {KINDS[one.b].title} {signed(one.difference, 3)}" for one in known)
        alt = f"Differences at equal retention: {'; '.join(each)}."
        chart(result, "compared", lambda look: comparisons_figure(listed, theme=look), alt, choices=(split,))
        st.caption(
            "Right of 0 the first is better. Lines: 95% intervals. Filled: significant, also after adjusting for all "
            "comparisons."
        )
    for sentence in _sentences(listed):
        st.markdown(md_text(sentence))
    with st.expander("All comparisons, and how this is computed", key="compared_more"):
        table(
            _COMPARED,
            [_row(one, listed) for one in listed],
            key="table compared",
            label="Comparisons at equal retention",
        )
        st.markdown("\n".join(f"- {md_text(one.sentence)}" for one in listed))
        st.markdown(
            "Both paths are compared at a few levels of retention that both reach, by linear interpolation between "
            "scored points; where a path reaches a level more than once, the mean counts. The interval combines two "
            "errors: of the seeds (from three on, and not where all are compared with one model), and of the "
            "sequences, each left out in turn. Its half-width is the square root of the sum of both squared "
            "half-widths. p values are adjusted for all comparisons on the same sequences (Holm 1979). “Linear, length "
            "kept” and “Soup, length kept” are controls: linear interpolation, rescaled to the length that SLERP "
            "keeps."
        )
        for sentence in result.seen:
            st.markdown(md_text(sentence))


def _sentences(listed: Sequence[Comparison]) -> list[str]:
    """Return the sentences of significant differences, else the one about SLERP."""
    seen = [one.sentence for one in listed if one.distinguishable]
    return seen[:3] or [one.sentence for one in listed if one.a == "slerp"][:1]


def _row(one: Comparison, listed: Sequence[Comparison]) -> list[Cell]:
    levels = span(min(one.retention), max(one.retention)) if one.retention else "never equal"
    return [
        Cell(KINDS[one.a].title),
        Cell(KINDS[one.b].title),
        number(one.difference, 3),
        interval_cell(one.low, one.high, digits=3, sign=True),
        p_cell(one.p),
        p_cell(one.p_holm),
        number(smallest_seen(one, listed), 3),
        Cell(levels),
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
        titles = {"scale": "Scale, from the base", "t": "t, from one model to another"}
        sweeps = one_of("Along", swept, "merge_sweeps", titles.__getitem__, persist_state="session")
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
    where = f" on {loss_texts(result.experiment)}" if measure == "lm_loss" else where
    chart(
        result,
        "sweep",
        lambda look: sweep_figure(result, split, str(measure), sweeps=sweeps, theme=look),
        f"{chosen.title}{where} along the {sweeps}, one line for each path; the base is dashed.",
        choices=(split, measure, sweeps),
    )
    better = {"high": "Higher is better.", "low": "Lower is better.", "": ""}[chosen.better]
    st.caption(
        f"{f'Measured{where}. ' if where else ''}{better} Lines are means, bands go from the lowest to the highest "
        "seed. Equal t is not equal retention: which path is better is shown above."
    )


def _trained(result: ExperimentResult) -> None:
    """Draw the curves of training in a closed panel."""
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
            f"LoRA of rank {recipe.rank} on {', '.join(recipe.targets) or 'all linear layers'}, {recipe.steps:,} steps "
            f"of {recipe.batch} sequences for each of {plural(len(recipe.seeds), 'seed')}, "
            f"{recipe.loss.replace('_', '-')} loss, learning rate {recipe.learning_rate:g}. "
            f"{_beginnings(recipe)} Validation: windows of the training families that training never reads."
        )


def _beginnings(recipe: Recipe) -> str:
    if recipe.apart is None:
        return "Each sequence begins at a random term of its own."
    first, last = recipe.apart
    return (
        f"The sequences of a step begin around one random term: at first within {first:g} times its index, at the end "
        f"within {last:g} times. Where all numbers have a similar magnitude, only the family distinguishes them."
    )
