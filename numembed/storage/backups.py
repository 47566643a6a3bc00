"""Copies of a file in ``backups`` beside it: one a day and one before each migration; the newest seven are kept."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sqlite3
import time
from pathlib import Path

from numembed.core.errors import BadChoice, StoreFull, StoreUnreadable
from numembed.core.places import is_disk_full
from numembed.storage.connection import connected

MOST_KEPT = 7
_BUSY_SECONDS = 30.0
_log = logging.getLogger(__name__)
_tried: dict[Path, str] = {}  # of each file: the day on which this process last saw to its backup


def back_up(path: Path, label: str) -> Path:
    """Return a checked copy of ``path`` in ``backups``, called ``NAME-LABEL.db``; older ones above seven go.

    It is written beside, checked and renamed, so that what has a backup's name is whole.
    """
    folder = path.with_name("backups")
    backup, draft = folder / f"{path.stem}-{label}.db", folder / f".{secrets.token_hex(4)}.draft"
    try:
        folder.mkdir(exist_ok=True)
        with contextlib.closing(_opened(path, "rw")) as read, contextlib.closing(sqlite3.connect(draft)) as copy:
            copy.execute("PRAGMA synchronous=OFF")  # it is waited for below, when nobody waits for this lock
            read.backup(copy)  # quicker than VACUUM INTO; others that write wait only for the copy
        if not is_good(draft):
            raise StoreUnreadable(f"{path.name} is damaged, and was not backed up. Run: numembed store repair")
        to_disk(draft)
        draft.replace(backup)
    except (OSError, sqlite3.Error) as error:
        if "full" in str(error) or is_disk_full(error):
            raise StoreFull(f"The disk is too full for a backup of {path.name}. Make room and try again.") from error
        text = f"{path.name} cannot be backed up ({error}). Run: numembed store check"
        raise StoreUnreadable(text) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    for old in backups_of(path)[MOST_KEPT:]:
        old.unlink(missing_ok=True)
    return backup


def daily(path: Path) -> None:
    """Back ``path`` up where today's backup is missing; what prevents it is logged, and is no error."""
    today = time.strftime("%Y-%m-%d")
    if _tried.get(path) == today or not path.exists():
        return
    _tried[path] = today
    if not (path.with_name("backups") / f"{path.stem}-{today}.db").exists():
        try_to_back_up(path, today)


def try_to_back_up(path: Path, label: str) -> None:
    """Back ``path`` up; what prevents it is logged."""
    try:
        back_up(path, label)
    except (StoreFull, StoreUnreadable) as error:
        _log.warning("%s", error)


def backups_of(path: Path) -> list[Path]:
    """Return the backups of ``path``, newest first."""
    found = path.with_name("backups").glob(f"{path.stem}-*.db")
    return sorted(found, key=lambda file: (file.stat().st_mtime_ns, file.name), reverse=True)


def backup_called(path: Path, name: str) -> Path:
    """Return the backup of ``path`` of this name, the newest good one for "newest", or the file of this path."""
    if name == "newest":
        found = next(filter(is_good, backups_of(path)), None)
    else:
        found = next(filter(Path.is_file, (path.with_name("backups") / name, Path(name))), None)
    if found is None:
        raise BadChoice(f"There is no backup {name[:120]!r}. See: numembed store restore")
    if not is_good(found):
        raise BadChoice(f"{found.name} is damaged or no file of numembed's store. See: numembed store restore")
    return found


def newest_good(path: Path, versions: int) -> Path | None:
    """Return the newest whole backup of ``path`` that is not newer than this program, or None."""
    return next((file for file in backups_of(path) if 0 < version_of(file) <= versions and is_good(file)), None)


def is_good(file: Path) -> bool:
    """Return True for a SQLite file in which SQLite finds no damage."""
    try:
        with contextlib.closing(_opened(file, "ro")) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()
            return bool(found == ("ok",) and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    except (sqlite3.Error, OSError):
        return False


def version_of(file: Path) -> int:
    """Return which version of its schema a file has; 0 where it cannot be read."""
    try:
        with contextlib.closing(_opened(file, "ro")) as connection:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])
    except (sqlite3.Error, OSError):
        return 0


def _opened(path: Path, mode: str) -> sqlite3.Connection:
    return connected(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_BUSY_SECONDS)


def to_disk(file: Path) -> None:
    """Wait until a file and its name are on the disk."""
    for place in (file, file.parent):
        handle = os.open(place, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
