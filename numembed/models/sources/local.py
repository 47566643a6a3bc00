"""Models and adapters in folders of this machine, told by the digest of their files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from numembed.core.errors import ModelUnavailable
from numembed.core.progress import Progress, silent
from numembed.core.settings import Settings
from numembed.models.adapters.fold import read_adapter
from numembed.models.files.folders import allowed_folder, checked_folder, digest_of_folder
from numembed.models.spec import LocalWeights, ModelSpec


def resolved(weights: LocalWeights, spec: ModelSpec, settings: Settings, progress: Progress) -> ModelSpec:
    """Return ``spec`` with the digest that the folder's files have now."""
    digest = digest_of_folder(folder(weights, spec, settings, progress))
    return replace(spec, weights=LocalWeights(weights.path, digest))


def resolved_adapter(weights: LocalWeights, settings: Settings) -> LocalWeights:
    """Return ``weights`` with the digest that the adapter's files have now."""
    anew = LocalWeights(weights.path)
    return LocalWeights(weights.path, digest_of_folder(adapter_folder(anew, settings, silent)))


def folder(weights: LocalWeights, spec: ModelSpec, settings: Settings, progress: Progress) -> Path:
    """Return the folder; raises ModelUnavailable where it is no model or may not be read."""
    return checked_folder(allowed_folder(Path(weights.path), settings))


def known_folder(weights: LocalWeights, settings: Settings) -> Path | None:
    """Return the folder where it is a model that may be read, else None."""
    try:
        return checked_folder(allowed_folder(Path(weights.path), settings))
    except (ModelUnavailable, OSError):
        return None


def adapter_folder(weights: LocalWeights, settings: Settings, progress: Progress) -> Path:
    """Return an adapter's folder; raises ModelUnavailable, also where its files have changed since it was resolved."""
    result = allowed_folder(Path(weights.path), settings)
    if not os.path.isdir(result):
        raise ModelUnavailable(f"There is no folder {str(result)[:120]!r} on this machine.")
    read_adapter(result)
    if weights.digest and weights.digest != digest_of_folder(result):
        raise ModelUnavailable(f"The adapter {result.name[:80]!r} has changed since it was chosen. Run again.")
    return result
