"""The parts of the Robustness page: what moves the score, one change in full, how far vectors move, redrawn windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from numembed.core.errors import NumembedError
from numembed.core.wording import decimal
from numembed.examinations.stress import text
from numembed.examinations.stress.compute import Stress, TrialResult, texts_of, variant_of
from numembed.examinations.stress.together import plain_seen
from numembed.export import rows_csv
from numembed.figures.stress import displacement_figure, tornado_figure
from numembed.sequences.families.family import family
from numembed.sequences.perturbations.terms import PERTURBATIONS, change_of, perturb
from numembed.sequences.sets import SequenceSet
from numembed.studies.results import ModelResult
from numembed.studies.study import Study
from ui.shared.examination import examined, numbers_download
from ui.shared.figure import figure, how_computed
from ui.shared.frame import download
from ui.shared.table import Cell, Column, number, p_cell, table
from ui.shared.text import md_text

DESIGNS = 5  # enough for an interval, few enough to wait for
_SHOWN_CHARS = 160
_FIRST = "last_digit_removed"
_COLUMNS = (
    Column("Change", kind="line"),
    Column("How", kind="line"),
    Column("Of"),
    Column("Silhouette", "Silhouette after the change; for the KMeans seed, silhouette of the clusters.", "number"),
    Column("Difference", "Difference from the plain score.", "number"),
    Column("from", "Lower end of the 95% confidence interval of the difference.", "number", group="95% interval"),
    Column("to", "Upper end of the 95% confidence interval of the difference.", "number", group="95% interval"),
    Column("p (Holm)", "p value of the difference, adjusted for all claims of this page.", "number", digits=3),
    Column("Would be seen", "The smallest difference that this design would have seen (80% power).", "number"),
    Column("p chance", "How often shuffled families score at least as well after the change.", "number", digits=3),
    Column("p within", "The same, with families shuffled inside each window only.", "number", digits=3),
    Column(
        "Moved",
        "Mean distance from the plain vector, divided by the mean distance to the nearest sequence of its family.",
        "number",
    ),
    Column("How to interpret it", kind="wide"),
)
_HOW = """\
**The change** of a variant is the silhouette of the families after it minus the plain one; for the KMeans seed,
that of the clusters. **Its interval** comes from the paired jackknife (Tukey 1958): each sequence is left out of both
sets at once, and the pseudo-values of the difference give a standard error and Student's t. **Judged together:** with
so many variants some would stand out by chance, so the sentences and the strong colours use the correction of
Holm (1979). The plain score is tested first, at four fifths of the level; where it is not above chance, the changes
are left the last fifth (Bretz and others 2009): the chance of even one false claim on this page is at most 5%.
**Shares** of the score are shares of what it has above shuffled families. Where texts of a set become equal, every
model gives them equal vectors, so they
support no claim.

