"""Whether two model folders can be merged: the same architecture, pooling and tokenizer. No weights are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from numembed.core.errors import BadChoice
from numembed.models.files.folders import read_json
from numembed.models.files.tensors import modules_of

_COMPARED = (  # settings by which equal tensors would compute something else, or that say in words which tensors differ
    *("model_type", "hidden_size", "dim", "d_model", "n_embd", "num_hidden_layers", "n_layers", "n_layer"),
    *("num_attention_heads", "n_heads", "n_head", "num_key_value_heads", "head_dim", "intermediate_size", "vocab_size"),
    *("hidden_act", "hidden_activation", "activation_function", "activation", "position_embedding_type"),
    *("layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps", "norm_eps", "rope_theta", "rope_parameters"),
    *("num_experts", "num_experts_per_tok", "query_pre_attn_scalar", "attn_logit_softcapping"),
)


def check_related(first: Path, other: Path) -> None:
    """Raise BadChoice where two model folders differ in architecture, pooling or tokenizer; reads no weights."""
    both = f"{first.name[:60]} and {other.name[:60]}"
    kinds = [_kinds(folder) for folder in (first, other)]
    if all(kinds) and kinds[0] != kinds[1]:
        text = " and ".join(" + ".join(kind) for kind in kinds)
        raise BadChoice(f"{both} consist of different modules ({text}). A merge needs models of one architecture.")
    configs = [_one_form(read_json(folder / modules_of(folder)[0] / "config.json")) for folder in (first, other)]
    for name in _COMPARED:
        mine, theirs = (config.get(name) for config in configs)
        if None not in (mine, theirs) and mine != theirs:
            raise BadChoice(
                f"{both} have different architectures: {name} is {str(mine)[:40]} and {str(theirs)[:40]}. A merge "
                "needs models of one architecture and size."
            )
    pooling = [_pooling(folder) for folder in (first, other)]
    if all(pooling) and pooling[0] != pooling[1]:
        text = " and ".join(pooling)
        raise BadChoice(f"{both} have different pooling ({text}). A merge needs models with the same pooling.")
    if not _same_tokenizer(*(folder / modules_of(folder)[0] for folder in (first, other))):
        raise BadChoice(f"{both} have different tokenizers. A merge needs models with the same tokenizer.")


def _one_form(config: dict[str, Any]) -> dict[str, Any]:
    """Return settings with the base of the rotary positions where versions of transformers below 5 wrote it."""
    rotary = config.get("rope_parameters")
    if not isinstance(rotary, dict) or "rope_theta" not in rotary:
        return config
    others = {name: value for name, value in config.items() if name != "rope_parameters"}
    return {**others, "rope_theta": rotary["rope_theta"]}


def _kinds(folder: Path) -> list[str]:
    """Return the names of a SentenceTransformer's parts; [] for a plain transformers folder."""
    try:
        listed = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        return [str(module["type"]).split(".")[-1] for module in listed]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []


def _pooling(folder: Path) -> str:
    """Return how a folder pools its tokens, "" where it does not say; two ways of writing it are in use."""
    for module in modules_of(folder):
        config = read_json(folder / module / "config.json")
        if isinstance(stated := config.get("pooling_mode"), str):
            return stated
        old = sorted(name for name, chosen in config.items() if name.startswith("pooling_mode_") and chosen is True)
        if old:
            names = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max"}
            return "+".join(names.get(short := name.removeprefix("pooling_mode_"), short) for name in old)
    return ""


def _same_tokenizer(first: Path, other: Path) -> bool:
    for name in ("tokenizer.json", "tokenizer.model", "sentencepiece.bpe.model", "vocab.txt", "vocab.json"):
        files = [folder / name for folder in (first, other)]
        if all(file.is_file() for file in files):
            return bool(_meaning(files[0]) == _meaning(files[1]))
    return True  # one of them has none, or of another kind: the number of rows is compared with the weights


def _meaning(file: Path) -> Any:
    """Return what decides how a tokenizer cuts: not the limits and paddings that training writes into its file."""
    plain = read_json(file) if file.name == "tokenizer.json" else {}
    if not plain:
        return file.read_bytes()
    model = dict(plain.get("model") or {})
    if isinstance(merges := model.get("merges"), list):  # "a b" in older files, ["a", "b"] in newer ones
        model["merges"] = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in merges]
    known = _numbers_of(model.get("vocab"))  # a token that has its number there already changes nothing
    added = [(token.get("id"), token.get("content")) for token in plain.get("added_tokens") or []]
    added = [(number, content) for number, content in added if known.get(content) != number]
    kinds = {name: value for name, value in model.items() if name in ("vocab", "merges", "unk_token", "type")}
    return kinds, added, plain.get("normalizer"), plain.get("pre_tokenizer"), plain.get("post_processor")


def _numbers_of(vocabulary: Any) -> dict[Any, Any]:
    """Return token to number, for a vocabulary by name or one in order."""
    if isinstance(vocabulary, dict):
        return vocabulary
    listed = vocabulary if isinstance(vocabulary, list) else []
    return {piece[0]: number for number, piece in enumerate(listed) if isinstance(piece, list) and piece}
