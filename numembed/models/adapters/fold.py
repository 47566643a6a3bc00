"""LoRA adapters as PEFT saves them, folded into their base: W + scale · (alpha / r) · B A, in float32.

Several adapters are added by folding one after the other: base + Σ delta. (PEFT's own way of joining them, ``linear``,
averages the factors A and B apart, which is another matrix: it was 85% off.)
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from numembed.core.arrays import Tensor
from numembed.core.errors import BadChoice, ModelUnavailable
from numembed.models.files.model_config import read_json
from numembed.models.files.tensors import HEADS, Stored, TensorFolder, known_as, read_header, shapes_of, tied_embedding

_WRAPPER = "base_model.model."
_FACTORS = re.compile(r"(.+)\.lora_(embedding_)?([AB])(?:\.weight)?")
_PLAIN_STARTS = (None, True, False, "true", "false", "gaussian", "eva", "orthogonal")  # those that leave the base alone
_BEYOND = {  # what an adapter may hold besides the two factors
    "use_dora": "DoRA",
    "modules_to_save": "whole retrained parts (modules_to_save)",
    "lora_bias": "biases",
    "trainable_token_indices": "retrained tokens",
    "target_parameters": "adapted experts (target_parameters)",
    "layer_replication": "repeated layers",
    "use_qalora": "QALoRA",
    "use_bdlora": "BD-LoRA",
    "kasa_config": "KaSA",
    "monteclora_config": "MonteCLoRA",
    "arrow_config": "Arrow",
    "alora_invocation_tokens": "activated LoRA",
}


@dataclass(frozen=True)
class _Change:
    """What an adapter does to one tensor."""

    down: str  # its factor A (r, in)
    up: str  # its factor B (out, r)
    factor: float
    turned: bool  # stored as (in, out): embeddings, and the layers of GPT-2

    def delta(self, adapter: Mapping[str, Tensor]) -> Tensor:
        product = adapter[self.up].astype(np.float32) @ adapter[self.down].astype(np.float32)
        product *= np.float32(self.factor)
        return product.T if self.turned else product


class AdaptedFolder(Mapping[str, Tensor]):
    """The weights of a model folder with an adapter folded in; each is made when it is asked for and not kept.

    Raises BadChoice for an adapter that does not fit the base or holds more than LoRA, ModelUnavailable where there is
    none; both before any weight of the base is read.
    """

    def __init__(self, base: Path, adapter: Path, scale: float = 1.0) -> None:
        self.base, self.adapter, self.scale = TensorFolder(base), adapter, scale
        self._factors = {name: one.read() for name, one in read_adapter(adapter).items()}
        self._changes = _changes(self.base, self._factors, read_json(adapter / "adapter_config.json"), scale)
        self.folder, self.modules, self.stored = self.base.folder, self.base.modules, self.base.stored

    def __getitem__(self, name: str) -> Tensor:
        return _folded(self.base[name], self._factors, self._changes.get(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self.base)

    def __len__(self) -> int:
        return len(self.base)

    @property
    def changed(self) -> tuple[str, ...]:
        """The names of the tensors that the adapter changes."""
        return tuple(self._changes)


def fold_lora(
    base: Mapping[str, Tensor], adapter: Mapping[str, Tensor], config: Mapping[str, Any], *, scale: float = 1.0
) -> dict[str, Tensor]:
    """Return all tensors of ``base``, with the adapter's updates added ``scale`` times to those that it adapts.

    ``adapter`` and ``config`` are what PEFT's adapter_model.safetensors and adapter_config.json hold. Raises BadChoice
    for an adapter of another base, and for one that holds more than LoRA's two factors.
    """
    changes = _changes(base, adapter, config, scale)
    return {name: _folded(base[name], adapter, changes.get(name)) for name in base}


def read_adapter(folder: Path) -> dict[str, Stored]:
    """Return where the factors of an adapter lie; raises ModelUnavailable where the folder holds no adapter."""
    if not (folder / "adapter_config.json").is_file() or not (folder / "adapter_model.safetensors").is_file():
        raise ModelUnavailable(
            f"The folder {folder.name[:80]!r} is no LoRA adapter: it needs adapter_config.json and "
            "adapter_model.safetensors, as PEFT saves them."
        )
    return read_header(folder / "adapter_model.safetensors")


def _folded(tensor: Tensor, adapter: Mapping[str, Tensor], change: _Change | None) -> Tensor:
    return tensor if change is None else (tensor + change.delta(adapter)).astype(tensor.dtype, copy=False)


def _changes(
    base: Mapping[str, Tensor], adapter: Mapping[str, Tensor], config: Mapping[str, Any], scale: float
) -> dict[str, _Change]:
    """Return what the adapter changes, by the base's names."""
    _check_kind(config)
    shapes = shapes_of(base)
    factors: dict[str, dict[str, str]] = {}
    for key in adapter:
        if match := _FACTORS.fullmatch(key):
            factors.setdefault(match[1], {"embedding": match[2] or ""})[match[3]] = key
        else:
            _check_unchanged(key, base, adapter)
    changes: dict[str, _Change] = {}
    for module, pair in factors.items():
        target = _unwrapped(module)
        name = known_as(f"{target}.weight", shapes)
        if name is None or not {"A", "B"} <= set(pair):
            raise BadChoice(f"The adapter was made for another base: this one has no {target[:120]!r}. {_CHOOSE}")
        turned = bool(pair["embedding"] or config.get("fan_in_fan_out"))
        change = _Change(pair["A"], pair["B"], scale * _factor(target, adapter[pair["A"]], config), turned)
        _check_shape(name, shapes[name][0], adapter, change)
        changes[name] = change
    if not changes:
        raise BadChoice("The adapter is empty: it adapts no part of the model. Choose another one.")
    return changes | _tied_changes(base, changes)


