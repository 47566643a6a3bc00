"""Which model, exactly: values whose key changes whenever a vector could change."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
from dataclasses import dataclass, fields
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
class BaselineWeights:
    """A registered baseline; ``version`` grows when its formula changes."""

    name: str
    version: int = 1


Weights = HubWeights | LocalWeights | BaselineWeights


@dataclass(frozen=True)
class ModelSpec:
    """A model as it is asked for. Everything but ``name`` is part of ``key``."""

    name: str
    weights: Weights
    prompt: str = ""
    max_tokens: int | None = None
    dtype: str = "float32"

    @property
    def resolved(self) -> bool:
        """True when the weights are pinned by content, so that ``key`` exists."""
        match self.weights:
            case HubWeights(revision=pin) | LocalWeights(digest=pin):
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
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> ModelSpec:
        """Return the spec that :meth:`as_dict` described."""
        weights = dict(plain["weights"])
        kind = {kind.__name__: kind for kind in (HubWeights, LocalWeights, BaselineWeights)}[weights.pop("kind")]
        return cls(**(plain | {"weights": kind(**weights)}))


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


@functools.cache
def _versions() -> dict[str, str]:
    """The minor versions that have changed vectors before (transformers 5 changed e5-mistral's tokens)."""
    names = ("transformers", "sentence-transformers")
    return {name: ".".join(importlib.metadata.version(name).split(".")[:2]) for name in names}
