"""Robustness across merges on the Merge page: the button that asks for it, with its cost, and what it found."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from numembed.core.wording import about, plural
from numembed.export import rows_csv
from numembed.figures.merge.robustness import robustness_figure
from numembed.merge_experiment.comparisons import SPLITS
from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment
from numembed.merge_experiment.paths import KINDS
from numembed.merge_experiment.robustness.plan import named_models
from numembed.merge_experiment.robustness.results import CHANGES, LINE, Robustness
from numembed.merge_experiment.robustness.rows import change_rows, difference_rows, left_out, variant_rows
from numembed.merge_experiment.robustness.text import change_text, row_title
from numembed.studies.cost import cost_of
from ui.merge.charts import chart
from ui.merge.choice import RUN_FIRST
from ui.merge.progress import changed_reading
from ui.shared.figure import how_computed
from ui.shared.frame import download, result_store, settings
from ui.shared.run_progress import newest_run, start
from ui.shared.table import Cell, Column, interval_cell, number, p_cell, table
from ui.shared.text import md_text

_CHANGES = (
    Column("Models", kind="line"),
    Column("Kind of change", kind="line"),
    Column("Before", "Silhouette before anything is changed, mean over the seeds.", "number", digits=3),
    Column("Change", "Change of the silhouette, mean over the changes of the kind and the seeds.", "number", digits=3),
    Column("95% interval", kind="line"),
    Column("Retention", "Mean over the seeds.", "number"),
)
_DIFFERENCES = (
    Column("First"),
    Column("Second"),
    Column("Kind of change", kind="line"),
    Column(
        "Difference", "Change of the first minus change of the second; above 0 the first holds up better.", "number"
    ),
    Column("95% interval", kind="line"),
    Column("p", kind="number", digits=3),
    Column("p, adjusted", "p value, adjusted for all pairs and kinds of change (Holm).", "number", digits=3),
    Column(
        "Would be seen", "The smallest difference that this design would have seen (80% power).", "number", digits=3
    ),
    Column("Over", kind="wide"),
)
_HOW = """\
The changes are those of the Robustness page, on {split}. A kind counts each of its changes once, whatever its
number of forms. Two models read the same changed texts, so what these have in common cancels: the difference of their
changes is computed seed by seed, and without each sequence in turn. Its interval combines the error of the seeds (from
three on, and not where the soup of all seeds is compared) and that of the sequences, as for the comparisons above. All
p values of this part are adjusted together (Holm 1979). The windows stay fixed but for changes of their place."""
_LINE = """\
The straight line is the LoRA model of the same seed, scaled until it retains as much of the base as SLERP does at
t = 0.5: a scored model within 0.001, else between two scored ones. So the two differ in the way only, not in how far
they lie from the base."""
_LEGEND = (
    "Left of 0 the score falls. Lines: 95% intervals of each model alone; the sentence and the table below compare "
    "models on the same texts. “Holds up better”: the score falls less, or rises more."
)


def with_robustness(experiment: MergeExperiment) -> MergeExperiment:
    """Return the same experiment with the robustness of its named models."""
    return replace(experiment.plain, robustness=True)


def robustness(result: ExperimentResult, *, came: bool = False) -> None:
    """Draw what changes of the texts do to the named models of a finished experiment, or the button that asks."""
    if not result.complete:
        return
    st.subheader("Which model holds up when the texts are changed?", anchor=False)
    if result.robustness is None:
        if came:
            st.caption(RUN_FIRST)
        else:
            _ask(result)
        return
    found = result.robustness
    first, *rest = found.sentences or ("",)
    st.markdown(md_text(first, most=1_000))
    caveats = len(rest) - len({(one.a, one.b) for one in found.differences})
    for sentence in rest[:caveats]:
        st.markdown(md_text(sentence, most=1_000))
    if found.changes:
        each = (f"{row_title(one.row)}, {CHANGES[one.group]}: {change_text(one)}" for one in found.changes)
        alt = f"Change of the silhouette by kind of change. {'; '.join(each)}."
        chart(result, "robustness", lambda look: robustness_figure(found, theme=look), alt)
        st.caption(_LEGEND)
    with how_computed("robustness", numbers=True):
        _numbers(found, rest[caveats:])


def _ask(result: ExperimentResult) -> None:
    experiment = with_robustness(result.experiment)
    job = newest_run(experiment)
    if job is not None and job.active:  # its progress is shown above
        st.caption("The named models are being scored on changed texts.")
        return
    models, (texts, characters) = len(named_models(result)), changed_reading(result.experiment.plain)
    with st.container(horizontal=True, vertical_alignment="center", key="robust_ask"):
        st.button(
            f"Test the robustness of these {models} models",
            key="merge_robust",
            on_click=start,
            args=(experiment,),
            icon=":material/fitness_center:",
            help="Notation, digits, order, windows, length and prompts are changed one at a time, as on the Robustness "
            "page, for the base, LoRA, the soup, SLERP to the base and the straight line at equal retention.",
        )
        with result_store() as results:
            cost = cost_of(experiment.base, characters=characters * models, settings=settings(), results=results)
        takes = "" if cost.seconds is None else f" · {about(cost.seconds)} on this machine"
        st.caption(
            f"{_counted(result)}: {plural(models, 'model')} × {plural(texts, 'text')} at most{takes}. Stored results "
            "are not computed again."
        )


def _counted(result: ExperimentResult) -> str:
    """Return how many models of each kind are tested."""
    rows = [one.row for one in named_models(result)]
    titles = {name: KINDS[name].title if name in KINDS else row_title(name) for name in dict.fromkeys(rows)}
    return ", ".join(f"{title} {rows.count(name)}" for name, title in titles.items())


def _numbers(found: Robustness, sentences: list[str]) -> None:
    rows, pairs = change_rows(found), difference_rows(found)
    if sentences:
        st.markdown("\n".join(f"- {md_text(sentence, most=1_000)}" for sentence in sentences))
    table(_DIFFERENCES, [_difference(row) for row in pairs], key="table robust", label="Pairs of models", height=420)
    table(_CHANGES, [_change(row) for row in rows], key="table changes", label="Changes of the score", height=420)
    with st.container(horizontal=True, key="robust_files"):
        download("Pairs (CSV)", lambda: rows_csv(pairs), "numembed-robustness-pairs.csv", key="robust_pairs_csv")
        download(
            "Every change (CSV)",
            lambda: rows_csv(variant_rows(found)),
            "numembed-robustness.csv",
            key="robust_variants_csv",
        )
    st.markdown(_HOW.format(split=SPLITS.get(found.split, found.split)))
    if LINE in found.rows:
        st.markdown(_LINE)
    for sentence in left_out(found):
        st.caption(md_text(sentence, most=1_000))


def _difference(row: dict[str, object]) -> list[Cell]:
    return [
        Cell(str(row["first"])),
        Cell(str(row["second"])),
        Cell(str(row["change_of"])),
        number(_float(row["difference"]), 3),
        interval_cell(_float(row["low"]), _float(row["high"]), digits=3, sign=True),
        p_cell(_float(row["p"])),
        p_cell(_float(row["p_holm"])),
        number(_float(row["smallest_seen"]), 3),
        Cell(str(row["over"])),
    ]


def _change(row: dict[str, object]) -> list[Cell]:
    return [
        Cell(str(row["model"])),
        Cell(str(row["change_of"])),
        number(_float(row["before"]), 3),
        number(_float(row["change"]), 3),
        interval_cell(_float(row["low"]), _float(row["high"]), digits=3, sign=True),
        number(_float(row["retention"])),
    ]


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, float | int) else None
