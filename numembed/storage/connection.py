"""A connection to a file of SQLite that may be damaged, or replaced by another one meanwhile."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

_MOST_OPENED = 5  # times, where it is replaced just then


class Connection(sqlite3.Connection):
    """One whose errors are SQLite's also where a damaged file puts bytes into them that are no text."""

    path: Path | None = None
    number = 0  # of the file that was opened

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """Return the cursor of a statement; raises sqlite3.Error."""
        try:
            return super().execute(*arguments)
        except UnicodeDecodeError as error:
            raise sqlite3.DatabaseError("database disk image is malformed") from error

    def is_replaced(self) -> bool:
        """Return True where another file, or none, lies at the path since this one was opened."""
        return self.path is not None and number_of(self.path) != self.number


def connected(database: str | Path, **settings: Any) -> Connection:
    """Return a connection; ``settings`` are those of sqlite3.connect."""
    return sqlite3.connect(database, factory=Connection, **settings)


def opened(path: Path, database: str | Path | None = None, **settings: Any) -> Connection:
    """Return a connection to ``path`` that knows which file this is; ``settings`` are those of sqlite3.connect.

    ``database`` is how SQLite is to open it, where not by its path.
    """
    for turn in range(_MOST_OPENED):
        before = number_of(path)
        connection = connected(database or path, **settings)
        connection.path, connection.number = path, number_of(path)
        if before in (0, connection.number) or turn == _MOST_OPENED - 1:
            break
        connection.close()
    return connection


def as_text(raw: bytes) -> str:
    """Return what SQLite is to give for a text: damaged text fails its checksum; it must not fail the whole query."""
    return raw.decode(errors="replace")


def number_of(path: Path) -> int:
    """Return what tells a file from another of the same name, or 0 where there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0
