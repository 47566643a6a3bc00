"""Derives the facts of ``models.files.architectures`` from transformers: its classes are built without any memory.

``python -m numembed.models.loading.architectures`` writes those of every type that the library has for text.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from numembed.models.files.architectures import FACTS, Architecture

_log = logging.getLogger(__name__)

_MAPPINGS = ("MASKED_LM", "TEXT_ENCODING", "CAUSAL_LM")  # whose types are written
_HEADS = (  # whose classes have heads
    *("MASKED_LM", "CAUSAL_LM", "PRETRAINING", "SEQ_TO_SEQ_CAUSAL_LM", "SEQUENCE_CLASSIFICATION"),
    *("TOKEN_CLASSIFICATION", "QUESTION_ANSWERING", "MULTIPLE_CHOICE", "NEXT_SENTENCE_PREDICTION"),
)
_SMALL = {
    **{"vocab_size": 99, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3, "hidden_size": 64},
    **{"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16},
    **{"intermediate_size": 64, "layer_types": None},
}
_TRIED: tuple[Mapping[str, Any], ...] = (  # settings with which a class is built; the first that it takes
    {"num_hidden_layers": 2},
    {},
    {"vocab_size": 99, "pad_token_id": 1},
    {"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16},
    _SMALL,
    {"block_sizes": [1, 1], "num_decoder_layers": 1},
)
_MORE = 64  # positions, to see what grows with them


def model_types() -> tuple[str, ...]:
    """Return the types that transformers has for masked or causal language models and for text encoders."""
    return tuple(sorted({name for mapping in _MAPPINGS for name in _mapping(mapping)}))


def derived(config: Any) -> Architecture:
    """Return the facts of a transformers configuration; raises what its class raises when it is built."""
    base, more = _built(config), None
    limit = type(config).attribute_map.get("max_position_embeddings", "max_position_embeddings")
    stated = getattr(config, limit, None)
    if type(stated) is int and stated > 0:
        other = {limit: stated + _MORE, "pad_token_id": 0 if getattr(config, "pad_token_id", None) else 1}
        with contextlib.suppress(Exception):  # a class with other ideas about its positions
            more = _built(type(config)(**config.to_dict() | other))
    grown = _grown(base, more) if more is not None else []
    table = next((name for name in grown if name in dict(base.named_parameters())), "")
    padding, other_padding = (_padding(model, table) for model in (base, more))
    rows = dict(base.named_parameters())[table].shape[0] if table else 0
    parts = tuple(dict.fromkeys(name.partition(".")[0] for name, _ in _tensors(base)))
    return Architecture(
        prefix=base.base_model_prefix,
        parts=parts,
        heads=tuple(sorted(_heads(config) - set(parts))),
        unused=tuple(sorted(_unused(base) - {name.partition(".")[0] for name in grown})) or _poolers(parts),
        left_out=_left_out(base),
        turned=_turned(base),
        limit=limit if stated is not None else "",
        default_limit=stated if type(stated) is int else None,
        table=table,
        optional_table=any(re.search(one, table) for one in base._keys_to_ignore_on_load_unexpected or () if table),
        has_table=bool(grown),
        after_padding=padding is not None and rows == stated,
        padding=padding or 0,
        own_padding=padding is not None and padding == other_padding,
    )


def as_loaded(transformer: Any) -> Architecture:
    """Return the facts of a transformer in memory whose type is not among the known ones: program code's, or newer."""
    if type(transformer).__module__.startswith("transformers."):
        try:
            return derived(transformer.config)
        except Exception:
            _log.info("no facts of %s", type(transformer).__name__, exc_info=True)
    parts = tuple(dict.fromkeys(name.partition(".")[0] for name in transformer.state_dict()))
    return Architecture(prefix=transformer.base_model_prefix, parts=parts)


