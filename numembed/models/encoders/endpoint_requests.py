"""One request to an endpoint, repeated while its error may pass; what the server says is told without the key."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic  # the event loop's clock
from typing import TYPE_CHECKING, Any, NamedTuple

from numembed.core.arrays import Matrix
from numembed.core.certificates import certificates
from numembed.core.errors import RemoteFailed
from numembed.core.settings import Endpoint
from numembed.models.encoders.endpoint_answers import (
    ERROR_BYTES,
    Refused,
    excerpt,
    failed,
    is_about_size,
    matrix_of,
    words_of,
)
from numembed.models.hub.client import is_untrusted

if TYPE_CHECKING:
    import httpx2

_log = logging.getLogger(__name__)

_MOST_BYTES = 64 * 2**20  # of one answer
_PASSING = frozenset({429, 500, 502, 503, 504})  # tried again while the budget lasts
_REFUSING = frozenset({400, 413, 422})  # what servers answer to too many or too long texts, and to wrong parameters
_FIRST_WAIT, _MOST_WAIT = 0.25, 20.0  # seconds before the request is sent again
_REFUSED = {
    404: "does not know this url or model. Check both in operator.toml.",
    413: "rejected even one short text as too large. Check the limits of the server.",
}
_LOUD = ("httpx2", "httpcore2.connection", "httpcore2.http11")


class Connection(NamedTuple):
    """What the requests of one batch share."""

    endpoint: Endpoint
    client: httpx2.AsyncClient
    slots: asyncio.Semaphore  # so many requests at a time
    open: asyncio.Event  # while it is not set, no request is sent

    def first(self) -> Connection:
        """Return the connection for one request that goes before all that wait."""
        gate = asyncio.Event()
        gate.set()
        return self._replace(slots=asyncio.Semaphore(1), open=gate)


class _Passing(Exception):
    """Something that may be over at the next try; ``wait_seconds`` is what the server asks for."""

    def __init__(self, endpoint: Endpoint, sentence: str, wait_seconds: float = 0.0) -> None:
        super().__init__(f"Endpoint {endpoint.name!r} {sentence}")
        self.wait_seconds = wait_seconds


@contextlib.asynccontextmanager
async def connected(endpoint: Endpoint) -> AsyncIterator[Connection]:
    """Give a connection: no proxy and no login of the environment, but its certificates."""
    import httpx2

    tls, headers = certificates(), _headers(endpoint)
    async with httpx2.AsyncClient(headers=headers, timeout=None, trust_env=False, verify=tls) as client:
        shared = Connection(endpoint, client, asyncio.Semaphore(endpoint.concurrency), asyncio.Event())
        shared.open.set()
        yield shared


async def request_vectors(
    shared: Connection, texts: list[str], dimension: int | None, *, format_named: bool = True
) -> Matrix:
    """Return the vectors of one request, repeated while the error may be temporary.

    The waits grow and are at least what the server asks for; none ends after the budget, which begins when the request
    is sent first. Raises ``Refused`` where fewer or shorter texts may help, RemoteFailed where nothing does.
    """
    endpoint = shared.endpoint
    growing, trouble, deadline = _FIRST_WAIT, None, 0.0
    while True:
        async with shared.slots:
            await shared.open.wait()
            deadline = deadline or monotonic() + endpoint.budget_seconds
            try:
                content = await _answer(shared, texts, deadline, format_named)
                return matrix_of(endpoint, content, len(texts), dimension)
            except _Passing as passing:
                if trouble is None or monotonic() < deadline:  # else it was cut off, which tells nothing new
                    trouble = passing
        wait_seconds = max(min(growing + random.uniform(0, _FIRST_WAIT), _MOST_WAIT), trouble.wait_seconds)
        if monotonic() + wait_seconds >= deadline:
            raise _gave_up(endpoint, trouble, deadline - monotonic())
        _log.info("%s; trying again in %.1f s", trouble, wait_seconds)
        await asyncio.sleep(wait_seconds)
        growing = min(2 * growing, _MOST_WAIT)


async def _answer(shared: Connection, texts: list[str], deadline: float, format_named: bool) -> bytes:
    """Return the body of a good answer to one request; what may pass is raised as ``_Passing``."""
    import httpx2

    endpoint = shared.endpoint
    path, requested = _question(endpoint, texts, format_named)
    try:  # httpx2's own timeouts start anew with every byte, so a dripping server would never end
        async with (
            asyncio.timeout_at(min(deadline, monotonic() + endpoint.timeout_seconds)),
            shared.client.stream("POST", endpoint.url + path, content=json.dumps(requested).encode()) as answer,
        ):
            content = await _read(endpoint, answer)
    except TimeoutError:
        raise _Passing(endpoint, "did not answer completely in time") from None
    except (httpx2.RequestError, httpx2.InvalidURL) as error:
        raise _lost(endpoint, error) from None  # the library's message may quote what the server sent
    if not answer.is_success:
        raise _refused(endpoint, answer.status_code, content, answer.headers.get("retry-after", ""))
    return content


def _question(endpoint: Endpoint, texts: list[str], format_named: bool) -> tuple[str, dict[str, Any]]:
    if endpoint.kind == "tei":
        return "/embed", {"inputs": texts, "truncate": True}
    named = {"encoding_format": "float"} if format_named else {}
    return "/embeddings", {"model": endpoint.model, "input": texts, **named}


def _headers(endpoint: Endpoint) -> dict[str, str]:
    headers = {"content-type": "application/json", "accept": "application/json", "accept-encoding": "identity"}
    if endpoint.key and not re.fullmatch(r"[\x21-\x7e]+", endpoint.key):  # h11 would quote it in its message
        raise failed(endpoint, "has a key with spaces or characters that a request cannot contain. Set the key again.")
    return headers | ({"authorization": f"Bearer {endpoint.key}"} if endpoint.key else {})


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep httpx2 and httpcore2 from logging urls and the answers' headers, where a server may echo the key."""

    def is_warning(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING

    with contextlib.ExitStack() as afterwards:
        for logger in map(logging.getLogger, _LOUD):
            logger.addFilter(is_warning)
            afterwards.callback(logger.removeFilter, is_warning)
        yield


def _gave_up(endpoint: Endpoint, last: _Passing, left_seconds: float) -> RemoteFailed:
    budget = f"the request's {endpoint.budget_seconds:g} s"
    if last.wait_seconds >= left_seconds > 0:
        wait = f"asks to wait {last.wait_seconds:,.0f} s, but {left_seconds:,.0f} s are left of {budget}"
        return RemoteFailed(f"{last} and {wait}. Run again later, or raise budget_seconds in operator.toml.")
    return RemoteFailed(f"{last}, repeatedly until {budget} had passed. Check the server, then run again.")


def _lost(endpoint: Endpoint, error: Exception) -> Exception:
    """Return what to raise where no whole answer came."""
    import httpx2

    if is_untrusted(error):
        what = "Check url in operator.toml, or set SSL_CERT_FILE to your network's certificates."
        return failed(endpoint, f"shows a certificate that cannot be verified. {what}")
    if isinstance(error, httpx2.TransportError):
        met = not isinstance(error, httpx2.ConnectError)
        return _Passing(endpoint, "closed the connection" if met else "cannot be reached")
    return failed(endpoint, "does not speak HTTP as expected. Check url in operator.toml.")


def _refused(endpoint: Endpoint, status: int, content: bytes, retry_after: str) -> Exception:
    """Return what to raise for an answer with a status that is no success."""
    words = words_of(content)
    too_large = status == 500 and is_about_size(words)  # llama.cpp's "input is too large to process"
    if status in _PASSING and not too_large:
        return _Passing(endpoint, f"answered with status {status}", _wait_seconds(retry_after))
    if status in (401, 403):  # the server's words are left out: some quote a part of the key
        sentence = f"{'refused the' if endpoint.key else 'requires a'} key. Check key_env and the variable it names."
    elif 300 <= status < 400:
        sentence = "redirects to another address, which is not followed. Set url in operator.toml to that address."
    else:
        sentence = _REFUSED.get(status, "refused the request. Check kind and model.") + excerpt(endpoint, words)
    error = failed(endpoint, f"(status {status}) {sentence}")
    return Refused(status, words, str(error)) if status in _REFUSING or too_large else error


def _wait_seconds(retry_after: str) -> float:
    """Return the seconds that a Retry-After header asks for, 0 where it asks for none that can be read."""
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", retry_after.strip()):
        return float(retry_after)
    try:
        until = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return 0.0
    return max((until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)


async def _read(endpoint: Endpoint, answer: httpx2.Response) -> bytes:
    """Return the body of an answer, or the beginning of one that is no success."""
    content = bytearray()
    async for piece in answer.aiter_bytes():
        content += piece
        if not answer.is_success and len(content) > ERROR_BYTES:
            break
        if len(content) > _MOST_BYTES:
            raise failed(endpoint, f"answered with more than {_MOST_BYTES >> 20} MiB. Set batch_texts lower.")
    return bytes(content)
