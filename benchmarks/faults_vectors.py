"""Stores of vectors: the program's own, two naive ones for comparison, and what is asked of each after a damage."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.faults_files import Asked, Damages, Maker
from numembed.core.arrays import Matrix
from numembed.storage.connection import number_of
from numembed.storage.vectors import VectorStore

WIDTH = 384
_MODELS = ("model one", "model two")
_TEXTS = [f"{number}, {number + 1}, {number * number}" for number in range(150)]


class Vectors(Protocol):
    """A store of vectors by model and text."""

    def read(self, model_key: str, texts: Sequence[str]) -> tuple[Matrix, NDArray[np.bool_]]:
        """Return (matrix, found)."""

    def add(self, model_key: str, name: str, texts: Sequence[str], matrix: Matrix) -> None:
        """Store one row a text."""

    def close(self) -> None:
        """Close it."""


class Pickled:
    """A naive store: all vectors in one file, which is written anew at each addition."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[tuple[str, str], Matrix] = pickle.loads(path.read_bytes()) if path.exists() else {}

    def read(self, model_key: str, texts: Sequence[str]) -> tuple[Matrix, NDArray[np.bool_]]:
        """Return (matrix, found)."""
        return _rows_found([self._rows.get((model_key, text)) for text in texts])

    def add(self, model_key: str, name: str, texts: Sequence[str], matrix: Matrix) -> None:
        """Store one row a text."""
        self._rows |= {(model_key, text): row for text, row in zip(texts, matrix, strict=True)}
        with self._path.open("wb") as file:
            pickle.dump(self._rows, file)

    def close(self) -> None:
        """Do nothing: the file is closed."""


class Unguarded:
    """A naive store: a table of SQLite without a journal and without checksums."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path)
        self._connection.execute("PRAGMA journal_mode=OFF")
        self._connection.execute("PRAGMA cache_size=-100")  # a large batch is written before its end, as in any store
        self._connection.execute("CREATE TABLE IF NOT EXISTS v (m TEXT, t TEXT, x BLOB, PRIMARY KEY (m, t))")

    def read(self, model_key: str, texts: Sequence[str]) -> tuple[Matrix, NDArray[np.bool_]]:
        """Return (matrix, found)."""
        query = "SELECT x FROM v WHERE m = ? AND t = ?"
        found = [self._connection.execute(query, (model_key, text)).fetchone() for text in texts]
        return _rows_found([row and np.frombuffer(row[0], dtype=np.float32) for row in found])

    def add(self, model_key: str, name: str, texts: Sequence[str], matrix: Matrix) -> None:
        """Store one row a text."""
        rows = [(model_key, text, row.tobytes()) for text, row in zip(texts, matrix, strict=True)]
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO v VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """Close it."""
        self._connection.close()


STORES: dict[str, Callable[[Path], Vectors]] = {"cache.db": VectorStore, "pickle": Pickled, "unguarded": Unguarded}
NAIVE = ("pickle", "unguarded")


def vectors_of(texts: Sequence[str], model_key: str = "") -> Matrix:
    """Return vectors that follow from their texts, so that a wrong one is noticed, (n, WIDTH)."""
    rows = [np.random.default_rng(list(f"{model_key} {text}".encode())).standard_normal(WIDTH) for text in texts]
    return np.array(rows, dtype=np.float32).reshape(len(texts), WIDTH)


def vector_file(store: str) -> Callable[[Path], Maker]:
    """Return what writes vectors by a store of STORES, and returns what asks a copy of them."""
    wanted = {key: vectors_of(_TEXTS, key) for key in _MODELS}

    def made(path: Path) -> Maker:
        opened = STORES[store](path)
        for key, matrix in wanted.items():
            opened.add(key, key, _TEXTS, matrix)
        opened.close()
        return lambda home, found: _AskedVectors(home / "cache.db", found, STORES[store], wanted)

    return made


class _AskedVectors(Asked):
    def __init__(self, path: Path, found: Damages, store: Callable[[Path], Vectors], wanted: dict[str, Matrix]) -> None:
        super().__init__(path, found)
        self._store, self._wanted = store, wanted

    def open(self) -> None:
        self._opened = self._store(self.path)

    def close(self) -> None:
        if self.opened:
            self._opened.close()

    def command(self, verb: str) -> None:
        if self._store is VectorStore:
            super().command(verb)

    def questions(self) -> tuple[Callable[[str], None], ...]:
        own = (self._lists,) if self._store is VectorStore else ()
        return (self._read, *own, self._added, self._read)

    def _read(self, name: str) -> None:
        for key, wanted in self._wanted.items():
            matrix, found = self._opened.read(key, _TEXTS)
            self.found.unreadable += int((~found).sum())
            if found.any() and matrix[found].tobytes() != wanted[found].tobytes():
                self.found.wrong.append(f"{name}: a vector of {key}")
        if self._opened.read("another model", _TEXTS)[1].any():
            self.found.wrong.append(f"{name}: a vector of a model that has none")

    def _lists(self, name: str) -> None:
        assert isinstance(self._opened, VectorStore)
        if not 0 <= self._opened.count(_MODELS[0], _TEXTS) <= len(_TEXTS):
            self.found.wrong.append(f"{name}: more vectors than texts")
        self._opened.models()

    def _added(self, name: str) -> None:
        for key, wanted in self._wanted.items():
            before = -1
            while before != number_of(self.path):  # a reading may find the damage, and sets all of the file aside
                before = number_of(self.path)
                self._opened.add(key, key, _TEXTS, wanted)
                matrix, found = self._opened.read(key, _TEXTS)
                if found.all() and matrix.tobytes() == wanted.tobytes():
                    break
            else:
                self.found.wrong.append(f"{name}: what was added is not there")


def _rows_found(rows: Sequence[Matrix | None]) -> tuple[Matrix, NDArray[np.bool_]]:
    found = np.array([row is not None for row in rows])
    empty = np.zeros(next((len(row) for row in rows if row is not None), 0), dtype=np.float32)
    return np.array([empty if row is None else row for row in rows], dtype=np.float32), found
