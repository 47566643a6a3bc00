"""Random LoRA adapters as PEFT saves them, written without it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numembed.core.arrays import Tensor
from numembed.models.adapters import checks, fold
from numembed.models.files.tensors import TensorFolder
from numembed.models.merging.folders import FOLD, Saved, fold_card, merge_folders
from numembed.models.training.lora import AdaptedModel

TARGETS = ("query", "value", "output.dense")


def write_adapter(
    folder: Path,
    base: Path,
    *,
    seed: int = 0,
    rank: int = 4,
    size: float = 0.1,
    targets: tuple[str, ...] = TARGETS,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Write an adapter of random numbers for the linear layers of ``base`` whose names end so; return ``folder``."""
    from safetensors.numpy import save_file

    random, tensors = np.random.default_rng(seed), {}
    for name, stored in TensorFolder(base).stored.items():
        module = name.removesuffix(".weight")
        if len(stored.shape) == 2 and name != module and module.endswith(targets) and "pooler" not in module:
            high, wide = stored.shape
            for factor, shape in (("A", (rank, wide)), ("B", (high, rank))):
                values = random.standard_normal(shape) * size
                tensors[f"base_model.model.{module}.lora_{factor}.weight"] = values.astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    plain = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": list(targets), "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(plain | {"fan_in_fan_out": False} | dict(config or {})))
    return folder


def run_away(monkeypatch: pytest.MonkeyPatch, *, seed: int, step: int) -> None:
    """Let the loss of one seed be no number at a step, as a learning rate that is too high does."""
    begin, plain = AdaptedModel.begin, AdaptedModel.step
    present = [seed]

    def begun(model: AdaptedModel, number: int, *more: Any) -> None:
        present[0] = number
        begin(model, number, *more)

    def stepped(model: AdaptedModel, batch: Any, at: int) -> float:
        return math.nan if (present[0], at) == (seed, step) else plain(model, batch, at)

    monkeypatch.setattr(AdaptedModel, "begin", begun)
    monkeypatch.setattr(AdaptedModel, "step", stepped)


def fold_lora(
    base: Mapping[str, Tensor],
    adapter: Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    scale: float = 1.0,
    turned: tuple[str, ...] = (),
) -> dict[str, Tensor]:
    """Return all tensors of ``base``, with the adapter's updates added ``scale`` times to those that it adapts."""
    changes = fold.changes(base, adapter, config, scale, turned=turned)
    return {name: fold.folded(base[name], adapter, changes.get(name)) for name in base}


def fold_folder(base: Path, adapter: Path, out: Path) -> Saved:
    """Write ``base`` with an adapter folded in to the folder ``out``."""
    adapted = checks.attached(base, adapter)
    return merge_folders(FOLD, [adapted], out, base=base, card=fold_card(adapted))
