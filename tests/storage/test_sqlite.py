from __future__ import annotations

import itertools
import sqlite3
import threading
from pathlib import Path

import pytest

from numembed.core.errors import StoreFull, StoreUnreadable
from numembed.storage.damage import is_damage, set_aside
from numembed.storage.sqlite import connect, journal_settings, transaction

FIRST = ("CREATE TABLE things (name TEXT NOT NULL)",)
SECOND = (*FIRST, "ALTER TABLE things ADD COLUMN size INTEGER; CREATE INDEX by_size ON things (size)")


def _names(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM things ORDER BY rowid")]


def _pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((3, 40, 1), ("DELETE", "EXTRA")),
        ((3, 50, 6), ("DELETE", "EXTRA")),
        ((3, 50, 7), ("WAL", "FULL")),
        ((3, 50, 9), ("WAL", "FULL")),
        ((3, 51, 0), ("DELETE", "EXTRA")),
        ((3, 51, 2), ("DELETE", "EXTRA")),
        ((3, 51, 3), ("WAL", "FULL")),
        ((3, 52, 0), ("WAL", "FULL")),
        ((4, 0, 0), ("WAL", "FULL")),
    ],
)
def test_the_journal_waits_for_the_reset_fix(version: tuple[int, int, int], expected: tuple[str, str]) -> None:
    assert journal_settings(version) == expected


def test_a_connection_uses_the_settings_of_the_linked_sqlite(tmp_path: Path) -> None:
    connection = connect(tmp_path / "deep" / "down" / "a.db", FIRST)
    journal, synchronous = journal_settings()
    assert str(_pragma(connection, "journal_mode")).upper() == journal
    assert _pragma(connection, "synchronous") == {"FULL": 2, "EXTRA": 3}[synchronous]
    assert _pragma(connection, "mmap_size") == 0 and _pragma(connection, "user_version") == 1


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    connection = connect(tmp_path / "a.db", FIRST)
    with transaction(connection):
        connection.execute("INSERT INTO things VALUES ('kept')")
    with pytest.raises(sqlite3.IntegrityError), transaction(connection):
        connection.executemany("INSERT INTO things VALUES (?)", [("half",), (None,)])
    assert _names(connection) == ["kept"] and not connection.in_transaction
    assert _names(connect(tmp_path / "a.db", FIRST)) == ["kept"]


def test_an_older_file_is_brought_up_to_date_with_its_rows(tmp_path: Path) -> None:
    with transaction(old := connect(tmp_path / "a.db", FIRST)):
        old.execute("INSERT INTO things VALUES ('old')")
    old.close()
    connection = connect(tmp_path / "a.db", SECOND)
    assert connection.execute("SELECT name, size FROM things").fetchall() == [("old", None)]
    assert _pragma(connection, "user_version") == 2


def test_a_migration_that_breaks_leaves_the_old_version(tmp_path: Path) -> None:
    connect(tmp_path / "a.db", FIRST).close()
    with pytest.raises(StoreUnreadable):
        connect(tmp_path / "a.db", (*FIRST, "ALTER TABLE things ADD COLUMN size INTEGER; CREATE NONSENSE"))
    connection = connect(tmp_path / "a.db", FIRST)
    assert [row[1] for row in connection.execute("PRAGMA table_info(things)")] == ["name"]


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_a_newer_file_is_refused_untouched(tmp_path: Path, journal: str) -> None:
    path = tmp_path / "a.db"
    newer = sqlite3.connect(path)
    newer.execute(f"PRAGMA journal_mode={journal}")
    newer.execute("PRAGMA user_version=9")
    newer.execute("CREATE TABLE things (name TEXT)")
    newer.commit()
    newer.close()
    before = path.read_bytes()
    for may_restart in (False, True):
        with pytest.raises(StoreUnreadable, match=r"a.db was written by a newer .* \(version 9, this one knows 1"):
            connect(path, FIRST, may_restart=may_restart)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.db"]


def test_a_refused_file_is_not_held_open(tmp_path: Path) -> None:
    connect(tmp_path / "a.db", SECOND).close()
    for _ in range(3):
        with pytest.raises(StoreUnreadable):
            connect(tmp_path / "a.db", FIRST)
    assert tmp_path / "a.db" not in {link.resolve() for link in Path("/proc/self/fd").iterdir()}


def test_a_damaged_file_is_set_aside_and_started_again(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    for number in (1, 2):
        path.write_bytes(b"this was a database once" * 100)
        assert _names(connect(path, FIRST, may_restart=True)) == []
        assert path.with_name(f"a.db.corrupt-{number}").read_bytes().startswith(b"this was")


def test_a_damaged_file_stays_where_it_may_not_restart(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"this was a database once" * 100)
    with pytest.raises(StoreUnreadable, match=r"a.db in .* cannot be opened .*not a database.* NUMEMBED_HOME"):
        connect(path, FIRST)
    assert [file.name for file in tmp_path.iterdir()] == ["a.db"]


def test_what_belongs_to_a_damaged_file_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).write_bytes(b"x")
    assert set_aside(path) == tmp_path / "a.db.corrupt-1"
    assert [file.name for file in tmp_path.iterdir()] == ["a.db.corrupt-1"]


def test_damage_is_distinguished_from_a_busy_or_missing_file() -> None:
    assert is_damage(sqlite3.DatabaseError("database disk image is malformed"))
    assert is_damage(sqlite3.DatabaseError("file is not a database"))
    assert not is_damage(sqlite3.OperationalError("database is locked"))
    assert not is_damage(sqlite3.OperationalError("unable to open database file"))


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.db").mkdir()
    for path in (tmp_path / "file" / "a.db", tmp_path / "folder.db"):
        with pytest.raises(StoreUnreadable, match=r"cannot be opened .* set NUMEMBED_HOME to another"):
            connect(path, FIRST, may_restart=True)


def test_a_full_disk_is_reported_as_such(tmp_path: Path) -> None:
    connection = connect(tmp_path / "a.db", FIRST)
    with transaction(connection):
        connection.execute("INSERT INTO things VALUES ('kept')")
    connection.execute(f"PRAGMA max_page_count={_pragma(connection, 'page_count')}")
    with pytest.raises(StoreFull, match="disk is full"), transaction(connection):
        connection.execute("INSERT INTO things VALUES (hex(randomblob(100000)))")
    assert _names(connection) == ["kept"] and not connection.in_transaction
    connection.execute("PRAGMA max_page_count=1000")
    with transaction(connection):
        connection.execute("INSERT INTO things VALUES ('room again')")
    assert _names(connection) == ["kept", "room again"]


def test_writers_wait_for_each_other(tmp_path: Path) -> None:
    def write(name: str) -> None:
        connection = connect(tmp_path / "a.db", SECOND)
        for number in range(20):
            with transaction(connection):
                size = connection.execute("SELECT count(*) FROM things").fetchone()[0]
                connection.execute("INSERT INTO things VALUES (?, ?)", (f"{name} {number}", size))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    connection = connect(tmp_path / "a.db", SECOND)
    sizes = [row[0] for row in connection.execute("SELECT size FROM things ORDER BY rowid")]
    assert sizes == list(range(60))  # what each read was still true when it wrote
    assert sorted(_names(connection)) == sorted(f"{n} {i}" for n, i in itertools.product("abc", range(20)))
