"""Small merging experiments for tests: a tiny base, few steps, few families, few points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from numembed.analysis.inference.intervals import leave_one_out
from numembed.analysis.metrics import silhouette
from numembed.core.settings import Settings
from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment, experiment_key
from numembed.merge_experiment.results import Candidate, Retention, Separation
from numembed.models.adapters.recipe import Recipe
from numembed.models.catalogue.names import model
from numembed.models.files.folders import digest_of_folder
from numembed.models.resolve import resolve
from numembed.models.spec import LocalWeights
from numembed.sequences.splits import Split
from numembed.studies.results import ResultStore
from tests.lora import write_adapter
from tests.merge_experiment.made import made_result

SPLIT = Split(training=("multiples", "lucky", "happy"), new=("triangular", "evil"))
RECIPE = Recipe(split=SPLIT, steps=4, stages=2, looks=1, warmup=0, batch=6, rank=2, seeds=(0, 1), learning_rate=5e-3)
PATHS = ("lora", "soup", "linear", "slerp", "slerp_task", "norm_matched", "karcher")
MODEL = model("last_digits")
LABELS = np.repeat(np.arange(6), 4)


def small_experiment(base: Path, **changes: object) -> MergeExperiment:
    """Return an experiment on the folder ``base`` that takes seconds."""
    return replace(MergeExperiment(model(str(base)), RECIPE, PATHS, 3), **changes)  # type: ignore[arg-type]


def stored_on(base: Path, settings: Settings, place: Path) -> ExperimentResult:
    """Store and return a finished experiment on the folder ``base`` with random adapters below ``place``.

    Its numbers are made up.
    """
    experiment, adapters = small_experiment(base), {}
    for seed in experiment.recipe.seeds:
        for step in experiment.recipe.saved_steps:
            folder = write_adapter(place / f"{seed}-{step}", base, seed=10 * seed + step)
            adapters[seed, step] = LocalWeights(str(folder), digest_of_folder(folder))
    found = made_result(experiment, base=resolve(experiment.base, settings), adapters=adapters)
    with ResultStore(settings.app_db) as results:
        results.put(experiment_key(experiment), found.as_json())
    return found


def made_path(
    path: str,
    retentions: Sequence[float],
    spread: Sequence[float],
    *,
    seed: int = 0,
    noise: float = 0.0,
    shared: int = 0,
) -> tuple[Candidate, ...]:
    """Return candidates with the silhouettes of 24 real vectors: families ``spread`` apart, ``noise`` of its own.

    Paths with the same ``shared`` see the same sequences.
    """
    common = np.random.default_rng((shared, 1)).standard_normal((24, 8))
    centres = np.random.default_rng((shared, 2)).standard_normal((6, 8))[LABELS]
    own = np.random.default_rng((seed, 3)).standard_normal((24, 8)) * noise
    candidates = []
    for number, (kept, apart) in enumerate(zip(retentions, spread, strict=True)):
        matrix = (common + own + apart * centres).astype(np.float32)
        value = silhouette(matrix, LABELS)
        found = Separation(value, *[math.nan] * 11, tuple(leave_one_out(matrix, LABELS).tolist()))
        at = number / max(1, len(retentions) - 1)
        candidates.append(Candidate(path, path, at, MODEL, {"paper": found}, Retention(kept, kept, 0.1), 0.0, 0.0))
    return tuple(candidates)


def noisy_path(path: str, retentions: Sequence[float], own: np.ndarray, *, seed: float = 0.0) -> tuple[Candidate, ...]:
    """Return candidates whose score is a mean over sequences: 1 - retention, plus ``seed`` for all, plus ``own``
    (n,) or (m, n), what each sequence adds."""
    candidates = []
    for kept, one in zip(retentions, np.broadcast_to(own, (len(retentions), own.shape[-1])), strict=True):
        values = 1 - kept + seed + one
        without = (values.sum() - values) / (len(values) - 1)
        found = Separation(float(values.mean()), *[math.nan] * 11, tuple(without.tolist()))
        candidates.append(Candidate(path, path, kept, MODEL, {"paper": found}, Retention(kept, kept, 0.1), 0.0, 0.0))
    return tuple(candidates)
