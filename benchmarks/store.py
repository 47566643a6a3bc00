"""The vector store against one file of numpy, and against its first layout: rows that lie at the hash of their text."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.measure import Figure, interleaved
from numembed.core.arrays import Matrix
from numembed.models.embedding import _stored_together
from numembed.storage.vectors import _SCHEMA, VectorStore, _Keys, vector_checksum

_OLD = np.array([False] + 500 * [True] + 6 * [False])
_WIDTHS = {384: 30_000, 1_024: 8_000, 4_096: 3_000}  # numbers of a vector: how many of them are written


class Layout(Protocol):
    """A store of one model's vectors."""

    def add(self, texts: list[str], matrix: Matrix) -> None:
        """Write one row a text in one transaction."""

    def read(self, texts: list[str]) -> Matrix:
        """Return the vectors of the texts, all of which are stored."""


class Ordered:
    """Today's store."""

    def __init__(self, path: Path) -> None:
        self._store = VectorStore(path)

    def add(self, texts: list[str], matrix: Matrix) -> None:
        self._store.add("benchmark", "benchmark", texts, matrix)

    def read(self, texts: list[str]) -> Matrix:
        return self._store.read("benchmark", texts)[0]


class Hashed:
    """The first layout: the number of a row is the hash of its text, pages of 32 KiB."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("page_size=32768", "journal_mode=DELETE", "synchronous=EXTRA", "cache_size=-65536"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.executescript(_SCHEMA[0])

    def add(self, texts: list[str], matrix: Matrix) -> None:
        keys, vectors = _Keys("benchmark", texts), [row.tobytes() for row in matrix]
        rows = zip(keys.places, keys.proofs["vectors"], map(vector_checksum, vectors), vectors, strict=True)
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(
            "INSERT OR REPLACE INTO vectors (id, model, text, checksum, vector) VALUES (?, 1, ?, ?, ?)", rows
        )
        self._connection.execute("COMMIT")

    def read(self, texts: list[str]) -> Matrix:
        keys = _Keys("benchmark", texts)
        row_of = {place: row for row, place in enumerate(keys.places)}
        places, matrix = sorted(keys.places), np.zeros((0, 0), dtype=np.float32)
        for some in (places[start : start + 500] for start in range(0, len(places), 500)):
            query = f"SELECT id, text, vector, checksum FROM vectors WHERE id IN ({','.join('?' * len(some))})"
            for place, text, vector, checksum in self._connection.execute(query, some):
                row = row_of[place]
                if text != keys.proofs["vectors"][row] or checksum != vector_checksum(vector):
                    continue
                if not len(matrix):
                    width = len(vector)
                    matrix = np.zeros((len(texts), width // 4), dtype=np.float32)
                    buffer = memoryview(matrix.data).cast("B")
                buffer[row * width : (row + 1) * width] = vector
        return matrix


def store() -> list[Figure]:
    """Vectors written and read by their texts, beside np.load and beside rows at hashed places (the first layout)."""
    with tempfile.TemporaryDirectory() as name:
        return [*_beside_numpy(Path(name)), *_written(Path(name)), *_beside_the_first(Path(name))]


def _beside_numpy(folder: Path) -> Iterator[Figure]:
    texts, matrix = _vectors(10_000, 1_024)
    np.save(folder / "matrix.npy", matrix)
    with VectorStore(folder / "cache.db") as vectors:
        for part in _batches(len(texts), 1_000):
            vectors.add("benchmark", "benchmark", texts[part], matrix[part])
        read = vectors.read("benchmark", texts)[0]
        theirs, ours = interleaved(
            lambda: np.load(folder / "matrix.npy"), lambda: vectors.read("benchmark", texts), rounds=15
        )
        _, result = vectors.read("benchmark", ["new", *texts[:500], *(f"{i} new" for i in range(6))])
    print(f"np.load {theirs * 1000:.1f} ms, store {ours * 1000:.1f} ms of CPU; equal: {np.array_equal(read, matrix)}")
    yield Figure("store read", ours / theirs, 10, at_most=True)
    yield Figure("store partial hit, texts judged wrongly", float((result != _OLD).sum()), 0, at_most=True)


def _written(folder: Path) -> Iterator[Figure]:
    """Bytes that the process writes to files, and those of the file, per byte of vectors."""
    ways = {"first layout": _filled_at_hashes, "256 a batch": _filled, "a run's batches of 32": _filled_by_a_run}
    for width, many in _WIDTHS.items():
        texts, matrix = _vectors(many, width)
        for how, fill in ways.items():
            file, before = folder / "written.db", _bytes_written()
            fill(file, texts, matrix)
            written, size = (_bytes_written() - before) / matrix.nbytes, file.stat().st_size / matrix.nbytes
            file.unlink()
            about = f"{many:,} × {width:,}, {how}"
            print(f"{about}: {written:.2f} written, file {size:.2f}")
            if fill != _filled_at_hashes:
                yield Figure(f"store written ÷ vectors, {about}", written, 5, at_most=True)
                yield Figure(f"store file ÷ vectors, {about}", size, 1.35, at_most=True)


def _filled_at_hashes(file: Path, texts: list[str], matrix: Matrix) -> None:
    _fill(Hashed(file), texts, matrix, 256)


def _filled(file: Path, texts: list[str], matrix: Matrix) -> None:
    _fill(Ordered(file), texts, matrix, 256)


def _filled_by_a_run(file: Path, texts: list[str], matrix: Matrix) -> None:
    with VectorStore(file) as store, _stored_together(store, "benchmark", "benchmark") as keep:
        for part in _batches(len(texts), 32):
            keep(texts[part], matrix[part])


def _beside_the_first(folder: Path) -> Iterator[Figure]:
    texts, matrix = _vectors(60_000, 384)
    first, now = Hashed(folder / "first.db"), Ordered(folder / "now.db")
    for layout in (first, now):
        _fill(layout, texts, matrix, 1_024)
    some = [texts[row] for row in np.random.default_rng(1).permutation(len(texts))[:10_000]]
    for about, asked in (("60,000 in order", texts), ("10,000 random of 60,000", some)):
        theirs, ours = interleaved(_reading(first, asked), _reading(now, asked), rounds=7)
        print(f"{about}: first layout {theirs * 1000:.0f} ms, now {ours * 1000:.0f} ms of CPU")
        yield Figure(f"store read beside the first layout, {about}", ours / theirs, 1.3, at_most=True)


def _reading(layout: Layout, texts: list[str]) -> Callable[[], object]:
    return lambda: layout.read(texts)


def _fill(layout: Layout, texts: list[str], matrix: Matrix, batch: int) -> None:
    for part in _batches(len(texts), batch):
        layout.add(texts[part], matrix[part])


def _batches(many: int, batch: int) -> Iterator[slice]:
    return (slice(start, start + batch) for start in range(0, many, batch))


def _vectors(many: int, width: int) -> tuple[list[str], Matrix]:
    texts = [", ".join(map(str, range(i, i + 50))) for i in range(many)]
    return texts, np.random.default_rng(0).standard_normal((many, width)).astype(np.float32)


def _bytes_written() -> int:
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))
