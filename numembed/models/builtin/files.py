"""The files of the models that are made here: ordinary SentenceTransformer folders, with a tokenizer for numbers.

A number is read in groups of three digits, from its end. "12345" is the two tokens "12" and "▁345": a group that begins
a number and a group inside one are distinguished, so a number's last digits are the same token however long it is, and
the usual separator ", " needs no token of its own.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from numembed.core.places import FULL

PAD, UNKNOWN, FIRST, LAST = "[PAD]", "[UNK]", "[CLS]", "[EOS]"
SPECIAL = (PAD, UNKNOWN, FIRST, LAST)
INNER = "▁"  # before a group that does not begin its number
SEPARATOR = ", "  # needs no token: a group that begins a number shows where it begins

_INSIDE = r"(?<=[0-9])(?=(?:[0-9]{3})++(?![0-9]))"  # where a later group begins; a zero-width place
_PIECE = rf"{INNER}[0-9]{{3}}|[0-9]{{1,3}}|[\s\S]"


def vocabulary() -> dict[str, int]:
    """Return the number of each token: the special ones, printable characters, first groups, inner groups.

    >>> [vocabulary()[token] for token in ("[PAD]", "7", "007", "▁007")]
    [0, 96, 206, 1206]
    """
    characters = [chr(code) for code in range(32, 127) if not chr(code).isdigit()]
    firsts = [f"{number:0{width}}" for width in (1, 2, 3) for number in range(10**width)]
    inner = [f"{INNER}{number:03}" for number in range(1000)]
    return {token: number for number, token in enumerate((*SPECIAL, *characters, *firsts, *inner))}


def write_tokenizer(folder: Path, *, ends: Literal["first", "last"], max_tokens: int) -> None:
    """Write the tokenizer's files into ``folder``; every text gets the token [CLS] before it, or [EOS] behind it."""
    (folder / "tokenizer.json").write_text(_tokenizer(ends).to_str(pretty=False), encoding="utf-8")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_tokens,
        "padding_side": "right",
        "pad_token": PAD,
        "unk_token": UNKNOWN,
        "cls_token": FIRST,
        "eos_token": LAST,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def _tokenizer(ends: Literal["first", "last"]) -> Any:
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    known = vocabulary()
    made = Tokenizer(models.WordLevel(known, unk_token=UNKNOWN))
    made.normalizer = normalizers.Sequence(
        [normalizers.Replace(INNER, "\N{REPLACEMENT CHARACTER}"), normalizers.Replace(Regex(_INSIDE), INNER)]
    )
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(SEPARATOR, "removed"), pre_tokenizers.Split(Regex(_PIECE), "isolated")]
    )
    mark = FIRST if ends == "first" else LAST
    written = f"{mark} $A" if ends == "first" else f"$A {mark}"
    made.post_processor = processors.TemplateProcessing(single=written, special_tokens=[(mark, known[mark])])
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return made


_ENDS: dict[str, Any] = {"mean": "first", "lasttoken": "last"}  # where a text's own token stands, by the pooling
_LEFT_OUT = (
    "_name_or_path",
    "_model_name_or_path",
    "transformers_version",
    "quantization_config",
)  # of a config: not of these weights


def write_parts(folder: Path, *, pooling: str, width: int, max_tokens: int) -> None:
    """Write everything but the weights and their config: tokenizer, pooling, unit length."""
    write_tokenizer(folder, ends=_ENDS[pooling], max_tokens=max_tokens)
    write_modules(folder, pooling=pooling, width=width, max_tokens=max_tokens)


def write_modules(folder: Path, *, pooling: str, width: int, max_tokens: int) -> None:
    """Write how token vectors become one vector of length one."""
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


def write_weights(folder: Path, model: Any, *, dtype: str = "float32") -> None:
    """Write the weights of a transformers model and its config; raises OSError where the disk is full."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    weights = {name: one.detach().to(getattr(torch, dtype)) for name, one in model.state_dict().items()}
    weights = {name: one.clone().contiguous() for name, one in weights.items() if one.is_floating_point()}
    try:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    except SafetensorError as error:  # the system's own words, and nothing else of it
        if any(os.strerror(number) in str(error) for number in FULL):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        raise
    (folder / "model.safetensors").chmod(0o644)
    plain = json.loads(model.config.to_json_string(use_diff=True))
    plain |= {"architectures": [type(model).__name__], "dtype": dtype}
    _write(folder / "config.json", {name: value for name, value in plain.items() if name not in _LEFT_OUT})


def _write(file: Path, value: Mapping[str, Any] | list[Any]) -> None:
    file.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
