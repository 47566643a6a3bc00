"""Sequences to vectors: what is stored is read, what is missing is encoded, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from numembed.models.baselines import BASELINES
from numembed.models.spec import BaselineWeights, ModelSpec
from numembed.progress import Progress, silent
from numembed.sequences.sets import SequenceSet
from numembed.store import VectorStore

if TYPE_CHECKING:
    from numembed.models.encoders import LoadedModel

Matrix = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Embeddings:
    """The vectors of some sequences by one model: ``matrix`` is (n, d), row i belongs to sequence i."""

    matrix: Matrix = field(repr=False)
    sequences: SequenceSet
    model: ModelSpec


def embed(
    model: ModelSpec,
    sequences: SequenceSet,
    *,
    store: VectorStore,
    loaded: LoadedModel,
    progress: Progress = silent,
) -> Embeddings:
    """Return the vectors of ``sequences``; texts that the store lacks are encoded and stored batch by batch.

    ``progress`` hears how many texts are done after each stored batch and may raise Cancelled there.
    """
    texts = sequences.texts
    if isinstance(model.weights, BaselineWeights):
        matrix = BASELINES[model.weights.name].function(texts)
        progress(len(texts), len(texts), "encode")
    else:
        matrix = _stored_or_encoded(model, texts, store, loaded, progress)
    matrix.flags.writeable = False
    return Embeddings(matrix, sequences, model)


def _stored_or_encoded(
    model: ModelSpec, texts: Sequence[str], store: VectorStore, loaded: LoadedModel, progress: Progress
) -> Matrix:
    matrix, found = store.read(model.key, texts)
    missing = list(dict.fromkeys(text for text, there in zip(texts, found, strict=True) if not there))
    done, total = len(texts) - len(missing), len(texts)
    progress(done, total, "load" if missing else "encode")
    if not missing:
        return matrix
    encoder = loaded.get(model)
    progress(done, total, "encode")
    new: dict[str, Matrix] = {}
    for batch in encoder.batches(missing):
        chosen = [missing[i] for i in batch]
        vectors = encoder.encode(chosen)
        store.add(model.key, model.name, chosen, vectors)
        new |= dict(zip(chosen, vectors, strict=True))
        done += len(chosen)
        progress(done, total, "encode")
    return np.stack([row if there else new[text] for text, row, there in zip(texts, matrix, found, strict=True)])
