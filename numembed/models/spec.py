"""Which model, exactly: values whose key changes whenever a vector could change."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import re
from dataclasses import dataclass, fields, replace
from typing import Any, assert_never

from numembed.core.errors import BadChoice
from numembed.core.serialization import canonical_json


@dataclass(frozen=True)
class HubWeights:
    """A repository on the Hugging Face hub at one commit; "" stands for the newest until it is resolved."""

    repo: str
    revision: str = ""


@dataclass(frozen=True)
class LocalWeights:
    """A SentenceTransformer folder on this machine; the digest of its files is its identity, the path is not."""

    path: str
    digest: str = ""


@dataclass(frozen=True)
class ScratchWeights:
    """A small model of this project's own, shipped or trained at its first use; its identity is its files' digest."""

    name: str
    digest: str = ""


FolderWeights = HubWeights | LocalWeights | ScratchWeights  # what lies in a folder and can be adapted


@dataclass(frozen=True)
class RemoteWeights:
    """A model behind one of the operator's endpoints; ``url`` and ``model`` are "" until the settings fill them in.

    The key that opens the endpoint is never part of it.
    """

    endpoint: str
    url: str = ""
    model: str = ""


@dataclass(frozen=True)
class BaselineWeights:
    """A registered baseline; ``version`` grows when its formula changes."""

    name: str
    version: int = 1


@dataclass(frozen=True)
class LoraWeights:
    """A LoRA adapter on its base, folded in ``scale`` times; raises BadChoice for a scale that is none."""

    base: FolderWeights
    adapter: HubWeights | LocalWeights
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.scale <= MOST_SCALE:  # also where it is NaN
            raise BadChoice(f"An adapter's scale is a number from 0 to {MOST_SCALE:g}, got {self.scale!s:.40}.")
        object.__setattr__(self, "scale", float(self.scale) + 0.0)  # 1 and 1.0, 0 and −0 are one key


@dataclass(frozen=True)
class MergedWeights:
    """Several models mixed in memory: the fields of a ``Merge``, its parts, and the base of their task vectors."""

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
WEIGHT_KINDS = {
    kind.__name__: kind
    for kind in (
        HubWeights,
        LocalWeights,
        ScratchWeights,
        RemoteWeights,
        BaselineWeights,
        LoraWeights,
        MergedWeights,
    )
}
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

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that are not at their default."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}


PRECISIONS = ("float32", "int8", "binary")


@dataclass(frozen=True)
class ModelSpec:
    """A model as it is asked for. Everything but ``name`` is part of ``key``.

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
        if self.loading.random_seed is not None and isinstance(self.weights, LoraWeights | MergedWeights):
            raise BadChoice(f"{self.name} has learnt weights: leave the adapter or weights=random out.")

    @property
    def stored(self) -> ModelSpec:
        """The spec whose vectors lie in the store: full width and full precision."""
        name = re.sub(r" (dim|precision)=\S+", "", self.name)
        return replace(self, name=name, dimensions=None, precision="float32")

    @property
    def resolved(self) -> bool:
        """True when the weights are pinned by content, so that ``key`` exists."""
        return _is_pinned(self.weights)

    @property
    def is_baseline(self) -> bool:
        """True for a formula instead of a model."""
        return isinstance(self.weights, BaselineWeights)

    @property
    def key(self) -> str:
        """The sha256 of everything that can change a vector; needs resolved weights.

        >>> one = ModelSpec("a", BaselineWeights("last_digits"))
        >>> one.key == ModelSpec("another name", BaselineWeights("last_digits")).key
        True
        """
        if not self.resolved:
            raise ValueError(f"{self.name} has no key before its weights are resolved")
        described = self.as_dict() | {"versions": _versions()}
        described.pop("name")
        described["weights"] = _without_paths(described["weights"])
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
    match weights:
        case LoraWeights(base):
            return base
        case MergedWeights(parts=(first, *_)):
            return origin_of(first)
        case _:
            return weights


def _is_pinned(weights: Weights) -> bool:
    match weights:
        case HubWeights(revision=pin) | LocalWeights(digest=pin) | ScratchWeights(digest=pin) | RemoteWeights(url=pin):
            return bool(pin)
        case BaselineWeights():
            return True
        case LoraWeights(base, adapter):
            return _is_pinned(base) and _is_pinned(adapter)
        case MergedWeights(parts=parts, base=base):
            return all(map(_is_pinned, parts)) and (base is None or _is_pinned(base))
        case _:
            assert_never(weights)


def _described(weights: Weights) -> dict[str, Any]:
    plain = {"kind": type(weights).__name__} | vars(weights)
    for field in ("base", "adapter"):
        if plain.get(field) is not None:
            plain[field] = _described(plain[field])
    if isinstance(weights, MergedWeights):
        plain["parts"] = [_described(part) for part in weights.parts]
        plain |= {"weights": list(weights.weights), "options": [list(option) for option in weights.options]}
    return plain


def _weights(plain: dict[str, Any]) -> Any:
    given = {field: value for field, value in plain.items() if field != "kind"}
    for field in ("base", "adapter"):
        if given.get(field) is not None:
            given[field] = _weights(given[field])
    if "parts" in given:
        given |= {"parts": tuple(map(_weights, given["parts"])), "options": tuple(map(tuple, given["options"]))}
    return WEIGHT_KINDS[plain["kind"]](**given)


def _without_paths(plain: Any) -> Any:
    """Return described weights without the places where their files lie."""
    match plain:
        case dict():
            return {name: _without_paths(value) for name, value in plain.items() if name != "path"}
        case list():
            return [_without_paths(value) for value in plain]
        case _:
            return plain


@functools.cache
def _versions() -> dict[str, str]:
    """The minor versions that have changed vectors before (transformers 5 changed e5-mistral's tokens)."""
    names = ("transformers", "sentence-transformers")
    return {name: ".".join(importlib.metadata.version(name).split(".")[:2]) for name in names}
