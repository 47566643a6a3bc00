"""Studies whose sequences are too many to be made for a page before somebody runs them: what is shown instead."""

from __future__ import annotations

from dataclasses import replace

from numembed.core.errors import NumembedError
from numembed.studies.results import ModelResult
from numembed.studies.stored import may_be_made, stored_results
from numembed.studies.study import Study, beginning_of
from ui.shared.frame import result_store

LARGE = "The sequences are not made before Run, because there are so many."


def shown_of(study: Study) -> Study | None:
    """Return ``study``, or only its beginning where a page must not make the whole; None where that is too much too."""
    if not study.large:
        return study
    with result_store() as results:
        if may_be_made(study, results):
            return study
    shown = beginning_of(study)
    if shown is not None and shown.matched:
        try:
            _ = shown.sequences
        except NumembedError:  # the whole may allow what is to be made equal; its run says so
            return replace(shown, matched=())
    return shown


def results_of(study: Study) -> tuple[ModelResult | None, ...]:
    """Return what earlier runs left for each model of ``study``; None where there is nothing yet."""
    with result_store() as results:
        return stored_results(study, results) if may_be_made(study, results) else (None,) * len(study.models)


def characters_of(study: Study) -> int:
    """Return how long the texts are together; of a large study it is estimated from its beginning."""
    shown = shown_of(study)
    if shown is None:
        return study.texts * study.text_format.max_chars
    return sum(map(len, shown.sequences.texts)) * study.texts // len(shown.sequences)
