"""Sequences to vectors: what is stored is read, what is missing is encoded, batch by batch."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from numembed.core.arrays import Matrix, level_rows
from numembed.core.errors import BadChoice, CheckFailed, NumembedError, RemoteFailed
from numembed.core.progress import Progress, silent
from numembed.models.baselines import BASELINES
from numembed.models.encoders.interface import Encoder, ModelCheck
from numembed.models.encoders.splitting import SplittingEncoder
from numembed.models.loading.devices import one_thread
from numembed.models.spec import BaselineWeights, ModelSpec
from numembed.sequences.sets import SequenceSet
from numembed.storage.vectors import VectorStore

if TYPE_CHECKING:
    from numembed.models.encoders.loaded import LoadedModel


ONE_THREAD_UP_TO = 2e11  # parameters × characters: about a second with one thread
_TOGETHER, _SHARE, _LATEST_SECONDS = 512, 16, 1.0  # most texts that wait, 1 for so many stored, and how long


@dataclass(frozen=True)
class Work:
    """What encoding took, for estimates of later runs."""

    parameters: int  # of the model; 0 where nobody knows
    device: str
    texts: int
    characters: int
    seconds: float  # without loading
    load_seconds: float


@dataclass(frozen=True, eq=False)
class Embeddings:
    """The vectors of some sequences by one model: ``matrix`` is (n, d), row i belongs to sequence i."""

    matrix: Matrix = field(repr=False)
    sequences: SequenceSet
    model: ModelSpec
    work: Work | None = None  # None where everything was stored


def refuse_failed(check: ModelCheck) -> None:
    """Raise CheckFailed where a model does not do what its makers say."""
    if not check.ok:
        raise CheckFailed(check.sentence)


def embed(
    model: ModelSpec,
    sequences: SequenceSet,
    *,
    store: VectorStore,
    loaded: LoadedModel,
    progress: Progress = silent,
    judge: Callable[[ModelCheck], None] = refuse_failed,
) -> Embeddings:
    """Return the vectors of ``sequences``; texts that the store lacks are encoded batch by batch.

    They are stored at least once a second, and before any error leaves. Texts that the model cannot read are named at
    the end, in one TextFailed: the vectors of all others are stored. ``progress`` hears how many texts are done after
    each batch and may raise Cancelled there. ``judge`` hears what the check of a freshly loaded model found, before
    anything is encoded, and may refuse it.
    """
    texts, work = sequences.texts, None
    if isinstance(model.weights, BaselineWeights):
        matrix = BASELINES[model.weights.name].function(texts)
        progress(len(texts), len(texts), "encode")
    else:
        matrix, work = _stored_or_encoded(model, texts, store, loaded, progress, judge)
    matrix = reduced(matrix, dimensions=model.dimensions, precision=model.precision)
    matrix.flags.writeable = False
    return Embeddings(matrix, sequences, model, work)


def reduced(matrix: Matrix, *, dimensions: int | None = None, precision: str = "float32") -> Matrix:
    """Return vectors as they would be kept in less room, (n, ``dimensions`` or d), as float32 values.

    Matryoshka: the first coordinates, scaled to length 1. ``int8``: each coordinate rounded to one of 256 values
    between its smallest and largest in ``matrix`` (sentence-transformers' ``quantize_embeddings``, decoded again).
    ``binary``: the sign of each coordinate, scaled to length 1, so that squared Euclidean distances are proportional to
    Hamming's.
    Raises BadChoice for more dimensions than there are.
    """
    if dimensions is not None:
        if dimensions > matrix.shape[1]:
            raise BadChoice(f"dim={dimensions:,} is more than the {matrix.shape[1]:,} numbers of these vectors.")
        matrix = level_rows(matrix[:, :dimensions])
        norms = np.linalg.norm(matrix, axis=1, keepdims=True)
        matrix = np.asarray(matrix / np.where(norms > 0, norms, 1), dtype=np.float32)
    match precision:
        case "int8":
            low, high = matrix.min(axis=0), matrix.max(axis=0)
            step = np.where(high > low, (high - low) / 255, 1)
            matrix = np.floor((matrix - low) / step).clip(0, 255) * step + low
        case "binary":
            matrix = np.where(matrix > 0, 1, -1) / np.sqrt(matrix.shape[1])
    return np.ascontiguousarray(matrix, dtype=np.float32)


def _stored_or_encoded(
    model: ModelSpec,
    texts: Sequence[str],
    store: VectorStore,
    loaded: LoadedModel,
    progress: Progress,
    judge: Callable[[ModelCheck], None],
) -> tuple[Matrix, Work | None]:
    key = model.stored.key
    matrix, known = store.read(key, texts)
    # in an order of their own: which texts share a batch decides the last digits of their vectors
    missing = sorted({text for text, there in zip(texts, known, strict=True) if not there})
    done, total = len(texts) - len(missing), len(texts)
    progress(done, total, "load" if missing else "encode")
    if not missing:
        return matrix, None

    def loading(at: int, of: int, stage: str) -> None:
        begins = (at, of, stage) == (0, 1, "load")  # what was done is still done
        progress(done if begins else at, total if begins else of, stage)

    encoder = loaded.get(model, loading)
    check = encoder.check
    judge(check)
    progress(done, total, "encode")
    new: dict[str, Matrix] = {}
    began, splitting = time.monotonic(), SplittingEncoder(encoder)
    characters = sum(map(len, missing))
    with _few_threads(encoder, characters), _stored_together(store, key, model.stored.name) as keep:
        for batch in splitting.batches(missing):
            for chosen, vectors in splitting.encoded(batch):
                _refuse_other_width(model, matrix, known, vectors)
                keep(chosen, vectors)
                new |= dict(zip(chosen, vectors, strict=True))
                done += len(chosen)
                progress(done, total, "encode")
    if encoder.check != check:  # a server has taken texts only without their end
        judge(encoder.check)
    splitting.refuse_failed(model.name, total)
    seconds = time.monotonic() - began
    work = Work(encoder.parameters, encoder.device, len(missing), characters, seconds, loaded.load_seconds)
    rows = [row if there else new[text] for text, row, there in zip(texts, matrix, known, strict=True)]
    return np.stack(rows), work


@contextlib.contextmanager
def _stored_together(store: VectorStore, key: str, name: str) -> Iterator[Callable[[Sequence[str], Matrix], None]]:
    """Yield a function that stores vectors: the first ones at once, then small batches together.

    Each write costs pages of its own, the more the larger the file is.
    """
    waiting: list[tuple[Sequence[str], Matrix]] = []
    stored, written = 0, time.monotonic()

    def write() -> None:
        nonlocal stored, written
        if waiting:
            texts = [text for some, _ in waiting for text in some]
            store.add(key, name, texts, np.concatenate([vectors for _, vectors in waiting]))
            waiting.clear()
            stored += len(texts)
        written = time.monotonic()

    def keep(texts: Sequence[str], vectors: Matrix) -> None:
        waiting.append((texts, vectors))
        enough = sum(len(some) for some, _ in waiting) >= min(_TOGETHER, stored // _SHARE)
        if enough or time.monotonic() - written >= _LATEST_SECONDS:
            write()

    try:
        yield keep
    except BaseException:
        with contextlib.suppress(NumembedError):  # the first error is the one that is shown
            write()
        raise
    write()


def _few_threads(encoder: Encoder, characters: int) -> AbstractContextManager[None]:
    """Return the context in which texts of so many characters are encoded: with one thread where that takes a second.

    On some processors the number of threads decides the last digits of a vector.
    """
    small = encoder.device == "cpu" and 0 < encoder.parameters * characters <= ONE_THREAD_UP_TO
    return one_thread() if small else contextlib.nullcontext()


def _refuse_other_width(model: ModelSpec, stored: Matrix, values: NDArray[np.bool_], new: Matrix) -> None:
    """Refuse vectors that cannot stand beside the stored ones: an endpoint's server now runs another model."""
    if values.any() and new.shape[1] != stored.shape[1]:
        raise RemoteFailed(
            f"{model.name} now returns {new.shape[1]:,} numbers per text; those stored earlier have "
            f"{stored.shape[1]:,}. Delete its stored vectors on the Runs page, or run the same model again."
        )
