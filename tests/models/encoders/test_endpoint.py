from __future__ import annotations

import asyncio
import logging
import math
import socket
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numembed.core.errors import BadChoice, RemoteFailed
from numembed.core.progress import Progress, silent
from numembed.core.settings import Endpoint, Settings
from numembed.models.embedding import embed
from numembed.models.encoders.endpoint import EndpointEncoder
from numembed.models.encoders.protocol import Encoder
from numembed.models.resolve import pin
from numembed.models.spec import ModelSpec, RemoteWeights
from numembed.sequences.sets import make_sequences
from numembed.storage.vectors import VectorStore
from tests.servers import embeddings as servers
from tests.servers.embeddings import Behaviour, EmbeddingServer, vector

pytestmark = pytest.mark.slow  # together they take long

KEY = "sk-Tr0ub4dor+and/3/quite=long"
TEXTS = [f"{number}, {number + 1}" for number in range(10)]
KINDS = pytest.mark.parametrize("kind", ["openai", "tei"])


def _endpoint(server: EmbeddingServer, **changes: Any) -> Endpoint:
    plain: dict[str, Any] = {
        "name": "lab", "url": server.url, "model": "small", "kind": server.kind, "key": KEY, "batch_texts": 4,
        "concurrency": 3, "timeout_seconds": 20.0, "budget_seconds": 20.0,
    }  # fmt: skip
    return Endpoint(**(plain | changes))


def _spec(endpoint: Endpoint, prompt: str = "") -> ModelSpec:
    return ModelSpec("Lab", RemoteWeights(endpoint.name, endpoint.url, endpoint.model), prompt=prompt)


def _encoder(server: EmbeddingServer, *, prompt: str = "", **changes: Any) -> EndpointEncoder:
    endpoint = _endpoint(server, **changes)
    return EndpointEncoder(_spec(endpoint, prompt), endpoint)


def _expected(texts: Sequence[str]) -> np.ndarray[Any, Any]:
    return np.array([vector(text) for text in texts], dtype=np.float32)


def _is_told(text: str) -> bool:
    """True where any eight characters of the key stand in ``text``."""
    return any(KEY[start : start + 8] in text for start in range(len(KEY) - 7))


