"""What an examination is made of: the context in which it computes, its functions, and an answer about one model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from numembed.core.arrays import Matrix
from numembed.core.settings import Settings
from numembed.examinations.clusters.compute import Explanation
from numembed.models.spec import ModelSpec
from numembed.sequences.sets import SequenceSet
from numembed.studies.examination import Examination
from numembed.studies.results import ModelResult, ResultStore
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


@dataclass(frozen=True)
class Implementation(Generic[Result]):
    """The functions of an examination and the frozen dataclass that it finds, which is stored as JSON."""

    result: type[Result]
    compute: Callable[[ExaminationContext], Result]
    text: Callable[[Answer[Result]], str]  # one or a few sentences
    rows: Callable[[Answer[Result]], list[Row]]  # all numbers, flat; NaN where undefined
