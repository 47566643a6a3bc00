"""Endpoints with a certificate of the network's own: trusted where the environment names it, and only there."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numembed.core.certificates import certificates
from numembed.core.errors import BadSettings, RemoteFailed
from numembed.models.encoders.endpoint import EndpointEncoder
from tests.models.encoders.lab import TEXTS, expected, lab_endpoint, lab_model
from tests.servers.embeddings import EmbeddingServer

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_is_told")]

OWN = Path(__file__).parents[2] / "servers" / "loopback.pem"  # certificate and key, which nothing else uses
NAMES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


@pytest.fixture(autouse=True)
def _read_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    certificates.cache_clear()
    yield
    certificates.cache_clear()


def _encoder(server: EmbeddingServer) -> EndpointEncoder:
    """Return an encoder that asks over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(OWN)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    endpoint = replace(lab_endpoint(server), url=server.url.replace("http:", "https:"))
    return EndpointEncoder(lab_model(endpoint), endpoint)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_a_certificate_that_the_environment_names_is_trusted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, str(OWN))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # still not used
    with EmbeddingServer() as server:
        assert np.array_equal(_encoder(server).encode(TEXTS), expected(TEXTS))


def test_a_certificate_that_nobody_names_is_refused_with_what_to_set() -> None:
    with EmbeddingServer() as server:
        with pytest.raises(RemoteFailed, match=r"cannot be verified.*SSL_CERT_FILE"):
            _encoder(server).encode(TEXTS)
        assert server.requests == []


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_that_holds_no_certificates_is_a_sentence(
    name: str, content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / "own.pem").write_text(content)
    monkeypatch.setenv(name, str(tmp_path / "own.pem"))
    with (
        EmbeddingServer() as server,
        pytest.raises(BadSettings, match=f"certificates of {name} cannot be read") as told,
    ):
        _encoder(server).encode(TEXTS)
    assert str(tmp_path) not in str(told.value)
