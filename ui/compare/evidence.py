"""How sure the numbers of a table are, and the button that redraws the windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import streamlit as st

from numembed.analysis.scores import ScoreKind, score_kinds
from numembed.core.significance import LEVEL
from numembed.core.wording import about, p_value, plural
from numembed.export import pairs_csv
from numembed.studies.cost import cost_of
from numembed.studies.evidence import Evidence, evidence_of
from numembed.studies.pairs import Pair, compared, pairs_of
from numembed.studies.reference_scores import ReferenceScores
from numembed.studies.results import ModelResult
from numembed.studies.stored import previously_pinned
from numembed.studies.study import USUAL_DESIGNS, Study, furthest_start
from ui.shared.frame import callback, download, result_store, settings, whole_page
from ui.shared.large import characters_of
from ui.shared.run_progress import start
from ui.shared.table import Cell, Column, interval_cell, number, p_cell, table
from ui.shared.text import md_text

_COLUMNS = (
    Column("Model"),
    Column("Score", kind="number"),
    Column(
        "Redrawn windows", "95% prediction interval for other choices of windows (resampled).", "number", "uncertainty"
    ),
    Column("Their spread", "Standard deviation over the redrawn windows.", "number", "uncertainty", 3),
    Column(
        "Jackknife, rough",
        "A rough 95% interval: each sequence is left out once. Often too wide, and too narrow where all families of a "
        "window have much in common. Redrawn windows tell more.",
        "number",
        "uncertainty",
    ),
    Column(
        "Chance",
        "Chance level (null distribution): 95% of families shuffled inside windows score in this range.",
        "number",
        "against chance",
    ),
    Column(
        "p within windows",
        "p value: how often shuffled families score at least as well. They are shuffled inside each window only: the "
        "size of the numbers stays the same. This test counts.",
        "number",
        "against chance",
        digits=3,
    ),
    Column(
        "all models",
        "The same p value, adjusted because several models are tested (Holm).",
        "number",
        "against chance",
        digits=3,
    ),
    Column(
        "z over all",
        "z score: standard deviations above the mean of families shuffled over all windows.",
        "number",
        "against chance",
        1,
    ),
    Column(
        "p over all",
        "p value where families are shuffled over all windows. Where windows differ much, it hides what families have.",
        "number",
        "against chance",
        digits=3,
    ),
    Column(
        "all models",
        "The same p value, adjusted because several models are tested (Holm).",
        "number",
        "against chance",
        digits=3,
    ),
    Column(
        "Best baseline",
        "The best of all trivial baselines, which use a simple count only.",
        "number",
        "compared with",
    ),
    Column("Gain", "How much better than the best baseline; above 0 the model is better.", "number", "compared with"),
    Column("Random weights", "The same architecture before any training.", "number", "compared with"),
)
_NO_RANDOM_WEIGHTS = "Computed in a run, for models of up to one billion parameters."
_PAIRS = (
    Column("Higher"),
    Column("Lower"),
    Column("Difference", "Mean over the same redrawn windows.", "number", digits=3),
    Column("Interval", "95% of the mean difference.", "number"),
    Column("p", "Two-sided.", "number", digits=3),
    Column("p, all pairs", "The same p value, adjusted because several pairs are tested (Holm).", "number", digits=3),
    Column(
        "Would be seen", "The smallest difference that this design would have seen (80% power).", "number", digits=3
    ),
    Column("In words", kind="wide"),
)


def show_evidence(study: Study, results: Sequence[ModelResult], references: ReferenceScores) -> None:
    """Draw the evidence of each model, folded away."""
    with st.expander("How sure are these numbers?", key="evidence", on_change="rerun") as folded:
        if not folded.open:
            return
        names = tuple(map(str, score_kinds()))
        name = st.selectbox("Score", names, key="evidence_score", format_func=lambda name: ScoreKind.read(name).title)
        kind = ScoreKind.read(name)
        result = evidence_of(results, references, kind, families=len(study.families))
        table(
            _COLUMNS,
            [_row(one, references.without_random_weights.get(one.model, "")) for one in result],
            key="evidence_table",
            label=f"Evidence behind each {kind.title}",
            muted=[i for i, one in enumerate(result) if one.is_baseline],
        )
        for note in dict.fromkeys(one.note for one in result if one.note):
            st.caption(md_text(f"{note[0].upper()}{note[1:]}."))
        for one in result:
            if one.seen:
                st.caption(md_text(f"{one.model}: {one.seen[0].lower()}{one.seen[1:]}"))
        for sentence in compared(results, families=len(study.families)):
            st.markdown(md_text(sentence))
        _show_pairs(study, results)
        counts = {one.model: one.designs for one in result}
        if any(counts.values()):
            st.caption(md_text(redrawn_text(study, counts), most=2_000))
        if len(set(counts.values())) > 1 or not any(counts.values()):
            _offer(study)
        with st.popover("How this is computed", type="tertiary"):
            st.markdown(_HOW)


def redrawn_text(study: Study, counts: Mapping[str, int]) -> str:
    """Return in one or two sentences how often the windows of each model were redrawn, and from where."""
    text, where = "", f"from term 0 to {furthest_start(study):,}, seed {study.seed}."
    if len(set(counts.values())) == 1:
        return f"Windows were redrawn {plural(next(iter(counts.values())), 'time')}, {where}"
    for count in sorted(set(counts.values()), reverse=True):
        names = ", ".join(name for name, own in counts.items() if own == count)
        text += f"{plural(count, 'time') if count else 'never'} for {names}; "
    return f"Windows were redrawn {text.removesuffix('; ')}; {where}"


def _show_pairs(study: Study, results: Sequence[ModelResult]) -> None:
    """Draw every pair of models, folded away."""
    pairs = pairs_of(results, families=len(study.families))
    if not pairs:
        return
    with st.expander("Every pair of models", key="pairs", type="compact"):
        table(_PAIRS, [_pair_row(pair) for pair in pairs], key="pairs_table", label="Every pair of models")
        download("Pairs (CSV)", lambda: pairs_csv(study, results), "numembed-pairs.csv", key="pairs_csv")


def _offer(study: Study) -> None:
    texts = USUAL_DESIGNS * study.texts
    models = sum(not spec.is_baseline for spec in study.models)
    st.button(
        f"Redraw the windows {USUAL_DESIGNS} times",
        key="redraw",
        on_click=_redraw,
        args=(study,),
        icon=":material/shuffle:",
        help="The paper uses one choice of windows. How much a score varies with the choice is its error bar.",
    )
    text = f"It encodes {plural(texts, 'text')} with {plural(models, 'model')}"
    st.caption(f"{text}{_takes(study)}; what is stored is not encoded again.")


def _takes(study: Study) -> str:
    """Return about how long the models take for it, as far as anybody knows of each."""
    characters = USUAL_DESIGNS * characters_of(study)
    seconds = []
    with result_store() as store:
        for spec in study.models:
            pinned = previously_pinned(spec, store) or spec
            if not spec.is_baseline:
                result = cost_of(pinned, characters=characters, settings=settings(), results=store)
                seconds.append(result.seconds)
    known = [value for value in seconds if value is not None]
    return f", {about(sum(known))} on this machine" if known and len(known) == len(seconds) else ""


@callback
def _redraw(study: Study) -> None:
    st.session_state["designs"] = USUAL_DESIGNS
    whole_page()
    start(replace(study, designs=USUAL_DESIGNS))


def too_few(least_p: float | None) -> str:
    """Return a remark where so few sequences cannot have a p below the level, else ""."""
    return (
        f"Too few sequences for a significance test: p cannot be below {p_value(least_p)}."
        if least_p and least_p > LEVEL
        else ""
    )


def _row(one: Evidence, without_random_weights: str) -> list[Cell]:
    redrawn, why = one.redrawn, without_random_weights or _NO_RANDOM_WEIGHTS
    return [
        Cell(one.model, one.model),
        number(one.value, note=one.note),
        interval_cell(redrawn.low, redrawn.high, redrawn.note) if redrawn else Cell("–", None, "not redrawn yet"),
        number(one.redrawn_sd, 3),
        interval_cell(one.low, one.high, "" if one.low is not None else "Not computed for this score."),
        _chance(one),
        p_cell(one.p_within, too_few(one.least_p_within)),
        p_cell(one.p_within_holm),
        number(one.z, 1, note=one.note),
        p_cell(one.p, one.note or too_few(one.least_p)),
        p_cell(one.p_holm),
        number(one.best_baseline_value, note=one.best_baseline),
        number(one.gain, note=f"Over {one.best_baseline}." if one.best_baseline else ""),
        number(one.random_weights, note=why if one.random_weights is None else ""),
    ]


def _chance(one: Evidence) -> Cell:
    if one.within_low is None:
        return interval_cell(one.chance_low, one.chance_high, one.note or "Shuffled over all windows.")
    return interval_cell(one.within_low, one.within_high, one.note)


def _pair_row(pair: Pair) -> list[Cell]:
    return [
        Cell(pair.first, pair.first),
        Cell(pair.second, pair.second),
        number(pair.difference, 3, note=pair.note),
        interval_cell(pair.low, pair.high, pair.note),
        p_cell(pair.p, pair.note),
        p_cell(pair.p_holm),
        number(pair.smallest_seen, 3),
        Cell(pair.sentence),
    ]


_HOW = """
**Redrawn windows.** The same families, numbers of sequences and numbers of terms, but other first terms.
The interval is where the score of one more such choice falls (Hahn and Meeker 1991).

