"""The candidates of an experiment: embedded through the store, scored, and measured further."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.metrics import silhouette
from numembed.analysis.preparation import Distance
from numembed.core.arrays import Matrix
from numembed.core.errors import TextFailed
from numembed.core.serialization import as_plain, from_plain
from numembed.core.settings import Settings
from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment
from numembed.merge_experiment.measures import MAPPED, Texts, frames, largest_gap, retention, separation, shift
from numembed.merge_experiment.paths import KINDS, Path, Trained, weights_at
from numembed.merge_experiment.redrawn import redrawn_split
from numembed.merge_experiment.reference import reference_of, retention_of_numbers
from numembed.merge_experiment.results import (
    Candidate,
    Dominance,
    Frame,
    Reference,
    Retention,
    Separation,
    Straight,
    undefined,
)
from numembed.merge_experiment.weight_geometry import WeightsAtHand
from numembed.models.embedding import embed, refuse_failed
from numembed.models.encoders.interface import ModelCheck
from numembed.models.encoders.language_loss import language_loss, predicts_tokens
from numembed.models.resolve import folder_of
from numembed.models.spec import LocalWeights, ModelSpec
from numembed.sequences.sets import SequenceSet
from numembed.storage.vectors import VectorStore
from numembed.studies.keys import added_scores, examination_key
from numembed.studies.results import ResultStore

if TYPE_CHECKING:
    from numembed.models.encoders.loaded import LoadedModel

_VERSION = "3"  # grows when other numbers come out of the same vectors
_NUMBERS_VERSION = "1"  # of the retention on number texts
Alive = Callable[[], None]  # reports that work goes on; may raise Cancelled


@dataclass(frozen=True)
class CandidateScorer:
    """Scores any candidate of a merging experiment whose adapters are trained."""

    experiment: MergeExperiment
    base: ModelSpec  # resolved
    adapters: Mapping[Trained, LocalWeights]
    vectors: VectorStore
    results: ResultStore
    loaded: LoadedModel
    settings: Settings
    alive: Alive

    @cached_property
    def texts(self) -> Texts:
        """What every candidate reads."""
        return Texts.of(self.experiment)

    @cached_property
    def weights(self) -> WeightsAtHand:
        """The base's and the adapters' weights, opened when a candidate is scored for the first time."""
        return WeightsAtHand(folder_of(self.base, self.settings), self.adapters)

    @cached_property
    def base_matrix(self) -> Matrix:
        """The base's vectors of all texts."""
        return self.matrix(self.base)

    @cached_property
    def reference(self) -> Reference:
        """What retention is measured on, decided by the base's vectors."""
        return reference_of(self.texts.spoken(self.base_matrix), self.texts.free, lambda texts: self._base_of_free)

    @cached_property
    def _base_of_free(self) -> Matrix:
        """The base's vectors of the number texts."""
        return self.matrix(self.base, self.texts.free, keep=False)

    def spec(self, path: Path, at: float) -> ModelSpec:
        """Return the model at one place of a path."""
        return replace(self.base, weights=weights_at(path, at, self.base.weights, self.adapters))

    def candidate(self, path: Path, at: float) -> Candidate:
        """Return one candidate, scored where it is not stored; candidates with the same weights share their scores."""
        spec, title = self.spec(path, at), candidate_title(path, at)
        key = self._key(spec)
        scores = self.results.get(key)
        if scores is None:
            scores = self._scored(spec)
            self.results.put(key, scores)
        splits = {name: from_plain(Separation, one) for name, one in scores["splits"].items()}
        named = replace(spec, name=self.base.name if path.name == "base" else f"{self.base.name}, {title}")
        kept, update, length = from_plain(Retention, scores["retention"]), scores["update"], scores["length"]
        found = Candidate(path.id, title, at, named, splits, kept, update, update / length if length else 0.0)
        return self.with_retention(found, spec)

    def with_retention(self, candidate: Candidate, spec: ModelSpec) -> Candidate:
        """Return a candidate whose retention is measured on what the base tells apart, from that on the sentences.

        ``spec`` is its model with the adapters of this home.
        """
        spoken = candidate.spoken or candidate.retention
        match self.reference.kind:
            case "sentences":
                return replace(candidate, retention=spoken, spoken=None)
            case "numbers":
                return replace(candidate, retention=self._retention_of_numbers(spec, spoken), spoken=spoken)
        return replace(candidate, retention=undefined(spoken), spoken=spoken)

    def _retention_of_numbers(self, spec: ModelSpec, spoken: Retention) -> Retention:
        """Return the retention on number texts; their vectors are read once, so that only the result is stored."""
        key = examination_key("ladder numbers", spec, self.texts.free, version=_NUMBERS_VERSION, base=self.base.key)
        plain = self.results.get(key)
        if plain is None:
            matrix = self.matrix(spec, self.texts.free, keep=False)
            plain = as_plain(retention_of_numbers(matrix, self._base_of_free))
            self.results.put(key, plain)
        return replace(from_plain(Retention, plain), lm_loss=spoken.lm_loss)

    def on_designs(self, path: Path, at: float, designs: SequenceSet) -> tuple[float, ...]:
        """Return the silhouette of one candidate on each redrawn set of windows; ``designs`` holds them in order."""
        spec, split = self.spec(path, at), self.texts.splits[redrawn_split(self.experiment.recipe.split)]
        key = examination_key(
            "ladder designs", spec, designs, version=_VERSION, distance=self.experiment.distance, rows=len(split)
        )
        scores = self.results.get(key)
        if scores is None:
            matrix, distance = self.matrix(spec, designs), cast(Distance, self.experiment.distance)
            each = [matrix[begin : begin + len(split)] for begin in range(0, len(designs), len(split))]
            scores = {"values": as_plain([silhouette(one, split.labels, distance=distance) for one in each])}
            self.results.put(key, scores)
        return from_plain(tuple[float, ...], scores["values"])

    def matrix(self, spec: ModelSpec, sequences: SequenceSet | None = None, *, keep: bool = True) -> Matrix:
        """Return the vectors (n, d) of ``sequences``, or of all texts: stored ones are read, others stored together.

        Without ``keep`` nothing is stored.
        """
        store = _OneWrite(self.vectors)
        texts = self.texts.all if sequences is None else sequences
        try:
            values = embed(
                spec,
                texts,
                store=cast(VectorStore, store),
                loaded=self.loaded,
                judge=refuse_failed if spec == self.base else let_pass,
                progress=lambda done, total, stage: self.alive(),
            )
        except TextFailed:
            if keep:
                store.write()
            raise
        if not keep:
            return values.matrix
        store.write()
        if values.work is not None and spec == self.base:
            self.results.add_work(spec.stored.key, values.work)
        return values.matrix

    def straight(self) -> tuple[Straight, ...]:
        """Return how straight the arcs from the base to each seed and between the seeds are."""
        last, values = self.experiment.recipe.steps, []
        for seed in self.experiment.recipe.seeds:
            self.alive()
            gap = self._gap("slerp_base", "lora", (seed,))
            values.append(self.weights.to_base((seed, last), largest_vector=gap))
        pairs = dict.fromkeys(path.ingredients for path in self.experiment.drawn if KINDS[path.name].of == "pair")
        for one, other in pairs:
            for space, name in (("weights", "slerp"), ("task_vectors", "slerp_task")):
                self.alive()
                gap = self._gap(name, "linear", (one[0], other[0]))
                values.append(self.weights.between(one, other, space, largest_vector=gap))
        return tuple(values)

    def dominance(self, result: ExperimentResult) -> tuple[Dominance, ...]:
        """Return how much each seed's adapter changes each layer, and into how few directions it moves the vectors."""
        base, values = self.texts.numbers(self.base_matrix), []
        for path in (path for path in self.experiment.drawn if path.name == "lora"):
            scales = [candidate.at for candidate in result.path(path.id)]
            shifts = tuple(shift(base, self._numbers(path, at), at) for at in scales)
            values.append(Dominance(path.ingredients[0][0], self.weights.layers(path.ingredients[0]), shifts))
        return tuple(values)

    def maps(self, result: ExperimentResult) -> Iterator[Frame]:
        """Yield the maps: every point of the first seed and of the soup, and the named point of every other path."""
        drawn = self.experiment.drawn
        whole = [next((path.id for path in drawn if path.name == name), "") for name in ("lora", "soup")]
        for path in drawn:
            points = [candidate.at for candidate in result.path(path.id)]
            steps = points if path.id in whole else [at for at in points if at == (0.5 if path.sweeps == "t" else 1.0)]
            candidates = [(at, candidate_title(path, at), self.matrix(self.spec(path, at))) for at in steps]
            for split in (name for name in MAPPED if name in self.texts.splits):
                place = self.texts.places[split]
                own = [(at, title, matrix[place]) for at, title, matrix in candidates]
                yield from frames(path, own, self.base_matrix[place], self.texts.splits[split], split)

    def _scored(self, spec: ModelSpec) -> dict[str, Any]:
        """Return the scores of one candidate as JSON values."""
        matrix, experiment, splits = self.matrix(spec), self.experiment, {}
        for name, place in self.texts.places.items():
            self.alive()
            own = self.texts.splits[name]
            splits[name] = as_plain(separation(matrix[place], own, distance=experiment.distance, seed=experiment.seed))
        own = self.texts.splits.get("new", self.texts.splits["paper"])  # the short form has no new families
        loss = language_loss(self.loaded.get(spec), own.texts) if self._is_decoder else None
        kept = retention(self.texts.spoken(matrix), self.texts.spoken(self.base_matrix), lm_loss=loss)
        update, length = self.weights.update(spec.weights), self.weights.length
        return {"splits": splits, "retention": as_plain(kept), "update": update, "length": length}

    def _key(self, spec: ModelSpec) -> str:
        return examination_key(
            "ladder arm",
            spec,
            self.texts.all,
            version=_VERSION,
            base=self.base.key,
            distance=self.experiment.distance,
            seed=self.experiment.seed,
            splits={name: one.digest for name, one in self.texts.splits.items()},
            **added_scores(),
        )

    @cached_property
    def _is_decoder(self) -> bool:
        """Whether the base predicts tokens: its stored scores say so, and nothing needs to be loaded again."""
        stored = self.results.get(self._key(self.base))
        if stored is not None:
            return stored["retention"]["lm_loss"] is not None
        return predicts_tokens(self.loaded.get(self.base))

    def _numbers(self, path: Path, at: float) -> Matrix:
        return self.texts.numbers(self.matrix(self.spec(path, at)))

    def _gap(self, name: str, other: str, seeds: Sequence[int]) -> float:
        """Return how far apart two paths' vectors are at the midpoint; NaN where one of them is not scored."""
        paths = {path.id: path for path in self.experiment.drawn}
        one, two = (paths.get("-".join([each, *map(str, seeds)])) for each in (name, other))
        return math.nan if one is None or two is None else largest_gap(self._numbers(one, 0.5), self._numbers(two, 0.5))


class _OneWrite:
    """A vector store as a candidate sees it: what its batches add is written together, because it is scored at once.

    A write takes as long as a batch of a small model.
    """

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._added: list[tuple[str, str, Sequence[str], Matrix]] = []

    def read(self, model_key: str, texts: Sequence[str]) -> tuple[Matrix, NDArray[np.bool_]]:
        return self._store.read(model_key, texts)

    def add(self, model_key: str, name: str, texts: Sequence[str], matrix: Matrix) -> None:
        self._added.append((model_key, name, texts, matrix))

    def write(self) -> None:
        if self._added:
            key, name, *_ = self._added[0]
            texts = [text for _, _, some, _ in self._added for text in some]
            self._store.add(key, name, texts, np.concatenate([matrix for *_, matrix in self._added]))


def candidate_title(path: Path, at: float) -> str:
    """Return what a picture calls a candidate."""
    match path.sweeps:
        case "t":
            return f"{path.title}, t = {at:.3g}"
        case "scale":
            return f"{path.title}, × {at:.3g}"
    return path.title


def let_pass(check: ModelCheck) -> None:
    """Accept any check of an adapted model: its differences from the base are what is measured here."""
