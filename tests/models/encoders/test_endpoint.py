"""Models behind an endpoint: which is asked, what is asked, and what a good answer becomes."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numembed.core.errors import BadChoice, RemoteFailed
from numembed.core.settings import Endpoint, Settings
from numembed.models.embedding import embed
from numembed.models.encoders.endpoint import EndpointEncoder
from numembed.models.encoders.interface import Encoder
from numembed.models.resolve import resolve
from numembed.models.spec import ModelSpec, RemoteWeights
from numembed.sequences.sets import make_sequences
from numembed.storage.vectors import VectorStore
from tests.models.encoders.lab import (
    KEY,
    KINDS,
    TEXTS,
    Always,
    expected,
    key_is_told,
    lab_encoder,
    lab_endpoint,
    lab_model,
)
from tests.servers import embeddings as servers
from tests.servers.embeddings import EmbeddingServer

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_is_told")]


# --- which endpoint


def test_pinning_takes_url_and_model_from_the_settings() -> None:
    endpoint = Endpoint("lab", "http://somewhere/v1", "small", key=KEY)
    settings = Settings(Path("/nowhere"), offline=True, prewarm=False, endpoints={"lab": endpoint})
    pinned = RemoteWeights("lab", "http://somewhere/v1", "small")
    assert resolve(ModelSpec("Lab", RemoteWeights("lab")), settings).weights == pinned
    assert resolve(ModelSpec("Lab", RemoteWeights("lab", "http://evil", "other")), settings).weights == pinned
    assert not key_is_told(repr(endpoint) + repr(settings) + repr(pinned) + str(lab_model(endpoint).as_dict()))


def test_an_unknown_endpoint_is_answered_with_the_known_ones() -> None:
    settings = Settings(Path("/nowhere"), offline=True, prewarm=False)
    with pytest.raises(BadChoice, match=r"None is set.*operator\.toml"):
        resolve(ModelSpec("Lab", RemoteWeights("lba")), settings)
    known = replace(settings, endpoints={name: Endpoint(name, "http://somewhere") for name in ("lab", "home")})
    with pytest.raises(BadChoice, match=r"'lba'.*Known: home, lab\."):
        resolve(ModelSpec("Lab", RemoteWeights("lba")), known)


def test_weights_that_were_pinned_elsewhere_are_never_sent_anywhere() -> None:
    with EmbeddingServer() as server:
        endpoint = lab_endpoint(server)
        elsewhere = replace(lab_model(endpoint), weights=RemoteWeights("lab", "http://elsewhere/v1", "small"))
        with pytest.raises(BadChoice, match="Choose it again"):
            EndpointEncoder(elsewhere, endpoint)
        assert server.requests == []


# --- good answers


@KINDS
def test_row_i_is_the_vector_of_text_i(kind: str) -> None:
    with EmbeddingServer(kind) as server:
        matrix = lab_encoder(server).encode(TEXTS)
    assert matrix.dtype == np.float32 and matrix.shape == (10, 8)
    assert np.array_equal(matrix, expected(TEXTS))
    assert sorted(len(request.texts) for request in server.requests) == [2, 4, 4]


def test_the_openai_question_is_the_one_of_its_documentation() -> None:
    with EmbeddingServer() as server:
        lab_encoder(server).encode(TEXTS[:1])
    request = server.requests[0]
    assert request.path == "/v1/embeddings"
    assert request.asked == {"model": "small", "input": [TEXTS[0]], "encoding_format": "float"}
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"


def test_the_tei_question_is_the_one_of_its_documentation() -> None:
    with EmbeddingServer("tei") as server:
        lab_encoder(server, key="").encode(TEXTS[:1])
    request = server.requests[0]
    assert request.path == "/embed" and request.asked == {"inputs": [TEXTS[0]], "truncate": True}
    assert "authorization" not in request.headers


def test_the_prompt_stands_before_every_text_and_any_text_arrives_whole() -> None:
    texts = ["1, 2", "ä \x00\n\"'", "\ud800", "7" * 20_000]
    with EmbeddingServer() as server:
        matrix = lab_encoder(server, prompt="query: ").encode(texts)
    assert [text for request in server.requests for text in request.texts] == [f"query: {text}" for text in texts]
    assert np.array_equal(matrix, expected([f"query: {text}" for text in texts]))


def test_answers_in_another_order_are_put_in_order() -> None:
    with EmbeddingServer("openai", otherwise=servers.shuffled) as server:
        assert np.array_equal(lab_encoder(server).encode(TEXTS), expected(TEXTS))


def test_a_batch_is_one_round_of_requests_and_holds_similar_lengths() -> None:
    texts = ["1" * length for length in (9, 1, 5, 3, 7, 2, 8, 4, 6)]
    with EmbeddingServer() as server:
        encoder: Encoder = lab_encoder(server, batch_texts=2, concurrency=2)
        assert encoder.check.ok and "'lab'" in encoder.check.findings[0].sentence
        batches = encoder.batches(texts)
    assert [[len(texts[i]) for i in batch] for batch in batches] == [[1, 2, 3, 4], [5, 6, 7, 8], [9]]
    assert encoder.batches([]) == [] and encoder.encode([]).shape == (0, 0)
    assert server.requests == []


def test_requests_run_together_but_never_more_than_allowed() -> None:
    with EmbeddingServer(otherwise=servers.slow(0.15)) as server:
        matrix = lab_encoder(server, batch_texts=1, concurrency=3).encode(TEXTS[:9])
    assert server.busiest == 3 and len(server.requests) == 9
    assert np.array_equal(matrix, expected(TEXTS[:9]))


def test_answers_that_overtake_each_other_keep_their_rows() -> None:
    with EmbeddingServer("tei", servers.slow(0.3), servers.slow(0.15)) as server:
        assert np.array_equal(lab_encoder(server).encode(TEXTS), expected(TEXTS))


# --- through the app's own verb


def test_a_failing_batch_stores_nothing_and_the_batches_before_it_stay(tmp_path: Path) -> None:
    sequences = make_sequences(["even", "primes"], per_family=10, length=12)
    with EmbeddingServer() as server, VectorStore(tmp_path / "cache.db") as store:
        endpoint = lab_endpoint(server)
        spec = lab_model(endpoint, prompt="query: ")
        loaded: Any = Always(EndpointEncoder(spec, endpoint))
        server.script.extend([servers.right] * 4)  # three in the first round of 12 texts, one in the second
        server.otherwise = servers.status(400)
        with pytest.raises(RemoteFailed, match="status 400"):
            embed(spec, sequences, store=store, loaded=loaded)
        assert store.count(spec.key, sequences.texts) == 12
        server.otherwise = servers.right
        before = sum(len(request.texts) for request in server.requests)
        made = embed(spec, sequences, store=store, loaded=loaded)
        assert sum(len(request.texts) for request in server.requests) - before == 8
        assert np.array_equal(made.matrix, expected([f"query: {text}" for text in sequences.texts]))
        assert made.work is not None and (made.work.device, made.work.parameters) == ("lab", 0)
    assert KEY.encode() not in (tmp_path / "cache.db").read_bytes()


def test_many_encoders_may_ask_at_the_same_time() -> None:
    found: dict[int, Any] = {}
    with EmbeddingServer(otherwise=servers.slow(0.05)) as server:

        def ask(number: int) -> None:
            found[number] = lab_encoder(server).encode(TEXTS[number:])

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert all(np.array_equal(found[number], expected(TEXTS[number:])) for number in range(4))
    assert not any(logging.getLogger(name).filters for name in ("httpx2", "httpcore2.connection", "httpcore2.http11"))


def test_a_thread_with_an_event_loop_may_ask_too() -> None:
    """As in a notebook."""

    async def inside() -> np.ndarray[Any, Any]:
        with EmbeddingServer("openai") as server:
            return lab_encoder(server).encode(["1, 2", "3"])

    with ThreadPoolExecutor(1) as thread:  # this one may have a loop already: that of the browser tests
        assert thread.submit(asyncio.run, inside()).result().shape[0] == 2