_CHOOSE = "Choose the model that it was trained on, or another adapter."


def _unwrapped(name: str) -> str:
    while name.startswith(_WRAPPER):
        name = name.removeprefix(_WRAPPER)
    return name


def _check_kind(config: Mapping[str, Any]) -> None:
    """Refuse what is more than W + B A: folding only that would silently be another model."""
    more = [words for name, words in _BEYOND.items() if config.get(name)]
    if config.get("bias") not in (None, "none"):
        more.append("biases")
    start = config.get("init_lora_weights")
    if (start.lower() if isinstance(start, str) else start) not in _PLAIN_STARTS:
        more.append(f"a changed base ({str(start)[:40]} start)")
    if (kind := str(config.get("peft_type", "LORA")).rpartition(".")[2]) != "LORA":
        more.append(kind[:40])
    if more:
        raise BadChoice(
            f"The adapter is more than plain LoRA: it uses {more[0]}, which is not folded here. Merge it with PEFT's "
            "merge_and_unload and use the saved model."
        )


def _check_unchanged(name: str, base: Mapping[str, Tensor], adapter: Mapping[str, Tensor]) -> None:
    """Let a copy of the base's own embedding pass, which PEFT saves beside an adapted one; refuse everything else."""
    plain = _unwrapped(name.replace(".base_layer.", "."))
    known = known_as(plain, base)
    if known is None or not np.array_equal(base[known], adapter[name]):
        raise BadChoice(
            f"The adapter holds {plain[:120]!r}, which is no LoRA factor and not the base's own. Merge it with PEFT's "
            "merge_and_unload and use the saved model."
        )


def _check_shape(name: str, shape: tuple[int, ...], adapter: Mapping[str, Tensor], change: _Change) -> None:
    down, up = adapter[change.down].shape, adapter[change.up].shape
    if len(down) != 2 or len(up) != 2:
        raise BadChoice(
            f"The adapter changes {name[:120]!r}, a convolution, which is not folded here. Merge it with PEFT."
        )
    made = (down[1], up[0]) if change.turned else (up[0], down[1])
    if made != shape or down[0] != up[1]:
        text = " and ".join("×".join(map(str, one)) for one in (made, shape))
        raise BadChoice(f"The adapter was made for another base: {name[:120]!r} is {text} there and here. {_CHOOSE}")


def _factor(module: str, down: Tensor, config: Mapping[str, Any]) -> float:
    """Return alpha / r, or alpha / √r where the adapter says so; ``alpha_pattern`` names exceptions."""
    patterns = config.get("alpha_pattern") or {}
    match = next((key for key in patterns if re.match(rf"(.*\.)?({key})$", module)), None)
    alpha = float(config.get("lora_alpha", 8) if match is None else patterns[match])
    rank = max(1, down.shape[0])
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def _tied_changes(base: Mapping[str, Tensor], changes: Mapping[str, _Change]) -> dict[str, _Change]:
    """Return the changes of output heads that repeat an adapted embedding: in PEFT they are one tensor."""
    heads = [name for name in base if name.endswith(HEADS) and name not in changes]
    tied = {head: tied_embedding(base, head) for head in heads} if any(c.turned for c in changes.values()) else {}
    return {
        head: changes[embedding] for head, embedding in tied.items() if embedding is not None and embedding in changes
    }
