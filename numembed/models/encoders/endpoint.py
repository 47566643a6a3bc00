"""Vectors from the operator's own endpoints: the API of OpenAI and that of text-embeddings-inference (TEI)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import re
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic  # the event loop's clock
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from numembed.core.arrays import Matrix
from numembed.core.certificates import certificates
from numembed.core.errors import BadChoice, RemoteFailed
from numembed.core.settings import Endpoint
from numembed.models.encoders.checks import Finding, ModelCheck
from numembed.models.hub.client import is_untrusted
from numembed.models.spec import ModelSpec, RemoteWeights

if TYPE_CHECKING:
    import httpx2

_log = logging.getLogger(__name__)
T = TypeVar("T")

_MOST_BYTES = 64 * 2**20  # of one answer
_PASSING = frozenset({429, 500, 502, 503, 504})  # tried again while the budget lasts
_FIRST_WAIT, _MOST_WAIT = 0.25, 20.0  # seconds before the request is sent again
_REFUSED = {
    404: "does not know this url or model. Check both in operator.toml.",
    413: "rejected a request as too large. Set batch_texts lower in operator.toml.",
}
_ERROR_BYTES, _EXCERPT_CHARS, _PIECE_CHARS = 4_096, 160, 8
_UNQUOTED = re.compile(r"<[^>]*>|[^\w .,:;'()=-]+")  # markup and the signs that make it
_LOUD = ("httpx2", "httpcore2.connection", "httpcore2.http11")


class EndpointEncoder:
    """An ``Encoder`` over HTTP; its messages hold the endpoint's name, never its url or key."""

    def __init__(self, spec: ModelSpec, endpoint: Endpoint) -> None:
        if spec.weights != RemoteWeights(endpoint.name, endpoint.url, endpoint.model):
            changed = f"{spec.name} was chosen when endpoint {endpoint.name!r} had another url or model."
            raise BadChoice(f"{changed} Choose it again: its vectors are kept apart from the earlier ones.")
        self.spec, self._endpoint, self._dimension = spec, endpoint, endpoint.dimension
        self.device, self.parameters = endpoint.name, 0
        words = f"Endpoint {endpoint.name!r} returns vectors only: each answer is checked, its weights cannot be."
        self.check = ModelCheck((Finding("endpoint", None, words),))

    def batches(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the indices of ``texts``, shortest first, in batches that are one round of concurrent requests."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        size = self._endpoint.batch_texts * self._endpoint.concurrency
        return [order[start : start + size] for start in range(0, len(order), size)]

    def encode(self, texts: Sequence[str]) -> Matrix:
        """Return one row a text, (n, d); raise :class:`RemoteFailed` where one request fails for good."""
        if not texts:
            return np.zeros((0, self._dimension or 0), dtype=np.float32)
        with _quiet_libraries():
            parts = _apart(self._round([self.spec.prompt + text for text in texts]))
        if len(widths := sorted({part.shape[1] for part in parts})) > 1:
            raise _failed(self._endpoint, f"answered with vectors of {widths[0]} and of {widths[1]} dimensions.")
        self._dimension = widths[0]
        return np.concatenate(parts)

    async def _round(self, texts: list[str]) -> list[Matrix]:
        """Return one matrix a request; the first failure cancels the requests still on their way."""
        import httpx2

        endpoint, size = self._endpoint, self._endpoint.batch_texts
        chunks = [texts[start : start + size] for start in range(0, len(texts), size)]
        slots, deadline = asyncio.Semaphore(endpoint.concurrency), monotonic() + endpoint.budget_seconds
        tls = certificates(of_environment=False)
        async with httpx2.AsyncClient(headers=_headers(endpoint), timeout=None, trust_env=False, verify=tls) as client:
            try:
                shared = _Round(endpoint, client, slots, deadline)
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(_vectors(shared, chunk, self._dimension)) for chunk in chunks]
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from None
        return [task.result() for task in tasks]