@pytest.fixture(autouse=True)
def _nothing_is_told(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test does: no log line, down to DEBUG, holds the key, also where a server sends it back."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "asyncio", "numembed"):
        caplog.set_level(logging.DEBUG, logger=name)
    yield
    lines = [record.getMessage() for record in caplog.get_records("call")]  # caplog.text would be of this phase alone
    assert not _is_told("\n".join(lines))


def _failure(server: EmbeddingServer, texts: Sequence[str] = TEXTS, **changes: Any) -> str:
    """Return the sentence of the failure, which tells the endpoint's name and neither its key nor its url."""
    encoder = _encoder(server, **changes)
    with pytest.raises(RemoteFailed) as caught:
        encoder.encode(texts)
    told = "".join(traceback.format_exception(caught.value))
    assert str(caught.value).startswith("Endpoint 'lab' ")
    assert not _is_told(told) and "127.0.0.1" not in told
    return str(caught.value)


# --- which endpoint


def test_pinning_takes_url_and_model_from_the_settings() -> None:
    endpoint = Endpoint("lab", "http://somewhere/v1", "small", key=KEY)
    settings = Settings(Path("/nowhere"), offline=True, prewarm=False, endpoints={"lab": endpoint})
    pinned = RemoteWeights("lab", "http://somewhere/v1", "small")
    assert pin(RemoteWeights("lab"), settings) == pinned
    assert pin(RemoteWeights("lab", "http://evil", "other"), settings) == pinned
    assert not _is_told(repr(endpoint) + repr(settings) + repr(pinned) + str(_spec(endpoint).as_dict()))


def test_an_unknown_endpoint_is_answered_with_the_known_ones() -> None:
    settings = Settings(Path("/nowhere"), offline=True, prewarm=False)
    with pytest.raises(BadChoice, match=r"None is set.*operator\.toml"):
        pin(RemoteWeights("lba"), settings)
    known = replace(settings, endpoints={name: Endpoint(name, "http://somewhere") for name in ("lab", "home")})
    with pytest.raises(BadChoice, match=r"'lba'.*Known: home, lab\."):
        pin(RemoteWeights("lba"), known)


def test_weights_that_were_pinned_elsewhere_are_never_sent_anywhere() -> None:
    with EmbeddingServer() as server:
        endpoint = _endpoint(server)
        elsewhere = replace(_spec(endpoint), weights=RemoteWeights("lab", "http://elsewhere/v1", "small"))
        with pytest.raises(BadChoice, match="Choose it again"):
            EndpointEncoder(elsewhere, endpoint)
        assert server.requests == []


# --- good answers


@KINDS
def test_row_i_is_the_vector_of_text_i(kind: str) -> None:
    with EmbeddingServer(kind) as server:
        matrix = _encoder(server).encode(TEXTS)
    assert matrix.dtype == np.float32 and matrix.shape == (10, 8)
    assert np.array_equal(matrix, _expected(TEXTS))
    assert sorted(len(request.texts) for request in server.requests) == [2, 4, 4]


def test_the_openai_question_is_the_one_of_its_documentation() -> None:
    with EmbeddingServer() as server:
        _encoder(server).encode(TEXTS[:1])
    request = server.requests[0]
    assert request.path == "/v1/embeddings"
    assert request.asked == {"model": "small", "input": [TEXTS[0]], "encoding_format": "float"}
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"


def test_the_tei_question_is_the_one_of_its_documentation() -> None:
    with EmbeddingServer("tei") as server:
        _encoder(server, key="").encode(TEXTS[:1])
    request = server.requests[0]
    assert request.path == "/embed" and request.asked == {"inputs": [TEXTS[0]], "truncate": True}
    assert "authorization" not in request.headers


def test_the_prompt_stands_before_every_text_and_any_text_arrives_whole() -> None:
    texts = ["1, 2", "ä \x00\n\"'", "\ud800", "7" * 20_000]
    with EmbeddingServer() as server:
        matrix = _encoder(server, prompt="query: ").encode(texts)
    assert [text for request in server.requests for text in request.texts] == [f"query: {text}" for text in texts]
    assert np.array_equal(matrix, _expected([f"query: {text}" for text in texts]))


def test_answers_in_another_order_are_put_in_order() -> None:
    with EmbeddingServer("openai", otherwise=servers.shuffled) as server:
        assert np.array_equal(_encoder(server).encode(TEXTS), _expected(TEXTS))


def test_a_batch_is_one_round_of_requests_and_holds_similar_lengths() -> None:
    texts = ["1" * length for length in (9, 1, 5, 3, 7, 2, 8, 4, 6)]
    with EmbeddingServer() as server:
        encoder: Encoder = _encoder(server, batch_texts=2, concurrency=2)
        assert encoder.check.ok and "'lab'" in encoder.check.findings[0].sentence
        batches = encoder.batches(texts)
    assert [[len(texts[i]) for i in batch] for batch in batches] == [[1, 2, 3, 4], [5, 6, 7, 8], [9]]
    assert encoder.batches([]) == [] and encoder.encode([]).shape == (0, 0)
    assert server.requests == []


def test_requests_run_together_but_never_more_than_allowed() -> None:
    with EmbeddingServer(otherwise=servers.slow(0.15)) as server:
        matrix = _encoder(server, batch_texts=1, concurrency=3).encode(TEXTS[:9])
    assert server.busiest == 3 and len(server.requests) == 9
    assert np.array_equal(matrix, _expected(TEXTS[:9]))


def test_answers_that_overtake_each_other_keep_their_rows() -> None:
    with EmbeddingServer("tei", servers.slow(0.3), servers.slow(0.15)) as server:
        assert np.array_equal(_encoder(server).encode(TEXTS), _expected(TEXTS))


# --- failures that pass


@pytest.mark.parametrize("passing", [429, 500, 502, 503, 504])
def test_what_passes_is_asked_again(passing: int) -> None:
    with EmbeddingServer("openai", servers.status(passing)) as server:
        assert np.array_equal(_encoder(server).encode(TEXTS[:4]), _expected(TEXTS[:4]))
    assert len(server.requests) == 2


@pytest.mark.parametrize("broken", [servers.cut, servers.hang_up])
@KINDS
def test_a_cut_line_is_asked_again(kind: str, broken: Behaviour) -> None:
    with EmbeddingServer(kind, broken) as server:
        assert np.array_equal(_encoder(server).encode(TEXTS[:4]), _expected(TEXTS[:4]))
    assert len(server.requests) == 2


@pytest.mark.parametrize("late", [servers.slow(60), servers.drip])
def test_a_late_answer_is_cut_off_and_asked_again(late: Behaviour) -> None:
    started = time.monotonic()
    with EmbeddingServer("openai", late) as server:
        matrix = _encoder(server, timeout_seconds=0.3).encode(TEXTS[:4])
    assert np.array_equal(matrix, _expected(TEXTS[:4])) and len(server.requests) == 2
    assert time.monotonic() - started < 15  # the drip would take half a minute, the other a minute


def test_a_server_that_never_answers_in_time_uses_up_the_budget_and_no_more() -> None:
    started = time.monotonic()
    with EmbeddingServer(otherwise=servers.slow(60)) as server:
        sentence = _failure(server, budget_seconds=0.6, timeout_seconds=30.0)
    assert "gave no whole answer in time" in sentence and "0.6 s" in sentence
    assert time.monotonic() - started < 15


def test_a_server_that_always_fails_is_given_up_when_the_budget_is_over() -> None:
    with EmbeddingServer(otherwise=servers.status(500)) as server:
        sentence = _failure(server, TEXTS[:4], budget_seconds=0.9)
    assert "status 500" in sentence and "0.9 s" in sentence
    assert 2 <= len(server.requests) <= 5


def test_a_closed_port_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    endpoint = Endpoint("lab", f"http://127.0.0.1:{port}", key=KEY, budget_seconds=0.4)
    with pytest.raises(RemoteFailed, match=r"'lab' cannot be reached.*0\.4 s"):
        EndpointEncoder(_spec(endpoint), endpoint).encode(TEXTS)


def test_retry_after_is_waited_for() -> None:
    with EmbeddingServer("openai", servers.status(429, retry_after="1.1")) as server:
        _encoder(server).encode(TEXTS[:4])
    first, second = server.requests
    assert second.started - first.ended >= 1.09  # without it the second try comes after 0.25 to 0.5 s


def test_retry_after_may_be_a_date() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
    with EmbeddingServer("openai", servers.status(503, retry_after=until)) as server:
        _encoder(server).encode(TEXTS[:4])
    first, second = server.requests
    assert second.started - first.ended >= 1.5  # the date has whole seconds


@pytest.mark.parametrize("kind", ["seconds", "date"])
def test_a_wait_that_does_not_fit_the_budget_fails_at_once_and_says_how_long(kind: str) -> None:
    started = time.monotonic()
    asked = "3600" if kind == "seconds" else format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    with EmbeddingServer(otherwise=servers.status(429, retry_after=asked)) as server:
        sentence = _failure(server, TEXTS[:4], budget_seconds=30.0)
    assert "asks to wait 3,6" in sentence or "asks to wait 3,5" in sentence
    assert "30 s" in sentence and len(server.requests) == 1
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    "asked", ["soon", "-5", "1e99", "nan", "", "Wed, 99 Foo 2020", "Mon, 01 Jan 2001 00:00:00 GMT"]
)
def test_a_retry_after_that_means_nothing_is_passed_over(asked: str) -> None:
    with EmbeddingServer("openai", servers.status(503, retry_after=asked)) as server:
        assert _encoder(server).encode(TEXTS[:4]).shape == (4, 8)


