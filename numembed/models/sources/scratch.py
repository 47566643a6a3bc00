"""The small models of this project's own, trained at their first use where they are not shipped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from numembed.core.errors import ModelUnavailable
from numembed.core.progress import Progress
from numembed.core.settings import Settings
from numembed.models.builtin.models import builtin_folder, builtin_place
from numembed.models.files.folders import digest_of_folder
from numembed.models.spec import ModelSpec, ScratchWeights


def resolved(weights: ScratchWeights, spec: ModelSpec, settings: Settings, progress: Progress) -> ModelSpec:
    """Return ``spec`` with the digest of its files; it is trained for that where it is not here yet."""
    digest = digest_of_folder(builtin_folder(weights.name, settings, progress=progress))
    return replace(spec, weights=ScratchWeights(weights.name, digest))


def folder(weights: ScratchWeights, spec: ModelSpec, settings: Settings, progress: Progress) -> Path:
    """Return the folder; raises ModelUnavailable where its files are others than when it was resolved."""
    result = builtin_folder(weights.name, settings, progress=progress)
    if weights.digest and digest_of_folder(result) != weights.digest:
        raise ModelUnavailable(
            f"{weights.name} was made again since it was chosen, and its files have changed. Run again."
        )
    return result


def known_folder(weights: ScratchWeights, settings: Settings) -> Path | None:
    """Return the folder where it is here already, else None; nothing is trained and no file is read."""
    place = builtin_place(weights.name, settings)
    return place if place.is_dir() else None
