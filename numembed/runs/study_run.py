"""Carries out a study: vectors, scores and maps of every model, stored as they come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, cast

from numembed.analysis.maps.projections import PROJECTIONS, run_order
from numembed.analysis.preparation import Distance
from numembed.analysis.scores import ScoreKind, plain_scores, score_all, score_kinds
from numembed.core.arrays import Matrix
from numembed.core.errors import CheckFailed, ModelUnavailable, NumembedError, RemoteFailed
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
from numembed.models.encoders.interface import ModelCheck
from numembed.models.encoders.memory import parameters_of
from numembed.models.encoders.tokens import TokenCount, count_tokens
from numembed.models.resolve import known_folder
from numembed.models.spec import ModelSpec
from numembed.runs.outcome import Outcome
from numembed.sequences.sets import SequenceSet
from numembed.storage.vectors import VectorStore
from numembed.studies.cost import refuse_too_many
from numembed.studies.detail import detailed
from numembed.studies.examination import EXAMINATIONS
from numembed.studies.keys import design_key, examined_key, explain_key, projection_key, result_key
from numembed.studies.maps import drawn_map
from numembed.studies.parts import Failure, Gap, gap_sentences, keep_reason, part
from numembed.studies.reference_scores import random_init_key, score_baselines, score_random_init, stored_references
from numembed.studies.results import ModelResult, ResultStore
from numembed.studies.stored import pin, previously_pinned, stored_designs, stored_examination, stored_result
from numembed.studies.study import Study, dimensions, redrawings

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
) -> Outcome:
    """Carry out ``study``: vectors, scores and maps of every model; all of it is stored as it comes.

    ``report`` has a row for each model. A model that cannot run leaves its sentence and the others go on; so does a
    part of a model, such as a map. Raises ``errors.ENDING``, and TooLarge before anything; what was stored stays.
    """
    return _Run(study, vectors, results, loaded, settings, report).outcome()


@dataclass(frozen=True)
class _Run:
    """A run, and what it has found so far by the number of the model."""

    study: Study
    vectors: VectorStore
    results: ResultStore
    loaded: LoadedModel
    settings: Settings
    report: Report
    pinned: dict[int, ModelSpec] = field(default_factory=dict)
    finished: dict[int, ModelResult] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    unusable: dict[str, NumembedError] = field(default_factory=dict)  # why a model cannot be read, by its key

    def outcome(self) -> Outcome:
        refuse_too_many(len(self.study.families) * self.study.per_family)
        with part("the baselines", self.settings, lambda why: self.missing("baselines", "", why)):
            score_baselines(self.study, self.results)
        for late, methods in enumerate(run_order()):
            for index, spec in enumerate(self.study.models):
                if spec.name not in self.errors:
                    with part(spec.name, self.settings, partial(self._failed, index)):
                        self._model(index, methods, late=bool(late))
        order = sorted(self.finished)
        references = stored_references(self.study, [self.pinned[index] for index in order], self.results)
        gaps = tuple(dict.fromkeys(gap for gap in self.gaps if gap.model not in self.errors))
        return Outcome(tuple(self.finished[index] for index in order), self.errors, references, gaps)

    def _model(self, index: int, methods: Sequence[str], *, late: bool) -> None:
        models, row = self.study.models, Row(self.report, index)
        if index not in self.pinned:
            self.pinned[index] = pin(models[index], self.results, self.settings, progress=row)
        following = models[index + 1] if index + 1 < len(models) else None
        job = _ModelRun(self, self.pinned[index], row, following)
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
        self.errors[name] = why.of_model(name, alone=len(self.study.models) == 1)
        self.report(index, FAILED, 0, 1, self.errors[name])

    def _unanswered(self, index: int) -> None:
        """Enter a model as failed that has its scores, but no answer to anything that was asked."""
        name = self.study.models[index].name
        own = [gap for gap in self.gaps if gap.model == name]
        self.errors[name] = " ".join(gap_sentences(own))
        self.report(index, FAILED, 0, 1, self.errors[name])

    def missing(self, what: str, model: str, why: Failure) -> None:
        self.gaps.append(Gap(what, model, why.reason))


@dataclass(frozen=True)
class _ModelRun:
    """One model's part of a run; the vectors are fetched once and only where something needs them."""

    run: _Run
    spec: ModelSpec
    row: Row
    following: ModelSpec | None

    @property
    def study(self) -> Study:
        return self.run.study

    @property
    def results(self) -> ResultStore:
        return self.run.results

    @property
    def settings(self) -> Settings:
        return self.run.settings

    def _part(self, what: str, key: str) -> AbstractContextManager[None]:
        """Return the block of one part of a model that has its scores; ``key`` is that of its result."""

        def failed(why: Failure) -> None:
            keep_reason(self.results, key, why)
            self.run.missing(what, self.spec.name, why)

        return part(f"the {what} of {self.spec.name}", self.settings, failed)

    @cached_property
    def embeddings(self) -> Embeddings:
        outcome = self._embed(self.spec, self.study.sequences, self._progress, self._judge)
        if outcome.work is not None:
            self.results.add_work(self.spec.stored.key, outcome.work)
        return outcome

    @cached_property
    def counted(self) -> TokenCount | None:
        return count_tokens(self.spec, self.study.sequences.texts, self.settings)

    def detailed(self, result: ModelResult) -> ModelResult:
        vectors, counted, progress = lambda: self.embeddings.matrix, lambda: self.counted, self.row.at(SCORE)
        return detailed(self.study, result, self.results, vectors, counted, self._part, progress=progress)

    def explanation(self, result: ModelResult) -> None:
        """Find out what the clusters encode, where the sequences are few enough to be looked at one by one."""
        study, key = self.study, explain_key(self.study, self.spec)
        if len(study.sequences) > LARGEST or self.results.get(key) is not None:
            return
        with self._part("explanation of the clusters", key):
            matrix, distance = self.embeddings.matrix, cast(Distance, study.distance)
            tokens = self.counted.counts if self.counted else None
            explained = explain(
                matrix, study.sequences, result.clusters, distance=distance, token_counts=tokens, seed=study.seed
            )
            self.results.put(key, as_plain(explained))

    def designs(self) -> Mapping[ScoreKind, tuple[float, ...]]:
        """Return the model's scores on every redrawn design; the vectors of its texts are stored like all others."""
        study, key = self.study, design_key(self.study, self.spec, self.study.designs)
        if study.designs and len(self.results.designs(key)) < len(score_kinds()):
            with self._part("scores on redrawn windows", key):
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

    def examinations(self, result: ModelResult) -> bool:
        """Answer the further questions that the study asks about this model; return whether any has an answer."""
        answered = []
        for name in self.study.examine:
            key = examined_key(self.study, self.spec, name)
            if stored_examination(self.study, self.spec, name, self.results) is None:
                progress = partial(self.row, note=EXAMINE)
                context = ExaminationContext(
                    self.study, self.spec, result, self.results, self.settings, self._vectors, progress=progress
                )
                self.row(0, 1, EXAMINE)
                with self._part(f"answer to “{EXAMINATIONS[name].verb}”", key):
                    self.results.put(key, computed(name, context))
                    answered.append(name)
            else:
                answered.append(name)
        return bool(answered)

    def random_weights(self) -> None:
        """Score the same architecture with random weights: what the model owes to its training."""
        if (untrained := random_init(self.spec)) is None:
            return
        key = random_init_key(self.study, untrained)  # its column says why it is missing: the model itself is complete
        with part(untrained.name, self.settings, partial(keep_reason, self.results, key)):
            parameters = parameters_of(self.spec, known_folder(self.spec.weights, self.settings))
            score_random_init(self.study, self.spec, parameters, self._random_init_vectors, self.results)

    def _random_init_vectors(self, untrained: ModelSpec) -> Matrix:
        return self._embed(untrained, self.study.sequences, self.row.at(RANDOM_INIT), refuse_failed).matrix

    def _vectors(self, sequences: SequenceSet, spec: ModelSpec) -> Matrix:
        """Return the vectors (n, d) of other sequences, or of this model with another prompt or precision."""
        return self._embed(spec, sequences, self.row.at(EXAMINE), partial(self._judge, of=spec)).matrix

    def _embed(
        self, spec: ModelSpec, sequences: SequenceSet, progress: Progress, judge: Callable[[ModelCheck], None]
    ) -> Embeddings:
        run = self.run
        if (known := run.unusable.get(spec.key)) is not None:  # it was tried: trying takes long
            raise type(known)(str(known))
        try:
            return embed(spec, sequences, store=run.vectors, loaded=run.loaded, progress=progress, judge=judge)
        except (ModelUnavailable, CheckFailed, RemoteFailed) as error:
            run.unusable[spec.key] = type(error)(str(error))
            raise

    def _watch(self, done: int) -> Progress:
        """Return a progress that a cancel can stop, and that shows designs instead of texts."""
        return lambda texts, of, stage: self.row(done, self.study.designs, REDRAW)

    def _progress(self, done: int, total: int, stage: str) -> None:
        if stage == "encode" and done == 0 and self.following is not None:
            following = previously_pinned(self.following, self.results)
            if following is not None:
                self.run.loaded.read_ahead(following)
        self.row(done, total, stage)

    def _judge(self, check: ModelCheck, of: ModelSpec | None = None) -> None:
        spec = of or self.spec
        self.results.put_check(spec, check.after(self.results.check(spec)))
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
            windows=sequences.windows if sequences.shared_windows else None,
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
            with self._part(f"{PROJECTIONS[method].title} map", key):
                matrix, cache = self.embeddings.matrix, self.settings.compiled
                self.results.put_projection(key, drawn_map(study, matrix, method, dims=dims, cache_folder=cache))
            self.row(done + 1, len(everything), PROJECT)