**Jackknife.** Each sequence is left out once; Student's t around the score (Tukey 1958). It is rough: often too wide,
and too narrow where all families of a window have much in common. Points are never doubled, as a bootstrap would:
doubled points lie at distance 0 and raise a silhouette by themselves.

**p.** Families are shuffled; the share of shuffles that score at least as well (Phipson and Smyth 2010), among some
10,000, or fewer where they take long. From 501 to 5,000 sequences the labels are shifted along random
cycles of the sequences, which is faster (Besag and Clifford 1989). *Within windows* families are shuffled inside each
window only, which holds the size of the numbers fixed (Anderson and ter Braak 2003): the sentence above goes by this
test wherever all families have the same windows. *All models* and *all pairs* is
Holm's adjustment (1979): values below 0.05 are significant together. KMeans chose its clusters to be separate, so
shuffles of them are no chance level: their scores have no p value.

**Which families lie apart.** Those whose own silhouette is above 0 and above that of shuffled families, adjusted for
their number (Holm).

**Compared with the best baseline.** "Better" is said only where the 95% interval of the difference leaves out 0: over
the same redrawn windows, else the paired jackknife.

**Pairs.** Student's t of the differences over the same redrawn windows: what the windows have in common cancels.

**Not distinguishable** is no proof that two models are equal: *would be seen* is the smallest true difference that all
pairs judged together find in four cases of five (noncentral t; Cohen 1988).
"""
