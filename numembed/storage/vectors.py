"""Vectors on disk: one row per model and text, each with a checksum. May be deleted at any time.

Rows stand in the order in which they arrived, so that a batch writes its own pages and a few of the index. Files of the
first version have a table whose rows stand at their hash; it is read, never added to.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray

from numembed.core.arrays import Matrix
from numembed.core.errors import NonFiniteVectors
from numembed.core.gains import gained
from numembed.storage import room
from numembed.storage.connection import Connection
from numembed.storage.sqlite import BUSY_SECONDS, Store, transaction

T = TypeVar("T")

_SCHEMA = (
    """CREATE TABLE models (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL);
    CREATE TABLE vectors (id INTEGER PRIMARY KEY, model INTEGER NOT NULL, text BLOB NOT NULL,
        checksum BLOB NOT NULL, vector BLOB NOT NULL);
    CREATE INDEX vectors_of_model ON vectors (model)""",
    """CREATE TABLE entries (id INTEGER PRIMARY KEY, model INTEGER NOT NULL, place INTEGER NOT NULL,
        text BLOB NOT NULL, checksum BLOB NOT NULL, vector BLOB NOT NULL);
    CREATE UNIQUE INDEX entry_at_place ON entries (place);
    CREATE INDEX entries_of_model ON entries (model)""",
    "ALTER TABLE models ADD COLUMN used INTEGER NOT NULL DEFAULT 0",  # when, in seconds since 1970
)
_TABLES = {"entries": "place", "vectors": "id"}  # each with the column that holds the place
_NEW_FILE = ("page_size=16384", "auto_vacuum=INCREMENTAL")  # what the benchmark ``store`` measures
_ADD = """INSERT OR IGNORE INTO entries (place, text, model, checksum, vector)
    SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS (SELECT 1 FROM vectors WHERE id = ?1)"""
_FORGET_DAMAGED = "DELETE FROM {} WHERE {} = ? AND (text IS NOT ? OR checksum IS NOT checksum_of(vector))"
_MANY = 500  # texts in one statement
_NOTED_EVERY = 3_600  # seconds: reading stays reading
_CACHE_KIB = 65_536  # texts are read in another order than they have in the file


@dataclass(frozen=True)
class StoredModel:
    """What the store holds of one model."""

    key: str
    name: str
    vectors: int
    size_bytes: int


class VectorStore(Store):
    """Vectors by model key and text."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SCHEMA, new_file=_NEW_FILE)

    def read(self, model_key: str, texts: Sequence[str]) -> tuple[Matrix, NDArray[np.bool_]]:
        """Return (matrix (n, d), found (n,)); rows that are absent or damaged are zero and not found.

        d is 0 where nothing was found. A damaged file is set aside; everything then counts as absent.
        """
        return self._or_anew(lambda: self._read(model_key, texts))

    def add(self, model_key: str, name: str, texts: Sequence[str], matrix: Matrix) -> None:
        """Store one row a text in one transaction; what is there already stays. Refuses NaN and infinity."""
        if not np.isfinite(matrix).all():
            raise NonFiniteVectors(f"{name} returned numbers that are not finite; nothing was stored.")
        self._or_anew(lambda: self._add(model_key, name, texts, matrix))
        gained(len(texts))

    def count(self, model_key: str, texts: Iterable[str]) -> int:
        """Return how many of the distinct texts are stored, without reading a vector."""
        wanted = list(dict.fromkeys(_Keys(model_key, list(texts)).places))
        return self._or_anew(lambda: sum(map(self._count, _chunks(wanted))))

    def models(self) -> tuple[StoredModel, ...]:
        """Return what is stored, one entry a model, largest first."""
        return self._or_anew(lambda: self._models("4 DESC, name"))

    def least_used(self) -> tuple[StoredModel, ...]:
        """Return what is stored, one entry a model, that whose vectors were not read for longest first."""
        return self._or_anew(lambda: self._models("used, id"))

    def size_bytes(self) -> int:
        """Return the size of the file."""
        return self.path.stat().st_size if self.path.exists() else 0

    def bytes_in_use(self) -> int:
        """Return the size that the file has once it has shrunk."""
        return self._or_anew(lambda: room.bytes_in_use(self._connection))

    def delete(self, model_key: str | None = None, *, shrinks: bool = True) -> int:
        """Delete the vectors of one model, or of all; return how many rows went. The file shrinks, also on a full disk.

        Where a part stays and the disk is full, a reserve is given up; raises StoreFull where there was none.
        """
        there = {model.key: model.vectors for model in self.models()}
        if model_key is None or list(there) == [model_key]:
            self._or_anew(self._drop)
            return sum(there.values())
        self._or_anew(lambda: room.in_reserve(self.path, lambda at_once: self._delete(model_key, at_once)))
        if shrinks:
            self.shrink()
        return there.get(model_key, 0)

    def shrink(self) -> None:
        """Give the room of deleted rows back to the disk."""
        self._or_anew(lambda: room.in_reserve(self.path, lambda at_once: room.shrink(self._connection, at_once)))
        room.keep_reserve(self.path)

    def _add(self, model_key: str, name: str, texts: Sequence[str], matrix: Matrix) -> None:
        keys = _Keys(model_key, texts)
        vectors = [row.tobytes() for row in np.ascontiguousarray(matrix, dtype=np.float32)]
        with transaction(self._connection) as connection:
            named = (model_key, name, int(time.time()))
            connection.execute("INSERT OR IGNORE INTO models (key, name, used) VALUES (?, ?, ?)", named)
            model = connection.execute("SELECT id FROM models WHERE key = ?", (model_key,)).fetchone()[0]
            for table, place in _TABLES.items():
                proofs = zip(keys.places, keys.proofs[table], strict=True)
                connection.executemany(_FORGET_DAMAGED.format(table, place), proofs)
            rows = zip(
                keys.places, keys.proofs["entries"], repeat(model), map(vector_checksum, vectors), vectors, strict=False
            )
            connection.executemany(_ADD, rows)
        room.keep_reserve(self.path)

    def _models(self, order: str) -> tuple[StoredModel, ...]:
        query = f"""SELECT key, name, {_rows_of_model()}, {_rows_of_model("32 + length(vector)")}
            FROM models ORDER BY {order}"""
        return tuple(StoredModel(*row) for row in self._connection.execute(query))

    def _has_old(self) -> bool:
        return self._connection.execute("SELECT 1 FROM vectors LIMIT 1").fetchone() is not None

    def _count(self, places: Sequence[int]) -> int:
        marks = _marks(places)
        found = (f"SELECT {place} FROM {table} WHERE {place} IN ({marks})" for table, place in _TABLES.items())
        union = " UNION ".join(found)
        return int(self._connection.execute(f"SELECT count(*) FROM ({union})", [*places, *places]).fetchone()[0])

    def _delete(self, model_key: str, at_once: int) -> None:
        for (model,) in self._connection.execute("SELECT id FROM models WHERE key = ?", (model_key,)).fetchall():
            for table in _TABLES:
                room.delete_rows(self._connection, table, model, at_once)
            with transaction(self._connection) as connection:
                connection.execute("DELETE FROM models WHERE id = ?", (model,))

    def _drop(self) -> None:
        self._connection.execute("BEGIN EXCLUSIVE")
        room.drop(self.path)
        self._connection.close()
        self._connection = self._connect()

    def _note_use(self, model_key: str) -> None:
        """Note that a model's vectors were read, at most once an hour; where that is not possible, it is not noted."""
        now = int(time.time())
        with contextlib.suppress(sqlite3.Error):
            row = self._connection.execute("SELECT used FROM models WHERE key = ?", (model_key,)).fetchone()
            if row is not None and row[0] <= now - _NOTED_EVERY:
                self._connection.execute("PRAGMA busy_timeout=0")
                self._connection.execute("UPDATE models SET used = ? WHERE key = ?", (now, model_key))
        self._connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000:.0f}")

    def _read(self, model_key: str, texts: Sequence[str]) -> tuple[Matrix, NDArray[np.bool_]]:
        distinct = list(dict.fromkeys(texts))
        keys = _Keys(model_key, distinct)
        row_of = dict(zip(keys.places, range(len(distinct)), strict=True))
        matrix, width = np.zeros((len(distinct), 0), dtype=np.float32), 0
        is_stored = np.zeros(len(distinct), dtype=np.bool_)
        for row, vector in self._sound(keys, row_of):
            if not width:
                width = len(vector)
                matrix = np.zeros((len(distinct), width // 4), dtype=np.float32)
                buffer = memoryview(matrix.data).cast("B")
            buffer[row * width : (row + 1) * width] = vector
            is_stored[row] = True
        self._note_use(model_key)
        if len(distinct) < len(texts):
            row_of_text = {text: row for row, text in enumerate(distinct)}
            rows = [row_of_text[text] for text in texts]
            matrix, is_stored = matrix[rows], is_stored[rows]
        return matrix, is_stored

    def _sound(self, keys: _Keys, row_of: Mapping[int, int]) -> Iterator[tuple[int, bytes]]:
        """Yield (row of the text, vector) of each row that is neither damaged nor another text's at the same place."""
        for table, place in _TABLES.items():
            if table == "vectors" and not self._has_old():
                return
            proofs = keys.proofs[table]
            wanted = keys.places if table == "entries" else sorted(keys.places)  # in the order of the file
            for some in _chunks(wanted):
                query = f"SELECT {place}, text, vector, checksum FROM {table} WHERE {place} IN ({_marks(some)})"
                for at, text, vector, checksum in self._connection.execute(query, some):
                    if at not in row_of:  # the index leads to a row that was not asked for
                        raise sqlite3.DatabaseError("database disk image is malformed")
                    row = row_of[at]
                    if text == proofs[row] and isinstance(vector, bytes) and checksum == vector_checksum(vector):
                        yield row, vector

    def _connect(self) -> Connection:
        connection = super()._connect()
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        connection.create_function("checksum_of", 1, _checksum_of, deterministic=True)
        return connection


class _Keys:
    """Where each text of a model lies, and what proves that a row there is the text's.

    64 bits of the text's hash, mixed with the model's key, are its place, which is unique; 128 further bits stand in
    the row, so that a collision is a miss, never a wrong vector. They too are mixed with the model's key, because a
    damaged index may lead to another model's row; not so in the first version's table, where the place is the row's id.
    """

    def __init__(self, model_key: str, texts: Sequence[str]) -> None:
        digests = b"".join(hashlib.blake2b(text.encode(), digest_size=24).digest() for text in texts)
        numbers = np.frombuffer(digests, dtype="<i8").reshape(len(texts), 3)
        self.places: list[int] = (numbers[:, 0] ^ _salt(model_key, 1)).tolist()
        proofs = {"entries": numbers[:, 1:] ^ _salt(model_key, 2), "vectors": numbers[:, 1:]}
        self.proofs = {table: [row.tobytes() for row in rows] for table, rows in proofs.items()}


def _salt(model_key: str, numbers: int) -> NDArray[np.int64]:
    return np.frombuffer(hashlib.blake2b(model_key.encode(), digest_size=8 * numbers).digest(), dtype="<i8")


def _rows_of_model(times: str = "") -> str:
    """Return SQL for the number of rows of ``models.id`` in both tables, ``times`` a value of one of them."""
    counts = []
    for table in _TABLES:
        factor = f" * (SELECT {times} FROM {table} WHERE model = models.id LIMIT 1)" if times else ""
        counts.append(f"coalesce((SELECT count(*) FROM {table} WHERE model = models.id){factor}, 0)")
    return " + ".join(counts)


def vector_checksum(vector: bytes) -> bytes:
    """Return what a row of a vector must carry."""
    return xxhash.xxh3_64_digest(vector)


def _checksum_of(value: object) -> bytes | None:
    return vector_checksum(value) if isinstance(value, bytes) else None


def _chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    return (values[start : start + _MANY] for start in range(0, len(values), _MANY))


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
