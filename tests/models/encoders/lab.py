"""The endpoint 'lab', as tests of endpoints ask it."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from numembed.core.errors import RemoteFailed
from numembed.core.progress import Progress, silent
from numembed.core.settings import Endpoint
from numembed.models.encoders.endpoint import EndpointEncoder
from numembed.models.encoders.interface import Encoder
from numembed.models.spec import ModelSpec, RemoteWeights
from tests.servers.embeddings import EmbeddingServer, vector

KEY = "sk-Tr0ub4dor+and/3/quite=long"
TEXTS = [f"{number}, {number + 1}" for number in range(10)]
KINDS = pytest.mark.parametrize("kind", ["openai", "tei"])


def lab_endpoint(server: EmbeddingServer, **changes: Any) -> Endpoint:
    plain: dict[str, Any] = {
        "name": "lab",
        "url": server.url,
        "model": "small",
        "kind": server.kind,
        "key": KEY,
        "batch_texts": 4,
        "concurrency": 3,
        "timeout_seconds": 20.0,
        "budget_seconds": 20.0,
    }
    return Endpoint(**(plain | changes))


def lab_model(endpoint: Endpoint, prompt: str = "") -> ModelSpec:
    return ModelSpec("Lab", RemoteWeights(endpoint.name, endpoint.url, endpoint.model), prompt=prompt)


def lab_encoder(server: EmbeddingServer, *, prompt: str = "", **changes: Any) -> EndpointEncoder:
    endpoint = lab_endpoint(server, **changes)
    return EndpointEncoder(lab_model(endpoint, prompt), endpoint)


def expected(texts: Sequence[str]) -> np.ndarray[Any, Any]:
    return np.array([vector(text) for text in texts], dtype=np.float32)


def key_is_told(text: str) -> bool:
    """True where any eight characters of the key stand in ``text``."""
    return any(KEY[start : start + 8] in text for start in range(len(KEY) - 7))


def failure(server: EmbeddingServer, texts: Sequence[str] = TEXTS, **changes: Any) -> str:
    """Return the sentence of the failure, which tells the endpoint's name and neither its key nor its url."""
    encoder = lab_encoder(server, **changes)
    with pytest.raises(RemoteFailed) as caught:
        encoder.encode(texts)
    told = "".join(traceback.format_exception(caught.value))
    assert str(caught.value).startswith("Endpoint 'lab' ")
    assert not key_is_told(told) and "127.0.0.1" not in told
    return str(caught.value)


class Always:
    """What ``embed`` needs of a LoadedModel, around one encoder."""

    load_seconds = 0.0

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def get(self, spec: ModelSpec, progress: Progress = silent) -> Encoder:
        return self.encoder
