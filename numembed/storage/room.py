"""Room on the disk: rows are deleted and a file shrinks, also where the disk is full.

A deletion needs room itself, for the journal that would undo it. A reserve file beside the store is given up for it;
what is then changed at once is little enough for that room.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from numembed.core.errors import StoreFull
from numembed.storage.sqlite import transaction

RESERVE_BYTES = 4 * 2**20
_AT_ONCE = 20_000  # rows or pages changed in one transaction
_IN_RESERVE = 100  # the same in the room of the reserve: each row may change a page of the index, of up to 32 KiB


def reserve_of(path: Path) -> Path:
    """Return the name of the reserve beside a store."""
    return path.with_name(f"{path.name}.reserve")


def keep_reserve(path: Path) -> None:
    """Make the reserve beside a store that is larger itself, unless the disk is nearly full."""
    file = reserve_of(path)
    with contextlib.suppress(OSError):
        if file.exists() or path.stat().st_size < RESERVE_BYTES:
            return
        if shutil.disk_usage(path.parent).free > 2 * RESERVE_BYTES:
            file.write_bytes(os.urandom(RESERVE_BYTES))  # zeros may take no room


def in_reserve(path: Path, work: Callable[[int], None]) -> None:
    """Call ``work`` with how many rows or pages it may change at once; on a full disk again, in the reserve's room."""
    try:
        work(_AT_ONCE)
    except StoreFull:
        reserve_of(path).unlink(missing_ok=True)
        try:
            work(_IN_RESERVE)
        except StoreFull as error:
            raise StoreFull(
                "The disk is so full that a part of the vectors cannot be deleted. Delete those of all models, which "
                "needs no room, or make room elsewhere and delete again."
            ) from error


def delete_rows(connection: sqlite3.Connection, table: str, model: int, at_once: int) -> None:
    """Delete the rows of a model, so many in one transaction."""
    some = f"SELECT id FROM {table} WHERE model = ? ORDER BY id DESC LIMIT {at_once}"
    gone = at_once
    while gone == at_once:
        with transaction(connection):
            gone = connection.execute(f"DELETE FROM {table} WHERE id IN ({some})", (model,)).rowcount


def shrink(connection: sqlite3.Connection, at_once: int) -> None:
    """Give the free pages of a file back to the disk; a file of the first version is copied for that, once."""
    if not _number(connection, "auto_vacuum"):
        if not _number(connection, "freelist_count"):
            return
        connection.execute(f"PRAGMA page_size={_number(connection, 'page_size')}")  # else it takes that of new files
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        with contextlib.suppress(sqlite3.OperationalError):  # busy, or no room for the copy: shrinks another time
            connection.execute("VACUUM")
        return
    free, before = _number(connection, "freelist_count"), -1
    while free and free != before:
        with transaction(connection):
            connection.execute(f"PRAGMA incremental_vacuum({at_once})").fetchall()  # each row read frees a page
        before, free = free, _number(connection, "freelist_count")


def bytes_in_use(connection: sqlite3.Connection) -> int:
    """Return the size that a file has once it has shrunk."""
    pages = _number(connection, "page_count") - _number(connection, "freelist_count")
    return pages * _number(connection, "page_size")


def drop(path: Path) -> None:
    """Remove a file that this process has locked; another one that has it open holds none of its room."""
    with path.open("r+b") as file:
        path.unlink()
        for suffix in ("-wal", "-shm", "-journal"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        file.truncate(0)


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
