"""Examinations: further questions about one model of a study, answered by the worker when a visitor asks.

To add one, write a registered function in a module of its own, import it in ``__init__.py`` and name it in
``study.EXAMINATIONS``: a bench in, JSON values out. Facts: ``asks``, the question in one sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from numembed.core.arrays import Matrix
from numembed.core.registry import Registry
from numembed.core.settings import Settings
from numembed.models.spec import ModelSpec
from numembed.sequences.sets import SequenceSet
from numembed.studies.results import ModelResult, ResultStore
from numembed.studies.study import Study

EXAMINATIONS: Registry[Callable[[Bench], dict[str, Any]]] = Registry("examination")


@dataclass(frozen=True)
class Bench:
    """What an examination works with."""

    study: Study
    spec: ModelSpec  # resolved
    result: ModelResult  # its scores and KMeans clusters for the study's sequences
    results: ResultStore
    settings: Settings
    vectors: Callable[[SequenceSet, ModelSpec], Matrix]  # (n, d): what is stored is read, what is missing encoded
    tell: Callable[[int, int], None]  # how many parts are done, of how many; may raise Cancelled

    @cached_property
    def matrix(self) -> Matrix:
        """The vectors of the study's sequences, (n, d)."""
        return self.vectors(self.study.sequences, self.spec)
