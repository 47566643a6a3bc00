"""How vectors lie in the file: what a batch writes, and files of the first version beside today's."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import xxhash
from numpy.typing import NDArray

from numembed.storage.vectors import VectorStore

Matrix = NDArray[np.float32]
KEY, OTHER = "a" * 64, "b" * 64
TEXTS = [f"{n}, {n + 1}, {n * n}" for n in range(60)]
FIRST = """CREATE TABLE models (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL);
    CREATE TABLE vectors (id INTEGER PRIMARY KEY, model INTEGER NOT NULL, text BLOB NOT NULL,
        checksum BLOB NOT NULL, vector BLOB NOT NULL);
    CREATE INDEX vectors_of_model ON vectors (model);
    PRAGMA user_version=1"""


def _vectors(texts: list[str], width: int = 300) -> Matrix:
    rows = [np.random.default_rng(list(text.encode())).standard_normal(width) for text in texts]
    return np.array(rows, dtype=np.float32).reshape(len(texts), width)


def _first_version(path: Path, texts: list[str] = TEXTS, width: int = 300, page: int = 32_768) -> Path:
    """Write a file as the first version did: the number of a row is the hash of model and text."""
    other = sqlite3.connect(path)
    other.execute(f"PRAGMA page_size={page}")
    other.executescript(FIRST)
    other.execute("INSERT INTO models VALUES (1, ?, 'one')", (KEY,))
    salt = int.from_bytes(hashlib.blake2b(KEY.encode(), digest_size=8).digest(), "little", signed=True)
    for text, row in zip(texts, _vectors(texts, width), strict=True):
        digest, vector = hashlib.blake2b(text.encode(), digest_size=24).digest(), row.tobytes()
        place = int.from_bytes(digest[:8], "little", signed=True) ^ salt
        values = (place, digest[8:], xxhash.xxh3_64_digest(vector), vector)
        other.execute("INSERT INTO vectors (id, model, text, checksum, vector) VALUES (?, 1, ?, ?, ?)", values)
    other.commit()
    other.close()
    return path


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _first_version(tmp_path_factory.mktemp("old") / "cache.db")


@pytest.fixture
def path(tmp_path: Path, old: Path) -> Path:
    """A copy of the file of the first version, which holds TEXTS of KEY."""
    return Path(shutil.copy(old, tmp_path / "cache.db"))


def _rows(path: Path, table: str) -> int:
    other = sqlite3.connect(path)
    try:
        return int(other.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        other.close()


def _bytes_written() -> int:
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))


@pytest.mark.parametrize(("width", "many"), [(384, 2_048), (1_024, 1_024), (4_096, 512)])
def test_a_batch_writes_little_more_than_its_vectors(tmp_path: Path, width: int, many: int) -> None:
    texts = [str(n) for n in range(many)]
    matrix = np.random.default_rng(0).standard_normal((many, width)).astype(np.float32)
    with VectorStore(tmp_path / "cache.db") as store:
        before = _bytes_written()
        for start in range(0, many, 256):
            store.add(KEY, "one", texts[start : start + 256], matrix[start : start + 256])
        assert _bytes_written() - before <= 5 * matrix.nbytes
        assert store.size_bytes() <= 1.35 * matrix.nbytes + 8 * 16_384  # pages of empty tables


def test_rows_stand_in_the_order_of_their_arrival(tmp_path: Path) -> None:
    with VectorStore(tmp_path / "cache.db") as store:
        for start in (40, 20, 0):
            store.add(KEY, "one", TEXTS[start : start + 20], _vectors(TEXTS[start : start + 20]))
    other = sqlite3.connect(tmp_path / "cache.db")
    found = [row[0] for row in other.execute("SELECT vector FROM entries ORDER BY id")]
    other.close()
    assert found == [row.tobytes() for row in _vectors(TEXTS[40:] + TEXTS[20:40] + TEXTS[:20])]


def test_what_is_there_already_is_not_written_again(tmp_path: Path) -> None:
    with VectorStore(tmp_path / "cache.db") as store:
        store.add(KEY, "one", TEXTS, _vectors(TEXTS))
        store.add(KEY, "one", TEXTS[:9], -_vectors(TEXTS[:9]))
        assert np.array_equal(store.read(KEY, TEXTS)[0], _vectors(TEXTS))


def test_a_file_of_the_first_version_is_read_as_it_is(path: Path) -> None:
    with VectorStore(path) as store:
        matrix, found = store.read(KEY, [*TEXTS[::-1], "absent"])
        assert found.tolist() == [True] * 60 + [False]
        assert np.array_equal(matrix[:60], _vectors(TEXTS[::-1]))
        assert store.count(KEY, [*TEXTS, "absent"]) == 60
        (model,) = store.models()
        assert (model.key, model.name, model.vectors, model.size_bytes) == (KEY, "one", 60, 60 * (1_200 + 32))
    assert (_rows(path, "vectors"), _rows(path, "entries")) == (60, 0)


def test_new_rows_stand_beside_those_of_the_first_version(path: Path) -> None:
    texts = [*TEXTS, *(f"new {n}" for n in range(9))]
    with VectorStore(path) as store:
        store.add(KEY, "one", texts, _vectors(texts))
        store.add(OTHER, "two", texts[-3:], _vectors(texts[-3:], 4))
        matrix, found = store.read(KEY, texts)
        assert found.all() and np.array_equal(matrix, _vectors(texts))
        assert store.count(KEY, texts) == 69 and [model.vectors for model in store.models()] == [69, 3]
    assert (_rows(path, "vectors"), _rows(path, "entries")) == (60, 12)


def test_a_damaged_row_of_the_first_version_is_written_again(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("UPDATE vectors SET vector = zeroblob(1200) WHERE id IN (SELECT id FROM vectors LIMIT 2)")
    other.commit()
    other.close()
    with VectorStore(path) as store:
        assert store.read(KEY, TEXTS)[1].sum() == 58
        store.add(KEY, "one", TEXTS, _vectors(TEXTS))
        matrix, found = store.read(KEY, TEXTS)
        assert found.all() and np.array_equal(matrix, _vectors(TEXTS))
        assert store.models()[0].vectors == 60
    assert (_rows(path, "vectors"), _rows(path, "entries")) == (58, 2)


def test_an_index_that_leads_to_another_models_row_is_a_miss(tmp_path: Path) -> None:
    with VectorStore(tmp_path / "cache.db") as store:
        store.add(KEY, "one", TEXTS[:1], _vectors(TEXTS[:1]))
        store.add(OTHER, "two", TEXTS[:1], -_vectors(TEXTS[:1]))
    other = sqlite3.connect(tmp_path / "cache.db")
    (place,) = other.execute("SELECT place FROM entries WHERE id = 1").fetchone()
    other.execute("DELETE FROM entries WHERE id = 1")
    other.execute("UPDATE entries SET place = ? WHERE id = 2", (place,))
    other.commit()
    other.close()
    with VectorStore(tmp_path / "cache.db") as store:
        assert not store.read(KEY, TEXTS[:1])[1].any() and not store.read(OTHER, TEXTS[:1])[1].any()


@pytest.mark.parametrize("page", [4_096, 32_768])
def test_deleting_shrinks_both_tables_and_keeps_the_pages_size(tmp_path: Path, page: int) -> None:
    path = _first_version(tmp_path / "cache.db", width=4_000, page=page)
    texts = [f"new {n}" for n in range(60)]
    with VectorStore(path) as store:
        store.add(KEY, "one", texts, _vectors(texts, 4_000))
        store.add(OTHER, "two", TEXTS, _vectors(TEXTS))
        before = store.size_bytes()
        assert store.delete(KEY) == 120
        assert store.size_bytes() < 0.3 * before and store.count(KEY, [*TEXTS, *texts]) == 0
        assert np.array_equal(store.read(OTHER, TEXTS)[0], _vectors(TEXTS))
    assert int.from_bytes(path.read_bytes()[16:18], "big") == page
