"""What is done with a damaged file: it is set aside, and its newest good backup or an empty file takes its place."""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from numembed.core.errors import StoreUnreadable
from numembed.storage.backups import newest_good, to_disk
from numembed.storage.connection import Connection, connected, number_of

_DAMAGED = ("malformed", "not a database", "disk image", "unsupported file format")
_BUSY = ("locked", "busy")
_BUSY_SECONDS = 30.0
_SEEN_SECONDS = 0.3  # SQLite asks for a lock every 0.1 s
_NOTICE_DAYS = 7  # after that everybody has seen it


@dataclass(frozen=True)
class Kept:
    """What is worth a backup: how people call it, and what is done with a backup before it is used."""

    holds: str
    on_restore: str = ""  # one statement


@dataclass(frozen=True)
class Notice:
    """What every page says once after a damage."""

    at: float
    sentence: str


def is_damage(error: Exception) -> bool:
    """Return True when the error says that the file itself is broken."""
    return any(word in str(error) for word in _DAMAGED)


def is_busy(error: Exception) -> bool:
    """Return True when another process is at work in the file."""
    return any(word in str(error) for word in _BUSY)


def in_use(path: Path) -> str:
    """Return the sentence on a file that another process keeps locked."""
    return f"{path.name} is in use by another process. Try again in a minute."


def is_broken(connection: sqlite3.Connection, schema: Sequence[str]) -> bool:
    """Return True where a file that gave an odd error is damaged: SQLite says so, or its tables are not those due."""
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if _columns(connection) != _columns_of(schema[:version]):
            return True
        return bool(connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",))
    except sqlite3.Error as error:
        return not is_busy(error)


def recover(path: Path, number: int, *, versions: int = 0, kept: Kept | None = None) -> None:
    """Set the damaged file of this number aside; do nothing where another process has done so already.

    Where it is ``kept``, its newest good backup takes its place in one step, and a notice tells it.
    """
    with changing(path):
        if number_of(path) != number:
            return
        backup = newest_good(path, versions) if kept else None
        with nobody_writing(path):
            aside = set_aside(path, instead=prepared(backup, path, kept) if backup else None)
        if kept:
            _leave_notice(path, aside, backup, kept)
    logging.getLogger(__name__).warning(
        "%s was damaged and is now %s; %s", path, aside.name, f"{backup.name} was taken" if backup else "it begins anew"
    )


def changing(path: Path) -> FileLock:
    """Return the lock that is held while another file takes the place of ``path``."""
    return FileLock(path.with_name(f"{path.name}.lock"), timeout=_BUSY_SECONDS)


@contextlib.contextmanager
def nobody_writing(path: Path) -> Iterator[Connection]:
    """Keep others from the file while another takes its place, as far as its damage lets SQLite lock it.

    A journal that belongs to one file would damage the other. So nobody writes to the new one until those who waited
    for the old one have seen that it was replaced. Raises StoreUnreadable where another process keeps it for too long.
    """
    with contextlib.ExitStack() as locked:
        old = locked.enter_context(_locked(path))
        number = number_of(path)
        yield old
        if number_of(path) not in (0, number):
            locked.enter_context(_locked(path))
            old.close()
            time.sleep(_SEEN_SECONDS)


def prepared(source: Path, path: Path, kept: Kept | None = None) -> Path:
    """Return a copy of ``source`` beside ``path``, on the disk and ready to take its place."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        shutil.copyfile(source, fresh)
        if kept and kept.on_restore:
            with contextlib.closing(sqlite3.connect(fresh)) as connection, connection:
                connection.execute(kept.on_restore)
        to_disk(fresh)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    return fresh


def set_aside(path: Path, word: str = "corrupt", *, instead: Path | None = None) -> Path:
    """Rename a file to the first free ``NAME.WORD-n`` and return that name; ``instead`` takes its place at once."""
    taken = 1
    while (aside := path.with_name(f"{path.name}.{word}-{taken}")).exists():
        taken += 1
    if instead is None or not _linked(path, aside):
        path.rename(aside)
    for suffix in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    if instead is not None:
        instead.replace(path)
    return aside


def notice_of(path: Path) -> Notice | None:
    """Return what is to be said of a damage of the last days, or None."""
    try:
        notice = Notice(**json.loads(_notice_file(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return notice if time.time() - notice.at < _NOTICE_DAYS * 86_400 else None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[Connection]:
    with contextlib.closing(connected(path, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as error:
            if is_busy(error):
                raise StoreUnreadable(in_use(path)) from error
        yield connection


def _leave_notice(path: Path, aside: Path, backup: Path | None, kept: Kept) -> None:
    now = time.time()
    taken = (
        f"the backup of {_day(backup.stat().st_mtime)} was taken"
        if backup
        else "there was no backup, so it begins anew"
    )
    sentence = f"{kept.holds} was damaged on {_day(now)}; {taken}. The damaged file is kept as {aside.name}."
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(OSError):
        draft.write_text(json.dumps({"at": now, "sentence": sentence}), encoding="utf-8")
        draft.replace(_notice_file(path))


def _notice_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.notice")


def _day(seconds: float) -> str:
    return time.strftime("%d %b %Y", time.localtime(seconds)).lstrip("0")


def _linked(path: Path, aside: Path) -> bool:
    try:
        aside.hardlink_to(path)
    except OSError:  # a file system without hard links: there is no file of this name for a moment
        return False
    return True


def _columns(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    query = """SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c
        WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'"""
    return set(connection.execute(query))


def _columns_of(schema: Sequence[str]) -> set[tuple[str, str]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        for script in schema:
            connection.executescript(script)
        return _columns(connection)