The jackknife keeps the windows fixed; other windows are tested below. The tests use the plain sequences, before
anything is made equal between the families."""
_HOW_REDRAWN = """\
Every variant is applied to each design. The interval is Student's t of the paired differences: what the designs have
in common cancels. Where a change puts the windows at the same places in every design, the designs repeat nothing, and
each row is left out in turn instead. Of the p values against chance, twice their mean over the designs counts, which is
valid however these depend on each other (Rüschendorf 1982)."""
_HOW_DISPLACEMENT = """\
The distance ({distance}) between the vector of a sequence and that of the same sequence after the change,
divided by the mean distance from a sequence to the nearest one of its own family: at 1, a change carries a sequence as
far as another window of its family lies. The dot is the mean over the sequences, the line holds the middle 80% of
them, and of several variants the one that moves most is drawn. """
_KEY = (
    "Strong colours: statistically significant after correction for all changes (Holm, 5%). Pale: may be chance. "
    "Lines: 95% intervals."
)
_HATCHED = "Hatched: texts became equal, which changes the score of any model."


def moved(stress: Stress, *, key: str = "") -> None:
    """Draw what moves the score: the sentence, the tornado chart, and all numbers folded."""
    st.subheader(md_text(text.headline(stress)), anchor=False)
    st.markdown(md_text(text.evidence(stress)))
    largest = text.most_extreme(stress.tried)
    alt = (
        f"Change of the score by perturbation, the largest on top. {text.effect_of(stress, largest) if largest else ''}"
    )
    figure(lambda look: tornado_figure(stress, theme=look), f"tornado{key}", alt)
    hatched = [_HATCHED] if any(one.repeated and one.change is not None for one in stress.tried) else []
    st.caption(md_text(" ".join([_KEY, *hatched, *_left_out(stress)]), most=2_000))
    with how_computed(f"stress{key}", numbers=True):
        rows = text.rows_of(stress)
        table(_COLUMNS, [_cells(row) for row in rows], key=f"stress_table{key}", label=f"All changes{key}", height=460)
        download("Table (CSV)", lambda: rows_csv(rows), "numembed-stress.csv", key=f"stress_csv{key}")
        st.markdown(_HOW_REDRAWN if stress.designs else _HOW)
        if seen := plain_seen(stress):
            st.markdown(seen)


def one_change(study: Study, stress: Stress) -> None:
    """Draw one perturbation: what it does to a text, what its result would mean, and what was found."""
    st.subheader("What does one change do?", anchor=False)
    left, right = st.columns(2)
    name = left.selectbox(
        "Change",
        PERTURBATIONS.names,
        index=PERTURBATIONS.names.index(_FIRST),
        key="perturbation",
        format_func=lambda name: PERTURBATIONS[name].title,
    )
    forms = [one for one in stress.tried if one.perturbation == name]
    form = 0
    if len(forms) > 1:
        start = forms.index(text.most_extreme(forms) or forms[0])
        form = right.selectbox(
            "How",
            range(len(forms)),
            index=start,
            key=f"variant of {name}",
            format_func=lambda at: variant_of(forms[at]),
        )
    entry = PERTURBATIONS[name]
    st.markdown(f"{md_text(entry.summary)} *{md_text(entry.facts['meaning'])}*")
    _texts(study, forms[form])
    st.markdown(f"**Found:** {md_text(text.effect_of(stress, forms[form]), most=1_000)}")


def drift(stress: Stress) -> None:
    """Draw how far the vectors move, beside how far their nearest relatives lie."""
    st.subheader("How far does each vector move?", anchor=False)
    st.markdown(md_text(text.displacement_sentence(stress)))
    if any(one.ratio for one in stress.tried):
        figure(lambda look: displacement_figure(stress, theme=look), "drift", text.displacement_sentence(stress))
        st.caption("Dot: the mean over the sequences. Line: the middle 80% of them.")
    with how_computed("drift"):
        st.markdown(_HOW_DISPLACEMENT.format(distance=stress.distance) + _strangers(stress))


def redrawn(study: Study, result: ModelResult, stress: Stress) -> None:
    """Draw the same tests on redrawn windows, folded; and the button that saves all numbers."""
    with st.expander(f"Does it hold with other windows? Repeat on {DESIGNS} redrawn designs", key="redrawn"):
        again = examined(
            study,
            result,
            "stress",
            Stress,
            designs=DESIGNS,
            texts=texts_of(study, designs=DESIGNS),
            button=f"Repeat on {DESIGNS} redrawn designs",
            text="The windows of all families start at other random places, and every change is applied to those.",
        )
        if again is not None:
            moved(again, key=" redrawn")
    repeated = {} if again is None else {"redrawn": again}
    numbers_download(study, result, "stress", vars(stress) | repeated)


def _cells(row: Mapping[str, Any]) -> list[Cell]:
    note = str(row["note"])
    return [
        Cell(row["title"]),
        Cell(row["variant"] or "–"),
        Cell(row["group"]),
        number(row["value"], note=note),
        number(row["change"], note=note),
        number(row["low"]),
        number(row["high"]),
        p_cell(row["p_page"]),
        number(row["smallest_seen"]),
        p_cell(row["p_chance"]),
        p_cell(row["p_within"]),
        number(row["ratio"]),
        Cell(row["meaning"]),
    ]


def _left_out(stress: Stress) -> list[str]:
    """Return why some perturbations are not in the chart."""
    drawn = {one.perturbation for one in stress.tried if one.change is not None}
    notes: dict[str, list[str]] = {}
    for one in stress.tried:
        title = PERTURBATIONS[one.perturbation].title.lower()
        if one.perturbation not in drawn and title not in notes.setdefault(one.note, []):
            notes[one.note].append(title)
    parts = [f"Not in the chart: {', '.join(titles)}. {note}" for note, titles in notes.items() if note]
    controls = [one for one in stress.tried if PERTURBATIONS[one.perturbation].facts.get("other_families")]
    return [*parts, *(text.effect_of(stress, one) for one in controls if not one.note)]


def _texts(study: Study, one: TrialResult) -> None:
    """Draw the text of one sequence before and after."""
    before, entry = study.plain_sequences, PERTURBATIONS[one.perturbation]
    change = change_of(one.perturbation, **one.options)
    if change is not None and change.field != "prompt":
        st.caption("The texts stay as they are.")
        return
    try:
        after = perturb(before, one.perturbation, seed=study.seed, **one.options)
    except NumembedError:  # what was found says why
        return
    if entry.facts.get("other_families"):
        half = (len(after) + 1) // 2
        pairs = (("Primes", after.texts[0]), ("Look-alikes", after.texts[min(half, len(after) - 1)]))
    else:
        row = _telling_row(before, after)
        title = f"{family(before.items[row].family).title}, window {int(before.windows[row]) + 1}"
        prompt = str(change.value) if change is not None else ""
        pairs = ((f"{title}, before", before.texts[row]), ("After", prompt + after.texts[row]))
    for place, (title, whole) in zip(st.columns(2), pairs, strict=True):
        place.caption(md_text(title))
        short = whole if len(whole) <= _SHOWN_CHARS else whole[:_SHOWN_CHARS] + " …"
        place.code(short, language=None, wrap_lines=True)


def _telling_row(before: SequenceSet, after: SequenceSet) -> int:
    """Return a row whose text changes: the last window of the first family, whose numbers are not the smallest."""
    first = [row for row, label in enumerate(before.labels.tolist()) if label == 0]
    rows: list[int] = [*first[::-1], *range(len(before))]
    return next((row for row in rows if before.texts[row] != after.texts[row]), rows[0])


def _strangers(stress: Stress) -> str:
    own, other = stress.plain.own, stress.plain.other
    if not own or other is None:
        return ""
    return (
        f"Here the nearest sequence of another family lies {decimal(other / own)} times as far away as that relative."
    )
