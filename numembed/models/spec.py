"""Which model, exactly: values whose key changes whenever a vector could change."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import re
from dataclasses import dataclass, fields, replace
from typing import Any, assert_never


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


Weights = HubWeights | LocalWeights | RemoteWeights | BaselineWeights
WEIGHT_KINDS = {kind.__name__: kind for kind in (HubWeights, LocalWeights, RemoteWeights, BaselineWeights)}


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

    @property
    def stored(self) -> ModelSpec:
        """The spec whose vectors lie in the store: full width and full precision."""
        name = re.sub(r" (dim|precision)=\S+", "", self.name)
        return replace(self, name=name, dimensions=None, precision="float32")

    @property
    def resolved(self) -> bool:
        """True when the weights are pinned by content, so that ``key`` exists."""
        match self.weights:
            case HubWeights(revision=pin) | LocalWeights(digest=pin) | RemoteWeights(url=pin):
                return bool(pin)
            case BaselineWeights():
                return True
            case _:
                assert_never(self.weights)

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
        described["weights"].pop("path", None)
        return hashlib.sha256(canonical_json(described).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values; fields at their default are left out, so that new ones keep old keys."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        plain["weights"] = {"kind": type(self.weights).__name__} | vars(self.weights)
        if "loading" in plain:
            plain["loading"] = self.loading.as_dict()
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> ModelSpec:
        """Return the spec that :meth:`as_dict` described."""
        weights = dict(plain["weights"])
        kind: Any = WEIGHT_KINDS[weights.pop("kind")]
        return cls(**(plain | {"weights": kind(**weights), "loading": Loading(**plain.get("loading", {}))}))


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


@functools.cache
def _versions() -> dict[str, str]:
    """The minor versions that have changed vectors before (transformers 5 changed e5-mistral's tokens)."""
    names = ("transformers", "sentence-transformers")
    return {name: ".".join(importlib.metadata.version(name).split(".")[:2]) for name in names}
