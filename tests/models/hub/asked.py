"""What tests of the hub ask it, and what they look at afterwards."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from numembed.core.errors import ModelUnavailable
from tests.servers.hub import sha256

NAME = "owner/name"
TOKEN, STRANGER = "hf_AAAAbbbbCCCCddddEEEE1111", "hf_ZZZZyyyyXXXXwwwwVVVV2222"
PATIENCE = 10.0  # seconds; the library's own would be 30 to 350


def told_by(ask: Callable[[], object]) -> str:
    """Return the sentence of a failure, which must come soon and must hold no token anywhere."""
    began = time.monotonic()
    with pytest.raises(ModelUnavailable) as failure:
        ask()
    assert time.monotonic() - began < PATIENCE
    everything = "".join(traceback.format_exception(failure.value))
    assert TOKEN not in everything and STRANGER not in everything
    assert "\n" not in str(failure.value)
    return str(failure.value)


def kept_files(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): sha256(file)
        for pattern in ("*.json", "*.safetensors")
        for file in folder.rglob(pattern)
    }


def blobs(cache: Path) -> list[str]:
    return sorted(file.name for file in (cache / "models--owner--name" / "blobs").glob("*"))
