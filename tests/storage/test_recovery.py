"""A damaged, deleted or replaced file: what is asked next is asked of a good one, and a backup is taken once."""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from numembed.core.errors import StoreFull, StoreUnreadable
from numembed.storage.backups import back_up
from numembed.storage.connection import number_of
from numembed.storage.damage import Kept, nobody_writing, notice_of, prepared, recover, set_aside
from numembed.storage.failures import sentence_of
from numembed.storage.salvage import readable_rows, restore
from numembed.storage.sqlite import APPLICATION_ID, Store, steady, transaction

SCHEMA = ("CREATE TABLE things (name TEXT NOT NULL UNIQUE, state TEXT NOT NULL DEFAULT 'open')",)
KEPT = Kept("The list of things", "UPDATE things SET state = 'again' WHERE state = 'open'")


class Things(Store):
    """A small store."""

    def __init__(self, path: Path, kept: Kept | None = KEPT) -> None:
        super().__init__(path, SCHEMA, kept=kept)

    @steady
    def add(self, name: str) -> None:
        """Add a thing."""
        with transaction(self._connection) as connection:
            connection.execute("INSERT INTO things (name) VALUES (?)", (name,))

    @steady
    def names(self) -> list[str]:
        """Return all names."""
        return [row[0] for row in self._connection.execute("SELECT name FROM things ORDER BY rowid")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with one thing, and its backup."""
    with Things(tmp_path / "app.db") as things:
        things.add("old")
    back_up(tmp_path / "app.db", "2026-01-01")
    return tmp_path / "app.db"


def _spoil(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"this was a database once")


def _read_only_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(18)
        file.write(b"\x07")


def _without_its_table(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE things")
        other.execute("CREATE TABLE thungs (name TEXT)")


def _older_version(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version=0")


def _absurd_version(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version=1234567")


DAMAGES = (_spoil, _read_only_header, _without_its_table, _older_version, _absurd_version)


@pytest.mark.parametrize("spoil", DAMAGES)
def test_the_newest_backup_takes_the_place_of_a_damaged_file(path: Path, spoil: Callable[[Path], None]) -> None:
    with Things(path) as things:
        things.add("new")
    spoil(path)
    with Things(path) as things:
        things.add("newer")
        assert things.names() == ["old", "newer"]
        assert things._connection.execute("SELECT state FROM things").fetchone() == ("again",)
    assert path.with_name("app.db.corrupt-1").exists()
    notice = notice_of(path)
    assert notice is not None and notice.sentence.startswith("The list of things was damaged on ")
    assert "the backup of " in notice.sentence and notice.sentence.endswith("is kept as app.db.corrupt-1.")


def test_a_file_that_is_damaged_while_it_is_open_is_replaced_for_all_who_have_it_open(path: Path) -> None:
    with Things(path) as first, Things(path) as second:
        assert first.names() == second.names() == ["old"]
        path.write_bytes(b"x" * path.stat().st_size)
        first.add("new")
        assert first.names() == second.names() == ["old", "new"]
        second.add("newer")
        assert first.names() == ["old", "new", "newer"]
    assert [file.name for file in path.parent.glob("*.corrupt-*")] == ["app.db.corrupt-1"]


def test_without_a_good_backup_it_begins_anew_and_says_so(path: Path) -> None:
    backup = next(path.with_name("backups").iterdir())
    for damaged in (path, backup):
        _spoil(damaged)
    with Things(path) as things:
        assert things.names() == []
    notice = notice_of(path)
    assert notice is not None and "there was no backup, so it begins anew." in notice.sentence


def test_a_backup_of_a_newer_version_is_not_taken(path: Path) -> None:
    backup = next(path.with_name("backups").iterdir())
    with sqlite3.connect(backup) as other:
        other.execute("PRAGMA user_version=2")
    _spoil(path)
    with Things(path) as things:
        assert things.names() == []


def test_a_notice_that_is_old_or_unreadable_is_none(path: Path) -> None:
    file = path.with_name("app.db.notice")
    for text in ("", "[]", '{"at": 1}', json.dumps({"at": 1.0, "sentence": "long ago"})):
        file.write_text(text)
        assert notice_of(path) is None


@pytest.mark.parametrize("how", ["deleted", "folder deleted", "moved", "replaced"])
def test_a_file_that_goes_while_it_is_open_is_opened_anew(path: Path, how: str) -> None:
    home = path.parent
    with Things(path) as things:
        things.add("new")
        if how == "deleted":
            path.unlink()
        elif how == "folder deleted":
            shutil.rmtree(home)
        elif how == "moved":
            home.rename(home.with_name("elsewhere"))
        else:
            shutil.copyfile(next(path.with_name("backups").iterdir()), home / "fresh")
            (home / "fresh").replace(path)
        things.add("next")
        assert things.names() == (["old", "next"] if how == "replaced" else ["next"])
    assert not list(home.glob("*.corrupt-*"))


def _open_and_add(path: Path, number: int) -> None:
    with Things(path) as things:
        things.add(f"thing {number}")


@pytest.mark.slow
def test_processes_that_meet_a_damage_at_once_take_the_backup_once(path: Path) -> None:
    _spoil(path)
    context = multiprocessing.get_context("spawn")
    racers = [context.Process(target=_open_and_add, args=(path, number)) for number in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
        assert racer.exitcode == 0
    assert [file.name for file in path.parent.glob("*.corrupt-*")] == ["app.db.corrupt-1"]
    with Things(path) as things:
        assert sorted(things.names()) == ["old", *(f"thing {number}" for number in range(3))]


def test_a_file_that_another_has_set_aside_already_stays(path: Path) -> None:
    recover(path, path.stat().st_ino + 1, versions=1, kept=KEPT)
    assert not list(path.parent.glob("*.corrupt-*")) and notice_of(path) is None


def test_where_the_disk_has_no_room_for_the_backup_nothing_is_lost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    _spoil(path)
    with monkeypatch.context() as patched:
        patched.setattr("numembed.storage.damage.shutil.copyfile", full)
        with pytest.raises(StoreFull, match="disk is full"):
            Things(path)
    assert sorted(file.name for file in path.parent.glob("*.db*") if "lock" not in file.name) == ["app.db"]
    with Things(path) as things:
        assert things.names() == ["old"]


def test_set_aside_leaves_the_other_file_in_its_place(path: Path) -> None:
    fresh = path.with_name("fresh")
    fresh.write_bytes(b"fresh")
    before = path.read_bytes()
    assert set_aside(path, "replaced", instead=fresh).read_bytes() == before
    assert path.read_bytes() == b"fresh" and not fresh.exists()


def test_a_bug_is_no_damage(path: Path) -> None:
    with Things(path) as things:
        with pytest.raises(StoreUnreadable, match="no such table: thongs"):
            things._or_anew(lambda: things._connection.execute("SELECT * FROM thongs"))
        with pytest.raises(StoreUnreadable, match="UNIQUE"):
            things.add("old")
        assert things.names() == ["old"]
    assert not list(path.parent.glob("*.corrupt-*"))


def test_a_file_carries_the_application_id_and_another_programs_is_left_alone(tmp_path: Path) -> None:
    ours, strange, empty = (tmp_path / f"{name}.db" for name in ("ours", "strange", "empty"))
    with sqlite3.connect(ours) as older:  # as a version before the id has left it
        older.executescript(SCHEMA[0])
        older.execute("INSERT INTO things (name) VALUES ('old')")
        older.execute("PRAGMA user_version=1")
    empty.touch()
    for file, names in ((ours, ["old"]), (empty, [])):
        with Things(file) as things:
            assert things.names() == names
        with sqlite3.connect(file) as other:
            assert other.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    for version in (0, 1):
        with sqlite3.connect(strange) as other:
            other.execute("CREATE TABLE IF NOT EXISTS contacts (name TEXT)")
            other.execute(f"PRAGMA user_version={version}")
        before = strange.read_bytes()
        with pytest.raises(StoreUnreadable, match=r"strange.db in .* is a file of another program, and was left"):
            Things(strange)
        assert strange.read_bytes() == before and not list(tmp_path.glob("strange.db.*"))


def test_a_file_is_replaced_only_when_nobody_writes_into_it(path: Path) -> None:
    backup = next(path.with_name("backups").iterdir())
    with Things(path) as things:
        number = number_of(path)
        with transaction(things._connection) as writing:
            writing.execute("INSERT INTO things (name) VALUES ('half')")
            restoring = threading.Thread(target=restore, args=(path, backup, KEPT))
            restoring.start()
            restoring.join(0.5)
            assert restoring.is_alive() and number_of(path) == number
        restoring.join(30)
        assert not restoring.is_alive() and things.names() == ["old"]
    with Things(path.with_name("app.db.replaced-1")) as aside:
        assert aside.names() == ["old", "half"]


def test_who_waits_while_a_file_is_replaced_goes_on_in_the_new_one(path: Path) -> None:
    backup = next(path.with_name("backups").iterdir())

    def late(name: str) -> None:
        with Things(path) as things:
            opened.release()
            begin.wait()
            things.add(name)

    opened, begin = threading.Semaphore(0), threading.Event()
    waiting = [threading.Thread(target=late, args=(f"late {number}",)) for number in range(3)]
    for thread in waiting:
        thread.start()
        opened.acquire()
    with nobody_writing(path):
        begin.set()
        time.sleep(0.5)  # each waits for the old file now
        aside = set_aside(path, "replaced", instead=prepared(backup, path))
    for thread in waiting:
        thread.join(30)
    with Things(path) as things, Things(aside) as old:
        assert sorted(things.names()) == ["late 0", "late 1", "late 2", "old"] and old.names() == ["old"]


@pytest.mark.parametrize(("name", "full"), [("SQLITE_IOERR_DELETE_NOENT", False), ("SQLITE_IOERR_WRITE", True)])
def test_not_every_error_of_the_disk_is_a_full_one(name: str, full: bool) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = name
    assert isinstance(sentence_of(error, Path("a.db")), StoreFull) == full


def test_pages_that_lead_to_earlier_rows_do_not_hold_up_what_reads_a_file_through(tmp_path: Path) -> None:
    file = tmp_path / "damaged.db"
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("PRAGMA page_size=4096")
        connection.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT)")
        rows = ((number, "x" * 500) for number in range(1, 400))
        connection.executemany("INSERT INTO things VALUES (?, ?)", rows)
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master").fetchone()
    content = bytearray(file.read_bytes())
    page = (root - 1) * 4096
    assert content[page] == 5, "no page with children"
    early = page + int.from_bytes(content[page + 12 + 2 * 5 : page + 14 + 2 * 5], "big")
    content[page + 8 : page + 12] = content[early : early + 4]  # the last child is now the sixth
    file.write_bytes(content)
    with contextlib.closing(sqlite3.connect(file)) as connection:
        read = list(itertools.islice(readable_rows(connection, "things"), 10_000))
    assert 350 < len({row["id"] for row in read}) < 399 and len(read) < 1_000
