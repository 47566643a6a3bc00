"""LoRA adapters as PEFT saves them: whether they belong to a base, and folded into it, W + scale · (alpha / r) · B A.

Whether they belong is decided by their settings, both headers, and the recipe of one that was trained here. Several
adapters are added by folding one after the other, in float32: base + Σ delta. (PEFT's own way of joining them,
``linear``, averages the factors A and B separately, which is another matrix: it was 85% off.)
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
from numembed.models.adapters.recipe import MOST_RANK
from numembed.models.files.folders import digest_of_folder, read_json
from numembed.models.files.tensors import (
    FLOATS,
    HEADS,
    Stored,
    TensorFolder,
    names_of,
    plain_name,
    read_header,
    shapes_of,
    tied_embedding,
)
from numembed.models.spec import FolderWeights, HubWeights

RECIPE = "recipe.json"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"  # as PEFT calls them
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
_KNOWN = (  # settings whose value is judged by whoever folds the adapter, or does not touch the vectors
    *("peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "r"),
    *("inference_mode", "target_modules", "exclude_modules", "lora_alpha", "lora_dropout", "fan_in_fan_out", "bias"),
    *("use_rslora", "modules_to_save", "init_lora_weights", "layers_to_transform", "layers_pattern", "rank_pattern"),
    *("alpha_pattern", "megatron_core", "trainable_token_indices", "loftq_config", "use_dora", "qalora_group_size"),
    *("layer_replication", "lora_bias", "target_parameters", "ensure_weight_tying", "use_qalora", "use_bdlora"),
)
_OWN_CODE = re.compile(r"(transformers|sentence_transformers|peft)(\.\w+)*|megatron\.core")  # named for import in PEFT
_HUB_ID = re.compile(r"[\w-]{1,96}/[\w.-]{1,96}", re.ASCII)
_CHOOSE = "Choose the model that it was trained on, or another adapter."


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
    """The weights of a model folder with an adapter folded in; each is made on demand and not kept.

    Raises BadChoice for an adapter that does not fit the base or holds more than LoRA, ModelUnavailable where there is
    none; both before any weight of the base is read.
    """

    def __init__(self, base: Path, adapter: Path, scale: float = 1.0) -> None:
        self.base, self.adapter, self.scale = TensorFolder(base), adapter, scale
        self._factors = {name: one.read() for name, one in read_adapter(adapter).items()}
        self._changes = _changes(self.base, self._factors, read_json(adapter / "adapter_config.json"), scale)
        self.folder, self.modules, self.stored = self.base.folder, self.base.modules, self.base.stored
        self.architecture = self.base.architecture

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


def attached(base: Path, adapter: Path, scale: float = 1.0, *, weights: FolderWeights | None = None) -> AdaptedFolder:
    """Return the model folder ``base`` with an adapter folded in, once it is known to belong there.

    Raises what :func:`check_adapter` and AdaptedFolder raise, before any weight of the base is folded.
    """
    check_adapter(adapter, base, weights=weights)
    return AdaptedFolder(base, adapter, scale)


def check_adapter(adapter: Path, base: Path, *, weights: FolderWeights | None = None) -> None:
    """Return where the PEFT folder ``adapter`` fits the model folder ``base``, by names, shapes and digests.

    ``weights`` is what the base is called, where that is known. Raises BadChoice for an adapter of another base, of
    another kind or with settings nobody here knows, ModelUnavailable where there is no adapter or a file is damaged.
    """
    stored = read_adapter(adapter)
    config = read_json(adapter / CONFIG)
    _check_settings(config)
    _check_name(config, weights.repo if isinstance(weights, HubWeights) else "")
    for change in _changes(TensorFolder(base), stored, config, 1.0).values():
        _check_factors(stored[change.down], stored[change.up])
    _check_targets(config, stored)
    _check_trained_on(adapter, base, weights)


def read_adapter(folder: Path) -> dict[str, Stored]:
    """Return where the factors of an adapter lie; raises ModelUnavailable where the folder holds no adapter."""
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise ModelUnavailable(
            f"The folder {folder.name[:80]!r} is not a LoRA adapter: it needs adapter_config.json and "
            "adapter_model.safetensors, as PEFT saves them."
        )
    return read_header(folder / WEIGHTS)


def _folded(tensor: Tensor, adapter: Mapping[str, Tensor], change: _Change | None) -> Tensor:
    return tensor if change is None else (tensor + change.delta(adapter)).astype(tensor.dtype, copy=False)


def _changes(
    base: Mapping[str, Tensor], adapter: Mapping[str, Tensor | Stored], config: Mapping[str, Any], scale: float
) -> dict[str, _Change]:
    """Return what the adapter changes, by the base's names; raise BadChoice where it does not fit the base."""
    _check_kind(config)
    shapes, names = shapes_of(base), names_of(base)
    factors: dict[str, dict[str, str]] = {}
    for key in adapter:
        if match := _FACTORS.fullmatch(key):
            factors.setdefault(match[1], {"embedding": match[2] or ""})[match[3]] = key
        else:
            _check_unchanged(key, base, adapter[key])
    changes: dict[str, _Change] = {}
    for module, pair in factors.items():
        target = _unwrapped(module)
        name = names.get(plain_name(f"{target}.weight", base))
        if name is None or not {"A", "B"} <= set(pair):
            raise BadChoice(f"The adapter was made for another base: this one has no {target[:120]!r}. {_CHOOSE}")
        turned = bool(pair["embedding"] or config.get("fan_in_fan_out"))
        down, up = adapter[pair["A"]].shape, adapter[pair["B"]].shape
        _check_shape(name, shapes[name][0], down, up, turned)
        changes[name] = _Change(pair["A"], pair["B"], scale * _factor(target, max(1, down[0]), config), turned)
    if not changes:
        raise BadChoice("The adapter is empty: it adapts no part of the model. Choose another one.")
    return changes | _tied_changes(base, changes)


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


