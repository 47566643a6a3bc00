"""A loaded model: texts in, vectors out, in token-sorted batches that fit the processor."""

from __future__ import annotations

import contextlib
import copy
import gc
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from numembed.core.arrays import Matrix
from numembed.core.errors import ModelUnavailable, NonFiniteVectors, TextFailed, TooLarge
from numembed.core.progress import Progress, silent
from numembed.core.settings import Settings
from numembed.models.catalogue.entries import Row
from numembed.models.catalogue.names import facts_of
from numembed.models.encoders.checks import (
    REFERENCE,
    TEXTS,
    Comparison,
    Encoder,
    Finding,
    ModelCheck,
    check_model,
    check_related,
)
from numembed.models.encoders.endpoint import EndpointEncoder
from numembed.models.encoders.failures import readable, refuse_beyond, text_failures
from numembed.models.encoders.references import LONG, compare
from numembed.models.encoders.tokens import BATCH_TOKENS, refuse_endless, token_batches
from numembed.models.encoders.weight_swap import WeightSwapper
from numembed.models.files.architectures import NO_LIMIT
from numembed.models.loading.devices import device_of, give_back_memory
from numembed.models.loading.loader import described_faults, is_out_of_memory, load, transformer_of
from numembed.models.loading.padding import exceeded_rows
from numembed.models.resolve import folder_of, known_folder
from numembed.models.sources import endpoint_of
from numembed.models.spec import ModelSpec, RemoteWeights, origin_of

MOST_BATCH_TOKENS = 65_536  # on a graphics card
_BYTES_PER_TOKEN_AND_WIDTH = 100  # what one token takes on the way through a layer, for each number of its vector
_CUT_CHARS_PER_TOKEN = 8  # first guess when a long text is cut before tokenising; doubled until it is enough
_PLACE_TO_CUT = re.compile(r"(?<=\S) ")  # before all of several spaces: tokenisers disagree about what is left of them
_READ_BYTES = 1 << 24
_READ_WHEN_CHECKED = (*TEXTS, LONG)


