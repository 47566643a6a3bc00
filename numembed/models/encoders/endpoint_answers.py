"""What the servers of endpoints answer, read by pure functions: vectors, errors in their own words, limits."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from typing import Any

import numpy as np

from numembed.core.arrays import Matrix
from numembed.core.errors import RemoteFailed, without_places
from numembed.core.settings import Endpoint

ERROR_BYTES = 4_096  # of an answer that is no success
_EXCERPT_CHARS, _PIECE_CHARS = 160, 8
_MESSAGES = ("error", "message", "detail", "msg", "errors")  # where OpenAI, vLLM, TEI, FastAPI and others put it
_MOST_NESTED = 4
_UNQUOTED = re.compile(r"<[^>]*>|[^\w .,:;'()=-]+")  # markup and the signs that make it
_ABOUT_SIZE = re.compile(
    r"too (?:large|long|many|big)|exceed|larger than|longer than|(?:fewer|less) than|at most|no more than"
    r"|max(?:imum)?\b|max_|\blimit|context (?:length|size|window)|(?:input|sequence) length|batch size",
    re.IGNORECASE,
)
_TOKENS = re.compile(
    r"(\d[\d,]*) (?:\w+ )?tokens?\b|\b(?:length|size)(?: of| is|:)? (?:only )?(\d[\d,]*)", re.IGNORECASE
)
_PLACE_TO_CUT = re.compile(r"(?<=\S) ")
_SPARE = 0.98  # of what the server says it reads: numbers grow, so their tokens are not spread evenly


class Refused(Exception):
    """A request that the server does not take as it is; fewer or shorter texts may help.

    ``words`` are the server's own, for programs; ``sentence`` is for people.
    """

    def __init__(self, status: int, words: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.words, self.sentence = status, words, sentence

    @property
    def about_size(self) -> bool:
        """True where the server says that something is too long or too much."""
        return self.status == 413 or is_about_size(self.words)


def failed(endpoint: Endpoint, sentence: str) -> RemoteFailed:
    """Return the error that begins with the endpoint's name."""
    return RemoteFailed(f"Endpoint {endpoint.name!r} {sentence}")


def is_about_size(words: str) -> bool:
    """Return whether a server's words are about the length of texts or their number.

    >>> is_about_size("batch size is invalid, it should not be larger than 10"), is_about_size("model not found")
    (True, False)
    """
    return bool(_ABOUT_SIZE.search(words))


def share_read(words: str, characters: int) -> float:
    """Return which share of a refused text to send instead, by the tokens that the server says it counted and reads.

    A half where it does not say both. More tokens than the text has characters are a limit of something else.

    >>> share_read("maximum context length is 512 tokens. However, you requested 2048 tokens", 9_000)
    0.245
    >>> share_read("input is too long", 9_000), share_read("512 tokens per text, 300,000 tokens per request", 9_000)
    (0.5, 0.5)
    """
    found = (int((one or other).replace(",", "")) for one, other in _TOKENS.findall(words))
    tokens = sorted({count for count in found if 0 < count <= characters})
    return _SPARE * tokens[0] / tokens[-1] if len(tokens) > 1 else 0.5


def cut_before(text: str, characters: int, *, least: int = 0) -> str:
    """Return the beginning of ``text``, at most ``characters`` long, up to the last space behind ``least``.

    >>> cut_before("1, 22, 333", 8), cut_before("1234567", 3), cut_before("query: 1234567", 10, least=7)
    ('1, 22,', '123', 'query: 123')
    """
    places = [found.start() for found in _PLACE_TO_CUT.finditer(text, 0, characters + 1) if found.start() > least]
    return text[: places[-1] if places else characters]


def words_of(content: bytes) -> str:
    """Return the server's own words in an error body: its message, or the whole text where it is no such JSON.

    >>> words_of(b'{"error": {"message": "no such model", "code": 400}}')
    'no such model'
    >>> words_of(b'{"detail": [{"msg": "too long", "loc": ["body"]}]}'), words_of(b"<p>busy")
    ('too long', '<p>busy')
    """
    with contextlib.suppress(ValueError, RecursionError):
        if words := _message(json.loads(content)):
            return words
    return content[:ERROR_BYTES].decode("utf-8", "replace")


def _message(said: Any, nested: int = 0) -> str:
    if isinstance(said, str):
        return said
    if nested < _MOST_NESTED and isinstance(said, list):
        return "; ".join(filter(None, (_message(one, nested + 1) for one in said[:3])))
    if nested < _MOST_NESTED and isinstance(said, dict):
        return next(filter(None, (_message(said.get(name), nested + 1) for name in _MESSAGES)), "")
    return ""


