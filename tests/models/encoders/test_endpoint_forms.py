"""Endpoints as servers really answer: every form of vectors is read, batches are halved, long texts are cut."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numembed.analysis.maps.projections import PROJECTIONS
from numembed.core.errors import RemoteFailed, TextFailed
from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.models.embedding import embed, refuse_failed
from numembed.models.encoders.endpoint import EndpointEncoder
from numembed.models.encoders.interface import Encoder, ModelCheck
from numembed.models.encoders.loaded import LoadedModel
from numembed.runs.study_run import run
from numembed.sequences.sets import make_sequences
from numembed.storage.vectors import VectorStore
from numembed.studies.results import ResultStore
from numembed.studies.study import Study
from tests.models.encoders.lab import KEY, TEXTS, Always, expected, failure, lab_encoder, lab_endpoint, lab_model
from tests.servers import embeddings as servers
from tests.servers.embeddings import Behaviour, EmbeddingServer, WeightSwapper
from tests.servers.forms import FORMS, Form, limited, tokens

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_is_told")]

EVERY = pytest.mark.parametrize("name", FORMS)
MANY = pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form.many])
LONG = pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form.long])
MOST_TOKENS = 60
NUMBERS = ", ".join(map(str, range(900, 1_100)))


def _server(form: Form, **limits: int) -> EmbeddingServer:
    return EmbeddingServer(form.kind, otherwise=limited(form, **limits))


@EVERY
def test_every_form_of_an_answer_is_read(name: str) -> None:
    with _server(FORMS[name]) as server:
        assert np.array_equal(lab_encoder(server).encode(TEXTS), expected(TEXTS))
        assert np.array_equal(lab_encoder(server).encode(TEXTS[:1]), expected(TEXTS[:1]))


def test_base64_in_the_other_order_of_bytes_is_not_taken_for_right() -> None:
    big = servers.changed(lambda rows: [base64.b64encode(np.array(row, ">f4").tobytes()).decode() for row in rows])
    with EmbeddingServer(otherwise=big) as server:
        assert not np.array_equal(lab_encoder(server).encode(TEXTS), expected(TEXTS))


@MANY
def test_requests_with_too_many_texts_are_halved_and_later_ones_are_small_at_once(name: str) -> None:
    texts = [f"{number}, {number + 1}" for number in range(64)]
    with _server(FORMS[name], most_texts=5) as server:
        encoder = lab_encoder(server, batch_texts=16, concurrency=2)
        assert np.array_equal(encoder.encode(texts[:32]), expected(texts[:32]))
        assert len(server.requests) <= 2 * (1 + 2 + 4) + 1
        before = len(server.requests)
        assert np.array_equal(encoder.encode(texts[32:]), expected(texts[32:]))
        assert [len(request.texts) for request in server.requests[before:]] == [4] * 8
        assert all(finding.name != "cut" for finding in encoder.check.findings)


@LONG
def test_a_text_that_is_too_long_is_cut_between_numbers_and_that_is_told(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with _server(FORMS[name], most_tokens=MOST_TOKENS) as server:
        encoder = lab_encoder(server, prompt="read: ")
        matrix = encoder.encode([*TEXTS, NUMBERS])
    sent = next(one for one in _sent(server) if np.array_equal(expected([one])[0], matrix[-1]))
    assert np.array_equal(matrix[:-1], expected([f"read: {text}" for text in TEXTS]))
    assert f"read: {NUMBERS}".startswith(sent) and sent.endswith(",") and sent.count(" ") == sent.count(",")
    assert MOST_TOKENS / 4 < tokens(sent) <= MOST_TOKENS
    told = encoder.check.sentence
    kept = len(sent) - len("read: ")
    assert "1 text is longer than it reads" in told and f"{kept:,} of {len(NUMBERS):,} characters" in told
    assert [record.levelno for record in caplog.records if "without their end" in record.message] == [logging.WARNING]


def _sent(server: EmbeddingServer) -> list[str]:
    return [text for request in server.requests for text in request.texts]


def test_where_the_server_counts_tokens_nearly_all_that_it_reads_is_sent() -> None:
    for name in ("OpenAI", "vLLM", "vLLM's pooling", "llama.cpp", "Mistral"):
        with _server(FORMS[name], most_tokens=MOST_TOKENS) as server:
            lab_encoder(server).encode([NUMBERS])
        assert len(server.requests) <= 4 and tokens(_sent(server)[-1]) > 0.8 * MOST_TOKENS, name


@LONG
def test_the_vector_of_a_cut_text_depends_on_no_other_text(name: str) -> None:
    longer = [f"{NUMBERS}, {number}" for number in range(3)] + [NUMBERS.replace("9", "77"), "7" * 700]
    alone = []
    for text in longer:
        with _server(FORMS[name], most_tokens=MOST_TOKENS) as server:
            alone.append(lab_encoder(server).encode([text])[0])
    for order in (longer, longer[::-1], [*TEXTS, *longer, *TEXTS[::-1]]):
        with _server(FORMS[name], most_tokens=MOST_TOKENS) as server:
            encoder = lab_encoder(server, batch_texts=8)
            first = encoder.encode(order)
            again = encoder.encode(longer)
        found = [first[order.index(text)] for text in longer]
        assert np.array_equal(found, alone) and np.array_equal(again, alone)


def test_after_one_long_text_the_others_need_no_halving() -> None:
    longer = [f"{NUMBERS}, {number}" for number in range(8)]
    with _server(FORMS["vLLM"], most_tokens=MOST_TOKENS) as server:
        encoder = lab_encoder(server, batch_texts=8)
        encoder.encode(longer[:1])
        before = len(server.requests)
        encoder.encode([*TEXTS[:8], *longer])
        sizes = [len(request.texts) for request in server.requests[before:]]
    assert sorted(sizes)[-2:] == [1, 8] and len(sizes) <= 1 + 1 + 3 * len(longer)


# --- one text costs itself


_FORBIDDEN = servers.status(400, b'{"error": "forbidden content"}')


def _refusing(word: str, refusal: Behaviour = _FORBIDDEN) -> Behaviour:
    """Refuse every request that holds a word, as a filter does, and answer all others."""

    def answer(swapper: WeightSwapper) -> None:
        refused = any(word in text for text in swapper.request.texts)
        (refusal if refused else servers.right)(swapper)

    return answer


def test_a_text_that_is_refused_for_good_costs_itself_and_a_bounded_number_of_requests() -> None:
    texts = [f"{number}, {number + 1}" for number in range(32)]
    bad = texts[13] = "666, 667"
    with EmbeddingServer(otherwise=_refusing("666")) as server:
        encoder = lab_encoder(server, batch_texts=16, concurrency=2)
        with pytest.raises(TextFailed, match=r"'lab' \(status 400\) refuses the text '666, 667'.*forbidden content"):
            encoder.encode(texts)
        asked = len(server.requests)
        assert asked <= 2 + 1 + 2 * 4  # both requests, the control, and halves down to the text
        found = _bisected(encoder, texts)
        assert len(server.requests) == asked, "what was answered is not asked again"
        assert sorted(found) == sorted(set(texts) - {bad})
        assert all(np.array_equal(row, expected([text])[0]) for text, row in found.items())
        server.otherwise = servers.right  # the operator has changed the filter
        assert np.array_equal(encoder.encode([bad]), expected([bad]))


def _bisected(encoder: Encoder, texts: Sequence[str]) -> dict[str, Any]:
    """Ask for halves where a text fails, as whoever embeds does."""
    try:
        return dict(zip(texts, encoder.encode(texts), strict=True))
    except TextFailed:
        if len(texts) == 1:
            return {}
        middle = len(texts) // 2
        return _bisected(encoder, texts[:middle]) | _bisected(encoder, texts[middle:])


def test_a_server_that_refuses_whatever_is_left_of_a_text_is_asked_a_bounded_number_of_times() -> None:
    with EmbeddingServer(otherwise=_refusing("7", servers.status(413))) as server:
        with pytest.raises(TextFailed, match="refuses the text"):
            lab_encoder(server).encode(["7" * 100_000])
        assert len(server.requests) <= 16


# --- refusals that are not about size


@pytest.mark.parametrize("code", [400, 422])
def test_a_wrong_parameter_is_told_after_one_short_text_without_a_storm_of_halves(code: int) -> None:
    said = servers.status(code, b'{"detail": [{"loc": ["body"], "msg": "unknown dimension"}]}')
    with EmbeddingServer(otherwise=said) as server:
        sentence = failure(server, list(map(str, range(100))), batch_texts=4, concurrency=3)
        assert "Check kind and model. It said: unknown dimension" in sentence
        assert len(server.requests) <= 3 + 1


def test_a_server_that_does_not_know_encoding_format_is_asked_without_it() -> None:
    def picky(swapper: WeightSwapper) -> None:
        named = "encoding_format" in swapper.request.asked
        said = b'{"error": {"message": "Unrecognized request argument supplied: encoding_format"}}'
        (servers.status(400, said) if named else servers.right)(swapper)

    with EmbeddingServer(otherwise=picky) as server:
        encoder = lab_encoder(server, batch_texts=16)
        assert np.array_equal(encoder.encode(TEXTS), expected(TEXTS)) and len(server.requests) == 2
        assert np.array_equal(encoder.encode(TEXTS), expected(TEXTS)) and len(server.requests) == 3


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "model m is not loaded", "type": "x"}},
        {"error": "model m is not loaded"},
        {"object": "error", "message": "model m is not loaded", "code": 40},
        {"detail": "model m is not loaded"},
        {"error": "model m is not loaded", "error_type": "Backend"},
        {"error": True, "message": "model m is not loaded"},
        [{"error": {"code": 400, "message": "model m is not loaded"}}],
        {"errors": [{"msg": "model m is not loaded"}]},
    ],
    ids=str,
)
@pytest.mark.parametrize("code", [200, 400, 404])
def test_the_servers_own_words_are_quoted_whatever_they_are_wrapped_in(body: Any, code: int) -> None:
    with EmbeddingServer(otherwise=servers.status(code, json.dumps(body).encode())) as server:
        assert failure(server, TEXTS[:4]).endswith("It said: model m is not loaded")


@pytest.mark.parametrize("code", [200, 400])
def test_a_key_in_an_errors_message_is_not_shown(code: int) -> None:
    for said in (KEY, KEY.replace("/", "\\/"), "".join(f"\\u{ord(sign):04x}" for sign in KEY), KEY[:14]):
        content = f'{{"error": {{"message": "no such key {said}"}}}}'.encode()
        with EmbeddingServer(otherwise=servers.status(code, content)) as server:
            failure(server, TEXTS[:4])


# --- through the app's own verb


def test_whoever_judges_a_model_hears_that_texts_were_cut(tmp_path: Path) -> None:
    heard: list[ModelCheck] = []

    def judge(check: ModelCheck) -> None:
        refuse_failed(check)
        heard.append(check)

    sequences = make_sequences(["even", "primes"], per_family=4, length=40)
    with (
        _server(FORMS["OpenAI"], most_tokens=MOST_TOKENS) as server,
        VectorStore(tmp_path / "cache.db") as store,
    ):
        endpoint = lab_endpoint(server)
        loaded: Any = Always(EndpointEncoder(lab_model(endpoint), endpoint))
        embed(lab_model(endpoint), sequences, store=store, loaded=loaded, judge=judge)
        assert store.count(lab_model(endpoint).key, sequences.texts) == 8
    assert [len(check.findings) for check in heard] == [1, 2]
    assert "8 texts are longer than it reads" in heard[-1].sentence


def test_a_later_run_still_says_that_stored_vectors_are_of_cut_texts(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PROJECTIONS, "_entries", {"pca": PROJECTIONS["pca"]})
    with (
        _server(FORMS["OpenAI"], most_tokens=MOST_TOKENS) as server,
        VectorStore(settings.cache_db) as vectors,
        ResultStore(settings.app_db) as results,
    ):
        endpoint = lab_endpoint(server)
        own = replace(settings, endpoints={endpoint.name: endpoint})
        for length in (40, 3):
            study = Study(("even", "primes"), (model(f"endpoint:{endpoint.name}"),), per_family=3, length=length)
            outcome = run(study, vectors=vectors, results=results, loaded=LoadedModel(own), settings=own)
            assert outcome.sentences == ()
            (result,) = outcome.results
            assert result.check is not None and "longer than it reads" in result.check.sentence


def test_an_answer_of_another_width_forgets_what_was_kept() -> None:
    with EmbeddingServer(otherwise=_refusing("666")) as server:
        encoder = lab_encoder(server)
        with pytest.raises(TextFailed):
            encoder.encode(["666", *TEXTS[:3]])
        server.otherwise = servers.changed(lambda rows: [row[1:] for row in rows])
        with pytest.raises(RemoteFailed):
            encoder.encode([*TEXTS[:3], "new"])
        assert encoder.encode(TEXTS[:3]).shape == (3, 7)
