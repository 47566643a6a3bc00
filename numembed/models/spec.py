"""Which model, exactly: values whose key changes whenever a vector could change."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from numembed.core.errors import BadChoice
from numembed.core.serialization import canonical_json


class WeightsKind:
    """What every kind of weights says about itself; how its files are found stands in ``resolve.KINDS``.

    The name and the fields of a kind enter the keys of stored vectors: none is ever renamed.
    """

    runner: ClassVar[Literal["files", "endpoint", "formula"]] = "files"  # what turns texts into vectors
    fetched: ClassVar[bool] = False  # whether its files come over the network
    change: ClassVar[Literal["", "adapter", "merge"]] = ""  # what makes it of other weights, in memory
    named_by: ClassVar[str] = ""  # the field that a person writes
    resolved_by: ClassVar[str] = ""  # the field that is "" until resolve has filled it in

    @property
    def inner(self) -> tuple[Any, ...]:
        """The weights among its fields, first those whose architecture and tokenizer it has."""
        values = (value if isinstance(value, tuple) else (value,) for value in vars(self).values())
        return tuple(one for each in values for one in each if isinstance(one, WeightsKind))

    @property
    def resolved(self) -> bool:
        """True where it is named by its content, and so has a key."""
        own = not self.resolved_by or bool(getattr(self, self.resolved_by))
        return own and all(one.resolved for one in self.inner)

    @property
    def called(self) -> str:
        """What people call it; "" for what has no name of its own."""
        return str(getattr(self, self.named_by)) if self.named_by else ""


@dataclass(frozen=True)
class HubWeights(WeightsKind):
    """A repository on the Hugging Face hub at one commit; "" stands for the newest until it is resolved."""

    fetched, named_by, resolved_by = True, "repo", "revision"

    repo: str
    revision: str = ""


@dataclass(frozen=True)
class LocalWeights(WeightsKind):
    """A SentenceTransformer folder on this machine; the digest of its files is its identity, the path is not."""

    named_by, resolved_by = "path", "digest"

    path: str
    digest: str = ""

    @property
    def called(self) -> str:
        """The folder's name, without the way there."""
        return Path(self.path).name


@dataclass(frozen=True)
class ScratchWeights(WeightsKind):
    """A small model of this project's own, shipped or trained at its first use; its identity is its files' digest."""

    named_by, resolved_by = "name", "digest"

    name: str
    digest: str = ""


@dataclass(frozen=True)
class PackagedWeights(WeightsKind):
    """A catalogue model that lies in a Python package and is got once; its identity is known before it is here."""

    fetched, named_by, resolved_by = True, "name", "digest"

    name: str
    digest: str = ""


FolderWeights = HubWeights | LocalWeights | ScratchWeights | PackagedWeights  # what lies in a folder and can be adapted
AdapterWeights = HubWeights | LocalWeights  # where an adapter can lie


@dataclass(frozen=True)
class RemoteWeights(WeightsKind):
    """A model behind one of the operator's endpoints; ``url`` and ``model`` are "" until the settings fill them in.

    The key that opens the endpoint is never part of it.
    """

    runner, named_by, resolved_by = "endpoint", "endpoint", "url"

    endpoint: str
    url: str = ""
    model: str = ""


@dataclass(frozen=True)
class BaselineWeights(WeightsKind):
    """A registered baseline; ``version`` grows when its formula changes."""

    runner, named_by = "formula", "name"

    name: str
    version: int = 1


@dataclass(frozen=True)
class LoraWeights(WeightsKind):
    """A LoRA adapter on its base, folded in ``scale`` times; raises BadChoice for a scale that is none."""

    change = "adapter"

    base: FolderWeights
    adapter: AdapterWeights
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.scale <= MOST_SCALE:  # also where it is NaN
            raise BadChoice(f"An adapter's scale is a number from 0 to {MOST_SCALE:g}, got {self.scale!s:.40}.")
        object.__setattr__(self, "scale", float(self.scale) + 0.0)  # 1 and 1.0, 0 and −0 are one key


@dataclass(frozen=True)
class MergedWeights(WeightsKind):
    """Several models mixed in memory: the fields of a ``Merge``, its parts, and the base of their task vectors."""

    change = "merge"

    method: str
    parts: tuple[Weights, ...]
    base: Weights | None = None
    space: str = ""
    scope: str = "tensor"
    weights: tuple[float, ...] = ()  # of the parts; only their proportions count
    options: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        for name, kept in (
            ("parts", tuple(self.parts)),
            ("weights", tuple(float(one) + 0.0 for one in self.weights)),
            ("options", tuple(sorted((str(name), float(value) + 0.0) for name, value in self.options))),
        ):
            object.__setattr__(self, name, kept)


Weights = FolderWeights | RemoteWeights | BaselineWeights | LoraWeights | MergedWeights
WEIGHT_KINDS: Mapping[str, Any] = {kind.__name__: kind for kind in get_args(Weights)}
MOST_SCALE = 2.0  # of an adapter


