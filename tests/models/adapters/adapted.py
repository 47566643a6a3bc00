"""A tiny model with an adapter, resolved and encoding."""

from __future__ import annotations

from pathlib import Path

from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.models.encoders import encoder as encoders
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.resolve import resolve
from numembed.models.spec import ModelSpec
from tests.offline import OFFLINE

TEXTS = ["1, 2, 3", "2, 4, 6, 8, 10, 12", "7", "1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89"]


def adapted_spec(base: Path, adapter: Path, scale: float = 1.0, settings: Settings = OFFLINE) -> ModelSpec:
    return resolve(model(f'{base} adapter="{adapter}" scale={scale}'), settings)


def encoded(spec: ModelSpec, loaded: LoadedModel | None = None) -> encoders.Matrix:
    return (loaded or LoadedModel(OFFLINE)).get(spec).encode(TEXTS)
