"""Adapted and merged models as folders of their own: what the command line and the worker both call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numembed.errors import BadChoice
from numembed.models.adapter_check import attached
from numembed.models.checkpoints import adapter_folder, folder_of
from numembed.models.merged_folders import ModelFolder, Saved, fold_folder, merge_folders
from numembed.models.merged_tensors import Merge
from numembed.models.spec import LoraWeights, MergedWeights, ModelSpec, Weights
from numembed.models.tensor_files import TensorFolder
from numembed.progress import Progress, silent
from numembed.settings import Settings

_WHOLE = Merge("wise_ft", options=(("t", 1.0),))  # of one model: the model itself


def save_folders(
    merge: Merge | None,
    parts: Sequence[Path],
    out: Path,
    *,
    base: Path | None = None,
    scale: float = 1.0,
    progress: Progress = silent,
) -> Saved:
    """Write a merge of model folders, or of adapters of ``base``, to the folder ``out``; None folds one adapter.

    Raises BadChoice where ``out`` exists or something is missing, and what :func:`merge_folders` raises.
    """
    if os.path.lexists(out):
        raise BadChoice(f"{str(out)[:120]!r} is there already. Name a folder that is not, with --out.")
    if merge is None:
        if base is None or len(parts) != 1:
            raise BadChoice("An adapter is folded into its base: give --base and one folder with --parts.")
        return fold_folder(base, parts[0], out, scale=scale, progress=progress)
    return merge_folders(merge, [_part(one, base) for one in parts], out, base=base, progress=progress)


def save_model(spec: ModelSpec, out: Path, *, settings: Settings, card: str = "", progress: Progress = silent) -> Saved:
    """Write a resolved model with its adapter or merge worked in to the folder ``out``, whole or not at all.

    Its README is ``card``. Raises BadChoice where ``out`` exists or a part does not fit, ModelUnavailable where one is
    not there, TooLarge, StoreFull, and Cancelled through ``progress``.
    """
    match spec.weights:
        case MergedWeights(method, parts, base, space, scope, weights, options):
            given: Any = (method, space, scope, weights, options)
            merge = Merge(*given)
            opened = [_opened(one, spec, settings) for one in parts]
            origin = None if base is None else _opened(base, spec, settings)
        case LoraWeights(base):
            merge, opened = _WHOLE, [_opened(spec.weights, spec, settings)]
            origin = _opened(base, spec, settings)
        case _:
            merge, opened = _WHOLE, [_opened(spec.weights, spec, settings)]
            origin = opened[0]
    return merge_folders(merge, opened, out, base=origin, card=card, progress=progress)


def _opened(weights: Weights, spec: ModelSpec, settings: Settings) -> ModelFolder:
    if isinstance(weights, LoraWeights):
        base = folder_of(replace(spec, weights=weights.base), settings)
        return attached(base, adapter_folder(weights.adapter, settings), weights.scale)
    return TensorFolder(folder_of(replace(spec, weights=weights), settings))


def _part(folder: Path, base: Path | None) -> Path | ModelFolder:
    """Return a part of a merge: a model folder, or an adapter on the base."""
    if not (folder / "adapter_config.json").is_file():
        return folder
    if base is None:
        raise BadChoice(f"{folder.name[:80]!r} is an adapter. Name the model that it was trained on with --base.")
    return attached(base, folder)