# --- failures that stay


@pytest.mark.parametrize(
    ("code", "words"),
    [(400, "refused the request"), (401, "refused the key"), (403, "refused the key"), (404, "url or model"),
     (413, "batch_texts lower"), (422, "kind and model"), (501, "status 501")],
)  # fmt: skip
@pytest.mark.parametrize("answer", [servers.echoing, servers.status], ids=["echoing the key", "plain"])
def test_what_stays_is_not_asked_again_and_has_its_sentence(code: int, words: str, answer: Any) -> None:
    with EmbeddingServer(otherwise=answer(code)) as server:
        sentence = _failure(server, TEXTS[:4])
    assert words in sentence and f"status {code}" in sentence
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [200, 429, 500, 302])
def test_a_key_that_comes_back_in_any_answer_is_not_told(code: int) -> None:
    with EmbeddingServer(otherwise=servers.echoing(code)) as server:
        _failure(server, TEXTS[:4], budget_seconds=0.3)


def test_a_key_that_comes_back_in_other_writing_or_cut_at_the_end_is_not_told() -> None:
    for said in (KEY.replace("/", "\\/"), KEY[:20], " " * 4_070 + KEY, f"<b>{KEY[:14]}</b>{KEY[14:]}"):
        with EmbeddingServer(otherwise=servers.status(400, f'{{"error": "no {said}"}}'.encode())) as server:
            assert "refused the request" in _failure(server, TEXTS[:4])


