"""Vectors from the operator's own endpoints: the API of OpenAI and that of text-embeddings-inference (TEI)."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from numembed.core.arrays import Matrix
from numembed.core.errors import BadChoice, RemoteFailed, TextFailed
from numembed.core.settings import Endpoint
from numembed.core.wording import plural
from numembed.models.encoders.endpoint_answers import Refused, cut_before, excerpt, failed, share_read
from numembed.models.encoders.endpoint_requests import Connection, connected, quiet_libraries, request_vectors
from numembed.models.encoders.interface import CUT, Finding, ModelCheck
from numembed.models.spec import ModelSpec, RemoteWeights

_log = logging.getLogger(__name__)
T = TypeVar("T")
Row = NDArray[np.float32]

_CONTROL = "1, 2"  # a text that every server takes
_MOST_CUTS, _CUTS_BY_TOKENS = 24, 4  # tries for one text, and how many of them follow what the server says
_FEWEST_CHARS = 8  # of a text that is still worth a vector


@dataclass
class _Learned:
    """What the answers of a server have shown: how it is asked. No vector depends on it."""

    batch_texts: int
    format_named: bool = True  # encoding_format is part of the request
    alone_from: float = math.inf  # texts of so many characters are asked for alone: one was too long
    singled_out: int = 0  # texts that were refused alone
    cut: dict[int, tuple[int, int]] = field(default_factory=dict)  # by text: characters kept, and all of them


class EndpointEncoder:
    """An ``Encoder`` over HTTP; its messages hold the endpoint's name, never its url or key."""

    def __init__(self, spec: ModelSpec, endpoint: Endpoint) -> None:
        if spec.weights != RemoteWeights(endpoint.name, endpoint.url, endpoint.model):
            changed = f"{spec.name} was chosen when endpoint {endpoint.name!r} had another url or model."
            raise BadChoice(f"{changed} Choose it again: its vectors are kept apart from the earlier ones.")
        self.spec, self._endpoint, self._dimension = spec, endpoint, endpoint.dimension
        self.device, self.parameters = endpoint.name, 0
        self._learned = _Learned(endpoint.batch_texts)
        self._kept: dict[str, Row | TextFailed] = {}  # what a batch with a refused text has given so far

    @property
    def check(self) -> ModelCheck:
        """What can be told about a server; texts that it was sent shortened are a part of it."""
        words = f"Endpoint {self._endpoint.name!r} returns vectors only: each answer is checked, its weights cannot be."
        findings = (Finding("endpoint", None, words),)
        return ModelCheck((*findings, Finding(CUT, None, self._cut_sentence)) if self._learned.cut else findings)

    @property
    def _cut_sentence(self) -> str:
        cut = self._learned.cut
        least, of = min(cut.values())
        texts = plural(len(cut), "text is longer than it reads and was", "texts are longer than it reads and were")
        name = f"Endpoint {self._endpoint.name!r}"
        return f"{name}: {texts} sent without the end, the shortest with {least:,} of {of:,} characters."

    def batches(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the indices of ``texts``, shortest first, in batches that are one round of concurrent requests."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        size = self._endpoint.batch_texts * self._endpoint.concurrency
        return [order[start : start + size] for start in range(0, len(order), size)]

    def encode(self, texts: Sequence[str]) -> Matrix:
        """Return one row a text, (n, d).

        A request with too many texts is halved, a text that is too long is cut; ``check`` tells of the latter. Raises
        :class:`TextFailed` where the server takes other texts and refuses one for good: the vectors of the others are
        kept until they are asked for again, so that they cost no request. Raises :class:`RemoteFailed` where nothing
        comes, or something that is no vector.
        """
        if not texts:
            return np.zeros((0, self._dimension or 0), dtype=np.float32)
        unknown = [text for text in dict.fromkeys(texts) if text not in self._kept]
        try:
            if unknown:
                with quiet_libraries():
                    rows = _apart(_round(self._endpoint, self._learned, self.spec.prompt, unknown, self._dimension))
                self._kept |= dict(zip(unknown, rows, strict=True))
            return self._matrix(texts)
        except RemoteFailed:
            self._kept.clear()
            raise

    def _matrix(self, texts: Sequence[str]) -> Matrix:
        """Return the rows that are known of ``texts``, which are kept no longer; raise where one has none."""
        found = [self._kept[text] for text in texts]
        if failure := next((one for one in found if isinstance(one, TextFailed)), None):
            if len(texts) == 1:
                del self._kept[texts[0]]
            raise failure
        rows = [one for one in found if not isinstance(one, TextFailed)]
        if len(widths := sorted({len(row) for row in rows})) > 1:
            raise failed(self._endpoint, f"answered with vectors of {widths[0]} and of {widths[1]} dimensions.")
        self._dimension = widths[0]
        for text in texts:
            self._kept.pop(text, None)
        return np.stack(rows)


def _apart(work: Coroutine[Any, Any, T]) -> T:
    """Return what ``work`` gives, run in a thread of its own: this one may have an event loop, as in a notebook."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _round(
    endpoint: Endpoint, learned: _Learned, prompt: str, texts: list[str], dimension: int | None
) -> list[Row | TextFailed]:
    """Return a row or a failure for each text; the first failure of the server cancels the requests on their way."""
    cut_before_now = len(learned.cut)
    try:
        async with connected(endpoint) as shared, asyncio.TaskGroup() as group:
            asked = _Round(shared, learned, prompt, dimension)
            tasks = [group.create_task(asked.rows(chunk)) for chunk in asked.chunks(texts)]
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
    if len(learned.cut) > cut_before_now:
        level = logging.INFO if cut_before_now else logging.WARNING
        _log.log(level, "Endpoint %r refuses texts beyond its limit: they are sent without their end", endpoint.name)
    return [row for task in tasks for row in task.result()]


class _Round:
    """The requests of one batch, halved and cut until the server takes them."""

    def __init__(self, shared: Connection, learned: _Learned, prompt: str, dimension: int | None) -> None:
        self._shared, self._learned, self._prompt, self._dimension = shared, learned, prompt, dimension
        self._asking_control, self._takes_control = asyncio.Lock(), False

    def chunks(self, texts: list[str]) -> list[list[str]]:
        """Return the texts in requests; those that may be too long have one each, and the others need no halving."""
        size, alone = self._learned.batch_texts, self._learned.alone_from
        chunks: list[list[str]] = []
        for text in texts:
            if not chunks or len(chunks[-1]) >= size or len(text) >= alone or len(chunks[-1][-1]) >= alone:
                chunks.append([])
            chunks[-1].append(text)
        return chunks

    async def rows(self, texts: list[str]) -> list[Row | TextFailed]:
        """Return a row or a failure for each text: a refused request is halved, down to single texts.

        Whether the request or its size is at fault is told by a short text of its own, once a batch. Where each half
        of a request is taken as it is, later requests are as small.
        """
        named = self._learned.format_named
        try:
            return list(await self._request(texts))
        except Refused as error:
            refused = error
        if named and "encoding_format" in refused.words:
            self._learned.format_named = False
            return await self.rows(texts)
        await self._ask_control()
        if len(texts) == 1:
            return [await self._shortened(texts[0], refused)]
        middle, before = (len(texts) + 1) // 2, self._learned.singled_out
        halves = [await self.rows(half) for half in (texts[:middle], texts[middle:])]
        if self._learned.singled_out == before and middle < self._learned.batch_texts:
            self._learned.batch_texts = middle
            name = self._shared.endpoint.name
            _log.info("Endpoint %r refuses %d texts at once and takes %d: see batch_texts", name, len(texts), middle)
        return [row for half in halves for row in half]

    async def _ask_control(self) -> None:
        """Raise RemoteFailed in the server's words where it refuses one short text as well; until then others wait."""
        async with self._asking_control:
            if not self._takes_control:
                self._shared.open.clear()
                try:
                    await self._request([_CONTROL], self._shared.first())
                except Refused as refused:
                    raise RemoteFailed(refused.sentence) from None
                self._shared.open.set()
                self._takes_control = True

    async def _shortened(self, text: str, refused: Refused) -> Row | TextFailed:
        """Return the row of the beginning of ``text`` that the server takes first, in a series of ever shorter ones.

        The series depends on the text and the server's answers to it alone, never on other texts: a stored vector must
        be the same whichever texts were in the run. Hence no limit is carried over from one text to the next.
        """
        self._learned.singled_out += 1
        sent, least = self._prompt + text, len(self._prompt)
        for attempt in range(_MOST_CUTS if refused.about_size else 0):
            share = share_read(refused.words, len(sent)) if attempt < _CUTS_BY_TOKENS else 0.5
            sent = cut_before(sent, int(len(sent) * share), least=least)
            if len(sent) < least + _FEWEST_CHARS:
                break
            try:
                row: Row = (await self._request([sent[least:]]))[0]
            except Refused as again:
                refused = again
                continue
            self._learned.alone_from = min(self._learned.alone_from, len(text))
            self._learned.cut[hash(text)] = len(sent) - least, len(text)
            return row
        endpoint = self._shared.endpoint
        what = f"(status {refused.status}) refuses the text {text[:40]!r} of {len(text):,} characters and takes others."
        return TextFailed(str(failed(endpoint, what)) + excerpt(endpoint, refused.words))

    async def _request(self, texts: list[str], shared: Connection | None = None) -> Matrix:
        prompted = [self._prompt + text for text in texts]
        named = self._learned.format_named
        return await request_vectors(shared or self._shared, prompted, self._dimension, format_named=named)
