"""What an experiment is evaluated on, and what training may contain of it: the table on the Merge page."""

from __future__ import annotations

import functools
from collections.abc import Iterable

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
SPLIT_TITLES = {name: title for name, title in TITLES.items() if name != "sentences"}
LONGEST_RUNS = {
    OTHERS: 6,
    PAPER: 16,
}  # most numbers of an evaluation text in a row that training contains
_WHAT = SPLITS | {"sentences": "no numbers: they measure how much of the base is retained, where it tells them apart"}
_COLUMNS = (
    Column("Evaluated on", kind="line"),
    Column("What it is", kind="wide"),
    Column("Texts", kind="number"),
    Column("Numbers", "Number of different numbers.", "number"),
    Column("In training", "How many of these numbers training sequences may contain.", "number"),
)


def in_order(names: Iterable[str]) -> list[str]:
    """Return names of evaluations in the order of TITLES, unknown ones last."""
    order = list(TITLES)
    return sorted(names, key=lambda name: order.index(name) if name in TITLES else len(order))


def splits_shown(split: Split) -> None:
    """Draw what is trained on, and the numbers that each evaluation shares with training."""
    shown = {one.evaluation: one for one in _overlaps(split)}
    never = f" Never trained on, and scored: {_titles(split.new)}." if "new" in shown else ""
    st.caption(f"Trained on: {_titles(split.training)}.{never}")
    table(
        _COLUMNS,
        [_row(shown[name]) for name in in_order(shown)],
        key="table splits",
        label="Evaluations and their overlaps",
    )
    st.caption(
        "A number can belong to several families (9 is odd and a square), so training contains single numbers of most "
        f"evaluations. It also contains up to {LONGEST_RUNS[split.training]} of them in a row, where another family "
        "has the same terms. Training never contains a whole evaluation text, nor any of its terms in the order of its "
        "own family: a choice that would allow this is refused. For a base that does not tell the ordinary sentences "
        "apart, such as number-lm, as many number texts of other families take their place, neither trained nor scored."
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
