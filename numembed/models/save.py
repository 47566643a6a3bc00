"""Adapted and merged models as folders of their own: what the command line and the worker both call."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numembed.core.errors import BadChoice, ModelUnavailable
from numembed.core.progress import Progress, silent
from numembed.core.settings import Settings
from numembed.models.adapters.checks import attached
from numembed.models.adapters.fold import AdaptedFolder
from numembed.models.adapters.peft_files import CONFIG
from numembed.models.catalogue.names import model
from numembed.models.catalogue.options import is_folder, split, unquoted
from numembed.models.files.foreign import file_sentence
from numembed.models.files.tensors import TensorFolder
from numembed.models.hub import snapshots as hub
from numembed.models.merging.folders import FOLD, ModelFolder, Saved, fold_card, merge_folders
from numembed.models.merging.tensors import Merge
from numembed.models.resolve import adapter_folder, folder_of, known_folder, resolve
from numembed.models.spec import FolderWeights, HubWeights, LocalWeights, LoraWeights, MergedWeights, ModelSpec, Weights

Recipe = tuple[Merge, list[ModelFolder], ModelFolder | None, str]  # a merge, its parts, their base, and a card
_PART = (
    "A part is a model's folder, or the catalogue name or hub id of a model on this machine, or, with the base "
    "named, the folder or hub id of an adapter."
)


def save_merge(
    merge: Merge,
    parts: Sequence[str],
    out: Path,
    *,
    settings: Settings,
    base: ModelSpec | None = None,
    progress: Progress = silent,
) -> Saved:
    """Write a merge of models, or of adapters of the resolved ``base``, to the folder ``out``.

    A part is named as on the command line: its folder, or what the catalogue or the hub calls it, where it is on this
    machine. Raises BadChoice where ``out`` exists or a part is none or does not fit, ModelUnavailable where it is not
    here, and what :func:`merge_folders` raises.
    """
    _check_free(out)
    origin = None if base is None else TensorFolder(folder_of(base, settings, progress=progress))
    opened = [_opened(*_named(part, base, settings), settings) for part in parts]
    return merge_folders(merge, opened, out, base=origin, progress=progress)


def save_fold(
    part: str, base: ModelSpec, out: Path, *, settings: Settings, scale: float = 1.0, progress: Progress = silent
) -> Saved:
    """Write the resolved ``base`` with one adapter folded in ``scale`` times to the folder ``out``.

    Raises what :func:`save_merge` raises.
    """
    _check_free(out)
    weights, spec = _named(part, base, settings)
    if not isinstance(weights, LoraWeights) or weights.base != base.weights or weights.scale != 1:
        raise BadChoice(f"{part[:80]!r} is not an adapter. Name the folder or hub id of one with --parts.")
    return save_model(replace(spec, weights=replace(weights, scale=scale)), out, settings=settings, progress=progress)


def save_model(spec: ModelSpec, out: Path, *, settings: Settings, card: str = "", progress: Progress = silent) -> Saved:
    """Write a resolved model with its adapter or merge worked in to the folder ``out``, whole or not at all.

    Its README is ``card``. Raises BadChoice where ``out`` exists or a part does not fit, ModelUnavailable where one is
    not there, TooLarge, StoreFull, and Cancelled through ``progress``.
    """
    merge, parts, base, own_card = RECIPES[spec.weights.change](spec.weights, spec, settings)
    return merge_folders(merge, parts, out, base=base, card=card or own_card, progress=progress)


def base_named(reference: str, settings: Settings, *, progress: Progress = silent) -> ModelSpec:
    """Return the resolved base that a person named; raises BadChoice where it is no plain model with files."""
    spec = model(reference)
    if not isinstance(spec.weights, FolderWeights) or spec.loading.random_seed is not None:
        raise BadChoice(
            f"{spec.name[:80]} cannot be a base of adapters: that is a plain model of the catalogue, the hub or a "
            "folder, without adapter= or weights=random."
        )
    return resolve(spec, settings, progress=progress)


def _as_it_is(weights: FolderWeights, spec: ModelSpec, settings: Settings) -> Recipe:
    opened = _opened(weights, spec, settings)
    return FOLD, [opened], opened, ""


def _fold(weights: LoraWeights, spec: ModelSpec, settings: Settings) -> Recipe:
    adapted = _adapted(weights, spec, settings)
    return FOLD, [adapted], _opened(weights.base, spec, settings), fold_card(adapted)


def _merge(weights: MergedWeights, spec: ModelSpec, settings: Settings) -> Recipe:
    given: Any = (weights.method, weights.space, weights.scope, weights.weights, weights.options)
    base = None if weights.base is None else _opened(weights.base, spec, settings)
    return Merge(*given), [_opened(one, spec, settings) for one in weights.parts], base, ""


def _opened(weights: Weights, spec: ModelSpec, settings: Settings) -> ModelFolder:
    if isinstance(weights, LoraWeights):
        return _adapted(weights, spec, settings)
    if weights.change:  # its folder would be that of the model that it is made of
        raise BadChoice(
            f"{spec.name[:80]} cannot be saved: one of its parts is itself a merge, which exists only in memory. Save "
            "that part as a folder first, and merge the folder."
        )
    return TensorFolder(folder_of(replace(spec, weights=weights), settings))


def _adapted(weights: LoraWeights, spec: ModelSpec, settings: Settings) -> AdaptedFolder:
    base = folder_of(replace(spec, weights=weights.base), settings)
    return attached(base, adapter_folder(weights.adapter, settings), weights.scale, weights=weights.base)


def _check_free(out: Path) -> None:
    if os.path.lexists(out):
        raise BadChoice(f"{str(out)[:120]!r} exists already. Name a new folder with --out.")


def _named(part: str, base: ModelSpec | None, settings: Settings) -> tuple[Weights, ModelSpec]:
    """Return the weights of a part of a merge as a person named it, and what they are loaded with."""
    part = part if split(part)[1] else unquoted(part)
    if os.path.isfile(part):
        raise BadChoice(file_sentence(Path(part)))
    if os.path.isdir(part):
        spec = ModelSpec(Path(part).name, LocalWeights(os.path.abspath(part)))
        return _on_base(spec.weights, part, base) if os.path.isfile(Path(part) / CONFIG) else (spec.weights, spec)
    if is_folder(part) and not split(part)[1]:
        raise BadChoice(f"There is no folder {part[:120]!r} on this machine. {_PART}")
    spec = _known_model(part)
    if isinstance(spec.weights, LoraWeights):
        spec = resolve(spec, settings)
        return spec.weights, spec
    if isinstance(spec.weights, HubWeights):
        fetched = hub.cached_folder(spec.weights.repo, spec.weights.revision)
        spec = replace(spec, weights=replace(spec.weights, revision=spec.weights.revision or fetched.name))
        if os.path.isfile(fetched / CONFIG):
            return _on_base(spec.weights, part, base)
    if known_folder(spec.weights, settings) is None:
        raise ModelUnavailable(f"{spec.name[:80]} is not on this machine. Run it once, or name its folder.")
    return spec.weights, spec


def _known_model(part: str) -> ModelSpec:
    try:
        spec = model(part)
    except BadChoice:
        raise BadChoice(f"{part[:120]!r} is not a folder on this machine and not a model name. {_PART}") from None
    if not isinstance(spec.weights, FolderWeights | LoraWeights) or spec.loading.random_seed is not None:
        raise BadChoice(f"{spec.name[:80]} has no files to merge. {_PART}")
    return spec


def _on_base(adapter: Weights, part: str, base: ModelSpec | None) -> tuple[Weights, ModelSpec]:
    if base is None:
        raise BadChoice(f"{part[:80]!r} is an adapter. Name the model that it was trained on with --base.")
    assert isinstance(base.weights, FolderWeights) and isinstance(adapter, HubWeights | LocalWeights)
    return LoraWeights(base.weights, adapter), base


RECIPES: Mapping[str, Callable[[Any, ModelSpec, Settings], Recipe]] = {
    "": _as_it_is,
    "adapter": _fold,
    "merge": _merge,
}
"""How a model is written, by what changes its weights in memory."""
