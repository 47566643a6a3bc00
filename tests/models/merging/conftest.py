"""What tests of merges begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import tiny


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two tiny models of one architecture."""
    return tiny.write_model(tmp_path / "a", seed=1), tiny.write_model(tmp_path / "b", seed=2)
