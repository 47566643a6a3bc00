"""The parts of the Generalise page: each a question, a picture and the sentence that the numbers allow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import streamlit as st

from numembed.core.wording import p_text, percent
from numembed.examinations.generalisation import text
from numembed.examinations.generalisation.result import Generalisation, Probe
from numembed.figures.generalisation import Row, accuracy_figure
from numembed.models.baselines import BASELINES
from ui.shared.figure import figure, how_computed
from ui.shared.table import Cell, Column, interval_cell, number, p_cell, table
from ui.shared.text import md_text

_COLUMNS = (
    Column("What"),
    Column("Accuracy", "Balanced accuracy: each class counts equally.", "number", better="high"),
    Column("Cases", "Correct, out of how many.", "line"),
    Column("95% interval", "Wide, because sequences of one family tend to be right or wrong together.", "line"),
    Column("By chance", "Chance level: what guessing or shuffled classes get.", "number"),
    Column("95% of shuffles", kind="line"),
    Column("p", "p value: how often shuffled labels do at least as well.", "number", digits=3),
    Column("p, adjusted", "Adjusted for all tests of this page (Holm).", "number", digits=3),
    Column("Would be seen", "The smallest accuracy that this design would have seen (80% power).", "number"),
    Column("Best simple count", kind="line"),
    Column("It gets", kind="number", better="high"),
    Column("Remark", kind="wide"),
)
_READ = (
    "Grey: the range of 95% of shuffled labels. A filled circle is better than chance, by the shuffles. Diamond: "
    "the best accuracy that a simple count of digits, steps or characters gets with the same classifier."
)
_UNSEEN = "Even if all were correct, this design could not tell."
_HOW_NEAR = """\
Each window of all families is held out once, and the classifiers are trained on the others (with more than 12 windows,
neighbouring windows are held out together). Nearest centroid and nearest neighbour use the distance of the study. The
linear probe is a regularised linear discriminant on standardised vectors; its ridge is 1% of the mean variance for
every model (Friedman 1989). For the p value, families are permuted inside each window and the classifiers are trained
again. p values in sentences are adjusted for all tests of this page (Holm 1979).

The interval is Clopper and Pearson's, for an effective number of independent answers: sequences of one family tend to
be right or wrong together, and the variance between families says how much (Korn and Graubard 1998). Wilson's interval
over single sequences is too narrow here: on synthetic data it contained the true value in 80% of cases at worst, this
interval in 91% at worst. Whether a result is better than chance is decided by the permutations, not by the interval."""
_HOW_FAR = """\
The classifiers are trained on all windows of the study and tested on four later windows of each family, which start at
the terms that are given, counted from 0. Windows of one family are not independent of each other. For the p value,
whole families are therefore permuted: in all orders for up to six families, in a sample of orders for more. p values
are adjusted for all tests of this page (Holm 1979)."""
_HOW_UNSEEN = """\
Families are divided into two or three classes by their share of odd numbers, by their share of primes, and by how they
grow. Each family is held out with all its windows, the linear probe is trained on the others, and each class counts
equally. For the p value, whole families exchange their classes. With few families hardly any result can be
significant: choose ten or more on Compare."""
_HOW_SINGLE = """\
One linear probe for each property; each window is held out once, so that no window is used for both training and test.
Odd or prime means that nine in ten terms are; magnitudes are small, middle or large; last digits are KMeans clusters of
the shares of the ten digits; growth is steady, faster, shrinking or none. For the p value, classes are permuted inside
each window. Most of these properties belong to whole families, so a model that knows the families can predict them
without knowing the property (a confound). Therefore whole families also exchange the classes of all their windows.
Where that predicts as well often enough, the sentence says: perhaps only because the family is."""


def near(generalisation: Generalisation) -> None:
    """Draw how windows that were held out were named."""
    question, rows = "Does it name the family of a window that was held out?", _titled(generalisation.near)
    _part(question, "near", rows, [text.near_sentence(generalisation)], _HOW_NEAR, caption=_READ)


def far(generalisation: Generalisation) -> None:
    """Draw how windows far away were named."""
    rows = [(f"{_short(probe)}, {one.start:,}", probe) for one in generalisation.far for probe in one.probes]
    sentences = [text.far_sentence(one) for one in generalisation.far]
    _part("Does it recognise the families far away?", "far", rows, sentences, _HOW_FAR)


def unseen(generalisation: Generalisation) -> None:
    """Draw how attributes of families that were held out were named."""
    question = "Does what it learns apply to families it has never seen (unseen classes)?"
    rows, sentences = _titled(generalisation.unseen), [text.unseen_sentence(probe) for probe in generalisation.unseen]
    _part(question, "unseen", rows, sentences, _HOW_UNSEEN, chance="shuffled classes")


def single(generalisation: Generalisation) -> None:
    """Draw which attributes can be read off windows that were held out."""
    question, rows = "Which properties can be predicted from the vectors?", _titled(generalisation.single)
    sentences = [text.single_sentence(generalisation.single)]
    _part(question, "single", rows, sentences, _HOW_SINGLE, chance="shuffled classes")


def _part(
    question: str,
    key: str,
    rows: Sequence[Row],
    sentences: Sequence[str],
    how: str,
    *,
    chance: str = "guessing",
    caption: str = "",
) -> None:
    """Draw one question: its figure, what the numbers say, and how they are computed."""
    st.subheader(question, anchor=False)
    if known := [(label, probe) for label, probe in rows if not math.isnan(probe.value)]:
        values = "; ".join(
            f"{label} {percent(probe.value)}, {chance} {percent(probe.chance)}" for label, probe in known
        )
        alt = f"Named correctly: {values}."
        figure(lambda look: accuracy_figure(rows, theme=look, chance=chance), f"accuracy {key}", alt)
    if caption:
        st.caption(caption)
    for sentence in sentences:
        st.markdown(md_text(sentence, most=1_000))
    with how_computed(key, numbers=True):
        if rows:
            table(_COLUMNS, [_cells(*row) for row in rows], key=f"table {key}", label=f"All numbers: {key}")
        st.markdown(how)


def _titled(probes: Sequence[Probe]) -> list[Row]:
    return [(probe.title, probe) for probe in probes]


def _short(probe: Probe) -> str:
    return probe.title.removeprefix("Nearest ").removeprefix("Linear ").capitalize()


def _cells(label: str, probe: Probe) -> list[Cell]:
    note = probe.note
    if probe.left_out:
        note = f"{probe.left_out:,} left out: no other window or family has their class"
    if not math.isnan(probe.p_families):
        p = probe.p_families if math.isnan(probe.p_families_page) else probe.p_families_page
        apart = f"where whole families exchange their classes: {p_text(p)}"
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
        p_cell(probe.p_told, note),
        number(probe.smallest_seen, note="" if probe.smallest_seen == probe.smallest_seen else _UNSEEN),
        Cell(BASELINES[probe.baseline].title if probe.baseline else "–"),
        number(probe.baseline_value),
        Cell(note),
    ]