def test_the_servers_own_words_are_told_short_and_without_markup() -> None:
    said = b'{"error": "batch <b>size</b> 33 > [32](http://evil)\\n\\u001b[31m ' + b"x" * 900 + b'"}'
    with EmbeddingServer(otherwise=servers.status(413, said)) as server:
        sentence = _failure(server, TEXTS[:4])
    assert "It said: error : batch size 33 32" in sentence.replace("  ", " ")
    assert len(sentence) < 400 and not set('<>[]/\n\x1b"') & set(sentence)


def test_a_key_in_the_servers_own_words_is_replaced() -> None:
    with EmbeddingServer(otherwise=servers.status(400, f"no key {KEY}, no model".encode())) as server:
        assert _failure(server, TEXTS[:4]).endswith("It said: no key (secret), no model")


def test_a_retry_is_logged_by_the_endpoints_name(caplog: pytest.LogCaptureFixture) -> None:
    with EmbeddingServer("openai", servers.echoing(503)) as server:
        _encoder(server).encode(TEXTS[:4])
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("numembed")]
    assert len(lines) == 1 and "'lab' answered with status 503" in lines[0]
    assert "127.0.0.1" not in caplog.text


def test_without_a_key_the_sentence_asks_for_one() -> None:
    with EmbeddingServer(otherwise=servers.status(401)) as server:
        assert "wants a key" in _failure(server, key="")


@pytest.mark.parametrize("key", [f"{KEY}\nx-evil: 1", f"{KEY} x", f"{KEY}ß"])
def test_a_key_that_no_header_can_carry_is_not_sent(key: str) -> None:
    with EmbeddingServer() as server:
        assert "Set the key again" in _failure(server, key=key)
    assert server.requests == []


def test_a_redirect_is_not_followed() -> None:
    with EmbeddingServer() as other:
        for place in (other.url + "/embeddings", "http://169.254.169.254/latest/meta-data"):
            for code in (301, 302, 303, 307, 308):
                with EmbeddingServer(otherwise=servers.status(code, location=place)) as server:
                    sentence = _failure(server, TEXTS[:4])
                assert "not followed" in sentence and "169.254" not in sentence
                assert len(server.requests) == 1
    assert other.requests == []


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with EmbeddingServer() as server:
        assert _encoder(server).encode(TEXTS).shape == (10, 8)


def test_the_first_failure_that_stays_cancels_the_requests_on_their_way() -> None:
    started = time.monotonic()
    with EmbeddingServer("openai", servers.slow(60), servers.slow(60), servers.status(400)) as server:
        assert "status 400" in _failure(server, TEXTS * 4, timeout_seconds=60.0, budget_seconds=60.0)
        assert len(server.requests) == 3  # the seven others were never sent
    assert time.monotonic() - started < 20


# --- wrong answers


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
    "text": (_set("0.5"), "no number"),
    "null": (_set(None), "no number"),
    "true": (_set(True), "no number"),
    "list": (_set([0.5]), "no number"),
    "object": (servers.changed(lambda rows: [{"0": 0.5}, *rows[1:]]), "no number"),
    "base64": (servers.changed(lambda rows: ["AACAPw==" for _ in rows]), "no number"),
    "web page": (servers.body(b"\n<!doctype html><p>login"), "a web page"),
    "nothing": (servers.body(b""), "no JSON"),
    "half": (servers.body(b'{"data": [{"index"'), "no JSON"),
    "no text": (servers.body(b"\xff\xfe\x00\x80"), "no JSON"),
    "deep": (servers.body(b"[" * 200_000), "no JSON"),
    "many digits": (servers.body(b"1" * 10_000), "no JSON"),
    "number": (servers.body(b"7"), "list of vectors"),
    "error with 200": (servers.body(b'{"error": "no"}'), "list of vectors"),
}


@pytest.mark.parametrize("what", WRONG)
@KINDS
def test_a_wrong_answer_is_refused_and_not_asked_again(kind: str, what: str) -> None:
    behaviour, words = WRONG[what]
    with EmbeddingServer(kind, otherwise=behaviour) as server:
        assert words in _failure(server, TEXTS[:4])
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
        assert "numbered its vectors wrongly" in _failure(server, TEXTS[:4])
    assert len(server.requests) == 1


