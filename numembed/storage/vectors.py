"""Vectors on disk: one row per model and text, each with a checksum. May be deleted at any time."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray

from numembed.core.arrays import Matrix
from numembed.core.errors import NonFiniteVectors
from numembed.storage.sqlite import Store, transaction

T = TypeVar("T")

_SCHEMA = (
    """CREATE TABLE models (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL);
    CREATE TABLE vectors (id INTEGER PRIMARY KEY, model INTEGER NOT NULL, text BLOB NOT NULL,
        checksum BLOB NOT NULL, vector BLOB NOT NULL);
    CREATE INDEX vectors_of_model ON vectors (model)""",
)
_MANY = 500  # texts in one statement
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
        super().__init__(path, _SCHEMA)

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

    def count(self, model_key: str, texts: Iterable[str]) -> int:
        """Return how many of the distinct texts are stored, without reading a vector."""
        wanted = sorted(set(_places(model_key, list(texts))[0]))
        return self._or_anew(lambda: sum(map(self._count, _chunks(wanted))))

    def models(self) -> tuple[StoredModel, ...]:
        """Return what is stored, one entry a model, largest first."""
        query = """SELECT key, name, count(vectors.id), coalesce(sum(length(vector) + 32), 0)
            FROM models LEFT JOIN vectors ON vectors.model = models.id GROUP BY models.id ORDER BY 4 DESC, name"""
        return self._or_anew(lambda: tuple(StoredModel(*row) for row in self._connection.execute(query)))

    def size_bytes(self) -> int:
        """Return the size of the file."""
        return self.path.stat().st_size if self.path.exists() else 0

    def delete(self, model_key: str | None = None) -> int:
        """Delete the vectors of one model, or of all; return how many rows went. The file shrinks."""
        gone = self._or_anew(lambda: self._delete(model_key))
        with contextlib.suppress(sqlite3.Error):  # busy, or no room for the copy: shrinks another time
            self._connection.execute("VACUUM")
        return gone

    def _add(self, model_key: str, name: str, texts: Sequence[str], matrix: Matrix) -> None:
        with transaction(self._connection) as connection:
            connection.execute("INSERT OR IGNORE INTO models (key, name) VALUES (?, ?)", (model_key, name))
            model = connection.execute("SELECT id FROM models WHERE key = ?", (model_key,)).fetchone()[0]
            vectors = [row.tobytes() for row in np.ascontiguousarray(matrix, dtype=np.float32)]
            connection.executemany(
                "INSERT OR REPLACE INTO vectors (id, text, model, checksum, vector) VALUES (?, ?, ?, ?, ?)",
                zip(*_places(model_key, texts), repeat(model), map(_checksum, vectors), vectors, strict=False),
            )

    def _count(self, places: Sequence[int]) -> int:
        query = f"SELECT count(*) FROM vectors WHERE id IN ({_marks(places)})"
        return int(self._connection.execute(query, places).fetchone()[0])

    def _delete(self, model_key: str | None) -> int:
        with transaction(self._connection) as connection:
            chosen = "" if model_key is None else "WHERE key = ?"
            arguments = () if model_key is None else (model_key,)
            ids = f"(SELECT id FROM models {chosen})"
            gone = connection.execute(f"DELETE FROM vectors WHERE model IN {ids}", arguments).rowcount
            connection.execute(f"DELETE FROM models {chosen}", arguments)
        return gone

    def _read(self, model_key: str, texts: Sequence[str]) -> tuple[Matrix, NDArray[np.bool_]]:
        distinct = list(dict.fromkeys(texts))
        places, checks = _places(model_key, distinct)
        row_of = dict(zip(places, range(len(places)), strict=True))
        matrix, width = np.zeros((len(distinct), 0), dtype=np.float32), 0
        is_stored = np.zeros(len(distinct), dtype=np.bool_)
        for some in _chunks(sorted(places)):  # in the order of the file
            query = f"SELECT id, text, vector, checksum FROM vectors WHERE id IN ({_marks(some)})"
            for place, text, vector, checksum in self._connection.execute(query, some):
                row = row_of[place]
                if text != checks[row] or not isinstance(vector, bytes) or checksum != _checksum(vector):
                    continue  # damaged, or another text whose place is the same
                if not width:
                    width = len(vector)
                    matrix = np.zeros((len(distinct), width // 4), dtype=np.float32)
                    buffer = memoryview(matrix.data).cast("B")
                buffer[row * width : (row + 1) * width] = vector
                is_stored[row] = True
        if len(distinct) < len(texts):
            row_of_text = {text: row for row, text in enumerate(distinct)}
            rows = [row_of_text[text] for text in texts]
            matrix, is_stored = matrix[rows], is_stored[rows]
        return matrix, is_stored

    def _connect(self) -> sqlite3.Connection:
        connection = super()._connect()
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        return connection


def _places(model_key: str, texts: Sequence[str]) -> tuple[list[int], list[bytes]]:
    """Return where each text of a model lies, and what proves that a row there is the text's.

    64 bits of the text's hash, mixed with the model's key, number the row (one look-up instead of an
    index and a row); 128 further bits stand in the row, so that a collision is a miss, never a wrong vector.
    """
    digests = [hashlib.blake2b(text.encode(), digest_size=24).digest() for text in texts]
    salt = np.frombuffer(hashlib.blake2b(model_key.encode(), digest_size=8).digest(), dtype="<i8")[0]
    numbers = np.frombuffer(b"".join(digests), dtype=[("place", "<i8"), ("check", "V16")])["place"]
    return (numbers ^ salt).tolist(), [digest[8:] for digest in digests]


def _checksum(vector: bytes) -> bytes:
    return xxhash.xxh3_64_digest(vector)


def _chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    return (values[start : start + _MANY] for start in range(0, len(values), _MANY))


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
