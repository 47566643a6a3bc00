"""LoRA adapters trained on families of numbers, from any model that can be loaded: several seeds, saved in stages.

A plain loop over PEFT's layers. On a processor it is deterministic: a training that was stopped and goes on from its
last stage ends with the same adapters, bit for bit, as one that ran through (with the same number of threads; where a
step is little work, it has one).
"""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from numembed.core.errors import (
    BadChoice,
    Diverged,
    NumembedError,
    Paused,
    StoreFull,
    TooLarge,
    TrainingFailed,
    reason_of,
)
from numembed.core.progress import Progress, silent
from numembed.core.settings import Settings
from numembed.models.adapters.recipe import Reading, Recipe
from numembed.models.adapters.saved import SavedAdapter, adapters_in, last_stage, reserved_place, save_pause, save_stage
from numembed.models.files.folders import read_json
from numembed.models.files.tensors import TensorFolder, modules_of
from numembed.models.loading.devices import available_memory, device_of, has_bfloat16, one_thread, settle_threads
from numembed.models.loading.loader import described_faults, is_lost, is_out_of_memory
from numembed.models.resolve import folder_of, resolve
from numembed.models.spec import FolderWeights, ModelSpec
from numembed.models.training.lora import IN_LAYER, AdaptedModel
from numembed.sequences.splits import apart_at, training_batch

Listener = Callable[[Reading], None]
_log = logging.getLogger(__name__)

_TOKENS_PER_TERM = 8  # of five digits, where every digit and every separator is a token
_SPARE_BYTES = 512 << 20  # of memory, for the libraries
_ONE_THREAD_UP_TO = 3e9  # parameters × tokens of a step: up to a few tenths of a second with one thread


def train_adapters(
    base: ModelSpec,
    recipe: Recipe,
    place: Path,
    *,
    settings: Settings,
    progress: Progress = silent,
    listen: Listener = lambda reading: None,
) -> tuple[SavedAdapter, ...]:
    """Return the adapters of every seed and stage, trained into the folder ``place`` or found there already.

    What a stopped training of the same recipe has left there is gone on from. ``progress`` counts the steps of all
    seeds; ``listen`` hears every loss, and the validation silhouette where it is measured. Raises BadChoice, TooLarge
    or StoreFull before it begins, TrainingFailed where the loss is no number, Cancelled through ``progress``: whole
    stages stay; after Paused it goes on from that very step. A seed that fails does not keep the others from being
    trained; it is reported when they are.
    """
    if base.weights.runner != "files":
        raise BadChoice(f"{base.name} cannot be adapted: its weights are not on this machine. Choose another model.")
    if not isinstance(base.weights, FolderWeights):
        raise BadChoice(f"{base.name} exists only in memory. Save it as a model folder first, and adapt that.")
    if base.loading.random_seed is not None:
        raise BadChoice(f"{base.name} has random weights, so there is nothing to adapt. Leave weights=random out.")
    spec = resolve(base, settings, progress=progress).stored
    folder = folder_of(spec, settings, progress=progress)
    device = device_of(settings.device)
    recipe = recipe.settled(bfloat16=has_bfloat16(device))
    check_room(recipe, folder, place, device=device)
    with reserved_place(place, progress), described_faults(spec):
        if not all(_ended(place, spec, recipe, seed) for seed in recipe.seeds):
            progress(0, 1, "load")
            settle_threads()
            small = device == "cpu" and _step_work(recipe, folder) <= _ONE_THREAD_UP_TO
            with one_thread() if small else contextlib.nullcontext():
                _train_seeds(AdaptedModel(spec, recipe, folder, device), place, progress, listen)
        return adapters_in(place, recipe)


def check_room(recipe: Recipe, folder: Path, place: Path, *, device: str = "cpu") -> None:
    """Raise TooLarge or StoreFull, with the figures, where the memory or the disk will not do; reads no weights."""
    import torch

    needed = memory_needed(recipe, folder, device=device)
    there = int(torch.cuda.mem_get_info()[0]) if device == "cuda" else available_memory()
    if there is not None and needed > there:
        raise TooLarge(
            f"This training needs about {needed / 1e9:,.1f} GB of memory and {there / 1e9:,.1f} GB are free. Choose "
            "fewer or shorter sequences a step, a smaller model, or a larger machine."
        )
    kept = _adapter_bytes(recipe, folder) * (len(recipe.seeds) * recipe.stages + 4)
    beside = next(one for one in (place.absolute(), *place.absolute().parents) if one.is_dir())
    if kept > (free := shutil.disk_usage(beside).free):
        raise StoreFull(
            f"The adapters of this training take {kept / 1e9:,.2f} GB of disk and {free / 1e9:,.2f} GB are free. Make "
            "room, or save fewer stages."
        )


