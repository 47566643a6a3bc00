"""The geometry of the weights of an experiment: norms of updates, angles, distances from linear interpolation.

The inner products of the base and of all adapters' updates are computed once, tensor by tensor. The norm of the update
of most merges follows from them, without making the merge.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path as Folder
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numembed.core.arrays import Tensor
from numembed.merge_experiment.paths import Trained
from numembed.merge_experiment.results import LayerUpdate, Straight, TensorAngle
from numembed.models.adapters.fold import AdaptedFolder
from numembed.models.files.tensors import TensorFolder
from numembed.models.merging.angles import Update, by_layer, straightness
from numembed.models.merging.methods import MERGEKIT_PARALLEL, MERGES
from numembed.models.merging.tensors import Merge, checked, gram_of
from numembed.models.spec import LocalWeights, LoraWeights, MergedWeights, Weights

Doubles = NDArray[np.float64]


class WeightsAtHand:
    """The weights of a base and of its adapters, read tensor by tensor; nothing large is kept."""

    def __init__(self, base: Folder, adapters: Mapping[Trained, LocalWeights]) -> None:
        self.base = TensorFolder(base)
        self.adapted = {trained: AdaptedFolder(base, Folder(one.path)) for trained, one in adapters.items()}
        self._row = {one.path: number + 1 for number, one in enumerate(adapters.values())}
        self._trained = {trained: number + 1 for number, trained in enumerate(adapters)}
        self._by_values: dict[tuple[Any, ...], float] = {}

    @cached_property
    def changed(self) -> tuple[str, ...]:
        """The tensors that any adapter changes."""
        return tuple(dict.fromkeys(name for adapted in self.adapted.values() for name in adapted.changed))

    @cached_property
    def grams(self) -> dict[str, Doubles]:
        """Inner products (1 + m, 1 + m) of each changed tensor: the base's, then the update of each adapter."""
        grams = {}
        for name in self.changed:
            base = self.base[name].astype(np.float32)
            updates = (adapted[name].astype(np.float32) - base for adapted in self.adapted.values())
            grams[name] = gram_of([base, *updates])
        return grams

    @cached_property
    def length(self) -> float:
        """The length of all the base's weights."""
        floats = [name for name, one in self.base.stored.items() if one.is_float]
        return math.sqrt(sum(float(gram_of([self.base[name]])[0, 0]) for name in floats))

    def update(self, weights: Weights) -> float:
        """Return the norm of the update of ``weights`` relative to the base."""
        match weights:
            case LoraWeights(_, LocalWeights(path), scale):
                row = self._row[path]
                return scale * math.sqrt(sum(gram[row, row] for gram in self.grams.values()))
            case MergedWeights(method) if MERGES[method].facts.get("sees") == "values":
                return self._of_values(weights)
            case MergedWeights():
                return math.sqrt(sum(self._squares(weights)))
            case _:
                return 0.0

    def layers(self, trained: Trained) -> tuple[LayerUpdate, ...]:
        """Return how much an adapter changes each layer."""
        row = self._trained[trained]
        squares = {name: (gram[0, 0], gram[row, row]) for name, gram in self.grams.items()}
        each = [
            Update(name, self.base.stored[name].size, *map(math.sqrt, pair)) for name, pair in sorted(squares.items())
        ]
        return tuple(LayerUpdate(one.name, one.base, one.change) for one in sorted(by_layer(each), key=_place))

    def to_base(self, trained: Trained, *, largest_vector: float = math.nan) -> Straight:
        """Return how much SLERP from the base to an adapted model differs from linear interpolation."""
        row = self._trained[trained]
        angles = []
        for name, gram in self.grams.items():
            ends: Doubles = np.eye(len(gram))[[0, 0]]
            ends[1, row] = 1  # the base plus the update
            angles.append((name, ends @ gram @ ends.T))
        beyond = straightness(self.base, self.adapted[trained], fallback=1.0)
        return self._straight(f"base and seed {trained[0]}", "weights", angles, beyond, largest_vector)

    def between(self, one: Trained, other: Trained, space: str, *, largest_vector: float = math.nan) -> Straight:
        """Return how much SLERP between two adapted models or their updates differs from linear interpolation."""
        rows = [self._trained[one], self._trained[other]]
        angles = []
        for name, gram in self.grams.items():
            ends: Doubles = np.eye(len(gram))[rows]
            ends[:, 0] += space == "weights"
            angles.append((name, ends @ gram @ ends.T))
        base = self.base if space == "task_vectors" else None
        beyond = straightness(self.adapted[one], self.adapted[other], base, fallback=1.0)
        return self._straight(f"seeds {one[0]} and {other[0]}", space, angles, beyond, largest_vector)

    def _straight(
        self, between: str, space: str, grams: list[tuple[str, Doubles]], beyond: Any, largest_vector: float
    ) -> Straight:
        angles = tuple(TensorAngle(name, self.base.stored[name].size, _cosine(gram)) for name, gram in grams)
        whole = _cosine(np.asarray(sum(gram for _, gram in grams)))
        all_of_it = sum(one.size for one in angles)
        parallel = sum(one.size for one in angles if math.isnan(one.cosine) or abs(one.cosine) > MERGEKIT_PARALLEL)
        return Straight(
            between, space, angles, whole, parallel / all_of_it, beyond.largest, beyond.of_step, largest_vector
        )

    def _squares(self, weights: MergedWeights) -> Iterator[float]:
        """Yield the squared norm of the update of each tensor, of a merge that is a weighted sum."""
        entry, count = MERGES[weights.method], 1 + len(self._row)
        more = self._options(weights)
        if entry.facts.get("weighted"):
            more["weights"] = np.array(weights.weights) / sum(weights.weights)
        base: Doubles = np.eye(count)[0]
        parts = np.stack([self._as_shares(part, count) for part in weights.parts])
        mixed = parts - base if weights.space == "task_vectors" else parts
        seen = {name: mixed @ gram @ mixed.T for name, gram in self.grams.items()}
        whole = np.asarray(sum(seen.values())) if weights.scope == "flat" else None
        for name, gram in self.grams.items():
            shares = entry.function(seen[name] if whole is None else whole, **more)
            change = shares @ mixed - (0 if weights.space == "task_vectors" else base)
            yield max(0.0, float(change @ gram @ change))

    def _as_shares(self, part: Weights, count: int) -> Doubles:
        """Return a part as coefficients of the base and of the adapters' updates."""
        shares: Doubles = np.eye(count)[0]
        if isinstance(part, LoraWeights):
            assert isinstance(part.adapter, LocalWeights)
            shares[self._row[part.adapter.path]] = part.scale
        return shares

    def _of_values(self, weights: MergedWeights) -> float:
        """Return the norm of a merge of single values; it is proportional to the scale, so one merge is enough."""
        options = self._options(weights)
        scale = float(options.pop("scale", 1.0))
        key = (weights.method, weights.parts, tuple(sorted(options.items())))
        if key not in self._by_values:
            adapted = [self._adapted(part) for part in weights.parts]
            shares, total = np.array(weights.weights) / sum(weights.weights), 0.0
            for name in self.changed:
                base = self.base[name]
                updates: list[Tensor] = [one[name] - base for one in adapted]
                made = MERGES[weights.method].function(updates, weights=shares, name=name, scale=1.0, **options)
                total += float(gram_of([made])[0, 0])
            self._by_values[key] = math.sqrt(total)
        return scale * self._by_values[key]

    def _options(self, weights: MergedWeights) -> dict[str, Any]:
        """Return a merge's options for its function: a seed is an integer again."""
        requests: Any = (weights.method, weights.space, weights.scope, weights.weights, weights.options)
        full = checked(Merge(*requests), parts=len(weights.parts), has_base=True)
        return dict(full.options)

    def _adapted(self, part: Weights) -> AdaptedFolder:
        assert isinstance(part, LoraWeights) and isinstance(part.adapter, LocalWeights)
        row = self._row[part.adapter.path]
        return next(self.adapted[trained] for trained, number in self._trained.items() if number == row)


def _cosine(gram: Doubles) -> float:
    length = math.sqrt(float(gram[0, 0]) * float(gram[1, 1]))
    return min(1.0, max(-1.0, float(gram[0, 1]) / length)) if length > 0 else math.nan


def _place(layer: Update) -> tuple[int, str]:
    """Return the sort key of a layer: numbered layers in order, then all others."""
    number = layer.name.removeprefix("layer ")
    return (int(number), "") if number.isdigit() else (1 << 30, layer.name)