def test_the_other_kind_of_answer_is_refused() -> None:
    with EmbeddingServer("tei") as server:
        content = servers.body(b"[[0.5, 0.25]]")
    with EmbeddingServer("openai", otherwise=content) as server:
        assert "Is its kind openai?" in _failure(server, TEXTS[:1])
    with EmbeddingServer("tei", otherwise=servers.body(b'{"data": []}')) as server:
        assert "Is its kind tei?" in _failure(server, TEXTS[:1])


def test_the_operators_dimension_is_kept() -> None:
    with EmbeddingServer() as server:
        assert _encoder(server, dimension=8).encode(TEXTS).shape == (10, 8)
        assert "8 dimensions, expected are 9" in _failure(server, dimension=9)


def test_the_dimension_never_changes_within_a_batch_or_after_it() -> None:
    narrow = servers.changed(lambda rows: [row[1:] for row in rows])
    with EmbeddingServer("tei", servers.right, narrow) as server:
        assert "7 and of 8 dimensions" in _failure(server)
    with EmbeddingServer("tei", narrow, servers.right, narrow) as server:
        encoder = _encoder(server)
        assert encoder.encode(TEXTS[:4]).shape == (4, 7)
        with pytest.raises(RemoteFailed, match="8 dimensions, expected are 7"):
            encoder.encode(TEXTS[:4])
        assert encoder.encode(TEXTS[:4]).shape == (4, 7)


def test_an_answer_without_end_is_cut_off_at_64_mib() -> None:
    with EmbeddingServer(otherwise=servers.endless) as server:
        assert "more than 64 MiB" in _failure(server, TEXTS[:4], timeout_seconds=60.0, budget_seconds=60.0)
        assert 64 * 2**20 <= server.requests[0].sent + 2**20 < 128 * 2**20 and len(server.requests) == 1


# --- through the app's own verb


class _Always:
    """What ``embed`` needs of a LoadedModel, around one encoder."""

    load_seconds = 0.0

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def get(self, spec: ModelSpec, progress: Progress = silent) -> Encoder:
        return self.encoder


def test_a_failing_batch_stores_nothing_and_the_batches_before_it_stay(tmp_path: Path) -> None:
    sequences = make_sequences(["even", "primes"], per_family=10, length=12)
    with EmbeddingServer() as server, VectorStore(tmp_path / "cache.db") as store:
        endpoint = _endpoint(server)
        spec = _spec(endpoint, prompt="query: ")
        loaded: Any = _Always(EndpointEncoder(spec, endpoint))
        server.script.extend([servers.right] * 4)  # three in the first round of 12 texts, one in the second
        server.otherwise = servers.status(400)
        with pytest.raises(RemoteFailed, match="status 400"):
            embed(spec, sequences, store=store, loaded=loaded)
        assert store.count(spec.key, sequences.texts) == 12
        server.otherwise = servers.right
        before = sum(len(request.texts) for request in server.requests)
        made = embed(spec, sequences, store=store, loaded=loaded)
        assert sum(len(request.texts) for request in server.requests) - before == 8
        assert np.array_equal(made.matrix, _expected([f"query: {text}" for text in sequences.texts]))
        assert made.work is not None and (made.work.device, made.work.parameters) == ("lab", 0)
    assert KEY.encode() not in (tmp_path / "cache.db").read_bytes()


def test_many_encoders_may_ask_at_the_same_time() -> None:
    found: dict[int, Any] = {}
    with EmbeddingServer(otherwise=servers.slow(0.05)) as server:

        def ask(number: int) -> None:
            found[number] = _encoder(server).encode(TEXTS[number:])

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert all(np.array_equal(found[number], _expected(TEXTS[number:])) for number in range(4))
    assert not any(logging.getLogger(name).filters for name in ("httpx", "httpcore.connection", "httpcore.http11"))


def test_a_thread_with_an_event_loop_may_ask_too() -> None:
    """As in a notebook."""

    async def inside() -> np.ndarray[Any, Any]:
        with EmbeddingServer("openai") as server:
            return _encoder(server).encode(["1, 2", "3"])

    with ThreadPoolExecutor(1) as thread:  # this one may have a loop already: that of the browser tests
        assert thread.submit(asyncio.run, inside()).result().shape[0] == 2
