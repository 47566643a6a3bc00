"""Merges made in memory for a sweep, beside plain embedding runs of the same texts; the bundled model, three adapters.

The adapters are random, of rank 8, for the layers that training adapts: what a merge costs does not depend on values.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Figure, cpu_seconds
from numembed.core.settings import Settings, read_settings
from numembed.models.catalogue.names import model
from numembed.models.embedding import embed
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.encoders.weight_swap import WeightSwapper
from numembed.models.files.tensors import TensorFolder
from numembed.models.resolve import resolve
from numembed.models.sources import bundled_folder
from numembed.models.spec import LoraWeights, MergedWeights, ModelSpec
from numembed.paper.protocol import paper_study
from numembed.storage.vectors import VectorStore

TARGETS = ("query", "key", "value", "dense")
STEPS = [step / 10 for step in range(11)]


def sweep() -> list[Figure]:
    """Candidates of a sweep (other t, method and scale over one base), next to plain runs of 24 texts: CPU."""
    with tempfile.TemporaryDirectory() as place:
        settings = replace(read_settings(), home=Path(place), folders=())
        adapters = [_write_adapter(Path(place) / f"seed-{seed}", seed) for seed in range(3)]
        plain = resolve(model("all-MiniLM-L6-v2"), settings)
        adapted = [resolve(model(f'all-MiniLM-L6-v2 adapter="{folder}"'), settings) for folder in adapters]
        loaded = LoadedModel(settings)
        loaded.get(plain)
        return _figures(plain, adapted, loaded, settings)


def _figures(plain: ModelSpec, adapted: list[ModelSpec], loaded: LoadedModel, settings: Settings) -> list[Figure]:
    beside, alone = LoadedModel(settings), WeightSwapper(plain, bundled_folder(), settings)
    _embed(plain, beside)
    figures, totals = [], np.zeros(3)
    for name, candidates in _sweeps(plain, adapted, settings).items():
        # each candidate beside a plain run by a model that never changes: other work on the machine hits both alike
        rounds = [
            (
                cpu_seconds(lambda: _embed(plain, beside)),
                cpu_seconds(lambda candidate=candidate: _embed(candidate, loaded)),  # type: ignore[misc]
                cpu_seconds(lambda candidate=candidate: _merge(candidate, alone)),  # type: ignore[misc]
            )
            for candidate in candidates
        ]
        run, whole, merge = np.median(rounds, axis=0)
        rest = float(np.median([(candidate - merging) / one for one, candidate, merging in rounds]))
        print(
            f"{name}: {len(candidates)} candidates; a plain run {run:.2f} s, one of them {whole:.2f} s, "
            f"of which merging {merge:.2f} s"
        )
        figures.append(Figure(f"sweep {name}, a candidate without its merge", rest, 1.2, at_most=True))
        totals += np.sum(rounds, axis=0)
    run, whole, merge = totals
    figures.append(Figure("sweep, all candidates together", float(whole / (1.2 * run + merge)), 1.0, at_most=True))
    return figures


def _sweeps(plain: ModelSpec, adapted: list[ModelSpec], settings: Settings) -> dict[str, list[ModelSpec]]:
    one, two, _ = parts = tuple(spec.weights for spec in adapted if isinstance(spec.weights, LoraWeights))

    def candidate(method: str, *given: Any, t: float | None = None, space: str = "") -> ModelSpec:
        options = () if t is None else (("t", t),)
        merged = MergedWeights(method, given, plain.weights, space, options=options)
        return resolve(replace(plain, name=f"{method} {t}", weights=merged), settings)

    return {
        "of task vectors": [candidate("slerp", one, two, t=t, space="task_vectors") for t in STEPS],
        "to the base": [candidate("wise_ft", one, t=t) for t in STEPS],
        "of scales": [replace(plain, weights=replace(one, scale=1.5 * t)) for t in STEPS],
        "of three": [candidate(method, *parts) for method in ("soup", "soup_with_base", "karcher", "ties", "dare")],
    }


def _embed(spec: ModelSpec, loaded: LoadedModel) -> None:
    with tempfile.TemporaryDirectory() as empty, VectorStore(Path(empty) / "cache.db") as store:
        embed(spec, paper_study().sequences, store=store, loaded=loaded)


def _merge(spec: ModelSpec, alone: WeightSwapper) -> None:
    """Compute the merged tensors, with their angles where they are new; none is put in place."""
    names, value_of = alone.recipe(spec.weights)
    for name in names:
        value_of(name)


def _write_adapter(folder: Path, seed: int, rank: int = 8) -> Path:
    from safetensors.numpy import save_file

    random, tensors = np.random.default_rng(seed), {}
    for name, stored in TensorFolder(bundled_folder()).stored.items():
        module = name.removesuffix(".weight")
        if module.endswith(TARGETS) and name != module and "pooler" not in module:
            for factor, shape in (("A", (rank, stored.shape[1])), ("B", (stored.shape[0], rank))):
                values = random.standard_normal(shape, dtype=np.float32) * np.float32(0.01)
                tensors[f"base_model.model.{module}.lora_{factor}.weight"] = values
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": list(TARGETS), "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