def _check_unchanged(name: str, base: Mapping[str, Tensor], value: Tensor | Stored) -> None:
    """Let a copy of the base's own embedding pass, which PEFT saves beside an adapted one; refuse everything else."""
    plain = _unwrapped(name.replace(".base_layer.", "."))
    known = names_of(base).get(plain_name(plain, base))
    if known is None or not np.array_equal(base[known], value.read() if isinstance(value, Stored) else value):
        raise BadChoice(
            f"The adapter holds {plain[:120]!r}, which is no LoRA factor and not the base's own. Merge it with PEFT's "
            "merge_and_unload and use the saved model."
        )


def _check_shape(name: str, shape: tuple[int, ...], down: tuple[int, ...], up: tuple[int, ...], turned: bool) -> None:
    if len(down) != 2 or len(up) != 2:
        raise BadChoice(f"The adapter changes a convolution, {name[:120]!r}: not supported. Merge it with PEFT.")
    made = (down[1], up[0]) if turned else (up[0], down[1])
    if made != shape or down[0] != up[1]:
        text = " and ".join("×".join(map(str, one)) for one in (made, shape))
        raise BadChoice(f"The adapter was made for another base: {name[:120]!r} is {text} there and here. {_CHOOSE}")


def _factor(module: str, rank: int, config: Mapping[str, Any]) -> float:
    """Return alpha / r, or alpha / √r where the adapter says so; ``alpha_pattern`` names exceptions."""
    patterns = config.get("alpha_pattern") or {}
    match = next((key for key in patterns if re.match(rf"(.*\.)?({key})$", module)), None)
    alpha = float(config.get("lora_alpha", 8) if match is None else patterns[match])
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _tied_changes(base: Mapping[str, Tensor], changes: Mapping[str, _Change]) -> dict[str, _Change]:
    """Return the changes of output heads that repeat an adapted embedding: in PEFT they are one tensor."""
    heads = [name for name in base if name.endswith(HEADS) and name not in changes]
    tied = {head: tied_embedding(base, head) for head in heads} if any(c.turned for c in changes.values()) else {}
    return {head: changes[name] for head, name in tied.items() if name is not None and name in changes}


