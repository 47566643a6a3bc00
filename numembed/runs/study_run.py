"""Carries out a study: vectors, scores and maps of every model, stored as they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from numembed.analysis.maps.projections import run_order
from numembed.core.progress import (
    DONE,
    FAILED,
    Report,
    Row,
    unreported,
)
from numembed.core.settings import Settings
from numembed.runs.model_run import ModelRun
from numembed.runs.outcome import Outcome
from numembed.runs.state import Notes, RunState
from numembed.storage.vectors import VectorStore
from numembed.studies.cost import refuse_too_many
from numembed.studies.parts import Failure, gap_sentences, part
from numembed.studies.reference_scores import score_baselines, stored_references
from numembed.studies.results import ResultStore
from numembed.studies.stored import pin
from numembed.studies.study import Study

if TYPE_CHECKING:
    from numembed.models.encoders.loaded import LoadedModel


def run(
    study: Study,
    *,
    vectors: VectorStore,
    results: ResultStore,
    loaded: LoadedModel,
    settings: Settings,
    report: Report = unreported,
    lane: str = "",
    notes: Notes | None = None,
) -> Outcome:
    """Carry out ``study``: vectors, scores and maps of every model; all of it is stored as it comes.

    ``report`` has a row for each model. A model that cannot run leaves its sentence and the others go on; so does a
    part of a model, such as a map. Raises ``errors.ENDING``, and TooLarge before anything; what was stored stays.

    With a ``lane`` it does the work of that lane and raises Paused where that of the other comes next: LIGHT is given a
    ``loaded`` that loads no model, MODEL only stores vectors. ``notes`` is then what both know of models and failures.
    """
    notes = notes or Notes()
    failed = frozenset((gap.what, gap.model) for gap in notes.gaps)
    return _StudyRun(study, vectors, results, loaded, settings, report, lane, notes, failed).outcome()


class _StudyRun(RunState):
    """Carries a study out, model by model."""

    def outcome(self) -> Outcome:
        refuse_too_many(len(self.study.families) * self.study.per_family)
        with part("the baselines", self.settings, lambda why: self.missing("baselines", "", why)):
            score_baselines(self.study, self.results)
        for late, methods in enumerate(run_order()):
            for index, spec in enumerate(self.study.models):
                if spec.name not in self.notes.errors:
                    with part(spec.name, self.settings, partial(self._failed, index)):
                        self._model(index, methods, late=bool(late))
        order = sorted(self.finished)
        references = stored_references(self.study, [self.notes.pinned[index] for index in order], self.results)
        gaps = tuple(dict.fromkeys(gap for gap in self.notes.gaps if gap.model not in self.notes.errors))
        return Outcome(tuple(self.finished[index] for index in order), self.notes.errors, references, gaps)

    def _model(self, index: int, methods: Sequence[str], *, late: bool) -> None:
        models, row = self.study.models, Row(self.report, index)
        if index not in self.notes.pinned:
            self.notes.pinned[index] = pin(models[index], self.results, self.settings, progress=row)
        following = models[index + 1] if index + 1 < len(models) else None
        job = ModelRun(self, self.notes.pinned[index], row, following)
        if not late:
            self.finished[index] = job.detailed(job.scores())
            job.explanation(self.finished[index])
        job.projections(methods)
        if late:
            self.finished[index] = replace(self.finished[index], designs=job.designs())
            answered = job.examinations(self.finished[index])
            job.random_weights()
            if self.study.examine and not answered:
                self._unanswered(index)
            else:
                row(1, 1, DONE)

    def _failed(self, index: int, why: Failure) -> None:
        name = self.study.models[index].name
        self.notes.errors[name] = why.of_model(name, alone=len(self.study.models) == 1)
        self.report(index, FAILED, 0, 1, self.notes.errors[name])

    def _unanswered(self, index: int) -> None:
        """Enter a model as failed that has its scores, but no answer to anything that was asked."""
        name = self.study.models[index].name
        own = [gap for gap in self.notes.gaps if gap.model == name]
        self.notes.errors[name] = " ".join(gap_sentences(own))
        self.report(index, FAILED, 0, 1, self.notes.errors[name])
