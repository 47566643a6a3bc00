"""A loaded model: texts in, vectors out, in token-sorted batches that fit the processor."""

from __future__ import annotations

import copy
import gc
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from numembed.core.arrays import Matrix
from numembed.core.errors import NonFiniteVectors, TextFailed, TooLarge
from numembed.core.progress import Progress, silent
from numembed.models.catalogue.entries import Row
from numembed.models.encoders.checks import TEXTS, check_model, check_related
from numembed.models.encoders.failures import readable, refuse_beyond, text_failures
from numembed.models.encoders.interface import REFERENCE, Comparison, Finding, ModelCheck
from numembed.models.encoders.references import LONG
from numembed.models.encoders.tokens import BATCH_TOKENS, refuse_endless, token_batches
from numembed.models.encoders.weight_swap import WeightSwapper
from numembed.models.files.architectures import NO_LIMIT
from numembed.models.loading.devices import device_of
from numembed.models.loading.loader import described_faults, is_out_of_memory, load, transformer_of
from numembed.models.loading.padding import exceeded_rows
from numembed.models.spec import ModelSpec, origin_of

MOST_BATCH_TOKENS = 65_536  # on a graphics card
_BYTES_PER_TOKEN_AND_WIDTH = 100  # what one token takes on the way through a layer, for each number of its vector
_CUT_CHARS_PER_TOKEN = 8  # first guess when a long text is cut before tokenising; doubled until it is enough
_PLACE_TO_CUT = re.compile(r"(?<=\S) ")  # before all of several spaces: tokenisers disagree about what is left of them
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
        self.put_in_place(progress)
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
        other.put_in_place(progress)
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
        self.put_in_place()
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
        self.put_in_place()
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

    def put_in_place(self, progress: Progress = silent) -> None:
        """Bring this encoder's own weights into the memory that it shares with related ones."""
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


def _for_related(check: ModelCheck, spec: ModelSpec) -> tuple[Finding, ...]:
    """Return what is wrong for all models that share the memory of a loaded one: it computes otherwise than before."""
    wrong = [one for one in check.findings if one.name == REFERENCE and one.ok is False]
    words = f"{spec.name}, with which it shares its computation, failed when it was loaded. "
    return tuple(replace(one, sentence=words + one.sentence) for one in wrong)
