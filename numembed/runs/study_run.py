"""Carries out a study: vectors, scores and maps of every model, stored as they come."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, cast

from numembed.analysis.maps.projections import project, run_order
from numembed.analysis.preparation import Distance
from numembed.analysis.scores import ScoreKind, plain_scores, score_all, score_kinds
from numembed.core.arrays import Matrix
from numembed.core.errors import AcceleratorLost, Cancelled, CheckFailed, NumembedError, StoreFull
from numembed.core.progress import (
    DONE,
    EXAMINE,
    FAILED,
    PROJECT,
    RANDOM_INIT,
    REDRAW,
    SCORE,
    Progress,
    Report,
    Row,
    unreported,
)
from numembed.core.serialization import as_plain
from numembed.core.settings import Settings
from numembed.examinations.clusters.compute import LARGEST, explain
from numembed.examinations.registry import ExaminationContext, computed
from numembed.models.catalogue.names import random_init
from numembed.models.embedding import Embeddings, embed, refuse_failed
from numembed.models.encoders.checks import ModelCheck
from numembed.models.encoders.tokens import count_tokens
from numembed.models.resolve import known_folder
from numembed.models.spec import ModelSpec
from numembed.sequences.sets import SequenceSet
from numembed.storage.vectors import VectorStore
from numembed.studies.cost import parameters_of
from numembed.studies.keys import design_key, examined_key, explain_key, projection_key, result_key
from numembed.studies.reference_scores import ReferenceScores, score_baselines, score_random_init, stored_references
from numembed.studies.results import ModelResult, Projection, ResultStore
from numembed.studies.stored import pin, previously_pinned, stored_designs, stored_examination, stored_result
from numembed.studies.study import Study, dimensions, redrawings

if TYPE_CHECKING:
    import pandas

    from numembed.models.encoders.encoder import LoadedModel

_ENDING = (Cancelled, StoreFull, AcceleratorLost)  # they end the whole run, not one model's part of it

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a run gave: a result for each model that ran, a sentence for each that could not."""

    results: tuple[ModelResult, ...]
    errors: Mapping[str, str]
    references: ReferenceScores = ReferenceScores()  # what the scores are to be held against

    def frame(self) -> pandas.DataFrame:
        """Return the scores as a data frame, one row a score."""
        import pandas

        return pandas.DataFrame([as_plain(score) for result in self.results for score in result.scores])


def run(
    study: Study,
    *,
    vectors: VectorStore,
    results: ResultStore,
    loaded: LoadedModel,
    settings: Settings,
    report: Report = unreported,
) -> Outcome:
    """Carry out ``study``: vectors, scores and maps of every model; all of it is stored as it comes.

    ``report`` has a row for each model.

    A model that cannot run leaves its sentence and the others go on. Raises Cancelled and StoreFull; what was
    stored before stays.
    """
    pinned: dict[int, ModelSpec] = {}
    errors: dict[str, str] = {}
    finished: dict[int, ModelResult] = {}
    score_baselines(study, results)
    for late, methods in enumerate(run_order()):
        for index, spec in enumerate(study.models):
            if spec.name in errors:
                continue
            row = Row(report, index)
            try:
                if index not in pinned:
                    pinned[index] = pin(spec, results, settings, progress=row)
                following = study.models[index + 1] if index + 1 < len(study.models) else None
                job = _ModelRun(study, pinned[index], row, vectors, results, loaded, settings, following)
                finished[index] = job.scores()
                job.explanation(finished[index])
                job.projections(methods)
                if late:
                    finished[index] = replace(finished[index], designs=job.designs())
                    job.examinations(finished[index])
                    job.random_weights()
                    row(1, 1, DONE)
            except _ENDING:
                raise
            except NumembedError as error:
                errors[spec.name] = settings.redact(str(error))
                report(index, FAILED, 0, 1, errors[spec.name])
    references = stored_references(study, [pinned[index] for index in sorted(finished)], results)
    return Outcome(tuple(finished[index] for index in sorted(finished)), errors, references)


