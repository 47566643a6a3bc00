"""Whether an adapter belongs to a base: told from its settings and both headers, and by its recipe where it has one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numembed.core.errors import BadChoice
from numembed.models.adapters.fold import AdaptedFolder, read_adapter
from numembed.models.adapters.recipe import MOST_RANK
from numembed.models.adapters.saved import CONFIG, RECIPE
from numembed.models.files.folders import digest_of_folder
from numembed.models.files.model_config import read_json
from numembed.models.files.tensors import FLOATS, Stored, TensorFolder, known_as
from numembed.models.spec import FolderWeights, HubWeights

_KNOWN = (  # settings whose value is judged by whoever folds the adapter, or does not touch the vectors
    *("peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "r"),
    *("inference_mode", "target_modules", "exclude_modules", "lora_alpha", "lora_dropout", "fan_in_fan_out", "bias"),
    *("use_rslora", "modules_to_save", "init_lora_weights", "layers_to_transform", "layers_pattern", "rank_pattern"),
    *("alpha_pattern", "megatron_core", "trainable_token_indices", "loftq_config", "use_dora", "qalora_group_size"),
    *("layer_replication", "lora_bias", "target_parameters", "ensure_weight_tying", "use_qalora", "use_bdlora"),
)
_OWN_CODE = re.compile(r"(transformers|sentence_transformers|peft)(\.\w+)*|megatron\.core")  # named for import in PEFT
_HUB_ID = re.compile(r"[\w-]{1,96}/[\w.-]{1,96}", re.ASCII)
_FACTOR = re.compile(r"(?:base_model\.model\.)*(.+)\.lora_(embedding_)?([AB])(?:\.weight)?")
_CHOOSE = "Choose the model that it was trained on, or another adapter."


def attached(base: Path, adapter: Path, scale: float = 1.0, *, weights: FolderWeights | None = None) -> AdaptedFolder:
    """Return the model folder ``base`` with an adapter folded in, once it was found to belong there.

    Raises what :func:`check_adapter` and AdaptedFolder raise, before any weight of the base is folded.
    """
    check_adapter(adapter, base, weights=weights)
    return AdaptedFolder(base, adapter, scale)


def check_adapter(adapter: Path, base: Path, *, weights: FolderWeights | None = None) -> None:
    """Return where the PEFT folder ``adapter`` fits the model folder ``base``, told by names, shapes and digests.

    ``weights`` is what the base is called, where that is known. Raises BadChoice for an adapter of another base, of
    another kind or with settings nobody here knows, ModelUnavailable where there is no adapter or a file is damaged.
    """
    stored = read_adapter(adapter)
    config = read_json(adapter / CONFIG)
    _check_settings(config)
    _check_name(config, weights.repo if isinstance(weights, HubWeights) else "")
    tensors = TensorFolder(base).stored
    pairs: dict[str, dict[str, Stored]] = {}
    for key, one in stored.items():
        if match := _FACTOR.fullmatch(key):
            pairs.setdefault(match[1], {})[match[3] + ("e" if match[2] else "")] = one
    if not pairs:
        raise BadChoice("The adapter is empty: it adapts no part of the model. Choose another one.")
    for module, pair in pairs.items():
        _check_pair(module, pair, tensors, bool(config.get("fan_in_fan_out")))
    _check_targets(config, pairs)
    _check_trained_on(adapter, base, weights)


def _check_settings(config: Mapping[str, Any]) -> None:
    """Refuse other kinds than LoRA, unknown settings that are in use, and names of program code."""
    if (kind := str(config.get("peft_type", "")).rpartition(".")[2]) != "LORA":
        raise BadChoice(f"The adapter is of the kind {kind[:40] or 'unknown'!r}; only LoRA adapters can be attached.")
    mapping = config.get("auto_mapping") or {}
    named = [mapping.get("parent_library") if isinstance(mapping, dict) else mapping, config.get("megatron_core")]
    for code in filter(None, named):
        if not isinstance(code, str) or not _OWN_CODE.fullmatch(code):
            raise BadChoice(
                f"The adapter names program code to be imported ({str(code)[:60]!r}), which numembed does not do. "
                "Save it anew with PEFT, or choose another one."
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


def _check_pair(module: str, pair: Mapping[str, Stored], tensors: Mapping[str, Stored], fan_in: bool) -> None:
    """Refuse factors whose product is no update of the base's matrix of that name."""
    name = known_as(f"{module}.weight", tensors)
    if name is None:
        raise BadChoice(f"The adapter was made for another base: this one has no {module[:120]!r}. {_CHOOSE}")
    turned = fan_in or "Ae" in pair
    down, up = (pair.get("Ae"), pair.get("Be")) if "Ae" in pair else (pair.get("A"), pair.get("B"))
    if down is None or up is None or len(down.shape) != 2 or len(up.shape) != 2 or down.shape[0] != up.shape[1]:
        raise BadChoice(f"The adapter's factors of {module[:120]!r} do not match. Save it again with PEFT.")
    if down.shape[0] > MOST_RANK:
        raise BadChoice(
            f"An adapter has a rank of at most {MOST_RANK}, got {down.shape[0]:,} for {module[:120]!r}. Choose another."
        )
    if down.dtype not in FLOATS or up.dtype not in FLOATS:
        raise BadChoice(f"The adapter is packed as {down.dtype[:20]}, which is not read here. Save it as float32.")
    made = (down.shape[1], up.shape[0]) if turned else (up.shape[0], down.shape[1])
    if made != tensors[name].shape:
        text = " and ".join("×".join(map(str, one)) for one in (made, tensors[name].shape))
        raise BadChoice(f"The adapter was made for another base: {module[:120]!r} is {text} there and here. {_CHOOSE}")


def _check_targets(config: Mapping[str, Any], pairs: Mapping[str, Any]) -> None:
    """Refuse an adapter whose settings name modules for which it has no factors: part of it is missing."""
    targets = config.get("target_modules")
    for target in targets if isinstance(targets, list) else []:
        if not any(module == target or module.endswith(f".{target}") for module in pairs):
            raise BadChoice(
                f"The adapter is incomplete: its settings name {str(target)[:80]!r}, of which its file has no factors. "
                "Fetch or save it again."
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
            f"The adapter was trained on {str(stated.get('name'))[:80]!r}, whose files were others than those of "
            f"{base.name[:80]!r} are. {_CHOOSE}"
        )