def default_config(model_type: str) -> Any:
    """Return the configuration of a type with which its class can be built; raises what the last try raises."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind, error = CONFIG_MAPPING[model_type], None
    for settings in _TRIED:
        try:
            config = kind(**{name: value for name, value in settings.items() if takes(kind, name)})
            _built(config)
        except Exception as told:
            error = told
        else:
            return config
    assert error is not None
    raise error


def takes(kind: Any, name: str) -> bool:
    """Return whether a class of configurations has a setting of this name."""
    return name in kind.attribute_map or any(field.name == name for field in fields(kind))


def _built(config: Any) -> Any:
    """Return what sentence-transformers would load for this configuration, without memory for its numbers."""
    import torch
    from sentence_transformers.base.modules.transformer import _ENCODER_ONLY_MODELS
    from transformers import AutoModel

    with torch.device("meta"), _in_float32():
        for kind, module, name in _ENCODER_ONLY_MODELS:
            if isinstance(config, kind):
                return getattr(importlib.import_module(module), name)(config).eval()
        library: Any = AutoModel
        return library.from_config(config, dtype=torch.float32).eval()


@contextlib.contextmanager
def _in_float32() -> Iterator[None]:
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _tensors(model: Any) -> list[tuple[str, Any]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _grown(base: Any, more: Any) -> list[str]:
    """Return the names of the tables that are longer where there are more positions, learnt ones first."""
    longer = dict(_tensors(more))
    return [name for name, one in _tensors(base) if name in longer and one.shape != longer[name].shape]


def _left_out(base: Any) -> tuple[str, ...]:
    """Return the patterns of names that the class passes over in files; none that is one of its own weights.

    The library asks them only of names that it does not know: "attn.bias" would also be in "attn.c_attn.bias".
    """
    own = [name for name, _ in base.named_parameters()]
    patterns = []
    for pattern in base._keys_to_ignore_on_load_unexpected or ():
        ways = (pattern, rf"(^|\.){pattern}$")
        patterns += [way for way in ways if not any(re.search(way, name) for name in own)][:1]
    return tuple(sorted(patterns))


def _padding(model: Any, table: str) -> int | None:
    """Return the number behind which the positions of a table begin, None where they begin with its first row."""
    return getattr(model.get_submodule(table.rpartition(".")[0]), "padding_idx", None) if model and table else None


def _heads(config: Any) -> set[str]:
    """Return the first names of all tensors of the classes that put a head on this one."""
    import torch
    import transformers

    first: set[str] = set()
    for name in {_mapping(mapping).get(config.model_type, ()) for mapping in _HEADS}:
        for one in (name,) if isinstance(name, str) else name:
            with contextlib.suppress(Exception), torch.device("meta"):  # one that this configuration does not fit
                whole = getattr(transformers, one)(config)
                names = {tensor for tensor, _ in whole.named_parameters(remove_duplicate=False)}  # with tied ones
                names |= {tensor for tensor, _ in whole.named_buffers()}
                first |= {tensor.partition(".")[0] for tensor in names} - {whole.base_model_prefix}
    return first


def _unused(base: Any) -> set[str]:
    """Return the parts of which nothing reaches the token vectors: their gradient stays empty."""
    import torch

    reached: dict[str, bool] = {}
    with contextlib.suppress(Exception):  # a class that looks at numbers, of which there are none here
        ids = torch.ones(2, 8, dtype=torch.long, device="meta")
        base(input_ids=ids)[0].sum().backward()
        for name, parameter in base.named_parameters():
            part = name.partition(".")[0]
            reached[part] = reached.get(part, False) or parameter.grad is not None or not parameter.requires_grad
    return {part for part, is_reached in reached.items() if not is_reached}


def _poolers(parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part for part in parts if part == "pooler")


def _turned(base: Any) -> tuple[str, ...]:
    from transformers.pytorch_utils import Conv1D

    return tuple(sorted({name.rpartition(".")[2] for name, one in base.named_modules() if isinstance(one, Conv1D)}))


def _mapping(name: str) -> Mapping[str, Any]:
    from transformers.models.auto import modeling_auto

    return dict(getattr(modeling_auto, f"MODEL_FOR_{name}_MAPPING_NAMES"))


def facts_of(architecture: Architecture) -> dict[str, Any]:
    """Return the entry of an architecture in the file: what is not at its default."""
    plain = {field.name: getattr(architecture, field.name) for field in fields(architecture)}
    plain = {name: value for name, value in plain.items() if value != getattr(Architecture(), name)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def main() -> int:
    """Write the facts of all types; say which cannot be built."""
    found = {}
    for name in model_types():
        try:
            found[name] = facts_of(derived(default_config(name)))
        except Exception as error:
            sys.stderr.write(f"{name}: {type(error).__name__}: {str(error)[:100]}\n")
    lines = [f"{json.dumps(name)}: {json.dumps(facts)}" for name, facts in found.items()]
    FACTS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    sys.stderr.write(f"{len(found)} of {len(model_types())} types written.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