def excerpt(endpoint: Endpoint, words: str) -> str:
    """Return a server's first words as the end of a message: no markup, links or paths, nothing of the key."""
    text = without_places(words[:ERROR_BYTES].replace(endpoint.key or "\0", "(secret)"))
    text, key = (" ".join(_UNQUOTED.sub(" ", each).split()) for each in (text, endpoint.key))
    pieces = {key[start : start + _PIECE_CHARS] for start in range(max(len(key) - _PIECE_CHARS, 0) + 1)}
    if not text or (key and any(piece in text for piece in pieces)):  # the key was cut off or written with escapes
        return ""
    return f" It said: {text[:_EXCERPT_CHARS]}"


def matrix_of(endpoint: Endpoint, content: bytes, count: int, dimension: int | None) -> Matrix:
    """Return a good answer as (count, d), or raise with what is wrong in it; such a request is not repeated.

    An error body is told in the server's words; one about the size of the request is raised as ``Refused``.
    """
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        what = "a web page" if content.lstrip()[:1] == b"<" else "something that is not JSON"
        raise failed(endpoint, f"answered with {what}. Check url in operator.toml.") from None
    rows = answer if endpoint.kind == "tei" else _rows_in_order(endpoint, answer, count)
    if not isinstance(rows, list) or any(isinstance(row, dict) and _message(row) for row in rows):
        raise _no_vectors(endpoint, _message(answer))
    if len(rows) != count:
        raise failed(endpoint, f"answered with {len(rows):,} vectors for {count:,} texts.")
    matrix = _numbers(endpoint, [_decoded(row) for row in rows])
    if dimension is not None and matrix.shape[1] != dimension:
        raise failed(endpoint, f"answered with vectors of {matrix.shape[1]} dimensions; {dimension} were expected.")
    return matrix


def _no_vectors(endpoint: Endpoint, words: str) -> Exception:
    """Return what to raise for an answer that claims success and holds no vectors."""
    if not words:
        return failed(endpoint, f"did not answer with a list of vectors. Is its kind {endpoint.kind}?")
    error = failed(endpoint, f"answered with an error instead of vectors.{excerpt(endpoint, words)}")
    return Refused(200, words, str(error)) if is_about_size(words) else error


def _rows_in_order(endpoint: Endpoint, answer: Any, count: int) -> list[Any] | None:
    """Return the vectors in the order of their indices, which need not be the order they come in.

    Without any index they are in order. One alone may lack it: protobuf's JSON, as Gemini's, leaves out a 0.
    """
    items = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return None
    indices = [item.get("index") for item in items]
    if len(items) != count or all(index is None for index in indices):
        return [item.get("embedding") for item in items]
    indices = [0 if index is None else index for index in indices]
    placed = {index: item.get("embedding") for index, item in zip(indices, items, strict=True) if type(index) is int}
    if placed.keys() != set(range(count)):
        raise failed(
            endpoint,
            f"numbered its vectors wrongly: an index is given twice, is out of range 0 to {count - 1:,} or is not a "
            "whole number. Check the server; vectors without any index are taken in order.",
        )
    return [placed[index] for index in range(count)]


def _decoded(row: Any) -> Any:
    """Return a vector in base64, little-endian float32 as OpenAI defines it, as numbers; anything else as it is."""
    if isinstance(row, str):
        with contextlib.suppress(binascii.Error, ValueError):
            return np.frombuffer(base64.b64decode(row, validate=True), dtype="<f4").tolist()
    return row


def _numbers(endpoint: Endpoint, rows: list[Any]) -> Matrix:
    if not all(isinstance(row, list) and row and set(map(type, row)) <= {int, float} for row in rows):
        raise failed(endpoint, "answered with a vector that is empty or contains something that is not a number.")
    if len({len(row) for row in rows}) > 1:
        raise failed(endpoint, "answered with vectors of different dimensions.")
    matrix = np.full((1, 1), np.inf, dtype=np.float32)  # stands for integers of hundreds of digits
    with np.errstate(over="ignore"), contextlib.suppress(OverflowError):
        matrix = np.array(rows, dtype=np.float64).astype(np.float32)
    if not np.isfinite(matrix).all():
        raise failed(endpoint, "returned numbers that are not finite.")
    if not matrix.any(axis=1).all():
        raise failed(endpoint, "answered with a vector of length zero, which has no direction to compare.")
    return matrix
