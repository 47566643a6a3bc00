"""Adapted and merged models in memory: the base is loaded once, and their tensors take the place of its own.

What an embedding never passes through (a pooler, an output head) stays the base's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from numembed.core.arrays import Tensor
from numembed.core.errors import BadChoice, ModelUnavailable
from numembed.core.progress import Progress, silent
from numembed.core.settings import Settings
from numembed.models.adapters.checks import attached, is_verified
from numembed.models.adapters.fold import AdaptedFolder
from numembed.models.files.tensors import TensorFolder, names_of, passed_through
from numembed.models.merging.arcs import Gram
from numembed.models.merging.compatibility import check_related
from numembed.models.merging.methods import MERGES
from numembed.models.merging.tensors import Ingredients, Merge, grams_of, ingredients, merger
from numembed.models.resolve import adapter_folder, folder_of
from numembed.models.spec import FolderWeights, LoraWeights, MergedWeights, ModelSpec, Weights, origin_of

ModelFolder = TensorFolder | AdaptedFolder
TensorRecipe = tuple[tuple[str, ...], Callable[[str], Tensor]]  # names of tensors, and what gives each
_MOST_KEPT = 16  # sets of parts whose factors and angles stay in memory


@dataclass
class _Mixture:
    """The parts of merges side by side, opened once for all of them."""

    given: Ingredients
    moved: tuple[str, ...]  # the tensors in which the parts differ from what is loaded, as far as that is known
    grams: dict[tuple[str, bool], dict[str, Gram]] = field(default_factory=dict)  # by space; of all tensors, or moved


class WeightSwapper:
    """A loaded model's weights, whose place those of its adapted and merged variants can take.

    Going from one to the next writes only the tensors that differ; nothing is loaded again. An adapter is kept as its
    factors, a model as the places of its tensors in its files.
    """

    def __init__(self, spec: ModelSpec, folder: Path, settings: Settings) -> None:
        self.origin = origin_of(spec.weights)
        self.present: Weights | None = self.origin  # what stands there; None while it is being written
        self.changed = 0  # tensors that are not the origin's
        self.lost = 0.0  # share of the change's length that the model's number format has rounded away
        self._spec, self._folder, self._settings = spec, folder, settings
        self._model: Any = None
        self._base: TensorFolder | None = None
        self._foreign: set[str] = set()  # names of the tensors that may differ from the origin's
        self._mixtures: dict[tuple[Any, ...], _Mixture] = {}
        self._unverified: set[Weights] = set()

    def prepare(self, weights: Weights, progress: Progress = silent) -> None:
        """Open what ``weights`` are made of; no weights of a model are read.

        Raises BadChoice where an adapter or a part does not fit, ModelUnavailable where one cannot be had.
        """
        if weights.change:
            CHANGES[weights.change].prepare(self, weights, progress)

    def bind(self, model: Any) -> None:
        """Take the SentenceTransformer that was just loaded."""
        self._model = model

    def show(self, weights: Weights, progress: Progress = silent) -> None:
        """Put ``weights`` in place; after an error or a cancel the next call puts everything right."""
        if weights == self.present:
            return
        names, value_of = self.recipe(weights, progress)
        base, places = self._origin_folder(), self._places()
        if lacking := [name for name in names if name not in places]:
            raise ModelUnavailable(
                f"{self._spec.name} holds {lacking[0][:120]!r} in another form in memory than in its files. Save the "
                "adapted or merged model as a folder and run that."
            )
        self.present, total, lost = None, 0.0, 0.0
        wanted, before = set(names), self._foreign
        self._foreign = before | wanted
        order = (*sorted(before - wanted), *names)
        for number, name in enumerate(order):
            progress(number, len(order), "load")
            values = value_of(name) if name in wanted else base[name]
            _write(places[name], values)
            if name in wanted and places[name].element_size() < 4:
                total += float(np.sum(np.square(values - base[name], dtype=np.float64)))
                lost += float(np.sum(np.square(_read(places[name]) - values, dtype=np.float64)))
        self.present, self._foreign, self.changed = weights, wanted, len(names)
        self.lost = (lost / total) ** 0.5 if total else 0.0

    @property
    def tensors(self) -> int:
        """How many tensors the model's files hold that a vector passes through."""
        return len(passed_through(self._origin_folder()))

    def is_verified(self, weights: Weights) -> bool:
        """Return whether all adapters in ``weights``, once prepared, say by name or digest which base they are for."""
        return self._unverified.isdisjoint((weights, *getattr(weights, "parts", ()), getattr(weights, "base", None)))

    def recipe(self, weights: Weights, progress: Progress = silent) -> TensorRecipe:
        """Return which tensors differ from the origin's, and the function that gives each."""
        if weights.change:
            return CHANGES[weights.change].recipe(self, weights, progress)
        return (), self._origin_folder().__getitem__

    def _adapted(self, weights: LoraWeights, progress: Progress) -> TensorRecipe:
        adapted = self._opened(weights, progress)
        assert isinstance(adapted, AdaptedFolder)
        return self._used(adapted.changed), adapted.__getitem__

    def _merged(self, weights: MergedWeights, progress: Progress) -> TensorRecipe:
        mixture = self._mixture(weights, progress)
        whole = weights.scope == "flat" and weights.space == "weights"  # then everything is stretched alike
        names = self._used(mixture.given.mixed if whole else mixture.moved)
        merge, grams = _merge(weights), self._grams(mixture, weights, whole, progress)
        return names, merger(merge, replace(mixture.given, mixed=names), grams=grams)

    def _grams(
        self, mixture: _Mixture, weights: MergedWeights, whole: bool, progress: Progress
    ) -> Mapping[str, Gram] | None:
        """Return the inner products that a merge looks at, computed once for all merges of the same parts."""
        merge = _merge(weights)
        if MERGES[merge.method].facts.get("sees", "gram") != "gram":
            return None
        if (weights.space, whole) not in mixture.grams:
            names = mixture.given.mixed if whole else mixture.moved
            grams = grams_of(
                replace(mixture.given, mixed=names),
                merge.space or "weights",
                progress=lambda done, total, _: progress(done, total, "load"),
            )
            mixture.grams[weights.space, whole] = grams
        return mixture.grams[weights.space, whole]

    def _mixture(self, weights: MergedWeights, progress: Progress) -> _Mixture:
        key = (weights.parts, weights.base)
        if key not in self._mixtures:
            parts = [self._opened(part, progress) for part in weights.parts]
            base = self._opened(weights.base, progress) if weights.base is not None else None
            for other in (*parts[1:], *([base] if base is not None else [])):
                check_related(parts[0].folder, other.folder)
            given = ingredients(parts, base)
            related = {weights.base, *map(origin_of, weights.parts)} <= {None, self.origin}
            changed = {name for part in parts if isinstance(part, AdaptedFolder) for name in part.changed}
            moved = tuple(name for name in given.mixed if name in changed) if related else given.mixed
            if len(self._mixtures) >= _MOST_KEPT:
                self._mixtures.pop(next(iter(self._mixtures)))
            self._mixtures[key] = _Mixture(given, moved)
        return self._mixtures[key]

    def _opened(self, weights: Weights, progress: Progress) -> ModelFolder:
        if isinstance(weights, LoraWeights):
            folder = adapter_folder(weights.adapter, self._settings, progress=progress)
            base = self._folder_of(weights.base, progress)
            adapted = attached(base, folder, weights.scale, weights=weights.base)
            if not is_verified(folder, base, weights.base):
                self._unverified.add(weights)
            return adapted
        if isinstance(weights, FolderWeights):
            return TensorFolder(self._folder_of(weights, progress))
        raise BadChoice(
            f"{self._spec.name[:80]} cannot be merged: its parts are models with files, with or without an adapter. "
            "Save a merge as a folder before it becomes a part of another."
        )

    def _folder_of(self, weights: Weights, progress: Progress) -> Path:
        if weights == self.origin:
            return self._folder
        return folder_of(replace(self._spec, weights=weights), self._settings, progress=progress)

    def _origin_folder(self) -> TensorFolder:
        if self._base is None:
            self._base = TensorFolder(self._folder)
        return self._base

    def _places(self) -> dict[str, Any]:
        """Return the model's own tensors by the names that its files have for them."""
        parts = [getattr(module, "auto_model", module).state_dict() for module in self._model]
        places = {}
        for plain, stored in names_of(self._origin_folder()).items():
            number, _, own = plain.partition("/") if plain.partition("/")[0].isdigit() else ("0", "", plain)
            if int(number) < len(parts) and own in parts[int(number)]:
                places[stored] = parts[int(number)][own]
        return places

    def _used(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of the files' tensors that a vector passes through."""
        folder = self._origin_folder()
        counts, named, facts = passed_through(folder), names_of(folder), folder.architecture
        used = {stored for plain, stored in named.items() if plain in counts}
        if facts.optional_table and (table := named.get(facts.table)) not in self._places():
            used.discard(str(table))
        return tuple(name for name in names if name in used)


@dataclass(frozen=True)
class Change:
    """How weights that are made of others are opened, and which tensors they put into the place of the origin's."""

    prepare: Callable[[WeightSwapper, Any, Progress], object]
    recipe: Callable[[WeightSwapper, Any, Progress], TensorRecipe]


CHANGES = {
    "adapter": Change(WeightSwapper._opened, WeightSwapper._adapted),
    "merge": Change(WeightSwapper._mixture, WeightSwapper._merged),
}


def _merge(weights: MergedWeights) -> Merge:
    given: Any = (weights.method, weights.space, weights.scope, weights.weights, weights.options)
    return Merge(*given)


def _write(place: Any, values: Tensor) -> None:
    import torch

    place.copy_(torch.from_numpy(np.ascontiguousarray(values)).reshape(place.shape))


def _read(place: Any) -> Tensor:
    return np.asarray(place.float().cpu().numpy())
