"""The answer of a study: a sentence, the table of scores, and the maps beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from numembed.analysis.scores import SILHOUETTE, ScoreKind, score_kinds
from numembed.core.wording import decimal, listed, p_text, plural, signed, span
from numembed.export import maps_html, scores_csv
from numembed.sequences.families.family import family
from numembed.sequences.matching import matching_sentence
from numembed.sequences.sets import SequenceSet
from numembed.studies.evidence import best_baseline
from numembed.studies.headline import headline
from numembed.studies.reference_scores import ReferenceScores
from numembed.studies.results import ModelResult
from numembed.studies.standing import WORDS, Standing, standings
from numembed.studies.study import Study
from ui.compare.evidence import show_evidence, too_few
from ui.compare.maps import chosen_rows, clear_selection, map_controls, show_map, show_overview
from ui.shared.beforehand import tell_prepared
from ui.shared.examination import tell_reading
from ui.shared.frame import download, fragment, result_store
from ui.shared.kept import Known, known_results
from ui.shared.table import Cell, Column, number, p_cell, selected_rows, table
from ui.shared.text import md_text

_MOST_MAPS = 4
_MOST_ROWS = 500
_MOST_NAMED = 4  # models without a result, by name
_P = (
    "p value: how often shuffled families score at least as high. Families are shuffled inside each window, so that "
    "the size of the numbers stays the same. Adjusted for the number of models (Holm); 0.05 or less is significant."
)
_CHECK = (
    "Whenever a model is loaded, a few short texts show whether it behaves as its makers state: complete weights, the "
    "attention direction, the end-of-text token, and the dimension and length of its vectors."
)
_WORDS = (
    "Apart: all families lie apart. Partly: some do. Differ: they differ, but do not lie apart, or for none is it "
    "certain. As chance: no more than chance was seen. Too few: there are too few sequences to tell."
)


def _columns(shown: Sequence[ScoreKind]) -> tuple[Column, ...]:
    first, *rest = shown
    return (
        Column("Model", "Baselines are shown in grey: they use a simple count only."),
        _column(first, "interval"),
        Column("p", _P, "number", first.group, digits=3),
        Column("In a word", _WORDS, "line", first.group),
        *(_column(kind, "number") for kind in rest),
        Column("Check", "Whether the loaded model behaves as its makers state.", "line"),
    )


def _shown() -> tuple[ScoreKind, ...]:
    """Return the scores that have a column, the one that models are ranked by first."""
    return SILHOUETTE, *(kind for kind in score_kinds() if kind.in_table and kind != SILHOUETTE)


def _column(kind: ScoreKind, drawn: str) -> Column:
    return Column(kind.column, kind.help, drawn, kind.group, better="high" if kind.sign > 0 else "low")


def show_results(study: Study) -> None:
    """Draw what is known of ``study``; a click inside it draws nothing else anew."""
    fragment(_results)(study)


def _results(study: Study) -> None:
    with result_store() as store:
        known = known_results(study, store)
        results, references, families = known.results, known.references, len(study.families)
        if not results:
            return
        st.subheader(known.once("headline", lambda: md_text(headline(results, references, families=families))))
        if study.matched:
            st.caption(md_text(matching_sentence(study.matched)))
        if missing := [model.name for model, one in zip(study.models, known.items, strict=True) if one is None]:
            more = [f"{len(missing) - _MOST_NAMED} more"] if len(missing) > _MOST_NAMED else []
            st.caption(md_text(f"No result: {listed(missing[:_MOST_NAMED] + more)}."))
        if known.prepared:
            named = () if len(known.prepared) == len(results) else known.prepared
            specs = [spec for spec in study.models if spec.name in known.prepared]
            tell_prepared(study, specs, key="compare", named=named)
        left, right = st.columns([8, 5], gap="medium")
        with left:
            shown = _score_table(study, known)
            _explain_columns()
            _downloads(study, known)
        with right:
            method, dims, color = map_controls(len(study.sequences))
            for result in shown:
                show_map(study, result, store, among=results, method=method, dims=dims, color=color)
        show_evidence(study, results, references)
        _sequence_table(study, shown[0])
        show_overview(study, known, store, method=method, color=color)


def _score_table(study: Study, known: Known) -> list[ModelResult]:
    """Draw the scores; return the models whose maps are to be shown."""
    results, references, kinds = known.results, known.references, _shown()
    names = [result.model.name for result in results]
    wanted = [name for name in st.session_state.get("mapped", ()) if name in names] or names[:1]
    best = best_baseline(results, references)
    chosen = table(
        _columns(kinds),
        known.once("scores", lambda: _score_rows(study, known, best, kinds)),
        key="scores",
        label="Scores of each model",
        selected=[names.index(name) for name in wanted],
        muted=[i for i, result in enumerate(results) if result.model.is_baseline],
        on_select=lambda: _remember(names),
    )
    for result in results:
        if result.check is not None and not result.check.ok:
            st.warning(
                md_text(f"{result.model.name} ran although its check failed: {result.check.sentence}"),
                icon=":material/warning:",
            )
    for result in results:
        tell_reading(result)
    tick = f" The tick is the best baseline ({best[0]}, {decimal(best[1])})." if best else ""
    ring = " The ring is the same model with random weights." if references.random_weights else ""
    st.caption(
        "Click a row to see its map; with Ctrl, several. Click a heading to sort. The grey band is the chance "
        f"level.{tick}{ring}"
    )
    return [results[i] for i in chosen if i < len(results)][:_MOST_MAPS] or [results[names.index(wanted[0])]]


def _remember(names: Sequence[str]) -> None:
    rows = selected_rows("scores")
    st.session_state["mapped"] = [names[row] for row in rows if row < len(names)]


def _score_rows(
    study: Study, known: Known, best: tuple[str, float] | None, kinds: Sequence[ScoreKind]
) -> list[list[Cell]]:
    said = standings(known.results, families=len(study.families))
    return [_score_row(one, best, known.references, kinds) for one in said]


def _score_row(
    one: Standing, best: tuple[str, float] | None, references: ReferenceScores, kinds: Sequence[ScoreKind]
) -> list[Cell]:
    result = one.result
    random_weights = references.random_weights_score(result.model.name)
    first, *others = (result.score(*kind) for kind in kinds)
    within = first.within_low is not None
    low, high = (first.within_low, first.within_high) if within else (first.chance_low, first.chance_high)
    notes = [first.note or f"families shuffled {'inside' if within else 'over all'} windows: {span(low, high)}"]
    if best and not result.model.is_baseline:
        notes.append(f"gain over the best baseline, {best[0]}: {signed(first.value - best[1])}")
    if random_weights is not None:
        notes.append(f"with random weights: {decimal(random_weights)}")
    elif reason := references.without_random_weights.get(result.model.name):
        notes.append(f"not computed with random weights: {reason}")
    silhouette = replace(
        number(first.value, note="; ".join(notes)),
        low=low,
        high=high,
        baseline=best[1] if best else None,
        random_weights=random_weights,
    )
    return [
        Cell(result.model.name, result.model.name, result.reading.sentence if result.reading else ""),
        silhouette,
        p_cell(one.p, first.note or too_few(one.least_p) or _other_p(one)),
        Cell(one.word, WORDS.index(one.word), f"{one.sentence} {one.seen}".strip()),
        *(number(score.value, note=score.note) for score in others),
        check_cell(result),
    ]


def _other_p(one: Standing) -> str:
    return f"Shuffled over all windows: {p_text(one.score.p)}." if one.within else ""


def check_cell(result: ModelResult) -> Cell:
    """Return the badge of a model's check, with its sentence."""
    if result.check is None:
        return Cell("–", None, "A baseline needs no check." if result.model.is_baseline else "Not checked yet.")
    return Cell("✓" if result.check.ok else "⚠ failed", float(result.check.ok), result.check.sentence)


