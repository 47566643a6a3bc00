"""The verb store: looking both files through, repair, backup, and restore also while the app runs."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace

import numpy as np
import pytest

from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.models.embedding import Work
from numembed.runs.jobs import JobTable
from numembed.storage.backups import backups_of
from numembed.storage.vectors import VectorStore
from numembed.studies.results import ResultStore
from numembed.studies.study import Study
from tests.cli.calls import Answer, Call

pytestmark = pytest.mark.slow
STUDY = Study(("even", "primes"), (model("last_digits"),), per_family=1, length=5)
TEXTS = [str(number) for number in range(300)]


def _vectors() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.random.default_rng(0).normal(size=(len(TEXTS), 64)).astype(np.float32)


def _fill(settings: Settings, numbers: range) -> None:
    with ResultStore(settings.app_db) as results, JobTable(settings.app_db) as jobs:
        for number in numbers:
            results.put(f"key {number}", {"number": number, "text": "x" * 2_000})
            jobs.record(replace(STUDY, seed=number), asked_by="me", seconds=1.0, state="done")
        results.add_work("model", Work(1, "cpu", 1, 1, 1.0, 1.0))


def _numbers(settings: Settings) -> list[int]:
    with ResultStore(settings.app_db) as results:
        return [
            number for number in range(100) if results.get(f"key {number}") == {"number": number, "text": "x" * 2_000}
        ]


def _seeds(settings: Settings) -> list[int]:
    with JobTable(settings.app_db) as jobs:
        return sorted(job.request.seed for job in jobs.recent())


def _told(answer: Answer) -> dict[str, tuple[int, int]]:
    return {f"{row['file']} {row['table']}": (row["rows"], row["damaged"]) for row in answer.rows}


@pytest.fixture
def filled(settings: Settings) -> Settings:
    """Forty results and runs, and three hundred vectors."""
    _fill(settings, range(40))
    with VectorStore(settings.cache_db) as vectors:
        vectors.add("a" * 64, "one", TEXTS, _vectors())
    return settings


def test_check_counts_rows_and_finds_flipped_ones(call: Call, filled: Settings) -> None:
    whole = call("store", "check", "--json")
    counts = {"app.db results": (40, 0), "app.db jobs": (40, 0), "app.db works": (1, 0), "cache.db models": (1, 0)}
    assert (whole.code, whole.err) == (0, "") and counts.items() <= _told(whole).items()
    assert [rows for name, rows in _told(whole).items() if rows[0] == 300] == [(300, 0)]
    with sqlite3.connect(filled.app_db) as other:
        other.execute("UPDATE results SET payload = replace(payload, 'x', 'y') WHERE key = 'key 7'")
        other.execute("UPDATE jobs SET study = '{}' WHERE number = 3")
        other.execute("UPDATE works SET texts = x'00'")
    hurt = call("store", "check", "--json")
    assert hurt.code == 1 and "app.db is damaged." in hurt.err and "Run" not in hurt.err
    assert hurt.err.endswith("from its good rows: numembed store repair\n")
    assert [_told(hurt)[f"app.db {table}"] for table in ("results", "jobs", "works")] == [(40, 1), (40, 1), (1, 1)]
    assert not list(filled.home.glob("*.corrupt-*")), "it only looks"


def test_repair_keeps_every_good_row_and_takes_the_others_from_the_backup(call: Call, filled: Settings) -> None:
    assert call("store", "repair", "--json") == Answer(0, "", "numembed: Nothing is damaged.\n")
    assert call("store", "backup").code == 0
    _fill(filled, range(40, 60))
    with sqlite3.connect(filled.app_db) as other:
        other.execute("UPDATE results SET payload = 'x' WHERE key IN ('key 7', 'key 55')")
        other.execute("UPDATE jobs SET study = '{}' WHERE number IN (4, 50)")
    size = filled.app_db.stat().st_size
    with filled.app_db.open("r+b") as file:  # the last page of rows, which come after the backup
        file.seek(size - 32_768)
        file.write(bytes(32_768))
    assert call("store", "check").code == 1
    repaired = call("store", "repair", "--json")
    assert repaired.code == 0 and repaired.rows[0]["file"] == "app.db"
    assert repaired.rows[0]["kept_aside"] == "app.db.corrupt-1"
    numbers, seeds = _numbers(filled), _seeds(filled)
    assert numbers[:40] == seeds[:40] == list(range(40)) and len(numbers) > 45 and 55 not in numbers
    assert len(seeds) > 45 and 49 not in seeds
    assert call("store", "check").code == 0


def test_repair_of_the_vectors_loses_the_damaged_rows_alone(call: Call, filled: Settings) -> None:
    with filled.cache_db.open("r+b") as file:
        file.seek(filled.cache_db.stat().st_size - 5_000)
        file.write(b"damage" * 20)
    assert call("store", "check").code == 1 and call("store", "repair").code == 0
    with VectorStore(filled.cache_db) as vectors:
        matrix, found = vectors.read("a" * 64, TEXTS)
    assert 280 < found.sum() < 300 and np.array_equal(matrix[found], _vectors()[found])
    assert call("store", "check").code == 0


def test_the_good_rows_of_a_file_that_was_set_aside_can_be_added(call: Call, filled: Settings) -> None:
    _fill(filled, range(40, 45))
    filled.app_db.rename(filled.home / "app.db.corrupt-1")
    _fill(filled, range(43, 47))  # runs of the new file have the numbers of others in the old one
    assert call("store", "repair", "app.db.corrupt-1").code == 0
    assert _numbers(filled) == list(range(47)) and sorted(set(_seeds(filled))) == list(range(47))
    refused = call("store", "repair", "nothing")
    assert refused.code == 1 and "There is no file 'nothing' in " in refused.err


def test_a_backup_is_restored_by_name_and_the_present_file_is_kept(call: Call, filled: Settings) -> None:
    empty = call("store", "restore", "--json")
    assert (empty.code, empty.rows) == (0, []) and "There is no backup yet." in empty.err
    made = call("store", "backup", "--json").rows[0]
    _fill(filled, range(40, 50))
    listed = call("store", "restore", "--json")
    assert listed.rows == [made] and "numembed store restore newest" in listed.err
    assert call("store", "restore", "nothing").code == 1
    taken = call("store", "restore", made["backup"])
    assert taken.code == 0 and "The file before it is kept as app.db.replaced-1." in taken.err
    assert _numbers(filled) == _seeds(filled) == list(range(40))
    filled.app_db.unlink()
    assert call("store", "restore", "newest").code == 0 and _numbers(filled) == list(range(40))


@pytest.mark.parametrize("action", [("restore", "newest"), ("repair", "app.db.other")])
def test_others_that_write_meanwhile_go_on_in_the_new_file(
    call: Call, filled: Settings, action: tuple[str, str]
) -> None:
    assert call("store", "backup").code == 0
    (filled.home / "app.db.other").write_bytes(backups_of(filled.app_db)[0].read_bytes())
    raised: list[Exception] = []
    begun, over = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        with ResultStore(filled.app_db) as results:
            while not over.is_set():
                try:
                    results.put(f"written {number % 50}", {"number": number})
                    assert results.get("key 3") is not None
                except Exception as error:
                    raised.append(error)
                number += 1
                if number == 20:
                    begun.set()

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    begun.wait()
    for _ in range(3):
        assert call("store", *action).code == 0
    over.set()
    for writer in writers:
        writer.join()
    assert raised == [] and _numbers(filled) == list(range(40))
    with ResultStore(filled.app_db) as results:
        results.put("after", {})
    assert call("store", "check").code == 0


def test_prune_takes_the_least_recently_used_models_but_none_that_a_run_needs(call: Call, settings: Settings) -> None:
    names = ("all-MiniLM-L6-v2", "oldest", "older", "newest")
    with VectorStore(settings.cache_db) as vectors:
        for number, name in enumerate(names):
            vectors.add(str(number) * 64, name, TEXTS, np.repeat(_vectors(), 16, axis=1))
            vectors._connection.execute("UPDATE models SET used = ? WHERE name = ?", (number, name))
        one = vectors.size_bytes() // len(names)
    with JobTable(settings.app_db) as jobs:
        jobs.submit(replace(STUDY, models=(model("all-MiniLM-L6-v2"),)), asked_by="visitor")
    pruned = call("store", "prune", "--to", f"{2.2 * one / 1e6:.2f}MB", "--json")
    assert pruned.code == 0 and [row["name"] for row in pruned.rows] == ["oldest", "older"] and not pruned.err
    with VectorStore(settings.cache_db) as vectors:
        assert vectors.size_bytes() < 2.2 * one and {left.name for left in vectors.models()} == {names[0], names[3]}
    rest = call("store", "prune", "--to", "1kB", "--json")
    assert [row["name"] for row in rest.rows] == ["newest"] and "waiting and running runs need the rest" in rest.err
    for wrong in ([], ["--to", "much"]):
        assert call("store", "prune", *wrong).code == 1
