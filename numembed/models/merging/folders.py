"""Merges of model folders: checked before they start, one tensor in memory at a time, saved whole or not at all."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from numembed.core.arrays import Tensor
from numembed.core.errors import StoreFull, TooLarge
from numembed.core.progress import Progress, silent
from numembed.models.adapters.fold import AdaptedFolder
from numembed.models.files.folders import is_kept, read_json
from numembed.models.files.publish import published
from numembed.models.files.tensors import INDEX, TensorFolder, as_stored, read_header, weight_files, write_file
from numembed.models.loading.devices import available_memory
from numembed.models.merging.compatibility import check_related
from numembed.models.merging.methods import MERGES
from numembed.models.merging.tensors import Ingredients, Merge, checked, gram_of, ingredients, merger

SavedType = Literal["float32", "same"]
ModelFolder = TensorFolder | AdaptedFolder
FOLD = Merge("wise_ft", options=(("t", 1.0),))  # of one model: the model itself
_SPARE_BYTES = 64 << 20  # of memory and disk, for everything but the weights


@dataclass(frozen=True)
class Saved:
    """What was written."""

    folder: Path
    size_bytes: int  # of its weights
    update: float  # length of what the merge changed, against the base or the first part
    lost: float  # share of that length which rounding to the saved type took away: 0 in float32


def merge_folders(
    merge: Merge,
    parts: Sequence[Path | ModelFolder],
    out: Path,
    *,
    base: Path | ModelFolder | None = None,
    saved_type: SavedType = "float32",
    card: str = "",
    progress: Progress = silent,
) -> Saved:
    """Write the merged model to the folder ``out``, which appears whole or not at all, and return what was written.

    Settings, tokenizer and modules are the first part's, ``card`` is its README. The weights are saved as float32: the
    type of half-precision parts ("same") would take some 8% of a small update away; :class:`Saved` says how much.
    Raises BadChoice for models that do not fit together, TooLarge and StoreFull before anything is written, with the
    figure; Cancelled through ``progress``.
    """
    opened = [_opened(part) for part in parts]
    origin = None if base is None else _opened(base)
    merge = checked(merge, parts=len(opened), has_base=origin is not None)
    for other in (*opened[1:], *([origin] if origin else [])):
        check_related(opened[0].folder, other.folder)
    given = ingredients(opened, origin)
    _check_room(merge, given, opened[0], out, saved_type)
    text = card or _card(merge, opened, origin)
    return _save(given, opened[0], out, merger(merge, given, progress=progress), saved_type, text, progress)


def rounded_away(adapted: AdaptedFolder, dtype: str) -> float:
    """Return the share of an adapter's update, by its length, that is lost where the model is kept in ``dtype``.

    In float32 it is 0.
    """
    kept = {"bfloat16": "BF16", "float16": "F16"}.get(dtype)
    update = lost = 0.0
    for name in adapted.changed if kept else ():
        value = adapted[name].astype(np.float32)
        update += _square(value, adapted.base[name].astype(np.float32))
        lost += _square(_read_back(value, str(kept)), value)
    return math.sqrt(lost / update) if update else 0.0


def _opened(model: Path | ModelFolder) -> ModelFolder:
    return TensorFolder(model) if isinstance(model, Path) else model


def _check_room(merge: Merge, given: Ingredients, first: ModelFolder, out: Path, saved_type: SavedType) -> None:
    models = len(given.own_names)
    largest = max((first.stored[name].size for name in given.mixed), default=0)
    copies = 2 * models + 4 if MERGES[merge.method].facts.get("sees") == "values" else models + 3
    needed, there = copies * largest * 4 + _SPARE_BYTES, available_memory()
    if there is not None and needed > there:
        raise TooLarge(
            f"This merge needs {needed / 1e9:,.1f} GB of memory and {there / 1e9:,.1f} GB are free. Merge fewer models "
            "at a time, or on a larger machine."
        )
    size = sum(_width(one.dtype, saved_type) * one.size for one in first.stored.values()) + _SPARE_BYTES
    beside = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.is_dir())
    if size > (free := shutil.disk_usage(beside).free):
        raise StoreFull(
            f"The merged model takes {size / 1e9:,.1f} GB of disk and {free / 1e9:,.1f} GB are free. Make room, or "
            "save it on another disk."
        )


def _width(dtype: str, saved_type: SavedType) -> int:
    return as_stored(np.empty(0, dtype=np.float32), _saved_as(dtype, saved_type)).itemsize


def _saved_as(dtype: str, saved_type: SavedType) -> str:
    return "F32" if saved_type == "float32" and dtype in ("F16", "BF16") else dtype


@dataclass
class _Tally:
    """What has been written so far."""

    total: int  # numbers to write
    done: int = 0
    size_bytes: int = 0
    update: float = 0.0  # squares
    lost: float = 0.0


def _save(
    given: Ingredients,
    first: ModelFolder,
    out: Path,
    value_of: Callable[[str], Tensor],
    saved_type: SavedType,
    card: str,
    progress: Progress,
) -> Saved:
    digests: dict[str, str] = {}
    tally = _Tally(sum(one.size for one in first.stored.values()))

    def counted(name: str) -> Tensor:
        progress(tally.done, tally.total, "merge")
        value = value_of(name)
        _count(tally, given, name, value, _saved_as(first.stored[name].dtype, saved_type))
        return value

    with published(out, digests) as draft:
        for number, module in enumerate(first.modules):
            digests |= _write_module(first, number, draft / module, counted, saved_type, tally)
        _copy_settings(first, draft, saved_type)
        (draft / "README.md").write_text(card, encoding="utf-8")
        progress(tally.total, tally.total, "merge")  # the last chance to cancel
    update, lost = math.sqrt(tally.update), math.sqrt(tally.lost)
    return Saved(out, tally.size_bytes, update, lost / update if update else 0.0)


def _write_module(
    first: ModelFolder,
    number: int,
    target: Path,
    value_of: Callable[[str], Tensor],
    saved_type: SavedType,
    tally: _Tally,
) -> dict[str, str]:
    """Write one module's weights in the files that the first part has; return their digests by path in the model."""
    module = first.modules[number]
    target.mkdir(parents=True, exist_ok=True)
    before = f"{number}/" if number else ""
    size_bytes, digests = 0, {}
    shards: dict[str, str] = {}
    for file in weight_files(first.folder / module):
        stored = read_header(file)
        wanted = [(name, _saved_as(one.dtype, saved_type), one.shape) for name, one in stored.items()]
        digest = write_file(target / file.name, wanted, lambda name: value_of(before + name))
        digests[(Path(module) / file.name).as_posix()] = digest
        shards |= dict.fromkeys(stored, file.name)
        size_bytes += (target / file.name).stat().st_size
    if (first.folder / module / INDEX).is_file():
        about = {"metadata": {"total_size": size_bytes}, "weight_map": dict(sorted(shards.items()))}
        (target / INDEX).write_text(json.dumps(about, indent=2), encoding="utf-8")
    tally.size_bytes += size_bytes
    return digests


