"""Random LoRA adapters as PEFT saves them, written without it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from numembed.models.tensor_files import TensorFolder

TARGETS = ("query", "value", "output.dense")


def write_adapter(
    folder: Path, base: Path, *, seed: int = 0, rank: int = 4, size: float = 0.1, targets: tuple[str, ...] = TARGETS,
    config: Mapping[str, Any] | None = None,
) -> Path:  # fmt: skip
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
