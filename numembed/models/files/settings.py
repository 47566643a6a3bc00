"""What the makers of a model have set for every encoding: sentence-transformers follows it unless it is told otherwise.

Its ``encode`` takes two things from a folder that are no part of a module: a prompt and a shorter vector. Also how
wide the vectors are, and how the weights are quantised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numembed.models.files.folders import read_json

SETTINGS_FILE = "config_sentence_transformers.json"
_MOST_WORD_CHARS = 60
_PROMPTS_OF_ALL = ("query", "document")  # the library gives every model these two, empty
_LIBRARY_KIND = "SentenceTransformer"  # the settings of a reranker's or a sparse model's folder are not for vectors


@dataclass(frozen=True)
class OwnSettings:
    """What a folder asks for; the default is nothing."""

    prompt: str = ""  # put before every text
    keep: int | None = None  # so many of the first dimensions are kept, after all modules

    def kept_of(self, width: int | None) -> int | None:
        """Return how many of ``width`` dimensions are kept; None where that is all of them."""
        return self.keep if self.keep is not None and (width is None or self.keep < width) else None


def own_settings(folder: Path) -> OwnSettings:
    """Return what ``folder`` asks for; nothing where it lists no modules, because the library then asks it nothing."""
    is_listed = (folder / "modules.json").is_file()
    return settings_in(read_json(folder / SETTINGS_FILE)) if is_listed else OwnSettings()


def settings_in(config: Mapping[str, Any]) -> OwnSettings:
    """Return what a config_sentence_transformers.json asks for.

    >>> settings_in({"prompts": {"query": "query: "}, "default_prompt_name": "query", "truncate_dim": 256})
    OwnSettings(prompt='query: ', keep=256)
    """
    if config.get("model_type", _LIBRARY_KIND) != _LIBRARY_KIND:
        return OwnSettings()
    prompts, name, keep = config.get("prompts"), config.get("default_prompt_name"), config.get("truncate_dim")
    prompt = prompts.get(name) if isinstance(prompts, dict) and isinstance(name, str) else ""
    whole = isinstance(keep, int) and not isinstance(keep, bool) and keep > 0
    return OwnSettings(prompt if isinstance(prompt, str) else "", keep if whole else None)


def wrong_setting(config: Mapping[str, Any]) -> str:
    """Return what cannot be followed in a config_sentence_transformers.json, with what is allowed; "" for nothing.

    >>> wrong_setting({"truncate_dim": 64}), wrong_setting({"truncate_dim": -3})[:56]
    ('', 'config_sentence_transformers.json asks to keep truncate_')
    """
    prompts, name, keep = config.get("prompts"), config.get("default_prompt_name"), config.get("truncate_dim")
    texts = prompts if isinstance(prompts, dict) else {}
    named = [prompt for prompt, text in texts.items() if not isinstance(text, str | None)]
    if keep is not None and (type(keep) is not int or keep < 1):
        wrong = f"asks to keep truncate_dim={str(keep)[:40]} dimensions"
        allowed = "a whole number of at least 1, or null for all"
    elif named:
        wrong, allowed = f"holds no text for the prompt {str(named[0])[:40]!r}", "a text in quotation marks"
    elif name is not None and name not in (*_PROMPTS_OF_ALL, *texts):
        wrong = f"puts the prompt {str(name)[:40]!r} before every text, but holds no prompt of this name"
        allowed = "the name of one of its prompts, or null for none"
    else:
        return ""
    return f"{SETTINGS_FILE} {wrong}. Allowed is {allowed}: correct it there."


def width_of(folder: Path) -> int | None:
    """Return how many dimensions the last module gives that says so, else the model's own width; None if unknown."""
    config = read_json(folder / "config.json") or read_json(folder / "0_Transformer" / "config.json")
    configs = [read_json(file) for file in sorted(folder.glob("*/config.json"), reverse=True)]
    fields = ("out_features", "word_embedding_dimension", "embedding_dimension")
    values = [part.get(field) for part in configs for field in fields]
    values += [config.get(field) for field in ("hidden_size", "d_model", "n_embd", "dim")]
    return next((value for value in values if type(value) is int and value > 0), None)


def quantisation_of(config: dict[str, Any]) -> str:
    """Return the method by which the weights of a config.json are quantised, "" where they are not.

    >>> quantisation_of({"quantization_config": {"quant_method": "gptq"}}), quantisation_of({})
    ('gptq', '')
    """
    given = config.get("quantization_config")
    if given is None:
        return ""
    method = given.get("quant_method") if isinstance(given, dict) else None
    return method[:_MOST_WORD_CHARS] if isinstance(method, str) and method else "by a method it does not name"
