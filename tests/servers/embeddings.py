"""A real embedding server on the loopback that can be told to go wrong: both kinds, one thread a request."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

DIMENSION = 8


@dataclass
class Request:
    """What one request brought, and when; ``ended`` is taken before the first byte of the answer."""

    path: str
    headers: dict[str, str]
    asked: dict[str, Any]
    started: float
    ended: float = 0.0
    sent: int = 0  # bytes of an endless answer

    @property
    def texts(self) -> list[str]:
        """The texts of the request, as they were sent."""
        texts: list[str] = self.asked["inputs" if self.path.endswith("/embed") else "input"]
        return texts


def vector(text: str, dimension: int = DIMENSION) -> list[float]:
    """Return a vector that depends on every letter of ``text``: numbers in (-1, 1) that float32 holds exactly."""
    digest = hashlib.shake_128(text.encode("utf-8", "surrogatepass")).digest(dimension)
    return [(byte - 127.5) / 128 for byte in digest]


class EmbeddingServer(ThreadingHTTPServer):
    """A server whose next answers are in ``script``, one behaviour a request; then comes ``otherwise``."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, kind: str = "openai", *script: Behaviour, otherwise: Behaviour | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kind, self.script, self.otherwise = kind, deque(script), otherwise or right
        self.requests: list[Request] = []
        self.busy = self.busiest = 0
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """The address as operator.toml has it."""
        return f"http://127.0.0.1:{self.server_address[1]}" + ("/v1" if self.kind == "openai" else "")

    def __enter__(self) -> EmbeddingServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that hangs up is a part of the tests."""


@dataclass
class WeightSwapper:
    """A request that waits for its answer."""

    handler: _Handler
    server: EmbeddingServer
    request: Request
    headers: dict[str, str] = field(default_factory=dict)

    def rows(self) -> list[list[float]]:
        """The right vectors."""
        return [vector(text) for text in self.request.texts]

    def payload(self, rows: list[Any], indices: list[Any] | None = None) -> bytes:
        """The JSON of ``rows`` in the server's kind; NaN is written as Python writes it."""
        if self.server.kind == "tei":
            return json.dumps(rows).encode()
        indices = list(range(len(rows))) if indices is None else indices
        data = [{"object": "embedding", "index": i, "embedding": row} for i, row in zip(indices, rows, strict=True)]
        return json.dumps({"object": "list", "data": data, "model": self.request.asked.get("model")}).encode()

    def start(self, status: int, length: int, *, reason: str | None = None, **headers: str) -> None:
        """Send the status line and the headers; ``retry_after="1"`` becomes Retry-After."""
        with self.server.lock:
            self.request.ended = time.monotonic()
            self.server.busy -= 1
        self.handler.send_response(status, reason)
        for name, value in ({"content_type": "application/json"} | headers).items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.send_header("content-length", str(length))
        self.handler.end_headers()

    def send(self, body: bytes, status: int = 200, *, reason: str | None = None, **headers: str) -> None:
        """Send a whole answer."""
        self.start(status, len(body), reason=reason, **headers)
        self.handler.wfile.write(body)

    def wait(self, seconds: float) -> None:
        """Wait, but not longer than the server runs."""
        self.server.closing.wait(seconds)


Behaviour = Callable[[WeightSwapper], None]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else the body waits 40 ms for word that the headers have arrived
    server: EmbeddingServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.path, headers, json.loads(body), time.monotonic())
        with self.server.lock:
            self.server.requests.append(request)
            self.server.busy += 1
            self.server.busiest = max(self.server.busiest, self.server.busy)
            behaviour = self.server.script.popleft() if self.server.script else self.server.otherwise
        expected = "/embed" if self.server.kind == "tei" else "/v1/embeddings"
        with contextlib.suppress(ConnectionError):
            (behaviour if self.path == expected else status(404))(WeightSwapper(self, self.server, request))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: ``requests`` is the log."""


def right(swapper: WeightSwapper) -> None:
    """Answer as asked."""
    swapper.send(swapper.payload(swapper.rows()))


def shuffled(swapper: WeightSwapper) -> None:
    """Answer in the wrong order, with the right indices."""
    rows = swapper.rows()
    order = [*range(1, len(rows)), 0]
    swapper.send(swapper.payload([rows[i] for i in order], order))


def changed(change: Callable[[list[Any]], list[Any]]) -> Behaviour:
    """Answer with what ``change`` makes of the right rows."""
    return lambda swapper: swapper.send(swapper.payload(change(swapper.rows())))


def numbered(change: Callable[[list[Any]], list[Any]]) -> Behaviour:
    """Answer with the right rows and what ``change`` makes of their indices."""

    def answer(swapper: WeightSwapper) -> None:
        rows = swapper.rows()
        swapper.send(swapper.payload(rows, change(list(range(len(rows))))))

    return answer


def status(code: int, body: bytes = b'{"error": "as told"}', *, reason: str | None = None, **headers: str) -> Behaviour:
    """Answer with a status and whatever else."""
    return lambda swapper: swapper.send(body, code, reason=reason, **headers)


def echoing(code: int) -> Behaviour:
    """Answer with the key that was sent: in the body, in a header and in the status line, whole and cut."""

    def answer(swapper: WeightSwapper) -> None:
        key = swapper.request.headers.get("authorization", "").removeprefix("Bearer ")
        body = json.dumps({"error": f"wrong key {key} / {key[:12]}... / {key[-12:]}"}).encode()
        swapper.send(body, code, reason=f"no {key}", x_key=key)

    return answer


def body(content: bytes, content_type: str = "text/html") -> Behaviour:
    """Answer with status 200 and anything."""
    return lambda swapper: swapper.send(content, content_type=content_type)


def slow(seconds: float, then: Behaviour = right) -> Behaviour:
    """Wait before the answer."""

    def answer(swapper: WeightSwapper) -> None:
        swapper.wait(seconds)
        then(swapper)

    return answer


def drip(swapper: WeightSwapper) -> None:
    """Send the right answer a byte at a time, ten a second: each byte in time, the whole never."""
    content = swapper.payload(swapper.rows())
    swapper.start(200, len(content))
    for place in range(len(content)):
        swapper.handler.wfile.write(content[place : place + 1])
        swapper.wait(0.1)


def cut(swapper: WeightSwapper) -> None:
    """Hang up in the middle of the answer."""
    content = swapper.payload(swapper.rows())
    swapper.start(200, len(content))
    swapper.handler.wfile.write(content[: len(content) // 2])
    swapper.handler.close_connection = True


def hang_up(swapper: WeightSwapper) -> None:
    """Hang up without a word."""
    with swapper.server.lock:
        swapper.server.busy -= 1
    swapper.handler.close_connection = True


def endless(swapper: WeightSwapper) -> None:
    """Send a body that is larger than any answer may be, until the other side hangs up."""
    swapper.start(200, 2**40)
    while not swapper.server.closing.is_set():
        swapper.request.sent += swapper.handler.wfile.write(b"[" * 2**20)
