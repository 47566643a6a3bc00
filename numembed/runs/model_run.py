"""One model's part of a study: its vectors, scores and maps, each stored as it comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from typing import Any, cast

from numembed.analysis.maps.projections import PROJECTIONS, run_order
from numembed.analysis.preparation import Distance
from numembed.analysis.scores import ScoreKind, plain_scores, score_all, score_kinds
from numembed.core.arrays import Matrix
from numembed.core.errors import (
    LIGHT,
    MODEL,
    CheckFailed,
    ModelUnavailable,
    NonFiniteVectors,
    Paused,
    RemoteFailed,
    TextFailed,
    TooLarge,
)
from numembed.core.progress import (
    EXAMINE,
    PROJECT,
    RANDOM_INIT,
    REDRAW,
    SCORE,
    Progress,
    Row,
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
from numembed.runs.state import RunState
from numembed.sequences.sets import SequenceSet
from numembed.studies.cost import cost_of
from numembed.studies.detail import detailed
from numembed.studies.examination import EXAMINATIONS
from numembed.studies.keys import design_key, examined_key, explain_key, projection_key, result_key
from numembed.studies.maps import drawn_map
from numembed.studies.parts import Failure, keep_reason, part
from numembed.studies.reference_scores import random_init_key, score_random_init
from numembed.studies.results import ModelResult, ResultStore
from numembed.studies.stored import previously_pinned, stored_designs, stored_examination, stored_result
from numembed.studies.study import Study, dimensions, redrawings


@dataclass(frozen=True)
class ModelRun:
    """One model's part of a run; the vectors are fetched once and only where something needs them."""

    run: RunState
    spec: ModelSpec
    row: Row
    following: ModelSpec | None

    @property
    def study(self) -> Study:
        """What is run."""
        return self.run.study

    @property
    def results(self) -> ResultStore:
        """Where what is found is stored."""
        return self.run.results

    @property
    def settings(self) -> Settings:
        """What the operator allows."""
        return self.run.settings

    def _part(self, what: str, key: str) -> AbstractContextManager[None]:
        """Return the block of one part of a model that has its scores; ``key`` is that of its result."""

        def failed(why: Failure) -> None:
            keep_reason(self.results, key, why)
            self.run.missing(what, self.spec.name, why)

        return part(f"the {what} of {self.spec.name}", self.settings, failed)

    def _is_settled(self, what: str, key: str) -> bool:
        """Return whether a part is stored, or has failed in an earlier turn of this run."""
        return self._has_failed(what) or self.results.get(key) is not None

    def _has_failed(self, what: str) -> bool:
        return (what, self.spec.name) in self.run.failed

    @cached_property
    def embeddings(self) -> Embeddings:
        """The vectors of the study's sequences."""
        return self._embed(self.spec, self.study.sequences, self._progress, self._judge)

    @cached_property
    def counted(self) -> TokenCount | None:
        """How the model splits the texts; None where nobody can tell."""
        return count_tokens(self.spec, self.study.sequences.texts, self.settings)

    def detailed(self, result: ModelResult) -> ModelResult:
        """Return the result with what stands behind its silhouette."""
        vectors, counted, progress = lambda: self.embeddings.matrix, lambda: self.counted, self.row.at(SCORE)
        return detailed(self.study, result, self.results, vectors, counted, self._part, progress=progress)

    def explanation(self, result: ModelResult) -> None:
        """Find out what the clusters encode, where the sequences are few enough to be looked at one by one."""
        study, key, what = self.study, explain_key(self.study, self.spec), "explanation of the clusters"
        if len(study.sequences) > LARGEST or self._is_settled(what, key):
            return
        with self._part(what, key):
            matrix, distance = self.embeddings.matrix, cast(Distance, study.distance)
            tokens = self.counted.counts if self.counted else None
            explained = explain(
                matrix, study.sequences, result.clusters, distance=distance, token_counts=tokens, seed=study.seed
            )
            self.results.put(key, as_plain(explained))

    def designs(self) -> Mapping[ScoreKind, tuple[float, ...]]:
        """Return the model's scores on every redrawn design; the vectors of its texts are stored like all others."""
        study, what = self.study, "scores on redrawn windows"
        key = design_key(study, self.spec, study.designs)
        is_known = len(self.results.designs(key)) == len(score_kinds())
        if study.designs and not is_known and not self._has_failed(what):
            with self._part(what, key):
                self.results.put_designs(key, self._redrawn())
        return stored_designs(study, self.spec, self.results)

    def _redrawn(self) -> dict[ScoreKind, list[float]]:
        study = self.study
        scores: dict[ScoreKind, list[float]] = {}
        for done, design in enumerate(redrawings(study, study.designs)):
            self.row(done, study.designs, REDRAW)
            matrix = self._embed(self.spec, design, self._watch(done), self._judge, more=True).matrix
            if self.run.lane == MODEL:
                continue
            values = plain_scores(matrix, design.labels, distance=cast(Distance, study.distance), seed=study.seed)
            for name, value in values.items():
                scores.setdefault(name, []).append(value)
        if self.run.lane == MODEL:
            raise Paused(LIGHT)
        return scores

    def examinations(self, result: ModelResult) -> bool:
        """Answer the further questions that the study asks about this model; return whether any has an answer."""
        answered = []
        for name in self.study.examine:
            key, what = examined_key(self.study, self.spec, name), f"answer to “{EXAMINATIONS[name].verb}”"
            if stored_examination(self.study, self.spec, name, self.results) is not None:
                answered.append(name)
            elif not self._has_failed(what):
                progress = partial(self.row, note=EXAMINE)
                context = ExaminationContext(
                    self.study, self.spec, result, self.results, self.settings, self._vectors, progress=progress
                )
                self.row(0, 1, EXAMINE)
                with self._part(what, key):
                    self.results.put(key, self._answer(name, context))
                    answered.append(name)
        return bool(answered)

    def _answer(self, name: str, context: ExaminationContext) -> dict[str, Any]:
        self._read_all(name, context)
        try:
            return computed(name, context)
        except Paused:
            self._read_all(name, context)  # where vectors were deleted meanwhile; else the lanes would wait for ever
            raise RuntimeError(f"The examination {name!r} reads texts that it does not list.") from None

    def _read_all(self, name: str, context: ExaminationContext) -> None:
        """Store the vectors of all texts that an examination reads, where its lane is another than theirs."""
        if not self.run.lane:
            return
        complete = True
        for spec, sequences in EXAMINATIONS[name].implementation.texts(context):
            try:
                self._embed(spec, sequences, self.row.at(EXAMINE), partial(self._judge, of=spec), more=True)
            except (CheckFailed, ModelUnavailable, NonFiniteVectors, RemoteFailed, TextFailed, TooLarge):
                complete = False  # the examination says what it lacks
        if complete and self.run.lane == MODEL:
            raise Paused(LIGHT)

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
        judge = partial(self._judge, of=spec)
        return self._embed(spec, sequences, self.row.at(EXAMINE), judge, more=True).matrix

    def _embed(
        self,
        spec: ModelSpec,
        sequences: SequenceSet,
        progress: Progress,
        judge: Callable[[ModelCheck], None],
        *,
        more: bool = False,
    ) -> Embeddings:
        """Return the vectors of ``sequences``; where models are loaded only stored (``more`` follow)."""
        run = self.run
        if (known := run.unusable.get(spec.key)) is not None:  # it was tried: trying takes long
            raise type(known)(str(known))
        try:
            found = embed(spec, sequences, store=run.vectors, loaded=run.loaded, progress=progress, judge=judge)
        except Paused as pause:
            if run.lane == LIGHT:
                raise Paused(pause.lane, self._expected(spec, sequences)) from None
            raise
        except (ModelUnavailable, CheckFailed, RemoteFailed) as error:
            run.unusable[spec.key] = type(error)(str(error))
            raise
        if found.work is not None and sequences is self.study.sequences and spec == self.spec:
            self.results.add_work(spec.stored.key, found.work)
        if run.lane == MODEL and not more:  # also where another run, or one that was killed, has stored them
            raise Paused(LIGHT)
        return found

    def _expected(self, spec: ModelSpec, sequences: SequenceSet) -> float | None:
        """Return how many seconds the model is expected to need for what the store lacks."""
        texts = sequences.texts
        lacking = 1 - self.run.vectors.count(spec.stored.key, texts) / max(len(texts), 1)
        characters = round(lacking * sum(map(len, texts)))
        return cost_of(spec, characters=characters, settings=self.settings, results=self.results).expected

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
            what = f"{PROJECTIONS[method].title} map"
            if method not in methods or self._is_settled(what, key):
                continue
            self.row(done, len(everything), PROJECT)
            with self._part(what, key):
                matrix, cache = self.embeddings.matrix, self.settings.compiled
                self.results.put_projection(key, drawn_map(study, matrix, method, dims=dims, cache_folder=cache))
            self.row(done + 1, len(everything), PROJECT)
