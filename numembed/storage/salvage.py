"""Looking through a file row by row, and building it anew from the rows that are good."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numembed.storage.connection import as_text, connected
from numembed.storage.damage import Kept, changing, nobody_writing, prepared, set_aside
from numembed.storage.failures import require_writable
from numembed.storage.sqlite import Store, transaction

Row = Mapping[str, Any]
RowChecks = Mapping[str, Callable[[Row], bool]]  # of each table: whether a row of it is good
_CHUNK = 500
_MOST_FAILURES = 20_000  # queries that meet damage, before the rest of a table is given up
_LOW, _HIGH = -(2**63), 2**63 - 1


@dataclass(frozen=True)
class Looked:
    """What a file holds: its rows and how many are damaged, by table; ``broken`` says what SQLite itself finds."""

    rows: Mapping[str, int]
    damaged: Mapping[str, int]
    broken: str

    @property
    def ok(self) -> bool:
        """True where nothing is damaged."""
        return not self.broken and not any(self.damaged.values())


def look_through(path: Path, checks: RowChecks) -> Looked:
    """Return what ``path`` holds; the file is only read, and each row is checked."""
    rows: dict[str, int] = {}
    damaged: dict[str, int] = {}
    broken = ""
    with contextlib.closing(_opened(path)) as connection:
        try:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            broken = "" if found == "ok" else str(found)
        except sqlite3.DatabaseError as error:
            broken = str(error)
        for table in _tables_of(connection, checks):
            rows[table] = damaged[table] = 0
            for row in readable_rows(connection, table):
                rows[table] += 1
                damaged[table] += not checks[table](row)
    return Looked(rows, damaged, broken)


def rebuild(
    path: Path, sources: Sequence[Path], store: Callable[[Path], Store], checks: RowChecks
) -> tuple[int, Path | None]:
    """Put a file of all good rows of ``path`` and ``sources`` in its place; return (their number, the old file's name).

    Of rows with one key the first file's stays. Others may have the file open: they wait, and go on with the new one.
    """
    require_writable(path)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with changing(path), nobody_writing(path) as old:
            with store(fresh) as new:
                made = new._connection
                old.text_factory = as_text
                _copy_good_rows(old, made, checks)
                for source in sources:
                    with contextlib.closing(_opened(source)) as read:
                        _copy_good_rows(read, made, checks)
                tables = _tables_of(made, checks)
                counts = [made.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]
            return sum(counts), _put_in_place(fresh, path, "corrupt")
    finally:
        fresh.unlink(missing_ok=True)


def restore(path: Path, backup: Path, kept: Kept) -> Path | None:
    """Put a copy of ``backup`` in the place of ``path``, also in a running app; return the old file's new name."""
    require_writable(path)
    fresh = prepared(backup, path, kept)
    with changing(path), nobody_writing(path) if path.exists() else contextlib.nullcontext():
        return _put_in_place(fresh, path, "replaced")


def readable_rows(connection: sqlite3.Connection, table: str) -> Iterator[Row]:
    """Return every row of a table that can be read; those on damaged pages are left out."""
    spans, failures = [(_LOW, _HIGH)], 0
    while spans and failures < _MOST_FAILURES:
        low, high = spans.pop()
        query = (
            f"SELECT rowid AS row_place, * FROM {table} WHERE rowid >= ? AND rowid <= ? ORDER BY rowid LIMIT {_CHUNK}"
        )
        try:
            cursor = connection.execute(query, (low, high))
            names = [column[0] for column in cursor.description]
            found = [dict(zip(names, row, strict=True)) for row in cursor]
            rows = _in_order(found, low)
            failed = len(found) > len(rows) == 0
        except sqlite3.DatabaseError:
            failed = True
        if failed:
            failures += 1
            if low < high:
                middle = (low + high) // 2
                spans += [(middle + 1, high), (low, middle)]
            continue
        yield from rows
        if rows and rows[-1]["row_place"] < high:
            spans.append((rows[-1]["row_place"] + 1, high))


def _in_order(rows: Sequence[Row], low: int) -> list[Row]:
    """Return the rows from ``low`` on, up to the first one to which a damaged page has led back."""
    kept: list[Row] = []
    for row in rows:
        if row["row_place"] < low:
            break
        kept.append(row)
        low = row["row_place"] + 1
    return kept


def _copy_good_rows(read: sqlite3.Connection, made: sqlite3.Connection, checks: RowChecks) -> None:
    for table in _tables_of(read, checks):
        columns = [row[1] for row in made.execute(f"PRAGMA table_info({table})")]
        with transaction(made):
            for row in readable_rows(read, table):
                if checks[table](row):
                    named = {name: row[name] for name in columns if name in row}
                    if not _insert(made, table, named) and "id" in named and "number" in named:
                        del named["number"]  # another row has it since; the id tells whether this one is there
                        _insert(made, table, named)


def _insert(made: sqlite3.Connection, table: str, named: Row) -> bool:
    marks = ", ".join("?" * len(named))
    statement = f"INSERT OR IGNORE INTO {table} ({', '.join(named)}) VALUES ({marks})"
    return made.execute(statement, tuple(named.values())).rowcount > 0


def _tables_of(connection: sqlite3.Connection, checks: RowChecks) -> list[str]:
    """Return which tables are there, so far as that can be read: files of other versions have fewer."""
    try:
        there = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.DatabaseError:
        return []
    return [table for table in checks if table in there]


def _put_in_place(fresh: Path, path: Path, word: str) -> Path | None:
    if path.exists():
        return set_aside(path, word, instead=fresh)
    fresh.replace(path)
    return None


def _opened(path: Path) -> sqlite3.Connection:
    connection = connected(path, timeout=30, isolation_level=None)
    connection.text_factory = as_text
    return connection
