"""What was found, in a sentence and in plain rows: for the command line and for exports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numembed.core.serialization import as_plain, from_plain
from numembed.examinations.clusters.stored import stored_explanation
from numembed.examinations.registry import Answer, ExaminationContext, Implementation, Row
from numembed.studies.examination import EXAMINATIONS, Examination
from numembed.studies.results import ModelResult, ResultStore
from numembed.studies.stored import stored_examination
from numembed.studies.study import Study


def computed(name: str, context: ExaminationContext) -> dict[str, Any]:
    """Carry out an examination; return what it found as JSON values."""
    stored: dict[str, Any] = as_plain(_implementation(EXAMINATIONS[name]).compute(context))
    return stored


def answers(study: Study, results: Sequence[ModelResult], store: ResultStore) -> list[Answer[Any]]:
    """Return what is stored of all that the study asks, one answer an examination and model that has one."""
    stored = (answer(study, result, name, store) for name in study.examine for result in results)
    return [one for one in stored if one is not None]


def answer(study: Study, result: ModelResult, name: str, store: ResultStore) -> Answer[Any] | None:
    """Return what is stored of an examination of one model, or None."""
    examination, plain = EXAMINATIONS[name], stored_examination(study, result.model, name, store)
    if plain is None:
        return None
    explanation = stored_explanation(study, result.model, store) if examination.with_explanation else None
    values = from_plain(_implementation(examination).result, plain)
    return Answer(examination, study, result, values, explanation)


def sentence_of(given: Answer[Any]) -> str:
    """Return what was found in one or a few sentences."""
    return _implementation(given.examination).text(given)


def rows_of(given: Answer[Any]) -> list[Row]:
    """Return all numbers of an answer as plain rows; None for NaN."""
    rows: list[Row] = as_plain(_implementation(given.examination).rows(given))
    return rows


def _implementation(examination: Examination) -> Implementation[Any]:
    values: Implementation[Any] = examination.implementation()
    return values
