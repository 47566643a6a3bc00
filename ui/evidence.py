"""How sure the numbers of a table are, and the button that redraws the windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from numembed.analysis.metrics import METRICS
from numembed.cost import cost_of
from numembed.evidence import Evidence, compared, evidence_of, redrawn_intervals
from numembed.floors import Floors
from numembed.results import ModelResult
from numembed.study import USUAL_DESIGNS, Study, furthest_start, pinned_before, stored_designs
from ui.frame import result_store, settings
from ui.running import start
from ui.table import Cell, Column, number, table
from ui.words import about, md_text, plural

_COLUMNS = (
    Column("Model"),
    Column("Silhouette", "With the families.", "number"),
    Column("Jackknife", "95 % interval: each sequence is left out once.", "number", "how far it may be off"),
    Column("Redrawn windows", "95 % of other choices of windows score in here.", "number", "how far it may be off"),
    Column("p", "How often shuffled families score at least as high.", "number", "is it chance?", digits=3),
    Column("p, all models", "The same, made stricter because several models are looked at (Holm).", "number",
           "is it chance?", digits=3),
    Column("p within windows", "Families are shuffled inside each window only: the size of the numbers stays the same.",
           "number", "is it chance?", digits=3),
    Column("Best baseline", "The best of all trivial baselines, which know nothing but a simple count.", "number",
           "what it is held against"),
    Column("Gain", "Of the model over the best baseline.", "number", "what it is held against"),
    Column("Random weights", "The same architecture before any training.", "number", "what it is held against"),
)  # fmt: skip
_SCORES = (
    ("silhouette", "families"), ("davies_bouldin", "families"), ("silhouette", "kmeans"), ("davies_bouldin", "kmeans"),
    ("ari", "kmeans"), ("ami", "kmeans"),
)  # fmt: skip
_GROUPS = {"families": "with the families", "kmeans": "with KMeans clusters"}
_REDRAWN = (
    Column("Model"),
    *(Column(METRICS[metric].title, METRICS[metric].summary, "number", _GROUPS[labels]) for metric, labels in _SCORES),
)


def show_evidence(study: Study, results: Sequence[ModelResult], floors: Floors) -> None:
    """Draw the evidence of each model, folded away."""
    with st.expander("How sure are these numbers?", key="evidence", on_change="rerun") as folded:
        if not folded.open:
            return
        with result_store() as store:
            results = [replace(one, designs=stored_designs(study, one.model, store)) for one in results]
        found = evidence_of(results, floors)
        table(
            _COLUMNS, [_row(*one) for one in zip(found, results, strict=True)], key="evidence_table",
            label="Evidence behind each silhouette",
            muted=[i for i, one in enumerate(found) if one.is_baseline],
        )  # fmt: skip
        for sentence in compared(results, families=len(study.families)):
            st.markdown(md_text(sentence))
        if all(one.designs for one in found):
            times, until = plural(found[0].designs, "time"), furthest_start(study)
            st.markdown("**All scores on redrawn windows**, each with where 95 % of other choices of windows score:")
            table(
                _REDRAWN, [_redrawn_row(result) for result in results], key="redrawn_table",
                label="All scores and where those of other windows fall",
                muted=[i for i, one in enumerate(found) if one.is_baseline],
            )  # fmt: skip
            st.caption(f"Windows were redrawn {times}, from term 0 to {until:,}, seed {study.seed}.")
        else:
            _offer(study)
        with st.popover("How this is computed", type="tertiary"):
            st.markdown(_HOW)


def _offer(study: Study) -> None:
    texts = USUAL_DESIGNS * len(study.sequences)
    models = sum(not spec.is_baseline for spec in study.models)
    st.button(
        f"Redraw the windows {USUAL_DESIGNS} times", key="redraw", on_click=_redraw, args=(study,),
        icon=":material/shuffle:",
        help="The paper looks at one choice of windows. How much a score depends on it is its honest error bar.",
    )  # fmt: skip
    told = f"It encodes {plural(texts, 'text')} with {plural(models, 'model')}"
    st.caption(f"{told}{_takes(study)}; what is stored is not encoded again.")


def _takes(study: Study) -> str:
    """Return about how long the models take for it, as far as anybody knows of each."""
    characters = USUAL_DESIGNS * sum(map(len, study.sequences.texts))
    seconds = []
    with result_store() as store:
        for spec in study.models:
            pinned = pinned_before(spec, store) or spec
            if not spec.is_baseline:
                found = cost_of(pinned, characters=characters, settings=settings(), results=store)
                seconds.append(found.seconds)
    known = [value for value in seconds if value is not None]
    return f", {about(sum(known))} on this machine" if known and len(known) == len(seconds) else ""


def _redraw(study: Study) -> None:
    st.session_state["designs"] = USUAL_DESIGNS
    start(replace(study, designs=USUAL_DESIGNS))


def _redrawn_row(result: ModelResult) -> list[Cell]:
    found, cells = redrawn_intervals(result), [Cell(result.model.name, result.model.name)]
    for metric, labels in _SCORES:
        interval = found.get(f"{metric} {labels}")
        value = number(result.score(metric, labels).value)
        span = _interval(interval.low, interval.high).text if interval else "–"
        cells.append(Cell(f"{value.text} ({span})", value.sort, interval.note if interval else "not redrawn yet"))
    return cells


def too_few(least_p: float | None) -> str:
    """Return a remark where so few sequences cannot have a p below 0.05, else ""."""
    return f"Too few sequences to tell: it cannot be below {least_p:.2f}." if least_p and least_p > 0.05 else ""


def _row(one: Evidence, result: ModelResult) -> list[Cell]:
    redrawn, score = one.redrawn, result.score("silhouette", "families")
    spread = "" if one.z is None else f"{one.z:.1f} standard deviations above what shuffled families score"
    return [
        Cell(one.model, one.model),
        number(one.value),
        _interval(one.low, one.high),
        _interval(redrawn.low, redrawn.high, redrawn.note) if redrawn else Cell("–", None, "not redrawn yet"),
        _p(one.p, too_few(score.least_p) or spread),
        _p(one.p_holm),
        _p(one.p_within, too_few(score.least_p_within)),
        number(one.floor, note=one.best_baseline),
        number(one.gain, note=f"Over {one.best_baseline}." if one.best_baseline else ""),
        number(
            one.twin, note="" if one.twin is not None else "Scored in a run, for models of up to a billion numbers."
        ),
    ]


def _p(value: float | None, note: str = "") -> Cell:
    return Cell("< 0.001", value, note) if value is not None and value < 0.001 else number(value, 3, note=note)


def _interval(low: float | None, high: float | None, note: str = "") -> Cell:
    if low is None or high is None or low != low:
        return Cell("–", None, note)
    return Cell(f"{low:.2f} to {high:.2f}".replace("-", "−"), (low + high) / 2, note)


_HOW = """
**Jackknife.** Each sequence is left out once; Student's t around the score (Tukey 1958). Points are never doubled, as a
bootstrap would: doubled points lie at distance 0 and raise a silhouette by themselves.

**Redrawn windows.** The same families, as many sequences, as many terms, but other places to begin.
The interval is where the score of one more such choice falls (Hahn and Meeker 1991).

**p.** Families are shuffled; the share of shuffles that score at least as high (Phipson and Smyth 2010). *Within
windows* they are shuffled inside each window only, which holds the size of the numbers fixed (Anderson and ter Braak
2003). *All models* is Holm's adjustment (1979): values below 0.05 may be believed together.

**Not distinguishable** is no proof that two models are equal.
"""
