"""Endpoints that answer wrongly: refused, and not asked again."""

from __future__ import annotations

import math
from typing import Any

import pytest

from numembed.core.errors import RemoteFailed
from tests.models.encoders.lab import KINDS, TEXTS, failure, lab_encoder
from tests.servers import embeddings as servers
from tests.servers.embeddings import Behaviour, EmbeddingServer

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_is_told")]


def _set(value: Any) -> Behaviour:
    return servers.changed(lambda rows: [[value, *rows[0][1:]], *rows[1:]])


WRONG: dict[str, tuple[Behaviour, str]] = {
    "too few": (servers.changed(lambda rows: rows[1:]), "3 vectors for 4 texts"),
    "too many": (servers.changed(lambda rows: [*rows, rows[0]]), "5 vectors for 4 texts"),
    "none": (servers.changed(lambda rows: []), "0 vectors for 4 texts"),
    "ragged": (servers.changed(lambda rows: [rows[0][1:], *rows[1:]]), "different dimensions"),
    "empty vector": (servers.changed(lambda rows: [[], *rows[1:]]), "empty"),
    "all empty": (servers.changed(lambda rows: [[] for _ in rows]), "empty"),
    "zero vector": (servers.changed(lambda rows: [[0.0] * 8, *rows[1:]]), "length zero"),
    "too small for float32": (servers.changed(lambda rows: [[1e-60] * 8, *rows[1:]]), "length zero"),
    "NaN": (_set(math.nan), "not finite"),
    "infinity": (_set(-math.inf), "not finite"),
    "too large for float32": (_set(1e39), "not finite"),
    "too large for float64": (_set(10**400), "not finite"),
    "text": (_set("0.5"), "is not a number"),
    "null": (_set(None), "is not a number"),
    "true": (_set(True), "is not a number"),
    "list": (_set([0.5]), "is not a number"),
    "object": (servers.changed(lambda rows: [{"0": 0.5}, *rows[1:]]), "is not a number"),
    "base64 of half a number": (servers.changed(lambda rows: ["AACAPwAA" for _ in rows]), "is not a number"),
    "base64 with other signs": (servers.changed(lambda rows: ["AACA*w==" for _ in rows]), "is not a number"),
    "base64 of nothing": (servers.changed(lambda rows: ["" for _ in rows]), "empty"),
    "base64 of infinity": (servers.changed(lambda rows: ["AACAfw==" for _ in rows]), "not finite"),
    "web page": (servers.body(b"\n<!doctype html><p>login"), "a web page"),
    "nothing": (servers.body(b""), "not JSON"),
    "half": (servers.body(b'{"data": [{"index"'), "not JSON"),
    "no text": (servers.body(b"\xff\xfe\x00\x80"), "not JSON"),
    "deep": (servers.body(b"[" * 200_000), "not JSON"),
    "many digits": (servers.body(b"1" * 10_000), "not JSON"),
    "number": (servers.body(b"7"), "list of vectors"),
    "error with 200": (servers.body(b'{"error": "no such <b>model"}'), "instead of vectors. It said: no such model"),
    "nothing with 200": (servers.body(b'{"error": null, "object": "list"}'), "list of vectors"),
}


@pytest.mark.parametrize("what", WRONG)
@KINDS
def test_a_wrong_answer_is_refused_and_not_checked_again(kind: str, what: str) -> None:
    behaviour, words = WRONG[what]
    with EmbeddingServer(kind, otherwise=behaviour) as server:
        assert words in failure(server, TEXTS[:4])
    assert len(server.requests) == 1


NUMBERED = {
    "duplicate": [0, 1, 1, 3],
    "out of range": [0, 1, 2, 4],
    "below zero": [-1, 0, 1, 2],
    "from one": [1, 2, 3, 4],
    "missing": [0, 1, 2, None],
    "text": [0, 1, 2, "3"],
    "true": [0, True, 2, 3],
    "fraction": [0, 1, 2, 3.0],
    "list": [0, 1, 2, [3]],
}


@pytest.mark.parametrize("indices", NUMBERED.values(), ids=NUMBERED)
def test_wrong_indices_are_refused(indices: list[Any]) -> None:
    with EmbeddingServer(otherwise=servers.numbered(lambda _: indices)) as server:
        assert "numbered its vectors wrongly" in failure(server, TEXTS[:4])
    assert len(server.requests) == 1


def test_the_other_kind_of_answer_is_refused() -> None:
    with EmbeddingServer("tei") as server:
        content = servers.body(b"[[0.5, 0.25]]")
    with EmbeddingServer("openai", otherwise=content) as server:
        assert "Is its kind openai?" in failure(server, TEXTS[:1])
    with EmbeddingServer("tei", otherwise=servers.body(b'{"data": []}')) as server:
        assert "Is its kind tei?" in failure(server, TEXTS[:1])


def test_the_operators_dimension_is_kept() -> None:
    with EmbeddingServer() as server:
        assert lab_encoder(server, dimension=8).encode(TEXTS).shape == (10, 8)
        assert "8 dimensions; 9 were expected" in failure(server, dimension=9)


def test_the_dimension_never_changes_within_a_batch_or_after_it() -> None:
    narrow = servers.changed(lambda rows: [row[1:] for row in rows])
    with EmbeddingServer("tei", servers.right, narrow) as server:
        assert "7 and of 8 dimensions" in failure(server)
    with EmbeddingServer("tei", narrow, servers.right, narrow) as server:
        encoder = lab_encoder(server)
        assert encoder.encode(TEXTS[:4]).shape == (4, 7)
        with pytest.raises(RemoteFailed, match="8 dimensions; 7 were expected"):
            encoder.encode(TEXTS[:4])
        assert encoder.encode(TEXTS[:4]).shape == (4, 7)


def test_an_answer_without_end_is_cut_off_at_64_mib() -> None:
    with EmbeddingServer(otherwise=servers.endless) as server:
        assert "more than 64 MiB" in failure(server, TEXTS[:4], timeout_seconds=60.0, budget_seconds=60.0)
        assert 64 * 2**20 <= server.requests[0].sent + 2**20 < 128 * 2**20 and len(server.requests) == 1
