"""What an experiment is judged by and what of it training may show: the table beside the choice on the Merge page."""

from __future__ import annotations

import functools

import streamlit as st

from numembed.core.wording import percent
from numembed.merge_experiment.comparisons import SPLITS
from numembed.sequences.families.family import family
from numembed.sequences.splits import OTHERS, PAPER, Overlap, Split, overlaps
from ui.shared.table import Cell, Column, table
from ui.shared.text import md_text

TITLES = {
    "paper": "Paper’s 24",
    "later": "Paper’s families, later",
    "reserved": "Training families, reserved",
    "new": "New families",
    "sentences": "Ordinary sentences",
}
LONGEST_RUNS = {OTHERS: 6, PAPER: 16}  # numbers of an evaluation text that training on other families shows in a row
_WHAT = SPLITS | {"sentences": "no numbers: they measure how much of the base is retained"}
_COLUMNS = (
    Column("Judged by", kind="line"),
    Column("What it is", kind="wide"),
    Column("Texts", kind="number"),
    Column("Numbers", "Different ones.", "number"),
    Column("Training may show", "How many of these numbers training sequences may contain, among others.", "number"),
)


def splits_shown(split: Split) -> None:
    """Draw what is trained on, and every evaluation with the numbers that it shares with training."""
    st.caption(f"Trained on: {_titles(split.training)}. Never trained on, and scored: {_titles(split.new)}.")
    shown = {one.evaluation: one for one in _overlaps(split)}
    order = [name for name in TITLES if name in shown] + [name for name in shown if name not in TITLES]
    table(_COLUMNS, [_row(shown[name]) for name in order], key="table splits", label="Evaluations and their overlaps")
    st.caption(
        "One number belongs to many families (9 is odd and a square), so training meets single numbers of most "
        f"evaluations, and a few in a row, {LONGEST_RUNS[split.training]} at most, where another family has the same "
        "run. No evaluation text is ever shown whole, and none of its terms in the order of its own family: a choice "
        "that would show one is refused."
    )


@functools.lru_cache(maxsize=16)
def _overlaps(split: Split) -> tuple[Overlap, ...]:
    return overlaps(split)


def _row(one: Overlap) -> list[Cell]:
    what = _WHAT.get(one.evaluation, "")
    share = Cell(percent(one.share), one.share) if one.numbers else Cell("–", None, "It holds no numbers.")
    return [
        Cell(TITLES.get(one.evaluation, one.evaluation)),
        Cell(what[:1].upper() + what[1:]),
        Cell(f"{one.texts:,}", one.texts),
        Cell(f"{one.numbers:,}", one.numbers),
        share,
    ]


def _titles(families: tuple[str, ...]) -> str:
    return md_text(", ".join(family(name).title for name in families), most=900)
