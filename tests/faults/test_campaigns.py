"""A few rounds of each campaign of ``python -m benchmarks faults``; what is naive does not come through it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.faults_app import app_file
from benchmarks.faults_disk import NO_DISK, disk_faults
from benchmarks.faults_files import Damages, damaged_files
from benchmarks.faults_runs import killed_runs
from benchmarks.faults_soak import odd_lines, soaked
from benchmarks.faults_vectors import NAIVE, vector_file
from benchmarks.faults_writers import killed_writers
from numembed.models.catalogue.names import model

pytestmark = pytest.mark.slow
MEMORY = Path("/dev/shm")  # each of some thousand writes waits for a disk otherwise


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)


def test_no_damage_of_app_db_is_more_than_a_sentence_or_serves_a_wrong_result(folder: Path) -> None:
    found = damaged_files(app_file, 25, folder, seed=5)
    assert found.faults == []
    assert found.set_aside > 5, "the damages are not found, or do nothing"
    assert all("There is no run" in one or "newer numembed" in one for one in found.sentences), found.sentences


def test_no_damage_of_cache_db_is_more_than_a_sentence_or_serves_a_wrong_vector(folder: Path) -> None:
    found = damaged_files(vector_file("cache.db"), 30, folder, seed=5)
    assert found.faults == []
    assert found.set_aside > 5 and found.unreadable > 0, "the damages do nothing"
    assert all("newer numembed" in one for one in found.sentences), found.sentences


def test_a_killed_writer_loses_no_batch_that_was_acknowledged(folder: Path) -> None:
    kills = killed_writers("cache.db", 3, folder, seed=5)
    assert kills.faults == [] and kills.acknowledged >= 3


@pytest.mark.parametrize("store", NAIVE)
def test_the_same_damages_find_naive_stores_faulty(folder: Path, store: str) -> None:
    found = damaged_files(vector_file(store), 10, folder, seed=5)
    assert found.raw and found.wrong


def test_the_same_kills_find_a_naive_store_faulty(folder: Path) -> None:
    assert killed_writers("pickle", 4, folder, seed=5).faults


def test_a_killed_worker_goes_on_and_ends_as_one_that_was_not_killed(folder: Path) -> None:
    kills = killed_runs(1, folder, model("last_digits"), per_family=3)  # real models: test_kills
    assert kills.faults == [] and kills.rounds == 1


def test_a_full_disk_under_a_running_app_is_a_sentence_and_nothing_is_lost(folder: Path) -> None:
    found = disk_faults("full disk", folder, "last_digits")
    if found == [NO_DISK]:
        pytest.skip(NO_DISK)
    assert found == []


def test_a_short_soak_leaves_nothing_over(folder: Path) -> None:
    found = soaked(5, folder, visitors=1, name="string_length")
    assert found.faults == [] and found.clicks > 0 and found.runs > 0 and found.samples


def test_a_soak_tells_whole_tracebacks_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text(
        "INFO fine\nTraceback (most recent call last):\n  File one\n    two\nOSError: gone\nfine\nERROR bad\nfine\n"
    )
    assert odd_lines(log) == [
        "Traceback (most recent call last):\n      File one\n        two\n    OSError: gone",
        "ERROR bad",
    ]
    assert odd_lines(tmp_path / "no.log") == []


def test_bytes_that_are_no_text_in_the_description_of_tables_are_a_damage_like_any_other(folder: Path) -> None:
    asked = app_file(folder / "whole")(folder, found := Damages())
    (folder / "whole").rename(asked.path)
    content = asked.path.read_bytes()
    asked.path.write_bytes(content.replace(b"AUTOINCREMENT,", b"AUTOINCREMENT\xac"))  # SQLite quotes it in its error
    with asked.told("check"):
        asked.command("check")
    asked.ask("opened")
    asked.close()
    assert found.faults == [] and list(folder.glob("app.db.corrupt-*"))
