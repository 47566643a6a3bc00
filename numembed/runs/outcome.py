"""What a run gave and what it could not give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from numembed.core.serialization import as_plain
from numembed.studies.parts import Gap, gap_sentences
from numembed.studies.reference_scores import ReferenceScores
from numembed.studies.results import ModelResult

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Outcome:
    """A result for each model that was scored, and sentences for what failed.

    A model whose examinations all failed is among ``errors`` and keeps its result.
    """

    results: tuple[ModelResult, ...]
    errors: Mapping[str, str]  # of each model that could not run
    references: ReferenceScores = ReferenceScores()  # what the scores are to be held against
    gaps: tuple[Gap, ...] = ()  # what is missing of models that ran

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that failed: models first, then parts of those that ran."""
        return (*self.errors.values(), *gap_sentences(self.gaps))

    @property
    def nothing_ran(self) -> bool:
        """True where models failed and no other one ran."""
        return bool(self.errors) and all(result.model.name in self.errors for result in self.results)

    def frame(self) -> pandas.DataFrame:
        """Return the scores as a data frame, one row a score."""
        import pandas

        return pandas.DataFrame([as_plain(score) for result in self.results for score in result.scores])
