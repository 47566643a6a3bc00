"""A hub on loopback, its client's settings, an empty cache and models to be served."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numembed.core.settings import Settings
from numembed.models.hub import client as hub_requests
from numembed.models.hub import download as hub_files
from tests.servers.hub import FakeHub, serve_hub
from tests.tiny import write_model


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serve_hub() as served:
        yield served


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's library, which nobody is logged in to."""
    from huggingface_hub import constants

    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    return tmp_path / "cache"


@pytest.fixture
def online(settings: Settings, hub: FakeHub, cache: Path) -> Settings:
    return replace(settings, offline=False, hub=hub.address, hub_token="")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_requests, "ANSWER_SECONDS", 0.6)
    monkeypatch.setattr(hub_requests, "SILENCE_SECONDS", 0.6)
    monkeypatch.setattr(hub_files, "_PAUSES_SECONDS", (0.02, 0.02, 0.02))


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A model's folder that a test may change, with what a repository has beside it."""
    folder = shutil.copytree(tiny_model, tmp_path / "served")
    (folder / "README.md").write_text("# a model")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (folder / "modeling_x.py").write_text("raise SystemExit")
    return folder


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A model whose weights take a while."""
    from safetensors.numpy import save_file

    folder = write_model(tmp_path / "large")
    table = np.random.default_rng(0).standard_normal((1_000, 256)).astype(np.float32)
    save_file({"table": table}, folder / "model.safetensors")
    return folder