def memory_needed(recipe: Recipe, folder: Path, *, device: str = "cpu") -> int:
    """Return about how many bytes training takes, from the files' headers: weights, adapter, and what a step keeps."""
    weights = _parameters(folder) * (2 if device == "cuda" else 4)
    config = read_json(folder / modules_of(folder)[0] / "config.json")
    config |= config.get("text_config") or {}
    width, layers = int(config.get("hidden_size") or 1_024), int(config.get("num_hidden_layers") or 24)
    inner, heads = int(config.get("intermediate_size") or 4 * width), int(config.get("num_attention_heads") or 16)
    tokens = min(recipe.split.longest * _TOKENS_PER_TERM, int(config.get("max_position_embeddings") or 8_192))
    layer = 4 * recipe.batch * tokens * (16 * width + 4 * inner + 2 * heads * tokens)
    steps = layer + 4 * recipe.batch * tokens * width * layers if device == "cuda" else layer * layers
    return weights + 4 * _adapter_bytes(recipe, folder) + steps + _SPARE_BYTES


def _step_work(recipe: Recipe, folder: Path) -> float:
    """Return parameters × tokens of a step, at most."""
    return float(_parameters(folder)) * recipe.batch * recipe.split.longest * _TOKENS_PER_TERM


def _parameters(folder: Path) -> int:
    return sum(one.size for one in TensorFolder(folder).stored.values())


def _ended(place: Path, spec: ModelSpec, recipe: Recipe, seed: int) -> bool:
    stage = last_stage(place, spec, recipe, seed)
    return stage is not None and stage.step == recipe.steps


def _train_seeds(model: AdaptedModel, place: Path, progress: Progress, listen: Listener) -> None:
    """Train every seed from its last stage to its end; raise TrainingFailed once all have been tried."""
    seeds, failed = model.recipe.seeds, dict[int, TrainingFailed]()
    for number, seed in enumerate(seeds):
        try:
            _train_seed(model, place, seed, number * model.recipe.steps, progress, listen)
        except _BaseNotFinite:  # no other seed can do better
            raise
        except TrainingFailed as text:
            failed[seed] = text
        except (NumembedError, sqlite3.Error):  # of all seeds alike, or of the store
            raise
        except Exception as error:
            if is_lost(error) or is_out_of_memory(error):
                raise
            _log.exception("the training of seed %s failed", seed)
            failed[seed] = TrainingFailed(f"Training {model.spec.name} failed at seed {seed}: {reason_of(error)}.")
    if failed:
        first, *more = failed.items()
        others = f" The same happened to seed {', '.join(str(seed) for seed, _ in more)}." if more else ""
        whole = " The other seeds finished training." if len(failed) < len(seeds) else ""
        kind = Diverged if all(isinstance(text, Diverged) for text in failed.values()) else TrainingFailed
        raise kind(str(first[1]) + others + whole)


class _BaseNotFinite(TrainingFailed):
    """The model itself answers with NaN, before any step."""


def _train_seed(model: AdaptedModel, place: Path, seed: int, done: int, progress: Progress, listen: Listener) -> None:
    """Train one seed from its last stage to its end."""
    recipe, spec = model.recipe, model.spec
    stage = last_stage(place, spec, recipe, seed)
    saved = begun = stage.step if stage else 0
    if begun < recipe.steps:
        model.begin(seed, stage.kept if stage else None, begun)
    readings = list(stage.readings) if stage else []
    if not stage:
        readings.append(_listened(Reading(seed, 0, None, _finite(model.before(), spec, seed, 0, 0)), listen))
    for step in range(begun + 1, recipe.steps + 1):
        try:
            progress(done + step - 1, recipe.steps * len(recipe.seeds), "train")
        except Paused:
            if step > begun + 1:
                save_pause(place, spec, recipe, readings, model.snapshot())
            raise
        pairs, apart = recipe.loss == "in_batch", apart_at(step, recipe.steps, recipe.apart)
        batch = training_batch(recipe.split, size=recipe.batch, seed=seed, step=step, pairs=pairs, apart=apart)
        loss = _finite(model.step(batch, step), spec, seed, step, saved)
        looked = step in recipe.looked_steps
        silhouette = _finite(model.silhouette(), spec, seed, step, saved) if looked else None
        readings.append(_listened(Reading(seed, step, loss, silhouette), listen))
        if step in recipe.saved_steps:
            save_stage(place, spec, recipe, model.targets, readings, model.snapshot())
            saved = step
    progress(done + recipe.steps, recipe.steps * len(recipe.seeds), "train")


def _listened(reading: Reading, listen: Listener) -> Reading:
    listen(reading)
    return reading


def _finite(value: float, spec: ModelSpec, seed: int, step: int, saved: int) -> float:
    if math.isfinite(value):
        return value
    kept = f"The stage after step {saved:,} is kept." if saved else "Nothing of this seed was saved."
    raise (Diverged if step else _BaseNotFinite)(
        f"Training {spec.name} was stopped: at step {step:,} of seed {seed} the loss or the silhouette became NaN or "
        f"infinite. {kept} Choose a lower learning rate; where it fails at once, the model itself may be damaged."
    )


def _adapter_bytes(recipe: Recipe, folder: Path) -> int:
    """Return how large one adapter is, by the shapes of the matrices in numbered layers."""
    shapes = [one.shape for name, one in TensorFolder(folder).stored.items() if IN_LAYER.search(name)]
    return sum(4 * recipe.rank * sum(shape) for shape in shapes if len(shape) == 2)
