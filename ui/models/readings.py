"""How one decoder reads: its tokens become one vector as their mean, at an end token, or at the last token."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from numembed.core.wording import decimal
from numembed.models.catalogue.entries import Row
from numembed.models.catalogue.names import model
from numembed.models.resolve import known_folder
from numembed.paper.protocol import paper_study
from numembed.studies.evidence import Evidence, evidence_of
from numembed.studies.reference_scores import stored_references
from numembed.studies.results import ModelResult
from numembed.studies.stored import stored_results
from numembed.studies.study import Study
from ui.shared.figure import figure
from ui.shared.frame import result_store, settings
from ui.shared.run_progress import newest_run, start, watch
from ui.shared.text import md_text

_READINGS = {  # as options of a model's name
    "Mean of all tokens": "",
    "End token": " pooling=lasttoken eos=yes",
    "Last token": " pooling=lasttoken",
}
_WHAT = (
    "A decoder gives a vector for every token, and its makers never said which of them stands for a text. Three "
    "readings of the same weights, on the paper's sequences:"
)


def readings(row: Row) -> None:
    """Draw the three readings of a decoder that was never trained to embed; nothing for other models."""
    if row.embeds or row.refused:
        return
    study = replace(paper_study(*(row.name + option for option in _READINGS.values())), despite_checks=True)
    with st.expander("How it reads: mean, end token or last token", key="readings", on_change="rerun") as folded:
        if folded.open:
            _show(row, study)


def _show(row: Row, study: Study) -> None:
    job = newest_run(study)
    with result_store() as store:
        found = stored_results(study, store)
        known = [one for one in found if one is not None]
        references = stored_references(study, [one.model for one in known], store)
    st.markdown(_WHAT)
    evidence = {one.model: one for one in evidence_of(known, references, families=len(study.families))}
    titles = dict(zip((spec.name for spec in study.models), _READINGS, strict=True))
    rows = [(titles[one.model.name], evidence[one.model.name], _passed(one)) for one in known]
    if rows:
        told = "; ".join(f"{title} {decimal(one.value, 3)}" for title, one, _ in rows)
        figure(
            lambda theme: _figure(rows, theme),
            "readings_figure",
            f"Silhouette of {row.name} by reading: {told}",
            by=tuple((title, one.value, one.random_weights, ok) for title, one, ok in rows),
            still=True,
        )
        for one in known:
            if not _passed(one) and one.check is not None:
                text = f"{titles[one.model.name]}: an illustration only, refused by its check. {one.check.sentence}"
                st.caption(md_text(text, most=600))
    if len(known) < len(study.models):
        watch(study, job)
        here = known_folder(model(row.name).weights, settings()) is not None
        if (job is None or not job.active) and here:
            st.button("Read it in three ways", key="read_it", on_click=start, args=(study,), icon=":material/compare:")


def _passed(result: ModelResult) -> bool:
    return result.check is None or result.check.ok


def _figure(rows: list[tuple[str, Evidence, bool]], theme: str) -> object:
    from numembed.figures.readings import readings_figure

    return readings_figure(rows, theme=theme)
