"""Random damages of app.db: nothing but sentences, and no wrong result. ``benchmarks`` runs more of them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from benchmarks.faults_files import damaged_files

pytestmark = pytest.mark.slow
MEMORY = Path("/dev/shm")  # each of some thousand writes waits for a disk otherwise


def test_no_damage_of_app_db_is_more_than_a_sentence_or_serves_a_wrong_result() -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        found = damaged_files(60, Path(folder) / "damages", seed=5)
    assert found.raw == [] and found.wrong == []
    assert found.set_aside > 15, "the damages are not found, or do nothing"
    assert all("There is no run" in one or "newer numembed" in one for one in found.sentences), found.sentences
