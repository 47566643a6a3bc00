"""Trained adapters on disk: each a PEFT folder with its recipe, whole or not there; and what training goes on from."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numembed.core.arrays import Tensor
from numembed.core.errors import BadChoice
from numembed.core.progress import Progress, silent
from numembed.models.adapters.peft_files import CONFIG, RECIPE, WEIGHTS, read_adapter
from numembed.models.adapters.recipe import Reading, Recipe
from numembed.models.files.folders import digest_of_folder, read_json
from numembed.models.files.publish import held_lock, is_whole, published
from numembed.models.files.tensors import read_header, write_file
from numembed.models.spec import LocalWeights, ModelSpec

_STATE = "state.safetensors"
_ASK_SECONDS = 0.5  # while another process trains
_LIBRARIES = ("torch", "transformers", "sentence-transformers", "peft")


@dataclass(frozen=True)
class SavedAdapter:
    """One adapter on disk."""

    weights: LocalWeights
    seed: int
    step: int
    readings: tuple[Reading, ...]  # from the base to this step

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return Path(self.weights.path)

    @property
    def silhouette(self) -> float | None:
        """The silhouette of the validation windows, measured when it was saved."""
        return self.readings[-1].silhouette


def adapter_folder(place: Path, seed: int, step: int) -> Path:
    """Return where the adapter of a seed and step lies below the folder of its training."""
    return place / f"seed-{seed}" / f"step-{step:05d}"


def saved_adapter(folder: Path) -> SavedAdapter:
    """Return what lies in the folder of one trained adapter; raises ModelUnavailable where it is none of ours."""
    read_adapter(folder)
    step, readings = _read_recipe(folder)
    return SavedAdapter(LocalWeights(str(folder), digest_of_folder(folder)), readings[-1].seed, step, readings)


def _read_recipe(folder: Path) -> tuple[int, tuple[Reading, ...]]:
    """Return the step of a folder, and what was measured up to it."""
    recipe = read_json(folder / RECIPE)
    readings = tuple(Reading(**one) for one in recipe.get("readings", []))
    if not readings:
        raise BadChoice(f"The adapter {folder.name[:80]!r} has no recipe: it was not trained here. Attach it instead.")
    return recipe["step"], readings


@dataclass(frozen=True)
class Snapshot:
    """Everything that training goes on from: the adapter's factors and AdamW's two moments of each, by name."""

    factors: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]


@dataclass(frozen=True)
class Begun:
    """How far the training of one seed is."""

    step: int
    readings: tuple[Reading, ...]  # from the base to this step
    kept: Snapshot  # empty at the end: nothing goes on


def save_pause(place: Path, base: ModelSpec, recipe: Recipe, readings: list[Reading], kept: Snapshot) -> None:
    """Keep where a training stops between two stages, for :func:`last_stage`."""
    folder, sums = _paused_folder(place, readings[-1].seed), dict[str, str]()
    shutil.rmtree(folder, ignore_errors=True)
    with published(folder, sums) as draft:
        sums[WEIGHTS] = _write_tensors(draft / WEIGHTS, kept.factors)
        sums[_STATE] = _write_tensors(draft / _STATE, kept.moments)
        _write_json(draft / RECIPE, _description(base, recipe, readings[-1].seed, readings))


def save_stage(
    place: Path, base: ModelSpec, recipe: Recipe, targets: tuple[str, ...], readings: list[Reading], kept: Snapshot
) -> SavedAdapter:
    """Publish the adapter of the last reading, and what a later training goes on from; return the adapter.

    The state comes first: an adapter that is there can be gone on from. The state before is then dropped.
    """
    seed, step = readings[-1].seed, readings[-1].step
    folder = adapter_folder(place, seed, step)
    if step < recipe.steps:
        state, sums = _state_folder(place, seed, step), dict[str, str]()
        shutil.rmtree(state, ignore_errors=True)
        with published(state, sums) as draft:
            sums[_STATE] = _write_tensors(draft / _STATE, kept.moments)
    shutil.rmtree(folder, ignore_errors=True)  # one that could not be gone on from
    digests: dict[str, str] = {}
    with published(folder, digests) as draft:
        digests[WEIGHTS] = _write_tensors(draft / WEIGHTS, kept.factors)
        _write_json(draft / CONFIG, _peft_config(base, recipe, targets))
        _write_json(draft / RECIPE, _description(base, recipe, seed, readings))
    for older in _state_folder(place, seed, step).parent.glob("*"):
        if older.name != f"step-{step:05d}" or step == recipe.steps:
            shutil.rmtree(older, ignore_errors=True)
    return saved_adapter(folder)


def last_stage(place: Path, base: ModelSpec, recipe: Recipe, seed: int) -> Begun | None:
    """Return from where the training of a seed can go on: its last stage, a pause after it, or its end; else None.

    It counts only where it and all stages before it are whole: one that is missing is trained anew. Raises BadChoice
    where ``place`` holds another training.
    """
    whole = [step for step in recipe.saved_steps if is_whole(adapter_folder(place, seed, step))]
    for step in whole:
        _check_same(place, adapter_folder(place, seed, step), base, recipe, seed)
    unbroken = [step for step, wanted in zip(whole, recipe.saved_steps, strict=False) if step == wanted]
    if is_whole(paused := _paused_folder(place, seed)):
        _check_same(place, paused, base, recipe, seed)
        step, readings = _read_recipe(paused)
        if all(one in unbroken for one in recipe.saved_steps if one <= step):
            return Begun(step, readings, Snapshot(_tensors(paused / WEIGHTS), _tensors(paused / _STATE)))
    for step in reversed(unbroken):
        folder, state = adapter_folder(place, seed, step), _state_folder(place, seed, step)
        if step == recipe.steps:
            return Begun(step, _read_recipe(folder)[1], Snapshot({}, {}))
        if is_whole(state):
            kept = Snapshot(_tensors(folder / WEIGHTS), _tensors(state / _STATE))
            return Begun(step, _read_recipe(folder)[1], kept)
    return None


def _check_same(place: Path, folder: Path, base: ModelSpec, recipe: Recipe, seed: int) -> None:
    if _identity(read_json(folder / RECIPE)) != _identity(_description(base, recipe, seed, [])):
        raise BadChoice(
            f"The folder {place.name[:80]!r} holds another training: its base, recipe or libraries differ. "
            "Choose an empty folder, or the same recipe."
        )


def adapters_in(place: Path, recipe: Recipe) -> tuple[SavedAdapter, ...]:
    """Return all whole adapters of a training, seed by seed, stage by stage."""
    folders = (adapter_folder(place, seed, step) for seed in recipe.seeds for step in recipe.saved_steps)
    return tuple(saved_adapter(folder) for folder in folders if is_whole(folder))


@contextmanager
def reserved_place(place: Path, progress: Progress = silent) -> Iterator[None]:
    """Wait until no other training writes to the folder ``place``, and keep others from it in the block.

    ``progress`` hears of the stage "waiting" and may raise Cancelled. Raises BadChoice where nothing can be written.
    """
    with ExitStack() as held:
        try:
            place.mkdir(parents=True, exist_ok=True)
            file = place / ".training.lock"
            held.enter_context(held_lock(file, lambda: progress(0, 1, "waiting"), seconds=_ASK_SECONDS))
        except OSError as error:
            sentence = f"{str(place)[:120]!r} cannot be written ({error.strerror}). Name another folder."
            raise BadChoice(sentence) from None
        yield


def _state_folder(place: Path, seed: int, step: int) -> Path:
    return place / ".resume" / f"seed-{seed}" / f"step-{step:05d}"


def _paused_folder(place: Path, seed: int) -> Path:
    return place / ".resume" / f"seed-{seed}" / "paused"


def _write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> str:
    return write_file(file, [(name, "F32", tensor.shape) for name, tensor in tensors.items()], tensors.__getitem__)


def _tensors(file: Path) -> dict[str, Tensor]:
    return {name: stored.read() for name, stored in read_header(file).items()}


def _write_json(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False), encoding="utf-8")


def _peft_config(base: ModelSpec, recipe: Recipe, targets: tuple[str, ...]) -> dict[str, Any]:
    """Return what PEFT needs to read the adapter; it has defaults for the rest."""
    return {
        "peft_type": "LORA",
        "task_type": None,
        "inference_mode": True,
        "r": recipe.rank,
        "lora_alpha": recipe.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "target_modules": sorted(targets),
        "base_model_name_or_path": name_of_base(base),
        "revision": getattr(base.weights, "revision", None),
    }


def name_of_base(base: ModelSpec) -> str:
    """Return what an adapter calls its base: a repository, a folder without the way there, or a model of our own."""
    return base.weights.called


def _description(base: ModelSpec, recipe: Recipe, seed: int, readings: list[Reading]) -> dict[str, Any]:
    plain = recipe.as_dict()
    plain.pop("seeds")  # one adapter is of one seed, whichever others were trained beside it
    weights = {name: value for name, value in base.as_dict()["weights"].items() if name != "path"}
    return {
        "base": {"key": base.stored.key, "name": name_of_base(base), "weights": weights},
        "training": plain,
        "seed": seed,
        "step": readings[-1].step if readings else 0,
        "readings": [asdict(one) for one in readings],
        "versions": {name: importlib.metadata.version(name) for name in _LIBRARIES},
    }


def _identity(recipe: Mapping[str, Any]) -> tuple[Any, ...]:
    return recipe.get("base", {}).get("key"), recipe.get("training"), recipe.get("versions")
