"""What a card says about the reference vectors of a model. No weights are loaded."""

from __future__ import annotations

from dataclasses import replace

from numembed.models.encoders.references import told_reference
from numembed.models.files.folders import digest_of_folder
from numembed.models.resolve import as_known, known_folder
from numembed.models.spec import LocalWeights, ModelSpec, ScratchWeights
from numembed.studies.stored import previously_pinned
from ui.shared.frame import result_store, settings


def reference_sentence(spec: ModelSpec, parameters: float = 0, *, digest: str = "") -> str:
    """Return what is known of the reference vectors of ``spec``; ``digest`` is that of a folder which was named."""
    weights = spec.weights
    if isinstance(weights, ScratchWeights) and (own := known_folder(weights, settings())) is not None:
        digest = digest_of_folder(own)  # some MB
    if isinstance(weights, LocalWeights | ScratchWeights):
        known = replace(spec, weights=replace(weights, digest=digest))
        spec = as_known(known, settings())  # as it runs: the prompt of its makers is part of its key
    else:
        with result_store() as results:
            spec = previously_pinned(spec, results) or spec
    return told_reference(spec, settings().home, parameters=parameters)
