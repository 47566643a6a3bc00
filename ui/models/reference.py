"""What a card says about the reference vectors of a model. No weights are loaded."""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from pathlib import Path

from numembed.models.encoders.references import told_reference
from numembed.models.files.folders import digest_of_folder
from numembed.models.resolve import as_known, known_folder
from numembed.models.spec import LocalWeights, ModelSpec, ScratchWeights
from numembed.studies.stored import previously_pinned
from ui.shared.frame import result_store, settings

_MOST_READ_BYTES = 2_000_000_000  # of a folder whose files are read to know whether it has changed: some seconds
_Stamp = tuple[tuple[str, int, int], ...]


def reference_sentence(spec: ModelSpec, parameters: float = 0) -> str:
    """Return what is known of the reference vectors of ``spec``; a folder is known by the files that it holds now."""
    weights = spec.weights
    if not isinstance(weights, LocalWeights | ScratchWeights):
        with result_store() as results:
            spec = previously_pinned(spec, results) or spec
    elif (folder := known_folder(weights, settings())) is not None:
        stamp = _stamp(folder)
        if sum(size for _, size, _ in stamp) > _MOST_READ_BYTES:
            return "Whether its vectors are those recorded earlier is told by its check, after a run."
        known = replace(spec, weights=replace(weights, digest=_digest(folder, stamp)))
        spec = as_known(known, settings())  # as it runs: the prompt of its makers is part of its key
    return told_reference(spec, settings().home, parameters=parameters)


def _stamp(folder: Path) -> _Stamp:
    """Return what is other after a change of any file."""
    facts = ((file, file.stat()) for file in sorted(folder.rglob("*")) if os.path.isfile(file))
    return tuple((str(file), fact.st_size, fact.st_mtime_ns) for file, fact in facts)


@functools.lru_cache(maxsize=16)
def _digest(folder: Path, stamp: _Stamp) -> str:
    return digest_of_folder(folder)