def _check_settings(config: Mapping[str, Any]) -> None:
    """Refuse other kinds than LoRA, unknown settings that are in use, and names of program code."""
    if (kind := str(config.get("peft_type", "")).rpartition(".")[2]) != "LORA":
        raise BadChoice(f"The adapter is of the kind {kind[:40] or 'unknown'!r}; only LoRA adapters can be attached.")
    mapping = config.get("auto_mapping") or {}
    named = [mapping.get("parent_library") if isinstance(mapping, dict) else mapping, config.get("megatron_core")]
    for code in filter(None, named):
        if not isinstance(code, str) or not _OWN_CODE.fullmatch(code):
            raise BadChoice(
                f"The adapter asks to import program code ({str(code)[:60]!r}), which numembed does not do. "
                "Save it again with PEFT, or choose another one."
            )
    if unknown := [name for name, value in config.items() if name not in _KNOWN and value]:
        raise BadChoice(
            f"The adapter uses {unknown[0][:60]!r}, which is not known here, so its vectors could be wrong. Merge it "
            "with PEFT's merge_and_unload and use the saved model."
        )
    rank = config.get("r")
    if type(rank) is not int or not 1 <= rank <= MOST_RANK:
        raise BadChoice(f"An adapter has a rank from 1 to {MOST_RANK}, got {str(rank)[:40]}. Choose another one.")


def _check_name(config: Mapping[str, Any], base_name: str) -> None:
    """Refuse an adapter that names another repository; whose it is does not matter: there are mirrors."""
    named = config.get("base_model_name_or_path")
    if not base_name or not isinstance(named, str) or not _HUB_ID.fullmatch(named):
        return  # the path of a folder on another machine says nothing
    if named.rpartition("/")[2].lower() != base_name.rpartition("/")[2].lower():
        raise BadChoice(f"The adapter was made for {named[:80]}, not for {base_name[:80]}. {_CHOOSE}")


def _check_factors(down: Stored, up: Stored) -> None:
    if down.shape[0] > MOST_RANK:
        raise BadChoice(f"An adapter has a rank of at most {MOST_RANK}, got {down.shape[0]:,}. Choose another one.")
    if down.dtype not in FLOATS or up.dtype not in FLOATS:
        raise BadChoice(f"The adapter is packed as {down.dtype[:20]}, which is not read here. Save it as float32.")


def _check_targets(config: Mapping[str, Any], stored: Mapping[str, Stored]) -> None:
    """Refuse an adapter whose settings name modules for which it has no factors: part of it is missing."""
    targets = config.get("target_modules")
    modules = {_unwrapped(match[1]) for match in map(_FACTORS.fullmatch, stored) if match}
    for target in targets if isinstance(targets, list) else []:
        if not any(module == target or module.endswith(f".{target}") for module in modules):
            raise BadChoice(
                f"The adapter is incomplete: its settings name {str(target)[:80]!r}, but its file has no such factors. "
                "Download or save it again."
            )


def _check_trained_on(adapter: Path, base: Path, weights: FolderWeights | None) -> None:
    """Refuse an adapter of our own whose recipe names other weights; where their folder lies does not matter."""
    stated = read_json(adapter / RECIPE).get("base")
    trained = stated.get("weights") if isinstance(stated, dict) else None
    if not isinstance(stated, dict) or not isinstance(trained, dict):
        return  # made elsewhere
    if trained.get("digest"):
        same = trained["digest"] == (getattr(weights, "digest", "") or digest_of_folder(base))
    elif isinstance(weights, HubWeights) and weights.repo == trained.get("repo"):
        same = trained.get("revision") == weights.revision
    else:
        return  # a mirror or a copy: the same files under another name
    if not same:
        raise BadChoice(
            f"The adapter was trained on {str(stated.get('name'))[:80]!r}, whose files differ from those of "
            f"{base.name[:80]!r} are. {_CHOOSE}"
        )
