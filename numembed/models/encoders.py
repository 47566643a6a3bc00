"""A loaded model: texts in, vectors out, in token-sorted batches that fit the processor's cache."""

from __future__ import annotations

import gc
import logging
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from numembed.errors import ModelUnavailable, NonFiniteVectors
from numembed.models.checkpoints import folder_of
from numembed.models.spec import ModelSpec

Matrix = NDArray[np.float32]

BATCH_TOKENS = 1_024  # on a CPU: more falls out of the cache, less starves it
_CUT_CHARS_PER_TOKEN = 8  # first guess when a long text is cut before tokenising; doubled until it is enough
_PLACE_TO_CUT = re.compile(r"(?<=\S) ")  # before all of several spaces: tokenisers disagree about what is left of them


class Encoder(Protocol):
    """The whole interface of a loaded model."""

    def batches(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the indices of ``texts`` grouped into batches of similar length, shortest first."""
        ...

    def encode(self, texts: Sequence[str]) -> Matrix:
        """Return one row a text, (n, d); all texts run as one batch."""
        ...


class SentenceEncoder:
    """An :class:`Encoder` over a SentenceTransformer folder."""

    def __init__(self, spec: ModelSpec, folder: Path) -> None:
        self.spec = spec
        self._model = _load(spec, folder)

    def batches(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the indices of ``texts`` in batches of at most ``BATCH_TOKENS`` tokens, shortest first."""
        lengths = [len(ids) for ids in self._token_ids(self._cut(texts))]
        return token_batches(lengths)

    def encode(self, texts: Sequence[str]) -> Matrix:
        """Return one row a text, (n, d); raise NonFiniteVectors where a number is NaN or infinite."""
        vectors = self._model.encode(
            self._cut(texts), batch_size=len(texts), prompt=self.spec.prompt, show_progress_bar=False
        )
        matrix = np.asarray(vectors, dtype=np.float32)
        if not np.isfinite(matrix).all():
            row = int(np.flatnonzero(~np.isfinite(matrix).all(axis=1))[0])
            raise NonFiniteVectors(
                f"{self.spec.name} answered with numbers that are not finite (first for {texts[row][:40]!r}…). "
                "Nothing of that batch was stored; its weights may be damaged or its number format too small."
            )
        return matrix

    @property
    def _limit(self) -> int | None:
        limit = self._model.max_seq_length
        return None if limit is None or limit == math.inf else int(limit)  # a static model says infinity

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return what the model reads of each text: prompt and special tokens included, cut at its limit."""
        prompted = [self.spec.prompt + text for text in texts]
        tokenizer, limit = self._model.tokenizer, self._limit
        if not callable(tokenizer):  # a static model's tokenizer is the bare Rust one
            return [one.ids[:limit] for one in tokenizer.encode_batch(prompted)]
        ids: list[list[int]] = tokenizer(prompted, truncation=limit is not None, max_length=limit)["input_ids"]
        return ids

    def _cut(self, texts: Sequence[str]) -> list[str]:
        """Return the texts without the part that the model's window cuts off anyway.

        Tokenisers split at white space first, so a text cut there has the same first tokens. A cut that
        turns out too short (one token may stand for a hundred digits) is made twice as long.
        """
        limit = self._limit
        if limit is None:
            return list(texts)
        cut = list(texts)
        pending, chars = [i for i, text in enumerate(texts) if len(text) > limit * _CUT_CHARS_PER_TOKEN], limit
        while pending:
            chars *= _CUT_CHARS_PER_TOKEN if chars == limit else 2
            for i in pending:
                place = _PLACE_TO_CUT.search(texts[i], chars)
                cut[i] = texts[i][: place.start()] if place else texts[i]
            lengths = [len(ids) for ids in self._token_ids([cut[i] for i in pending])]
            pending = [i for i, n in zip(pending, lengths, strict=True) if n < limit and len(cut[i]) < len(texts[i])]
        return cut


class LoadedModel:
    """At most one encoder in memory: the old one is freed before the next is loaded."""

    def __init__(self, *, offline: bool = False) -> None:
        self._offline = offline
        self._encoder: SentenceEncoder | None = None

    def get(self, spec: ModelSpec) -> Encoder:
        """Return the encoder of ``spec``, loading it where it is not the present one."""
        if self._encoder is None or self._encoder.spec.key != spec.key:
            self.free()
            self._encoder = SentenceEncoder(spec, folder_of(spec.weights, offline=self._offline))
        return self._encoder

    def free(self) -> None:
        """Give the memory of the present model back."""
        if self._encoder is not None:
            self._encoder = None
            gc.collect()


def token_batches(lengths: Sequence[int], *, budget: int = BATCH_TOKENS) -> list[list[int]]:
    """Return indices in batches of similar length whose padded size stays within ``budget`` tokens.

    >>> token_batches([5, 2, 9, 2], budget=10)
    [[1, 3], [0], [2]]
    """
    batches: list[list[int]] = []
    for index in np.argsort(lengths, kind="stable"):
        width = max(int(lengths[index]), 1)
        if batches and (len(batches[-1]) + 1) * width <= budget:
            batches[-1].append(int(index))
        else:
            batches.append([int(index)])
    return batches


def _load(spec: ModelSpec, folder: Path) -> Any:
    """Return the SentenceTransformer in ``folder``, with its own modules only: no pickles, no remote code."""
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # its bars would run through ours
    try:
        model = SentenceTransformer(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True, "dtype": spec.dtype},
        )
    except Exception as error:
        logging.getLogger(__name__).info("could not load %s", folder, exc_info=True)  # the worker keeps it in its log
        raise ModelUnavailable(
            f"{spec.name} could not be loaded as a SentenceTransformer model ({type(error).__name__}). "
            "Check that the folder is complete and was saved by a current version of sentence-transformers."
        ) from error
    if spec.max_tokens:
        model.max_seq_length = spec.max_tokens
    return model.eval()
