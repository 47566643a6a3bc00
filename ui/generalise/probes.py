"""The parts of the Generalise page: each a question, a picture and the sentence that the numbers allow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import streamlit as st

from numembed.core.wording import p_text, percent
from numembed.examinations.generalisation import text
from numembed.examinations.generalisation.result import Far, Generalisation, Probe
from numembed.figures.generalisation import Row, accuracy_figure
from numembed.models.baselines import BASELINES
from ui.shared.figure import figure, how_computed
from ui.shared.table import Cell, Column, interval_cell, number, p_cell, table
from ui.shared.text import md_text

_COLUMNS = (
    Column("What"),
    Column("Named rightly", "Each class counts equally.", "number", better="high"),
    Column("Cases", "Correct, out of how many.", "line"),
    Column("95% interval", "Wide, because sequences of one family tend to be right or wrong together.", "line"),
    Column("By chance", "Chance level: what guessing or shuffled classes get.", "number"),
    Column("95% of shuffles", kind="line"),
    Column("p", "p value: how often shuffled labels do at least as well.", "number", digits=3),
    Column("p, adjusted", "Adjusted for all tests of this question (Holm).", "number", digits=3),
    Column("Best simple count", kind="line"),
    Column("It gets", kind="number", better="high"),
    Column("Remark", kind="wide"),
)
_READ = (
    "Grey: where 95% of shuffled labels fall. A filled circle is better than chance, an open one is not. Diamond: "
    "the best that a simple count of digits, steps or characters gets with the same classifier."
)
_INTERVAL = (
    "The interval is Clopper and Pearson's for as many independent answers as these are worth: sequences of one "
    "family are right or wrong together, and the differences between families say how much (Korn and Graubard "
    "1998). Wilson's interval over single sequences is too narrow here: in synthetic sets it held the true value in "
    "80% at worst, this one in 91% at worst. Whether a result is chance is decided by the shuffles and not by the "
    "interval."
)


def near(generalisation: Generalisation) -> None:
    """Draw how windows that were held out were named."""
    st.subheader("Does it name the family of a window that was held out?", anchor=False)
    _figure([(probe.title, probe) for probe in generalisation.near], "near")
    st.caption(_READ)
    st.markdown(md_text(text.near_sentence(generalisation)))
    with how_computed("near", numbers=True):
        _table([(probe.title, probe) for probe in generalisation.near], "near")
        st.markdown(
            "Each window of all families is held out once, and the classifiers learn from the others (beyond 12 "
            "windows, neighbouring ones are held out together). Nearest centroid and nearest neighbour use the "
            "study's distance. The linear probe is a regularised linear discriminant on standardised numbers, its "
            "ridge 1% of the mean variance for every model (Friedman 1989). For p the families change places "
            "inside each window, and all is learnt anew. p values in sentences are adjusted for the three "
            f"classifiers (Holm 1979). {_INTERVAL}"
        )


def far(generalisation: Generalisation) -> None:
    """Draw how windows far away were named."""
    st.subheader("Does it recognise the families far away?", anchor=False)
    rows = [(f"{_short(probe)}, {_thousands(one)}", probe) for one in generalisation.far for probe in one.probes]
    _figure(rows, "far")
    for one in generalisation.far:
        st.markdown(md_text(text.far_sentence(one)))
    with how_computed("far", numbers=True):
        _table(rows, "far")
        st.markdown(
            "The classifiers learn from all windows of the study and name four windows of each family that begin "
            "far behind them, at terms counted from 0. Windows of one family are not independent of each other, so "
            "for p whole families change places, in all orders up to six families and in a sample of orders beyond. "
            "p values are adjusted for all tests of both distances (Holm 1979)."
        )


def unseen(generalisation: Generalisation) -> None:
    """Draw how attributes of families that were held out were named."""
    st.subheader("Does what it learns apply to families it has never seen (unseen classes)?", anchor=False)
    _figure([(probe.title, probe) for probe in generalisation.unseen], "unseen", chance="shuffled classes")
    for probe in generalisation.unseen:
        st.markdown(md_text(text.unseen_sentence(probe)))
    with how_computed("unseen", numbers=True):
        _table([(probe.title, probe) for probe in generalisation.unseen], "unseen")
        st.markdown(
            "Families are put into two or three classes by their share of odd numbers, of primes, and by how they "
            "grow. Each family is held out with all its windows, the linear probe learns the classes from the "
            "others, and each class counts equally. For p whole families exchange their classes. With few families "
            "hardly anything can be shown: choose ten or more on Compare."
        )


def single(generalisation: Generalisation) -> None:
    """Draw which attributes can be read off windows that were held out."""
    st.subheader("Which properties can be predicted from the vectors?", anchor=False)
    _figure([(probe.title, probe) for probe in generalisation.single], "single", chance="shuffled classes")
    st.markdown(md_text(text.single_sentence(generalisation.single), most=1_000))
    with how_computed("single", numbers=True):
        _table([(probe.title, probe) for probe in generalisation.single], "single")
        st.markdown(
            "One linear probe for each property, and no window on both sides: each is held out once. Odd or prime "
            "means nine terms in ten; magnitudes are small, middle or large; last digits are KMeans groups of the "
            "ten shares; growth is steady, faster, shrinking or none. For p the classes change places inside each "
            "window. Most of these properties belong to whole families: a model that knows the families can name "
            "them without knowing the property. So whole families also exchange the classes of all their windows, "
            "and where that gives as much often enough, the sentence says: perhaps through the family alone."
        )


def _short(probe: Probe) -> str:
    return probe.title.removeprefix("Nearest ").removeprefix("Linear ").capitalize()


def _thousands(one: Far) -> str:
    return f"{one.start:,}"


def _figure(rows: Sequence[Row], key: str, *, chance: str = "guessing") -> None:
    known = [(label, probe) for label, probe in rows if not math.isnan(probe.value)]
    if not known:
        return
    values = "; ".join(f"{label} {percent(probe.value)}, {chance} {percent(probe.chance)}" for label, probe in known)
    figure(
        lambda look: accuracy_figure(rows, theme=look, chance=chance), f"accuracy {key}", f"Named rightly: {values}."
    )


def _table(rows: Sequence[Row], key: str) -> None:
    if rows:
        table(_COLUMNS, [_cells(*row) for row in rows], key=f"table {key}", label=f"All numbers: {key}")


def _cells(label: str, probe: Probe) -> list[Cell]:
    note = probe.note
    if probe.left_out:
        note = f"{probe.left_out:,} left out: their class is in no other window or family"
    if not math.isnan(probe.p_families):
        apart = f"where whole families exchange their classes: {p_text(probe.p_families)}"
        note = f"{note}; {apart}" if note else apart
    known = not math.isnan(probe.value)
    return [
        Cell(label),
        number(probe.value, note=note),
        Cell(f"{probe.right:,} of {probe.total:,}" if known else "–"),
        interval_cell(probe.low, probe.high),
        number(probe.chance, note=note),
        interval_cell(probe.null_low, probe.null_high),
        p_cell(probe.p, note),
        p_cell(probe.p_holm, note),
        Cell(BASELINES[probe.baseline].title if probe.baseline else "–"),
        number(probe.baseline_value),
        Cell(note),
    ]
