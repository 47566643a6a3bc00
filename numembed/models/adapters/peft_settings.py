"""What an adapter's settings ask for: plain LoRA, or a refusal in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from numembed.core.errors import BadChoice
from numembed.models.adapters.recipe import MOST_RANK

CHOOSE = "Choose the model that it was trained on, or another adapter."
MERGE_IT = "Merge it with PEFT's merge_and_unload and use the saved model."
_PLAIN_STARTS = (  # those that leave the base alone
    *(None, True, False, "true", "false", "gaussian", "eva", "orthogonal", "mica"),
)
_BEYOND = {  # what an adapter may be besides the two factors
    "use_dora": "DoRA",
    "trainable_token_indices": "retrained tokens",
    "target_parameters": "adapted experts (target_parameters)",
    "layer_replication": "repeated layers",
    "use_qalora": "QALoRA",
    "use_bdlora": "BD-LoRA",
    "kasa_config": "KaSA",
    "monteclora_config": "MonteCLoRA",
    "arrow_config": "Arrow",
    "alora_invocation_tokens": "activated LoRA",
    "megatron_config": "Megatron's layers",
}
_KNOWN = (  # settings whose value is judged by whoever folds the adapter, or does not touch the vectors
    *_BEYOND,
    *("peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "r"),
    *("inference_mode", "target_modules", "exclude_modules", "lora_alpha", "lora_dropout", "fan_in_fan_out", "bias"),
    *("use_rslora", "modules_to_save", "init_lora_weights", "layers_to_transform", "layers_pattern", "rank_pattern"),
    *("alpha_pattern", "megatron_core", "loftq_config", "qalora_group_size", "lora_bias", "ensure_weight_tying"),
    *("eva_config", "corda_config", "lora_ga_config", "velora_config"),  # how training began and went
)
_NAMES = ("target_modules", "exclude_modules", "modules_to_save", "layers_pattern")
_OWN_CODE = re.compile(r"(transformers|sentence_transformers|peft)(\.\w+)*|megatron\.core")  # named for import in PEFT


def check_kind(config: Mapping[str, Any]) -> None:
    """Refuse what is more than W + B A: folding only that would silently be another model."""
    more = [words for name, words in _BEYOND.items() if config.get(name)]
    if (bias := config.get("bias")) not in (None, "none", "all", "lora_only"):
        more.append(f"biases of the kind {str(bias)[:40]}")
    start = config.get("init_lora_weights")
    if (start.lower() if isinstance(start, str) else start) not in _PLAIN_STARTS:
        more.append(f"a changed base ({str(start)[:40]} start)")
    if (kind := str(config.get("peft_type", "LORA")).rpartition(".")[2]) != "LORA":
        more.append(kind[:40])
    if more:
        raise BadChoice(f"The adapter is more than plain LoRA: it uses {more[0]}, which is not folded here. {MERGE_IT}")


def check_settings(config: Mapping[str, Any]) -> None:
    """Refuse other kinds than LoRA, unknown settings that are in use, names of program code and what cannot be read."""
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
            f"The adapter uses {unknown[0][:60]!r}, which is not known here, so its vectors could be wrong. {MERGE_IT}"
        )
    rank = config.get("r")
    if type(rank) is not int or not 1 <= rank <= MOST_RANK:
        raise BadChoice(f"An adapter has a rank from 1 to {MOST_RANK}, got {str(rank)[:40]}. Choose another one.")
    _check_values(config)


def _check_values(config: Mapping[str, Any]) -> None:
    """Refuse settings of another type than PEFT writes, and expressions that are none."""
    layers, alphas = config.get("layers_to_transform"), config.get("alpha_pattern")
    wrong = [name for name in _NAMES if not _is_names(config.get(name))]
    if not (layers is None or _is_whole(layers) or (isinstance(layers, list) and all(map(_is_whole, layers)))):
        wrong.append("layers_to_transform")
    if not (alphas is None or (isinstance(alphas, dict) and all(map(_is_number, alphas.values())))):
        wrong.append("alpha_pattern")
    if not _is_number(config.get("lora_alpha", 8)):
        wrong.append("lora_alpha")
    wrong += [name for name, pattern in _expressions(config) if name not in wrong and not _is_expression(pattern)]
    if wrong:
        raise BadChoice(
            f"The adapter's setting {wrong[0]!r} is {str(config.get(wrong[0]))[:60]!r}, which PEFT does not write. "
            "Save it again with PEFT, or choose another one."
        )


def _expressions(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the names of the settings and the regular expressions in them."""
    for name in ("target_modules", "exclude_modules", "layers_pattern"):
        if isinstance(config.get(name), str):
            yield name, config[name]
    for name in ("layers_pattern", "modules_to_save", "alpha_pattern"):
        given = config.get(name) or ()
        yield from ((name, one) for one in given if not isinstance(given, str) and isinstance(one, str))


def _is_expression(pattern: str) -> bool:
    try:
        re.compile(f"({pattern})")
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _is_names(value: Any) -> bool:
    return (
        value is None
        or isinstance(value, str)
        or (isinstance(value, list) and all(isinstance(one, str) for one in value))
    )


def _is_whole(value: Any) -> bool:
    return type(value) is int


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
