"""Endpoints that fail: what passes is asked again within a budget, what stays has its sentence."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import numpy as np
import pytest

from numembed.core.errors import RemoteFailed
from numembed.core.settings import Endpoint
from numembed.models.encoders.endpoint import EndpointEncoder
from tests.models.encoders.lab import KEY, KINDS, TEXTS, expected, failure, lab_encoder, lab_model
from tests.servers import embeddings as servers
from tests.servers.embeddings import Behaviour, EmbeddingServer

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_is_told")]


# --- failures that pass


@pytest.mark.parametrize("passing", [429, 500, 502, 503, 504])
def test_what_passes_is_asked_again(passing: int) -> None:
    with EmbeddingServer("openai", servers.status(passing)) as server:
        assert np.array_equal(lab_encoder(server).encode(TEXTS[:4]), expected(TEXTS[:4]))
    assert len(server.requests) == 2


@pytest.mark.parametrize("broken", [servers.cut, servers.hang_up])
@KINDS
def test_a_cut_line_is_asked_again(kind: str, broken: Behaviour) -> None:
    with EmbeddingServer(kind, broken) as server:
        assert np.array_equal(lab_encoder(server).encode(TEXTS[:4]), expected(TEXTS[:4]))
    assert len(server.requests) == 2


@pytest.mark.parametrize("late", [servers.slow(60), servers.drip])
def test_a_late_answer_is_cut_off_and_asked_again(late: Behaviour) -> None:
    started = time.monotonic()
    with EmbeddingServer("openai", late) as server:
        matrix = lab_encoder(server, timeout_seconds=0.3).encode(TEXTS[:4])
    assert np.array_equal(matrix, expected(TEXTS[:4])) and len(server.requests) == 2
    assert time.monotonic() - started < 15  # the drip would take half a minute, the other a minute


def test_a_server_that_never_answers_in_time_uses_up_the_budget_and_no_more() -> None:
    started = time.monotonic()
    with EmbeddingServer(otherwise=servers.slow(60)) as server:
        sentence = failure(server, budget_seconds=0.6, timeout_seconds=30.0)
    assert "did not answer completely in time" in sentence and "0.6 s" in sentence
    assert time.monotonic() - started < 15


def test_a_server_that_always_fails_is_given_up_when_the_budget_is_over() -> None:
    with EmbeddingServer(otherwise=servers.status(500)) as server:
        sentence = failure(server, TEXTS[:4], budget_seconds=0.9)
    assert "status 500" in sentence and "0.9 s" in sentence
    assert 2 <= len(server.requests) <= 5


def test_a_closed_port_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    endpoint = Endpoint("lab", f"http://127.0.0.1:{port}", key=KEY, budget_seconds=0.4)
    with pytest.raises(RemoteFailed, match=r"'lab' cannot be reached.*0\.4 s"):
        EndpointEncoder(lab_model(endpoint), endpoint).encode(TEXTS)


def test_retry_after_is_waited_for() -> None:
    with EmbeddingServer("openai", servers.status(429, retry_after="1.1")) as server:
        lab_encoder(server).encode(TEXTS[:4])
    first, second = server.requests
    assert second.started - first.ended >= 1.09  # without it the second try comes after 0.25 to 0.5 s


def test_retry_after_may_be_a_date() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
    with EmbeddingServer("openai", servers.status(503, retry_after=until)) as server:
        lab_encoder(server).encode(TEXTS[:4])
    first, second = server.requests
    assert second.started - first.ended >= 1.5  # the date has whole seconds


@pytest.mark.parametrize("kind", ["seconds", "date"])
def test_a_wait_that_does_not_fit_the_budget_fails_at_once_and_says_how_long(kind: str) -> None:
    started = time.monotonic()
    asked = "3600" if kind == "seconds" else format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    with EmbeddingServer(otherwise=servers.status(429, retry_after=asked)) as server:
        sentence = failure(server, TEXTS[:4], budget_seconds=30.0)
    assert "asks to wait 3,6" in sentence or "asks to wait 3,5" in sentence
    assert "30 s" in sentence and len(server.requests) == 1
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    "asked", ["soon", "-5", "1e99", "nan", "", "Wed, 99 Foo 2020", "Mon, 01 Jan 2001 00:00:00 GMT"]
)
def test_a_retry_after_that_means_nothing_is_passed_over(asked: str) -> None:
    with EmbeddingServer("openai", servers.status(503, retry_after=asked)) as server:
        assert lab_encoder(server).encode(TEXTS[:4]).shape == (4, 8)


# --- failures that stay


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (400, "refused the request"),
        (401, "refused the key"),
        (403, "refused the key"),
        (404, "url or model"),
        (413, "even one short text"),
        (422, "kind and model"),
        (501, "status 501"),
    ],
)
@pytest.mark.parametrize("answer", [servers.echoing, servers.status], ids=["echoing the key", "plain"])
def test_what_stays_is_not_checked_again_and_has_its_sentence(code: int, words: str, answer: Any) -> None:
    with EmbeddingServer(otherwise=answer(code)) as server:
        sentence = failure(server, TEXTS[:4])
    assert words in sentence and f"status {code}" in sentence
    may_be_size = code in (400, 413, 422)  # then a short text tells
    assert [request.texts for request in server.requests] == [TEXTS[:4], ["1, 2"]][: 1 + may_be_size]


@pytest.mark.parametrize("code", [200, 429, 500, 302])
def test_a_key_that_comes_back_in_any_answer_is_not_shown(code: int) -> None:
    with EmbeddingServer(otherwise=servers.echoing(code)) as server:
        failure(server, TEXTS[:4], budget_seconds=0.3)


def test_a_key_that_comes_back_in_other_writing_or_cut_at_the_end_is_not_shown() -> None:
    for said in (KEY.replace("/", "\\/"), KEY[:20], " " * 4_070 + KEY, f"<b>{KEY[:14]}</b>{KEY[14:]}"):
        with EmbeddingServer(otherwise=servers.status(400, f'{{"error": "no {said}"}}'.encode())) as server:
            assert "refused the request" in failure(server, TEXTS[:4])


def test_the_servers_own_words_are_quoted_short_and_without_markup() -> None:
    said = b'{"error": "batch <b>size</b> 33 > [32](http://evil)\\n\\u001b[31m ' + b"x" * 900 + b'"}'
    with EmbeddingServer(otherwise=servers.status(413, said)) as server:
        sentence = failure(server, TEXTS[:4])
    assert "It said: batch size 33 32" in sentence
    assert len(sentence) < 400 and not set('<>[]/\n\x1b"') & set(sentence)


def test_a_key_in_the_servers_own_words_is_replaced() -> None:
    with EmbeddingServer(otherwise=servers.status(400, f"no key {KEY}, no model".encode())) as server:
        assert failure(server, TEXTS[:4]).endswith("It said: no key (secret), no model")


def test_a_retry_is_logged_by_the_endpoints_name(caplog: pytest.LogCaptureFixture) -> None:
    with EmbeddingServer("openai", servers.echoing(503)) as server:
        lab_encoder(server).encode(TEXTS[:4])
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("numembed")]
    assert len(lines) == 1 and "'lab' answered with status 503" in lines[0]
    assert "127.0.0.1" not in caplog.text


def test_without_a_key_the_sentence_asks_for_one() -> None:
    with EmbeddingServer(otherwise=servers.status(401)) as server:
        assert "requires a key" in failure(server, key="")


@pytest.mark.parametrize("key", [f"{KEY}\nx-evil: 1", f"{KEY} x", f"{KEY}ß"])
def test_a_key_that_no_header_can_carry_is_not_sent(key: str) -> None:
    with EmbeddingServer() as server:
        assert "Set the key again" in failure(server, key=key)
    assert server.requests == []


@pytest.mark.slow
def test_a_redirect_is_not_followed() -> None:
    with EmbeddingServer() as other:
        for place in (other.url + "/embeddings", "http://169.254.169.254/latest/meta-data"):
            for code in (301, 302, 303, 307, 308):
                with EmbeddingServer(otherwise=servers.status(code, location=place)) as server:
                    sentence = failure(server, TEXTS[:4])
                assert "not followed" in sentence and "169.254" not in sentence
                assert len(server.requests) == 1
    assert other.requests == []


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with EmbeddingServer() as server:
        assert lab_encoder(server).encode(TEXTS).shape == (10, 8)


def test_the_first_failure_that_stays_cancels_the_requests_on_their_way() -> None:
    started = time.monotonic()
    with EmbeddingServer("openai", servers.slow(60), servers.slow(60), servers.status(404)) as server:
        assert "status 404" in failure(server, TEXTS * 4, timeout_seconds=60.0, budget_seconds=60.0)
        assert len(server.requests) == 3  # the seven others were never sent
    assert time.monotonic() - started < 20
