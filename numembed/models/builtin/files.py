"""The files of a model that is made here: an ordinary SentenceTransformer folder, written file by file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numembed.models.builtin.tokenizer import write_tokenizer

_ENDS: dict[str, Any] = {"mean": "first", "lasttoken": "last"}  # where a text's own token stands, by the pooling
_LEFT_OUT = ("_name_or_path", "transformers_version")  # of a config: they change with the machine


def write_parts(folder: Path, *, pooling: str, width: int, max_tokens: int) -> None:
    """Write everything but the weights and their config: tokenizer, pooling, unit length."""
    write_tokenizer(folder, ends=_ENDS[pooling], max_tokens=max_tokens)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": False})
    _write(folder / "config_sentence_transformers.json", {"prompts": {}, "similarity_fn_name": "cosine"})
    mode = {"mean": "pooling_mode_mean_tokens", "lasttoken": "pooling_mode_lasttoken"}[pooling]
    (folder / "1_Pooling").mkdir()
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width, mode: True})
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(kinds)
    ]
    _write(folder / "modules.json", modules)


def write_weights(folder: Path, model: Any, *, half: bool = False) -> None:
    """Write the weights of a transformers model and its config; ``half``: as float16."""
    from safetensors.torch import save_file

    weights = {name: one.detach().half() if half else one.detach() for name, one in model.state_dict().items()}
    weights = {name: one.clone().contiguous() for name, one in weights.items() if one.is_floating_point()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    plain = json.loads(model.config.to_json_string(use_diff=True))
    plain |= {"architectures": [type(model).__name__], "dtype": "float16" if half else "float32"}
    _write(folder / "config.json", {name: value for name, value in plain.items() if name not in _LEFT_OUT})


def _write(file: Path, value: Mapping[str, Any] | list[Any]) -> None:
    file.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
