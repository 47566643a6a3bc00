"""Why a model cannot be loaded: what is found wrong in its files, else the library's own words."""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numembed.core.errors import ModelUnavailable, reason_of
from numembed.models.files.folders import read_json
from numembed.models.files.settings import SETTINGS_FILE, quantisation_of
from numembed.models.files.tensors import modules_of, read_header, weight_files
from numembed.models.spec import ModelSpec

_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model", "*.spm", "*.tiktoken")
_FEWEST_TOKENS = 10  # beside the special ones; bytes and characters are more, and need no file
_MOST_WORD_CHARS = 60
_SETTINGS = ("config.json", "tokenizer.json", "tokenizer_config.json", "sentence_bert_config.json", SETTINGS_FILE)
_WANTED: dict[str, type] = {"modules.json": list} | dict.fromkeys(_SETTINGS, dict)  # what JSON files must hold


def load_failure(spec: ModelSpec, folder: Path, error: Exception) -> ModelUnavailable:
    """Return the sentence for a model whose loading raised ``error``."""
    text = str(error)
    if "trust_remote_code" in text or "custom code" in text:
        return ModelUnavailable(
            f"{spec.name} asks to run program code from its own repository. That is done only for models whose code "
            "the operator has read and allowed. Choose another model, or see docs/operators.md, Program code of models."
        )
    if spec.loading.remote_code:
        why = _ended(reason_of(error)) + _needs(text)
        return ModelUnavailable(f"The program code of {spec.name} did not run: {why}")
    parts = [folder / module for module in modules_of(folder)]
    found = _quantised(parts, text) or _broken_json(folder, parts) or _damaged(parts)
    found = found or _unknown_kind(parts, text) or _without_tokenizer(parts[0]) or _other_shapes(text)
    if not found:
        found = f"{_ended(reason_of(error))}{_needs(text)} Check that the folder is complete; {_installed()} here."
    return ModelUnavailable(f"{_begun(spec)}: {found}")


def _quantised(parts: list[Path], text: str) -> str:
    methods = filter(None, (quantisation_of(read_json(part / "config.json")) for part in parts))
    method = next(methods, "")
    if not method:
        return ""
    missing = _needs(text) or f" The library says: {_ended(reason_of(ValueError(text)))}"
    return (
        f"its weights are quantised ({method}), and what reads that is not installed here.{missing} Choose a copy of "
        "the model in float32, bfloat16 or float16."
    )


def _broken_json(folder: Path, parts: list[Path]) -> str:
    for file in sorted({file for place in (folder, *parts) for file in place.glob("*.json")}):
        try:
            value = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            size = "is empty" if not file.stat().st_size else "is cut off or damaged: it holds no valid JSON"
            return f"its file {file.relative_to(folder).as_posix()[:80]} {size}. Download or save it again."
        except OSError as error:
            return f"its file {file.name[:80]} cannot be read ({error.strerror}). Make it readable."
        if (wanted := _WANTED.get(file.name)) and not isinstance(value, wanted):
            kinds = "a list of modules" if wanted is list else "an object with names, { … }"
            return (
                f"its file {file.relative_to(folder).as_posix()[:80]} holds {_called(value)} where {kinds} belongs. "
                "Download or save it again."
            )
    return ""


def _called(value: Any) -> str:
    names = {type(None): "null", list: "a list", dict: "an object", str: "a text"}
    return names.get(type(value), "a single value")


def _other_shapes(text: str) -> str:
    if "ignore_mismatched_sizes" not in text:  # the library names the weights in its log alone
        return ""
    return (
        "its weights have other shapes than its config.json says. Take config.json and the weights of the same model, "
        "both of the same version."
    )


def _damaged(parts: list[Path]) -> str:
    try:
        for file in (file for part in parts for file in weight_files(part)):
            read_header(file)
    except ModelUnavailable as error:
        return str(error)
    return ""


def _unknown_kind(parts: list[Path], text: str) -> str:
    kind = next(_kinds(parts), "")
    if "does not recognize this architecture" not in text and "Unrecognized model" not in text:
        return ""
    if not kind:
        return f"its config.json names no model_type. Take a complete copy of the folder; {_installed()} here."
    return (
        f"it is of the kind {kind!r}, which the installed library does not know: {_installed()} here, and the model is "
        "probably newer. Update the library, or choose another model."
    )


def _kinds(parts: list[Path]) -> Iterator[str]:
    values = (read_json(part / "config.json").get("model_type") for part in parts)
    return (value[:_MOST_WORD_CHARS] for value in values if isinstance(value, str))


def refuse_empty_tokenizer(spec: ModelSpec, folder: Path, tokenizer: Any) -> None:
    """Raise ModelUnavailable where a folder has no tokenizer: the library then makes one that knows no word."""
    missing = _without_tokenizer(folder / modules_of(folder)[0])
    if missing and len(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)) < _FEWEST_TOKENS:
        raise ModelUnavailable(f"{_begun(spec)}: {missing}")


def _begun(spec: ModelSpec) -> str:
    return f"{spec.name} could not be loaded as a SentenceTransformer model"


def _without_tokenizer(part: Path) -> str:
    if any(file.is_file() for name in _TOKENIZERS for file in part.glob(name)):
        return ""
    return (
        "its folder holds no tokenizer (tokenizer.json, vocab.txt or a SentencePiece model). Copy the tokenizer's "
        "files of the model into the folder."
    )


def _needs(text: str) -> str:
    """Return which package a library's words ask for."""
    needs = re.search(r"pip install (?:-U |--upgrade )?['\"`]?([\w.\[\]-]+)", text)
    return f" It needs: pip install {needs[1].strip('.')}." if needs else ""


def _installed() -> str:
    names = ("transformers", "sentence-transformers")
    return " and ".join(f"{name} {importlib.metadata.version(name)}" for name in names) + " are installed"


def _ended(words: str) -> str:
    return words if words.endswith((".", "!", "?", "…")) else f"{words}."