def _count(tally: _Tally, given: Ingredients, name: str, value: Tensor, dtype: str) -> None:
    tally.done += value.size
    if name in given.mixed:
        base, own = given.base or given.parts[0], given.own_names[-1 if given.base else 0]
        tally.update += _square(value, base[own[name]])
        if dtype in ("F16", "BF16"):
            tally.lost += _square(_read_back(value, dtype), value)


def _square(one: Tensor, other: Tensor) -> float:
    return float(gram_of([one], other)[0, 0])


def _read_back(value: Tensor, dtype: str) -> Tensor:
    kept = as_stored(value, dtype)
    return (kept.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else kept.astype(np.float32)


def _copy_settings(first: ModelFolder, draft: Path, saved_type: SavedType) -> None:
    """Copy everything small that a model needs to be loaded, and nothing else: other weights would be the parts'."""
    for module in dict.fromkeys(("", *first.modules)):
        (draft / module).mkdir(parents=True, exist_ok=True)
        for file in sorted((first.folder / module).glob("*")):
            wanted = is_kept(file.name) or file.suffix == ".jinja"
            if not wanted or file.suffix == ".safetensors" or file.name == INDEX or not file.is_file():
                continue
            if file.name.startswith(("adapter_", "trainer_state")):
                continue
            shutil.copyfile(file, draft / module / file.name)
            config = read_json(file) if file.name == "config.json" and saved_type == "float32" else {}
            if stated := [name for name in ("dtype", "torch_dtype") if name in config]:
                # the library would round the weights to what is stated here
                changed = config | dict.fromkeys(stated, "float32")
                (draft / module / file.name).write_text(json.dumps(changed, indent=2), encoding="utf-8")


def _card(merge: Merge, parts: Sequence[ModelFolder], base: ModelFolder | None) -> str:
    recipe = asdict(merge) | {"parts": [_description(part) for part in parts], "base": base and _description(base)}
    return _with_recipe(f"# A merge: {MERGES[merge.method].title}", recipe)


def fold_card(adapted: AdaptedFolder) -> str:
    """Return the README of a model with an adapter folded in."""
    return _with_recipe("# A model with its LoRA adapter folded in", {"model": _description(adapted)})


def _description(model: ModelFolder) -> str | dict[str, Any]:
    if isinstance(model, AdaptedFolder):
        return {"base": model.folder.name, "adapter": model.adapter.name, "scale": model.scale}
    return model.folder.name


def _with_recipe(title: str, recipe: Mapping[str, Any]) -> str:
    return f"{title}\n\n```json\n{json.dumps(recipe, indent=2)}\n```\n"