@dataclass(frozen=True)
class _ModelRun:
    """One model's part of a run; the vectors are fetched once and only where something needs them."""

    study: Study
    spec: ModelSpec
    row: Row
    vectors: VectorStore
    results: ResultStore
    loaded: LoadedModel
    settings: Settings
    following: ModelSpec | None

    @cached_property
    def embeddings(self) -> Embeddings:
        outcome = self._embed(self.spec, self.study.sequences, self._progress, self._judge)
        if outcome.work is not None:
            self.results.add_work(self.spec.stored.key, outcome.work)
        return outcome

    def explanation(self, result: ModelResult) -> None:
        """Find out what the clusters encode, where the sequences are few enough to be looked at one by one."""
        study, key = self.study, explain_key(self.study, self.spec)
        if len(study.sequences) > LARGEST or self.results.get(key) is not None:
            return
        counted = count_tokens(self.spec, study.sequences.texts, self.settings)
        matrix, distance = self.embeddings.matrix, cast(Distance, study.distance)
        tokens = counted.counts if counted else None
        explained = explain(
            matrix, study.sequences, result.clusters, distance=distance, token_counts=tokens, seed=study.seed
        )
        self.results.put(key, as_plain(explained))

    def designs(self) -> Mapping[ScoreKind, tuple[float, ...]]:
        """Return the model's scores on every redrawn design; the vectors of its texts are stored like all others."""
        study, key = self.study, design_key(self.study, self.spec, self.study.designs)
        if study.designs and len(self.results.designs(key)) < len(score_kinds()):
            self.results.put_designs(key, self._redrawn())
        return stored_designs(study, self.spec, self.results)

    def _redrawn(self) -> dict[ScoreKind, list[float]]:
        study = self.study
        scores: dict[ScoreKind, list[float]] = {}
        for done, design in enumerate(redrawings(study, study.designs)):
            self.row(done, study.designs, REDRAW)
            matrix = self._embed(self.spec, design, self._watch(done), self._judge).matrix
            values = plain_scores(matrix, design.labels, distance=cast(Distance, study.distance), seed=study.seed)
            for name, value in values.items():
                scores.setdefault(name, []).append(value)
        return scores

    def examinations(self, result: ModelResult) -> None:
        """Answer the further questions that the study asks about this model."""
        for name in self.study.examine:
            if stored_examination(self.study, self.spec, name, self.results) is not None:
                continue
            progress = partial(self.row, note=EXAMINE)
            context = ExaminationContext(
                self.study, self.spec, result, self.results, self.settings, self._vectors, progress=progress
            )
            self.row(0, 1, EXAMINE)
            self.results.put(examined_key(self.study, self.spec, name), computed(name, context))

    def random_weights(self) -> None:
        """Score the same architecture with random weights: what the model owes to its training."""
        if random_init(self.spec) is None:
            return
        parameters = parameters_of(self.spec, known_folder(self.spec.weights, self.settings))
        try:
            score_random_init(self.study, self.spec, parameters, self._random_init_vectors, self.results)
        except _ENDING:
            raise
        except NumembedError:  # a missing reference score is no failure of the model
            _log.info("no random weights for %s", self.spec.name, exc_info=True)

    def _random_init_vectors(self, untrained: ModelSpec) -> Matrix:
        return self._embed(untrained, self.study.sequences, self.row.at(RANDOM_INIT), refuse_failed).matrix

    def _vectors(self, sequences: SequenceSet, spec: ModelSpec) -> Matrix:
        """Return the vectors (n, d) of other sequences, or of this model with another prompt or precision."""
        return self._embed(spec, sequences, self.row.at(EXAMINE), partial(self._judge, of=spec)).matrix

    def _embed(
        self, spec: ModelSpec, sequences: SequenceSet, progress: Progress, judge: Callable[[ModelCheck], None]
    ) -> Embeddings:
        return embed(spec, sequences, store=self.vectors, loaded=self.loaded, progress=progress, judge=judge)

    def _watch(self, done: int) -> Progress:
        """Return a progress that a cancel can stop, and that shows designs instead of texts."""
        return lambda texts, of, stage: self.row(done, self.study.designs, REDRAW)

    def _progress(self, done: int, total: int, stage: str) -> None:
        if stage == "encode" and done == 0 and self.following is not None:
            following = previously_pinned(self.following, self.results)
            if following is not None:
                self.loaded.read_ahead(following)
        self.row(done, total, stage)

    def _judge(self, check: ModelCheck, of: ModelSpec | None = None) -> None:
        self.results.put_check(of or self.spec, check)
        self._refuse(check)

    def _refuse(self, check: ModelCheck | None) -> None:
        if check is not None and not check.ok and not self.study.despite_checks:
            raise CheckFailed(f"{self.spec.name} did not pass its check and was not run. {check.sentence}")

    def scores(self) -> ModelResult:
        """Return the scores, computed where they are not stored; a model that is known to fail its check is refused."""
        self._refuse(self.results.check(self.spec))
        known = stored_result(self.study, self.spec, self.results)
        if known is not None:
            return known
        matrix, sequences, study = self.embeddings.matrix, self.study.sequences, self.study
        key = result_key(study, self.spec)
        before = self.results.model_result(self.spec, key)
        self.row(0, 1, SCORE)
        scores, clusters = score_all(
            matrix,
            sequences.labels,
            model=self.spec.name,
            distance=cast(Distance, study.distance),
            seed=study.seed,
            windows=sequences.windows,
            progress=self.row.at(SCORE),
            known=before.scores if before else (),
        )
        result = ModelResult(self.spec, matrix.shape[1], scores, clusters, self.results.check(self.spec))
        self.results.put_model_result(key, result)
        return result

    def projections(self, methods: Sequence[str]) -> None:
        """Draw and store the maps of ``methods``; progress counts the maps of all methods."""
        study = self.study
        everything = [(method, dims) for method in chain(*run_order()) for dims in dimensions(len(study.sequences))]
        for done, (method, dims) in enumerate(everything):
            key = projection_key(self.spec, study.sequences, method=method, dims=dims, seed=study.seed)
            if method not in methods or self.results.get(key) is not None:
                continue
            self.row(done, len(everything), PROJECT)
            matrix, cache = self.embeddings.matrix, self.settings.compiled
            points, used = project(matrix, method, dims=dims, seed=study.seed, cache_folder=cache)
            self.results.put_projection(key, Projection(points, method, used))
            self.row(done + 1, len(everything), PROJECT)