def _apart(work: Coroutine[Any, Any, T]) -> T:
    """Return what ``work`` gives, run in a thread of its own: this one may have an event loop, as in a notebook."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


class _Passing(Exception):
    """Something that may be over at the next try; ``wait_seconds`` is what the server asks for."""

    def __init__(self, endpoint: Endpoint, sentence: str, wait_seconds: float = 0.0) -> None:
        super().__init__(f"Endpoint {endpoint.name!r} {sentence}")
        self.wait_seconds = wait_seconds


class _Round(NamedTuple):
    """What the requests of one batch share."""

    endpoint: Endpoint
    client: httpx2.AsyncClient
    slots: asyncio.Semaphore
    deadline: float


def _failed(endpoint: Endpoint, sentence: str) -> RemoteFailed:
    return RemoteFailed(f"Endpoint {endpoint.name!r} {sentence}")


async def _vectors(shared: _Round, texts: list[str], dimension: int | None) -> Matrix:
    """Return the vectors of one request, repeated while the error may be temporary.

    The waits grow and are at least what the server asks for; none ends after the budget.
    """
    growing, trouble = _FIRST_WAIT, None
    while True:
        try:
            content = await _answer(shared, texts)
            return _matrix(shared.endpoint, content, len(texts), dimension)
        except _Passing as passing:
            if trouble is None or monotonic() < shared.deadline:  # else it was cut off, which tells nothing new
                trouble = passing
        wait_seconds = max(min(growing + random.uniform(0, _FIRST_WAIT), _MOST_WAIT), trouble.wait_seconds)
        if monotonic() + wait_seconds >= shared.deadline:
            raise _gave_up(shared.endpoint, trouble, shared.deadline - monotonic())
        _log.info("%s; trying again in %.1f s", trouble, wait_seconds)
        await asyncio.sleep(wait_seconds)
        growing = min(2 * growing, _MOST_WAIT)


async def _answer(shared: _Round, texts: list[str]) -> bytes:
    """Return the body of a good answer to one request; what may pass is raised as ``_Passing``."""
    import httpx2

    endpoint, client, slots, deadline = shared
    if endpoint.kind == "tei":
        path, requested = "/embed", {"inputs": texts, "truncate": True}
    else:
        path, requested = "/embeddings", {"model": endpoint.model, "input": texts, "encoding_format": "float"}
    async with slots:
        try:  # httpx2's own timeouts start anew with every byte, so a dripping server would never end
            async with (
                asyncio.timeout_at(min(deadline, monotonic() + endpoint.timeout_seconds)),
                client.stream("POST", endpoint.url + path, content=json.dumps(requested).encode()) as answer,
            ):
                content = await _read(endpoint, answer)
        except TimeoutError:
            raise _Passing(endpoint, "did not answer completely in time") from None
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            raise _lost(endpoint, error) from None  # the library's message may quote what the server sent
    if not answer.is_success:
        raise _refused(endpoint, answer.status_code, content, answer.headers.get("retry-after", ""))
    return content


def _headers(endpoint: Endpoint) -> dict[str, str]:
    headers = {"content-type": "application/json", "accept": "application/json", "accept-encoding": "identity"}
    if endpoint.key and not re.fullmatch(r"[\x21-\x7e]+", endpoint.key):  # h11 would quote it in its message
        raise _failed(endpoint, "has a key with spaces or characters that a request cannot contain. Set the key again.")
    return headers | ({"authorization": f"Bearer {endpoint.key}"} if endpoint.key else {})


@contextlib.contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keep httpx2 and httpcore2 from logging urls and the answers' headers, where a server may echo the key."""

    def is_warning(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING

    with contextlib.ExitStack() as afterwards:
        for logger in map(logging.getLogger, _LOUD):
            logger.addFilter(is_warning)
            afterwards.callback(logger.removeFilter, is_warning)
        yield


def _gave_up(endpoint: Endpoint, last: _Passing, left_seconds: float) -> RemoteFailed:
    budget = f"the batch's {endpoint.budget_seconds:g} s"
    if last.wait_seconds >= left_seconds > 0:
        wait = f"asks to wait {last.wait_seconds:,.0f} s, but {left_seconds:,.0f} s are left of {budget}"
        return RemoteFailed(f"{last} and {wait}. Run again later, or raise budget_seconds in operator.toml.")
    return RemoteFailed(f"{last}, repeatedly until {budget} had passed. Check the server, then run again.")


def _lost(endpoint: Endpoint, error: Exception) -> Exception:
    """Return what to raise where no whole answer came."""
    import httpx2

    if is_untrusted(error):
        return _failed(endpoint, "shows a certificate that cannot be verified. Check url in operator.toml.")
    if isinstance(error, httpx2.TransportError):
        met = not isinstance(error, httpx2.ConnectError)
        return _Passing(endpoint, "closed the connection" if met else "cannot be reached")
    return _failed(endpoint, "does not speak HTTP as expected. Check url in operator.toml.")


def _refused(endpoint: Endpoint, status: int, content: bytes, retry_after: str) -> Exception:
    """Return what to raise for an answer with a status that is no success."""
    if status in _PASSING:
        return _Passing(endpoint, f"answered with status {status}", _wait_seconds(retry_after))
    if status in (401, 403):  # the server's words are left out: some quote a part of the key
        sentence = f"{'refused the' if endpoint.key else 'requires a'} key. Check key_env and the variable it names."
    elif 300 <= status < 400:
        sentence = "redirects to another address, which is not followed. Set url in operator.toml to that address."
    else:
        sentence = _REFUSED.get(status, "refused the request. Check kind and model.") + _excerpt(endpoint, content)
    return _failed(endpoint, f"(status {status}) {sentence}")


def _wait_seconds(retry_after: str) -> float:
    """Return the seconds that a Retry-After header asks for, 0 where it asks for none that can be read."""
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", retry_after.strip()):
        return float(retry_after)
    try:
        until = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return 0.0
    return max((until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)


def _excerpt(endpoint: Endpoint, content: bytes) -> str:
    """Return the first words of an answer as the end of a message: no markup, no links and nothing of the key."""
    text = content[:_ERROR_BYTES].decode("utf-8", "replace").replace(endpoint.key or "\0", "(secret)")
    text, key = (" ".join(_UNQUOTED.sub(" ", each).split()) for each in (text, endpoint.key))
    pieces = {key[start : start + _PIECE_CHARS] for start in range(max(len(key) - _PIECE_CHARS, 0) + 1)}
    if not text or (key and any(piece in text for piece in pieces)):  # the key was cut off or written with escapes
        return ""
    return f" It said: {text[:_EXCERPT_CHARS]}"


async def _read(endpoint: Endpoint, answer: httpx2.Response) -> bytes:
    """Return the body of an answer, or the beginning of one that is no success."""
    content = bytearray()
    async for piece in answer.aiter_bytes():
        content += piece
        if not answer.is_success and len(content) > _ERROR_BYTES:
            break
        if len(content) > _MOST_BYTES:
            raise _failed(endpoint, f"answered with more than {_MOST_BYTES >> 20} MiB. Set batch_texts lower.")
    return bytes(content)


def _matrix(endpoint: Endpoint, content: bytes, count: int, dimension: int | None) -> Matrix:
    """Return the answer as (count, d), or raise with what is wrong in it; such a request is not repeated."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        what = "a web page" if content.lstrip()[:1] == b"<" else "something that is not JSON"
        raise _failed(endpoint, f"answered with {what}. Check url in operator.toml.") from None
    rows = answer if endpoint.kind == "tei" else _rows_by_index(endpoint, answer, count)
    if not isinstance(rows, list):
        raise _failed(endpoint, f"did not answer with a list of vectors. Is its kind {endpoint.kind}?")
    if len(rows) != count:
        raise _failed(endpoint, f"answered with {len(rows):,} vectors for {count:,} texts.")
    matrix = _numbers(endpoint, rows)
    if dimension is not None and matrix.shape[1] != dimension:
        raise _failed(endpoint, f"answered with vectors of {matrix.shape[1]} dimensions; {dimension} were expected.")
    return matrix


def _rows_by_index(endpoint: Endpoint, answer: Any, count: int) -> list[Any] | None:
    """Return the vectors in the order of their indices, which need not be the order they come in."""
    items = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return None
    if len(items) != count:
        return items
    placed = {item.get("index"): item.get("embedding") for item in items if type(item.get("index")) is int}
    if placed.keys() != set(range(count)):
        raise _failed(endpoint, "numbered its vectors wrongly: an index is missing, given twice or out of range.")
    return [placed[index] for index in range(count)]


def _numbers(endpoint: Endpoint, rows: list[Any]) -> Matrix:
    if not all(isinstance(row, list) and row and set(map(type, row)) <= {int, float} for row in rows):
        raise _failed(endpoint, "answered with a vector that is empty or contains something that is not a number.")
    if len({len(row) for row in rows}) > 1:
        raise _failed(endpoint, "answered with vectors of different dimensions.")
    matrix = np.full((1, 1), np.inf, dtype=np.float32)  # stands for integers of hundreds of digits
    with np.errstate(over="ignore"), contextlib.suppress(OverflowError):
        matrix = np.array(rows, dtype=np.float64).astype(np.float32)
    if not np.isfinite(matrix).all():
        raise _failed(endpoint, "returned numbers that are not finite.")
    if not matrix.any(axis=1).all():
        raise _failed(endpoint, "answered with a vector of length zero, which has no direction to compare.")
    return matrix
