"""Backups: whole or not there, one a day and one before a migration, the newest seven kept."""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path

import pytest

from numembed.core.errors import BadChoice, StoreFull, StoreUnreadable
from numembed.storage import backups
from numembed.storage.backups import MOST_KEPT, back_up, backup_called, backups_of, daily, is_good
from numembed.storage.damage import Kept
from numembed.storage.sqlite import connect

FIRST = ("CREATE TABLE things (name TEXT NOT NULL)",)
SECOND = (*FIRST, "ALTER TABLE things ADD COLUMN size INTEGER")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with one row."""
    connection = connect(tmp_path / "app.db", FIRST)
    connection.execute("INSERT INTO things VALUES ('kept')")
    connection.close()
    return tmp_path / "app.db"


@pytest.fixture(autouse=True)
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backups, "_tried", {})


def test_a_backup_has_all_rows_and_is_no_draft(path: Path) -> None:
    backup = back_up(path, "2026-01-02")
    assert backup == path.parent / "backups" / "app-2026-01-02.db" and is_good(backup)
    with sqlite3.connect(backup) as other:
        assert other.execute("SELECT * FROM things").fetchall() == [("kept",)]
        assert other.execute("PRAGMA user_version").fetchone() == (1,)
    assert list(backup.parent.iterdir()) == [backup]


def test_one_backup_a_day_and_the_newest_seven_stay(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    daily(path)
    (first,) = backups_of(path)
    os.utime(first, (1, 1))
    daily(path)
    backups._tried.clear()  # as in another process
    daily(path)
    assert first.stat().st_mtime == 1
    for number in range(MOST_KEPT):
        monkeypatch.setattr("numembed.storage.backups.time.strftime", lambda _, n=number: f"2030-01-0{n + 1}")
        daily(path)
    assert [file.name for file in backups_of(path)] == [f"app-2030-01-0{n}.db" for n in range(MOST_KEPT, 0, -1)]


def test_a_migration_begins_with_a_backup_and_a_new_file_needs_none(path: Path) -> None:
    connect(path, SECOND, kept=Kept("The list")).close()
    (backup,) = backups_of(path)
    assert backup.name.endswith("-version-1.db")
    assert connect(backup, FIRST).execute("SELECT * FROM things").fetchall() == [("kept",)]
    connect(path, SECOND, kept=Kept("The list")).close()
    connect(path.with_name("new.db"), SECOND, kept=Kept("The list")).close()
    connect(path.with_name("cache.db"), FIRST).close()
    connect(path.with_name("cache.db"), SECOND).close()
    assert backups_of(path) == [backup] and list(backup.parent.iterdir()) == [backup]


def test_a_damaged_file_is_not_backed_up(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = back_up(path, "2026-01-02")
    with path.open("r+b") as file:
        file.seek(32_768)
        file.write(b"x" * 32_768)
    with pytest.raises(StoreUnreadable, match=r"app.db is damaged, and was not backed up. Run: numembed"):
        back_up(path, "2026-01-03")
    daily(path)
    assert backups_of(path) == [good] and "was not backed up" in caplog.text


def test_a_full_disk_is_no_error_of_anything_else(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backups, "to_disk", full)
    with pytest.raises(StoreFull, match=r"The disk is too full for a backup of app\.db"):
        back_up(path, "2026-01-02")
    with caplog.at_level(logging.WARNING):
        daily(path)
        connection = connect(path, SECOND, kept=Kept("The list"))
    assert connection.execute("SELECT name FROM things").fetchall() == [("kept",)]
    assert caplog.text.count("too full") == 2 and list((path.parent / "backups").iterdir()) == []


def test_a_backup_is_found_by_name_path_or_as_the_newest(path: Path, tmp_path: Path) -> None:
    older, newer = back_up(path, "2026-01-02"), back_up(path, "2026-01-03")
    os.utime(older, (1, 1))
    assert backup_called(path, "newest") == newer
    assert backup_called(path, older.name) == backup_called(path, str(older)) == older
    newer.write_bytes(b"no database")
    assert backup_called(path, "newest") == older
    with pytest.raises(BadChoice, match=r"app-2026-01-03.db is damaged"):
        backup_called(path, newer.name)
    with pytest.raises(BadChoice, match=r"There is no backup 'nowhere'. See: numembed store restore"):
        backup_called(path, "nowhere")
