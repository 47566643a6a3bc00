"""The adapters of an experiment: trained, or found where an earlier run saved them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path as Folder
from typing import TYPE_CHECKING

from numembed.core.errors import Diverged, TrainingFailed
from numembed.core.progress import DONE, Report, stage_called
from numembed.core.serialization import canonical_json
from numembed.core.settings import Settings
from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment, experiment_key, stored_experiment
from numembed.models.adapters.recipe import Reading, Recipe
from numembed.models.adapters.saved import SavedAdapter, adapters_in
from numembed.models.loading.devices import device_of, has_bfloat16
from numembed.models.spec import ModelSpec
from numembed.studies.results import ResultStore

if TYPE_CHECKING:
    from numembed.models.encoders.loaded import LoadedModel


_REPORT_SECONDS = 1.0  # between two snapshots of a training
_NOTES = {"waiting": "another program trains the same adapters"}
_LIBRARIES = ("torch", "transformers", "sentence-transformers", "peft")


def in_numbers(recipe: Recipe, base: ModelSpec, settings: Settings) -> tuple[Recipe, ModelSpec]:
    """Return a recipe and the base in the format of numbers that this machine computes them in."""
    has_units = recipe.numbers != "float32" and has_bfloat16(device_of(settings.device))
    return in_format(recipe, base, bfloat16=has_units)


def in_format(recipe: Recipe, base: ModelSpec, *, bfloat16: bool) -> tuple[Recipe, ModelSpec]:
    """Return a recipe and the base in the format of numbers of a machine with units for ``bfloat16`` or without."""
    if recipe.numbers == "float32":
        return recipe, base
    recipe = recipe.settled(bfloat16=bfloat16)
    return recipe, replace(base, dtype=recipe.numbers) if base.dtype == "float32" else base


def adapters_folder(recipe: Recipe, base: ModelSpec, settings: Settings) -> Folder:
    """Return the folder of the adapters of a recipe on the pinned ``base``, of all seeds."""
    plain = {name: value for name, value in recipe.as_dict().items() if name != "seeds"}
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}  # others would not go on from there
    identity = canonical_json({"base": base.stored.key, "recipe": plain, "versions": versions})
    return settings.home / "adapters" / hashlib.sha256(identity.encode()).hexdigest()[:20]


def still_there(known: ExperimentResult, folder: Folder) -> bool:
    """Return True where the adapters of a stored result are in ``folder``, with the same contents."""
    digests = {(one.seed, one.step): one.weights.digest for one in adapters_in(folder, known.experiment.recipe)}
    return digests == {(one.seed, one.step): one.digest for one in known.adapters}


def train(
    experiment: MergeExperiment,
    base: ModelSpec,
    folder: Folder,
    results: ResultStore,
    loaded: LoadedModel,
    settings: Settings,
    report: Report,
) -> tuple[tuple[SavedAdapter, ...], str]:
    """Return the adapters of all stages, of every seed whose training ended; its curves are stored while it runs.

    Beside them why the other seeds failed, or "" where their loss diverged.
    """
    recipe, why = in_numbers(experiment.recipe, base, settings)[0], ""
    saved = adapters_in(folder, recipe)
    if _ended(recipe, saved) != set(recipe.seeds):
        from numembed.models.training.train import train_adapters

        loaded.free()  # one model in memory
        try:
            saved = train_adapters(
                base,
                recipe,
                folder,
                settings=settings,
                listen=_listener(experiment, base, saved, results),
                progress=lambda done, total, stage: report(0, stage_called(stage), done, total, _NOTES.get(stage, "")),
            )
        except TrainingFailed as failed:
            saved, why = adapters_in(folder, recipe), "" if isinstance(failed, Diverged) else str(failed)
            if not _ended(recipe, saved):
                raise
    report(0, DONE, 1, 1, "")
    return tuple(one for one in saved if one.seed in _ended(recipe, saved)), why


def _ended(recipe: Recipe, saved: Sequence[SavedAdapter]) -> set[int]:
    """Return the seeds whose stages are all saved."""
    stages = {(one.seed, one.step) for one in saved}
    return {seed for seed in recipe.seeds if all((seed, step) in stages for step in recipe.saved_steps)}


def _listener(
    experiment: MergeExperiment, base: ModelSpec, saved: Sequence[SavedAdapter], results: ResultStore
) -> Callable[[Reading], None]:
    """Return a callback that stores the readings of a training, after those of saved stages, for the page."""
    present = stored_experiment(experiment, results) or ExperimentResult(experiment, base)
    readings = {(one.seed, one.step): one for adapter in saved for one in adapter.readings}
    reported = 0.0

    def listen(reading: Reading) -> None:
        nonlocal reported, readings
        readings = {at: one for at, one in readings.items() if at[0] != reading.seed or at[1] < reading.step}
        readings[reading.seed, reading.step] = reading
        if time.monotonic() - reported > _REPORT_SECONDS:
            results.put(experiment_key(experiment), replace(present, training=tuple(readings.values())).as_json())
            reported = time.monotonic()

    return listen