class SentenceEncoder:
    """An :class:`Encoder` over a SentenceTransformer folder; adapted and merged models need a ``swapper``."""

    def __init__(
        self,
        spec: ModelSpec,
        folder: Path,
        *,
        device: str = "auto",
        facts: Row | None = None,
        swapper: WeightSwapper | None = None,
        progress: Progress = silent,
        compare: Comparison | None = None,
    ) -> None:
        self.spec, self.folder, self.facts, self.swapper = spec, folder, facts, swapper
        self.device = device_of(device)
        self.model, self.report = load(spec, folder, device=self.device)
        if swapper is not None:
            swapper.bind(self.model)
        self._put_in_place(progress)
        self.guessed_pooling = not (folder / "modules.json").is_file() and not spec.loading.pooling
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.budget, self._halved = self._first_budget(), False
        self._rows = exceeded_rows(self.model)
        refuse_endless(spec, _READ_WHEN_CHECKED, folder)
        with readable(spec):
            self.check = check_model(self, facts, compare)
        self._reference = _for_related(self.check, spec)

    def of_related(self, spec: ModelSpec, progress: Progress = silent) -> SentenceEncoder:
        """Return the encoder of ``spec``, whose prompt, adapter or merge alone is another: the memory is shared.

        It is checked like one that was just loaded, but has no reference vectors of its own: hundreds of merges would
        each read 600 tokens more. It is computed as the one that was loaded, and is wrong where that one's differed.
        Whichever encoder is used puts its own weights in place first.
        """
        other = copy.copy(self)
        other.spec = spec
        refuse_endless(spec, _READ_WHEN_CHECKED, self.folder)  # another prompt stands before them
        other._put_in_place(progress)
        with readable(spec):
            other.check = ModelCheck((*check_related(other, self).findings, *self._reference))
        return other

    def batches(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the indices of ``texts`` in batches of at most ``budget`` padded tokens, shortest first."""
        refuse_endless(self.spec, texts, self.folder)
        try:
            lengths = self._lengths(texts)
        except TextFailed:  # encode says which: that text is a batch of its own
            lengths = [self._length_alone(text) for text in texts]
        return token_batches(lengths, budget=self.budget)

    def encode(self, texts: Sequence[str]) -> Matrix:
        """Return one row a text, (n, d).

        A batch that finds no room in memory is halved, and stays so for this model. Raises NonFiniteVectors where a
        number is NaN or infinite, TooLarge where a single text finds no room, TextFailed where the model's own code
        fails at one of ``texts`` (without saying which, unless it is the only one), AcceleratorLost.
        """
        self._put_in_place()
        matrix = self._halving(list(texts))
        if not np.isfinite(matrix).all():
            row = int(np.flatnonzero(~np.isfinite(matrix).all(axis=1))[0])
            raise NonFiniteVectors(
                f"{self.spec.name} returned numbers that are not finite (first for {texts[row][:40]!r}…). "
                "Nothing of that batch was stored; its weights may be damaged or its number format too small."
            )
        return matrix

    def token_vectors(self, text: str) -> Matrix:
        """Return the vector of each token of ``text``, (tokens, width), before they are pooled."""
        self._put_in_place()
        with described_faults(self.spec), text_failures(self.spec, [text]):  # the first pass of a model, in its check
            self._refuse_beyond([text])
            kind = {"output_value": "token_embeddings", "show_progress_bar": False}
            vectors = self.model.encode([text], prompt=self.spec.prompt, **kind)
            return np.asarray(vectors[0].float().cpu().numpy())

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return what the model reads of each text: prompt and special tokens included, cut at its limit."""
        prompted = [self.spec.prompt + text for text in texts]
        tokenizer, limit = self.model.tokenizer, self.max_tokens
        with text_failures(self.spec, texts):
            if not callable(tokenizer):  # a static model's tokenizer is the bare Rust one
                return [one.ids[:limit] for one in tokenizer.encode_batch(prompted)]
            ids: list[list[int]] = tokenizer(prompted, truncation=limit is not None, max_length=limit)["input_ids"]
        return ids

    def _put_in_place(self, progress: Progress = silent) -> None:
        if self.swapper is not None:
            self.swapper.show(self.spec.weights, progress)
        elif self.spec.weights != origin_of(self.spec.weights):
            raise ValueError(f"{self.spec.name} was loaded without what changes its weights")

    def _halving(self, texts: list[str]) -> Matrix:
        """Return the rows of ``texts``; what does not fit at once is split until it does."""
        cut = self._cut(texts)
        if self._halved and len(parts := token_batches(self._lengths(cut), budget=self.budget)) > 1:
            return self._in_parts(texts, parts)
        try:
            with text_failures(self.spec, texts):
                return self._forward(cut)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        self._empty_cache()  # after the failed call's tensors have gone with its error
        lengths = self._lengths(cut)
        if len(texts) == 1:
            raise TooLarge(
                f"One text of {lengths[0]:,} tokens does not fit into the memory of this machine together with "
                f"{self.spec.name}. Choose fewer terms per sequence, a smaller model or a machine with more memory."
            )
        self.budget, self._halved = max(1, len(texts) * max(lengths) // 2), True
        return self._in_parts(texts, token_batches(lengths, budget=self.budget))

    def _in_parts(self, texts: list[str], parts: list[list[int]]) -> Matrix:
        rows = [self._halving([texts[i] for i in part]) for part in parts]
        order = np.argsort([i for part in parts for i in part], kind="stable")
        return np.concatenate(rows)[order]

    def _forward(self, texts: list[str]) -> Matrix:
        self._refuse_beyond(texts)
        vectors = self.model.encode(texts, batch_size=len(texts), prompt=self.spec.prompt, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)

    def _refuse_beyond(self, texts: Sequence[str]) -> None:
        if self._rows is not None:
            refuse_beyond(self.token_ids(texts), self._rows)

    def _first_budget(self) -> int:
        """Return how many padded tokens a batch may have, from the memory that is free beside the weights."""
        if self.device == "cpu":
            return BATCH_TOKENS
        import torch

        transformer = transformer_of(self.model)
        width = transformer.get_embedding_dimension() if transformer is not None else 1_024
        free = torch.cuda.mem_get_info()[0] if self.device == "cuda" else 4 << 30
        return int(min(MOST_BATCH_TOKENS, max(BATCH_TOKENS, free // 2 // (_BYTES_PER_TOKEN_AND_WIDTH * width))))

    def _empty_cache(self) -> None:
        gc.collect()
        if self.device != "cpu":
            import torch

            (torch.cuda if self.device == "cuda" else torch.mps).empty_cache()

    @property
    def max_tokens(self) -> int | None:
        """The most tokens that it reads of a text; None where nothing ends it."""
        limit = self.model.max_seq_length
        return None if limit is None or limit >= NO_LIMIT else int(limit)  # a static model says infinity

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self.token_ids(self._cut(texts))]

    def _length_alone(self, text: str) -> int:
        try:
            return self._lengths([text])[0]
        except TextFailed:
            return self.budget

    def _cut(self, texts: Sequence[str]) -> list[str]:
        """Return the texts without the part that the model's window cuts off anyway.

        Tokenisers split at white space first, so a text cut there has the same first tokens. A cut that
        turns out too short (one token may stand for a hundred digits) is made twice as long.
        """
        limit = self.max_tokens
        if limit is None:
            return list(texts)
        cut = list(texts)
        pending, chars = [i for i, text in enumerate(texts) if len(text) > limit * _CUT_CHARS_PER_TOKEN], limit
        while pending:
            chars *= _CUT_CHARS_PER_TOKEN if chars == limit else 2
            for i in pending:
                place = _PLACE_TO_CUT.search(texts[i], chars)
                cut[i] = texts[i][: place.start()] if place else texts[i]
            lengths = [len(ids) for ids in self.token_ids([cut[i] for i in pending])]
            pending = [i for i, n in zip(pending, lengths, strict=True) if n < limit and len(cut[i]) < len(texts[i])]
        return cut


class LoadedModel:
    """At most one model in memory: the old one is freed before the next is loaded."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._encoder: Encoder | None = None
        self._key, self._shared_key = "", ""
        self.load_seconds = 0.0  # what the present encoder took to load; 0 where another prompt's weights were there

    def get(self, spec: ModelSpec, progress: Progress = silent) -> Encoder:
        """Return the encoder of ``spec``, loaded where it is not the present one; ``progress`` counts its files' bytes.

        A model on this machine stays in memory where only the prompt is another, or an adapter or merge made of it.
        """
        stored = spec.stored
        key, shared, began = stored.key, _shared_key(stored), time.monotonic()
        if self._encoder is not None and self._key == key:
            return self._encoder
        if self._shared_key == shared and isinstance(self._encoder, SentenceEncoder):
            same_weights = self._encoder.spec.weights == stored.weights
            self._encoder = self._encoder.of_related(stored, progress)
            self.load_seconds = 0.0 if same_weights else time.monotonic() - began
        else:
            self.free()
            runner = spec.weights.runner
            folder = None if runner == "endpoint" else folder_of(spec, self._settings, progress=progress)
            progress(0, 1, "load")
            began = time.monotonic()
            self._encoder = ENCODERS[runner](stored, folder, self._settings, progress)
            self.load_seconds = time.monotonic() - began
        self._key, self._shared_key = key, shared
        return self._encoder

    def read_ahead(self, spec: ModelSpec) -> threading.Thread | None:
        """Read the files of ``spec`` into the system's cache beside the present work; loading finds them there."""
        try:
            folder = known_folder(spec.weights, self._settings)
        except ModelUnavailable:  # that model will say so itself when its turn comes
            return None
        if folder is None or self._shared_key == _shared_key(spec.stored):
            return None
        thread = threading.Thread(target=_read_files, args=(folder,), name="numembed-read-ahead", daemon=True)
        thread.start()
        return thread

    def free(self) -> None:
        """Give the memory of the present model back to the system."""
        self._encoder, self._key, self._shared_key = None, "", ""
        gc.collect()  # also of a model that failed its check: its parts hold each other
        give_back_memory()


def _of_files(spec: ModelSpec, folder: Path | None, settings: Settings, progress: Progress) -> Encoder:
    assert folder is not None
    swapper = WeightSwapper(spec, folder, settings)
    swapper.prepare(spec.weights, progress)  # refuses what does not fit before any weight is read
    device, facts, held = settings.device, facts_of(spec), partial(compare, home=settings.home)
    return SentenceEncoder(spec, folder, device=device, facts=facts, swapper=swapper, progress=progress, compare=held)


def _of_endpoint(spec: ModelSpec, folder: Path | None, settings: Settings, progress: Progress) -> Encoder:
    assert isinstance(spec.weights, RemoteWeights)
    return EndpointEncoder(spec, endpoint_of(spec.weights, settings))  # a sentence where it has been taken away


def _for_related(check: ModelCheck, spec: ModelSpec) -> tuple[Finding, ...]:
    """Return what is wrong for all models that share the memory of a loaded one: it computes otherwise than before."""
    wrong = [one for one in check.findings if one.name == REFERENCE and one.ok is False]
    words = f"{spec.name}, with which it shares its computation, failed when it was loaded. "
    return tuple(replace(one, sentence=words + one.sentence) for one in wrong)


def _shared_key(spec: ModelSpec) -> str:
    """Return the key of what stays in memory for other prompts, adapters and merges."""
    recipe = replace(spec.loading, unprompted=False)
    return replace(spec, prompt="", weights=origin_of(spec.weights), loading=recipe).key


def _read_files(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for file in folder.rglob("*.safetensors"):
            with file.open("rb", buffering=0) as opened:
                while opened.read(_READ_BYTES):
                    pass


ENCODERS: Mapping[str, Callable[[ModelSpec, Path | None, Settings, Progress], Encoder]] = {
    "files": _of_files,
    "endpoint": _of_endpoint,
}
"""How a model is loaded, by what runs it; a formula needs no encoder."""