def _explain_columns() -> None:
    with st.expander("What the columns mean", key="columns", on_change="rerun") as folded:
        if not folded.open:
            return
        columns = {kind.entry.title: kind.help for kind in _shown()} | {"p": _P, "In a word": _WORDS, "Check": _CHECK}
        groups = {kind.where[0].upper() + kind.where[1:]: kind.labelling.summary for kind in _shown()}
        st.markdown("\n\n".join(f"**{name}.** {text}" for name, text in [*columns.items(), *groups.items()]))


def _downloads(study: Study, known: Known) -> None:
    results, references = known.results, known.references

    def maps() -> str:
        with result_store() as store:
            return maps_html(study, results, store)

    def scores() -> str:
        return scores_csv(study, results, references, beforehand=known.prepared)

    with st.container(horizontal=True):
        download("Table (CSV)", scores, "numembed-scores.csv", quiet=False)
        download("Maps (HTML)", maps, "numembed-maps.html", quiet=False)
        download("Study (JSON)", study.to_json, "numembed-study.json", quiet=False)


def _sequence_table(study: Study, result: ModelResult) -> None:
    sequences, chosen = study.sequences, chosen_rows(study)
    with st.expander("The sequences", key="items", on_change="rerun") as folded:
        if folded.open:
            shown = min(len(sequences), _MOST_ROWS)
            table(
                _item_columns(result),
                [_item_row(sequences, i, int(result.clusters[i]) + 1) for i in range(shown)],
                key="sequences",
                label="The sequences",
                selected=[row for row in chosen if row < shown],
                on_select=lambda: st.session_state.update(lit=selected_rows("sequences"), lit_in="sequences"),
                height=380,
            )
            if len(sequences) > shown:
                st.caption(f"The first {shown:,} of {len(sequences):,} are listed.")
    if chosen:
        names = ", ".join(dict.fromkeys(family(sequences.items[row].family).title for row in chosen))
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"{plural(len(chosen), 'sequence')} selected: {md_text(names, most=200)}")
            st.button("Clear selection", key="clear", on_click=clear_selection, icon=":material/close:")


def _item_row(sequences: SequenceSet, i: int, cluster: int) -> list[Cell]:
    text, title = sequences.texts[i], family(sequences.items[i].family).title
    short = Cell(text[:60] + "…" * (len(text) > 60))
    return [Cell(title), number(int(sequences.windows[i]) + 1, 0), number(cluster, 0), short]


def _item_columns(result: ModelResult) -> tuple[Column, ...]:
    return (
        Column("Family"),
        Column("Window", kind="number"),
        Column("Cluster", f"Of KMeans on {result.model.name}.", "number"),
        Column("First terms", kind="line"),
    )
