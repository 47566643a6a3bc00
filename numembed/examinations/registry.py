"""What an examination is made of: the context in which it computes, its functions, and an answer about one model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from numembed.core.arrays import Matrix
from numembed.core.registry import Registry
from numembed.core.serialization import as_plain, from_plain
from numembed.core.settings import Settings
from numembed.examinations.clusters.compute import Explanation, stored_explanation
from numembed.models.spec import ModelSpec
from numembed.sequences.sets import SequenceSet
from numembed.studies.examination import EXAMINATIONS, Examination
from numembed.studies.results import ModelResult, ResultStore
from numembed.studies.stored import stored_examination
from numembed.studies.study import Study

Result = TypeVar("Result")
Row = dict[str, Any]  # column to value


@dataclass(frozen=True)
class ExaminationContext:
    """What an examination works with."""

    study: Study
    spec: ModelSpec  # resolved
    result: ModelResult  # its scores and KMeans clusters for the study's sequences
    results: ResultStore
    settings: Settings
    vectors: Callable[[SequenceSet, ModelSpec], Matrix]  # (n, d): what is stored is read, what is missing encoded
    progress: Callable[[int, int], None]  # how many parts are done, of how many; may raise Cancelled

    @cached_property
    def matrix(self) -> Matrix:
        """The vectors of the study's sequences, (n, d)."""
        return self.vectors(self.study.sequences, self.spec)


@dataclass(frozen=True, eq=False)
class Answer(Generic[Result]):
    """What an examination found about one model."""

    examination: Examination
    study: Study
    result: ModelResult
    found: Result
    explanation: Explanation | None = None  # of the clusters, where it is a part of the examination

    @property
    def model(self) -> str:
        """The model's name."""
        return self.result.model.name

    @property
    def sentence(self) -> str:
        """What was found, in one or a few sentences."""
        sentence: str = self.examination.implementation.text(self)
        return sentence

    @property
    def rows(self) -> list[Row]:
        """All numbers as plain rows; None for NaN."""
        rows: list[Row] = as_plain(self.examination.implementation.rows(self))
        return rows


@dataclass(frozen=True)
class Implementation(Generic[Result]):
    """The functions of an examination and the frozen dataclass that it finds, which is stored as JSON."""

    result: type[Result]
    compute: Callable[[ExaminationContext], Result]
    text: Callable[[Answer[Result]], str]  # one or a few sentences
    rows: Callable[[Answer[Result]], list[Row]]  # all numbers, flat; NaN where undefined
    lists: tuple[str, str, Registry[Any]] | None = None  # field and its key that name each member of a registry
    texts: Callable[[ExaminationContext], Iterable[tuple[ModelSpec, SequenceSet]]] = lambda context: ()
    # what it reads besides the study's own texts, so that all of it is encoded before anything is computed

    def is_current(self, stored: dict[str, Any]) -> bool:
        """Return whether a stored answer holds every member that is registered now, and no other."""
        if self.lists is None:
            return True
        field, key, registry = self.lists
        return {one[key] for one in stored[field]} == set(registry.names)


def computed(name: str, context: ExaminationContext) -> dict[str, Any]:
    """Carry out an examination; return what it found as JSON values."""
    values: dict[str, Any] = as_plain(EXAMINATIONS[name].implementation.compute(context))
    return values


def answers(study: Study, results: Sequence[ModelResult], store: ResultStore) -> list[Answer[Any]]:
    """Return what is stored of all that the study asks, one answer for each examination and model that has one."""
    stored = []
    for examination in (EXAMINATIONS[name] for name in study.examine):
        for result in results:
            values = stored_examination(study, result.model, examination.name, store)
            if values is not None:
                explanation = stored_explanation(study, result.model, store) if examination.with_explanation else None
                values = from_plain(examination.implementation.result, values)
                stored.append(Answer(examination, study, result, values, explanation))
    return stored
