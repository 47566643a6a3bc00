"""A whole experiment as one value, and the function that carries it out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from numembed.analysis.metrics import Distance
from numembed.analysis.projections import PROJECTIONS, project
from numembed.analysis.scores import score_all
from numembed.embedding import Embeddings, embed
from numembed.errors import BadChoice, Cancelled, NumembedError, StoreFull, TooLarge
from numembed.models.catalogue import model, reference_of
from numembed.models.checkpoints import resolve
from numembed.models.spec import ModelSpec, canonical_json
from numembed.results import ModelResult, Projection, ResultStore, projection_key, scores_key
from numembed.sequences.families import family
from numembed.sequences.sets import SequenceSet, TextFormat, check_size, make_sequences
from numembed.settings import LIMITS, Settings
from numembed.store import VectorStore

if TYPE_CHECKING:
    import pandas

    from numembed.models.encoders import LoadedModel

DISTANCES = ("euclidean", "cosine")
DIMENSIONS = (2, 3)
FLAT_ABOVE = 3_000
LATE = ("umap",)  # its first use on a machine compiles for seconds, so it comes after all other maps
STAGES = ("load", "encode", "score", "project", "done")

Report = Callable[[int, str, int, int, str], None]
"""``report(model_index, stage, done, total, note)``; stage "failed" carries its sentence. May raise Cancelled."""


@dataclass(frozen=True)
class Study:
    """What one would write under "Methods": sequences, models, distance and seed. Always valid once made."""

    families: tuple[str, ...]
    models: tuple[ModelSpec, ...]
    per_family: int = 4
    length: int = 50
    first_window: int = 0
    text_format: TextFormat = TextFormat()
    distance: str = "euclidean"
    seed: int = 0

    def __post_init__(self) -> None:
        known = dict.fromkeys(family(name).reference for name in self.families)
        object.__setattr__(self, "families", tuple(known))
        object.__setattr__(self, "models", tuple({reference_of(spec): spec for spec in self.models}.values()))
        check_size(self.families, per_family=self.per_family, length=self.length, first_window=self.first_window)
        if not self.models:
            raise BadChoice("A study needs at least one model. Choose one, for instance all-MiniLM-L6-v2.")
        if len(self.models) > LIMITS.models:
            raise TooLarge(f"A study has at most {LIMITS.models} models, got {len(self.models):,}.")
        names = [spec.name for spec in self.models]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise BadChoice(f"Two models are called {twice[:80]!r}. Rename one of the folders.")
        if self.distance not in DISTANCES:
            raise BadChoice(f"The distance is one of {', '.join(DISTANCES)}, got {str(self.distance)[:40]!r}.")
        if type(self.seed) is not int or not 0 <= self.seed < 2**31:
            raise BadChoice(f"The seed is a whole number from 0 to 2,147,483,647, got {str(self.seed)[:40]}.")

    @cached_property
    def sequences(self) -> SequenceSet:
        """The sequences, made on first use."""
        return make_sequences(
            self.families,
            per_family=self.per_family,
            length=self.length,
            first_window=self.first_window,
            text_format=self.text_format,
        )

    @property
    def key(self) -> str:
        """The sha256 of the study's JSON: equal studies share one run."""
        return hashlib.sha256(canonical_json(self.as_dict()).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Return the study as JSON values: what a link, a saved file and an export hold."""
        return {
            "families": list(self.families),
            "models": [reference_of(spec) for spec in self.models],
            "per_family": self.per_family,
            "length": self.length,
            "first_window": self.first_window,
            "separator": self.text_format.separator,
            "max_chars": self.text_format.max_chars,
            "distance": self.distance,
            "seed": self.seed,
        }

    def to_json(self) -> str:
        """Return the study as readable JSON."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Study:
        """Return the study that :meth:`as_dict` described; what is left out takes its default."""
        known = ("families", "models", "per_family", "length", "first_window", "separator", "max_chars", "distance")
        if unknown := sorted(set(plain) - {*known, "seed"}):
            raise BadChoice(f"A study has no entry {str(unknown[0])[:40]!r}. Known: {', '.join(known)}, seed.")
        for field in ("families", "models"):
            names = plain.get(field)
            if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
                raise BadChoice(f"A study needs {field}: a list of names.")
        layout = {field: plain[field] for field in ("separator", "max_chars") if field in plain}
        rest = ("per_family", "length", "first_window", "distance", "seed")
        return cls(
            families=tuple(plain["families"][: LIMITS.families + 1]),
            models=tuple(model(name) for name in plain["models"][: LIMITS.models + 1]),
            text_format=TextFormat(**layout),
            **{field: plain[field] for field in rest if field in plain},
        )

    @classmethod
    def from_json(cls, text: str) -> Study:
        """Return the study in ``text``; raise BadChoice or TooLarge where it is none."""
        if len(text) > LIMITS.study_chars:
            raise TooLarge(f"A study has at most {LIMITS.study_chars:,} characters, got {len(text):,}.")
        try:
            plain = json.loads(text)
        except (ValueError, RecursionError):
            raise BadChoice("This is no study: it is not JSON. Save one from the Compare page.") from None
        if not isinstance(plain, dict):
            raise BadChoice("This is no study: it is not a JSON object. Save one from the Compare page.")
        return cls.from_dict(plain)


@dataclass(frozen=True)
class Outcome:
    """What a run gave: a result for each model that ran, a sentence for each that could not."""

    results: tuple[ModelResult, ...]
    errors: Mapping[str, str]

    def frame(self) -> pandas.DataFrame:
        """Return the scores as a data frame, one row a score."""
        import pandas

        return pandas.DataFrame([score.as_json() for result in self.results for score in result.scores])


def run(
    study: Study,
    *,
    vectors: VectorStore,
    results: ResultStore,
    loaded: LoadedModel,
    settings: Settings,
    report: Report = lambda index, stage, done, total, note: None,
) -> Outcome:
    """Carry out ``study``: vectors, scores and maps of every model; all of it is stored as it comes.

    A model that cannot run leaves its sentence and the others go on. Raises Cancelled and StoreFull; what was
    stored before stays.
    """
    pinned: dict[int, ModelSpec] = {}
    errors: dict[str, str] = {}
    found: dict[int, ModelResult] = {}
    for methods in (tuple(name for name in PROJECTIONS.names if name not in LATE), LATE):
        for index, spec in enumerate(study.models):
            if spec.name in errors:
                continue
            try:
                if index not in pinned:
                    pinned[index] = _pin(spec, results, settings)
                job = _ModelRun(study, pinned[index], index, vectors, results, loaded, settings, report)
                found[index] = job.scores()
                job.projections(methods)
                if methods == LATE:
                    report(index, "done", 1, 1, "")
            except (Cancelled, StoreFull):
                raise
            except NumembedError as error:
                errors[spec.name] = str(error)
                report(index, "failed", 0, 1, str(error))
    return Outcome(tuple(found[index] for index in sorted(found)), errors)


def dimensions(n: int) -> tuple[int, ...]:
    """Return the dimensions in which n sequences are mapped: with many, flat maps only, as 3-D ones take minutes."""
    return DIMENSIONS if n <= FLAT_ABOVE else DIMENSIONS[:1]


def stored_results(study: Study, results: ResultStore) -> tuple[ModelResult | None, ...]:
    """Return what earlier runs left for each model of ``study``; None where there is nothing yet."""
    return tuple(_stored_result(study, spec, results) for spec in study.models)


def stored_projection(
    study: Study, spec: ModelSpec, results: ResultStore, *, method: str, dims: int
) -> Projection | None:
    """Return a map that an earlier run left; ``spec`` is resolved."""
    return results.projection(projection_key(spec, study.sequences, method=method, dims=dims, seed=study.seed))


def pinned_before(spec: ModelSpec, results: ResultStore) -> ModelSpec | None:
    """Return ``spec`` as the latest run pinned it, or None where none has."""
    if spec.resolved:
        return spec
    known = results.get(_pin_key(spec))
    return ModelSpec.from_dict(known) if known else None


@dataclass(frozen=True)
class _ModelRun:
    """One model's part of a run; the vectors are fetched once and only where something needs them."""

    study: Study
    spec: ModelSpec
    index: int
    vectors: VectorStore
    results: ResultStore
    loaded: LoadedModel
    settings: Settings
    report: Report

    @cached_property
    def embeddings(self) -> Embeddings:
        def progress(done: int, total: int, stage: str) -> None:
            self.report(self.index, stage, done, total, "")

        return embed(self.spec, self.study.sequences, store=self.vectors, loaded=self.loaded, progress=progress)

    def scores(self) -> ModelResult:
        known = _stored_result(self.study, self.spec, self.results)
        if known is not None:
            return known
        matrix, sequences, study = self.embeddings.matrix, self.study.sequences, self.study
        self.report(self.index, "score", 0, 1, "")
        scores, clusters = score_all(
            matrix,
            sequences.labels,
            model=self.spec.name,
            distance=cast(Distance, study.distance),
            seed=study.seed,
            progress=lambda done, total, note: self.report(self.index, "score", done, total, ""),
        )
        result = ModelResult(self.spec, matrix.shape[1], scores, clusters)
        self.results.put_model_result(_scores_key(study, self.spec), result)
        return result

    def projections(self, methods: Sequence[str]) -> None:
        """Draw and store the maps of ``methods``; progress counts the maps of all methods."""
        study, names = self.study, (*(name for name in PROJECTIONS.names if name not in LATE), *LATE)
        everything = [(method, dims) for method in names for dims in dimensions(len(study.sequences))]
        for done, (method, dims) in enumerate(everything):
            key = projection_key(self.spec, study.sequences, method=method, dims=dims, seed=study.seed)
            if method not in methods or self.results.get(key) is not None:
                continue
            self.report(self.index, "project", done, len(everything), "")
            points, used = project(
                self.embeddings.matrix,
                method,
                dims=dims,
                seed=study.seed,
                cache_folder=self.settings.compiled,
            )
            self.results.put_projection(key, Projection(points, method, used))
            self.report(self.index, "project", done + 1, len(everything), "")


def _pin(spec: ModelSpec, results: ResultStore, settings: Settings) -> ModelSpec:
    if spec.resolved:
        return spec
    pinned = resolve(spec, offline=settings.offline)
    results.put(_pin_key(spec), pinned.as_dict())
    return pinned


def _pin_key(spec: ModelSpec) -> str:
    return "pinned:" + canonical_json(spec.as_dict())


def _scores_key(study: Study, spec: ModelSpec) -> str:
    return scores_key(spec, study.sequences, distance=study.distance, seed=study.seed)


def _stored_result(study: Study, spec: ModelSpec, results: ResultStore) -> ModelResult | None:
    pinned = pinned_before(spec, results)
    if pinned is None:
        return None
    result = results.model_result(pinned, _scores_key(study, pinned))
    return replace(result, scores=tuple(replace(score, model=spec.name) for score in result.scores)) if result else None
