"""What tests of adapters begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lora import write_adapter


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the tiny model."""
    return write_adapter(tmp_path_factory.mktemp("adapters") / "seed-0", tiny_model)
