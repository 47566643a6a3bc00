"""A PEFT folder on disk: its files, and what the names of its tensors mean."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from numembed.core.errors import ModelUnavailable
from numembed.models.files.tensors import Stored, read_header

RECIPE = "recipe.json"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"  # as PEFT calls them
_WRAPPER = "base_model.model."
_FACTOR = re.compile(r"(.+)\.lora_(embedding_)?([AB])(?:\.weight)?")


@dataclass
class Factors:
    """The two factors of one module by their names in the file; "" for one that is missing."""

    down: str = ""  # A (r, in)
    up: str = ""  # B (out, r)
    embedding: bool = False  # of a table of vectors, which PEFT stores turned


def read_adapter(folder: Path) -> dict[str, Stored]:
    """Return where the factors of an adapter lie; raises ModelUnavailable where the folder holds no adapter."""
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise ModelUnavailable(
            f"The folder {folder.name[:80]!r} is not a LoRA adapter: it needs adapter_config.json and "
            "adapter_model.safetensors, as PEFT saves them."
        )
    return read_header(folder / WEIGHTS)


def factors_in(names: Iterable[str]) -> dict[str, Factors]:
    """Return the factors among the names of an adapter's tensors, by the module's name in the model it was made for.

    >>> factors_in(["base_model.model.a.query.lora_A.weight", "base_model.model.a.query.lora_B.weight", "b"]).keys()
    dict_keys(['a.query'])
    """
    found: dict[str, Factors] = {}
    for name in names:
        if match := _FACTOR.fullmatch(name):
            pair = found.setdefault(unwrapped(match[1]), Factors(embedding=bool(match[2])))
            setattr(pair, "down" if match[3] == "A" else "up", name)
    return found


def is_factor(name: str) -> bool:
    """Return True for the name of a factor."""
    return _FACTOR.fullmatch(name) is not None


def unwrapped(name: str) -> str:
    """Return a tensor's name without the layers that PEFT puts around a model and its modules."""
    while name.startswith(_WRAPPER):
        name = name.removeprefix(_WRAPPER)
    return name.replace(".base_layer.", ".")
