"""What a loaded model's makers have set for every encoding, and whether it is done here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numembed.models.catalogue.defaults import told_settings
from numembed.models.files.settings import OwnSettings, own_settings
from numembed.models.spec import ModelSpec


def kept_dimensions(model: Any) -> tuple[int, int | None] | None:
    """Return how many of how many dimensions a SentenceTransformer keeps after its last module; None for all."""
    keep = model.truncate_dim
    with model.truncate_embeddings(None):
        width = model.get_embedding_dimension()
    return (keep, width) if keep is not None and (width is None or keep < width) else None


def makers_findings(spec: ModelSpec, folder: Path, model: Any) -> list[tuple[str, bool | None, str]]:
    """Return (name, True or None, sentence) of each setting of the makers: True where it is followed."""
    own = own_settings(folder)
    with model.truncate_embeddings(None):
        width = model.get_embedding_dimension()
    found = (
        ("prompt", spec.prompt == own.prompt, OwnSettings(prompt=own.prompt)),
        ("dimensions kept", not spec.loading.full_width, OwnSettings(keep=own.keep)),
    )
    return [
        (name, True if followed else None, told_settings(spec, one, width)[0])
        for name, followed, one in found
        if told_settings(spec, one, width)
    ]