@dataclass(frozen=True)
class Loading:
    """What a model needs to be loaded as its makers meant; the default is "as its folder says"."""

    add_bos: bool = False  # put the begin-of-text token before the text: transformers 5 forgets some tokenizers' wish
    add_eos: bool = False  # and the end-of-text token after it
    causal: bool | None = None  # attention: True causal, False bidirectional; set after loading
    pooling: str = ""  # "mean", "cls" or "lasttoken", built by hand where the folder has none
    pool_prompt: bool = True  # whether the prompt's tokens count in the mean
    normalize: bool = False  # unit length, where the folder has no module for it
    remote_code: str = ""  # owner/name@commit of program code that the operator has allowed
    needs_parameter: str = ""  # refused unless a parameter's name holds this: "expert"
    random_seed: int | None = None  # weights drawn with this seed instead of the learnt ones: a baseline
    unprompted: bool = False  # without the prompt that its folder asks for in every encoding
    full_width: bool = False  # without the shorter vectors that its folder asks for

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that are not at their default."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}


PRECISIONS = ("float32", "int8", "binary")


@dataclass(frozen=True)
class ModelSpec:
    """A model as requested. Everything but ``name`` is part of ``key``.

    ``dimensions`` and ``precision`` are applied to stored vectors; the rest decides what is stored.
    """

    name: str
    weights: Weights
    prompt: str = ""
    max_tokens: int | None = None
    dtype: str = "float32"
    loading: Loading = Loading()
    dimensions: int | None = None  # keep the first so many coordinates (Matryoshka)
    precision: str = "float32"  # one of PRECISIONS

    def __post_init__(self) -> None:
        if self.loading.random_seed is not None and self.weights.change:
            raise BadChoice(f"{self.name} has learnt weights: leave the adapter or weights=random out.")

    @property
    def stored(self) -> ModelSpec:
        """The spec whose vectors lie in the store: full width and full precision."""
        name = re.sub(r" (dim=[0-9]+|precision=\S+)", "", self.name)
        return replace(self, name=name, dimensions=None, precision="float32")

    @property
    def resolved(self) -> bool:
        """True when the weights are named by their content, so that ``key`` exists."""
        return self.weights.resolved

    @property
    def is_baseline(self) -> bool:
        """True for a formula instead of a model."""
        return self.weights.runner == "formula"

    @property
    def key(self) -> str:
        """The sha256 of everything that can change a vector; needs resolved weights.

        >>> one = ModelSpec("a", BaselineWeights("last_digits"))
        >>> one.key == ModelSpec("another name", BaselineWeights("last_digits")).key
        True
        """
        return self._digest(versions=vector_versions())

    @property
    def content_key(self) -> str:
        """The sha256 of the weights' content and the recipe, whatever the versions of the libraries are."""
        return self._digest()

    def _digest(self, **rest: Any) -> str:
        if not self.resolved:
            raise ValueError(f"{self.name} has no key before its weights are resolved")
        described = self.as_dict() | rest
        described.pop("name")
        described["weights"] = without_paths(described["weights"])
        return hashlib.sha256(canonical_json(described).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values; fields at their default are left out, so that new ones keep old keys."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        plain["weights"] = _described(self.weights)
        if "loading" in plain:
            plain["loading"] = self.loading.as_dict()
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> ModelSpec:
        """Return the spec that :meth:`as_dict` described."""
        weights, loading = _weights(plain["weights"]), Loading(**plain.get("loading", {}))
        return cls(**(plain | {"weights": weights, "loading": loading}))


def origin_of(weights: Weights) -> Weights:
    """Return the model whose architecture and tokenizer ``weights`` have: an adapter's base, a merge's first part's.

    >>> origin_of(LoraWeights(HubWeights("owner/name"), LocalWeights("/adapter")))
    HubWeights(repo='owner/name', revision='')
    """
    return origin_of(weights.inner[0]) if weights.inner else weights


def named_folders(weights: Weights) -> list[tuple[LocalWeights, bool]]:
    """Return the folders of this machine that ``weights`` name, each with True where it is an adapter's."""
    adapter = weights.adapter if isinstance(weights, LoraWeights) else None
    return [(one, one is adapter) for one in (weights, *weights.inner) if isinstance(one, LocalWeights)]


def _described(value: Any) -> Any:
    match value:
        case WeightsKind():
            return {"kind": type(value).__name__} | {field: _described(one) for field, one in vars(value).items()}
        case tuple():
            return [_described(one) for one in value]
        case _:
            return value


def _weights(described: Any) -> Any:
    match described:
        case {"kind": kind, **given}:
            return WEIGHT_KINDS[kind](**{str(field): _weights(one) for field, one in given.items()})
        case list():
            return tuple(map(_weights, described))
        case _:
            return described


def without_paths(plain: Any) -> Any:
    """Return a described model or its weights without the paths of their files."""
    match plain:
        case dict():
            return {name: without_paths(value) for name, value in plain.items() if name != "path"}
        case list():
            return [without_paths(value) for value in plain]
        case _:
            return plain


@functools.cache
def vector_versions() -> dict[str, str]:
    """Return the minor versions that have changed vectors before (transformers 5 changed e5-mistral's tokens)."""
    names = ("transformers", "sentence-transformers")
    return {name: ".".join(importlib.metadata.version(name).split(".")[:2]) for name in names}
