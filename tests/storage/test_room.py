"""Deleting vectors makes room: whole models, least recently used first, and also on a full disk."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.faults_disk import NO_DISK, has_disks, on_a_small_disk
from numembed.storage.pruning import prune
from numembed.storage.vectors import VectorStore
from tests.storage.test_layout import FIRST

KEYS = ("first", "second", "third")
TEXTS = [f"text {n}" for n in range(200)]


def _matrix(key: str, many: int = len(TEXTS), width: int = 384) -> np.ndarray:
    return np.random.default_rng(list(key.encode())).standard_normal((many, width)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with 200 vectors of each of KEYS, which were used in this order."""
    path = tmp_path / "cache.db"
    with VectorStore(path) as store:
        for key in KEYS:
            store.add(key, key, TEXTS, _matrix(key))
    _used(path, {key: 1_000 + at for at, key in enumerate(KEYS)})
    return path


def _used(path: Path, when: dict[str, int]) -> None:
    other = sqlite3.connect(path)
    other.executemany("UPDATE models SET used = ? WHERE key = ?", [(at, key) for key, at in when.items()])
    other.commit()
    other.close()


def _when(path: Path) -> dict[str, int]:
    other = sqlite3.connect(path)
    try:
        return dict(other.execute("SELECT key, used FROM models").fetchall())
    finally:
        other.close()


def _keys(store: VectorStore) -> list[str]:
    return sorted(model.key for model in store.models())


def test_the_least_recently_used_go_first(path: Path) -> None:
    with VectorStore(path) as store:
        before = store.size_bytes()
        assert store.read("first", TEXTS)[1].all()  # now it is the last that was used
        assert [model.key for model in prune(store, int(0.75 * before))] == ["second"]
        assert store.size_bytes() <= 0.75 * before and _keys(store) == ["first", "third"]
        assert [model.key for model in prune(store, int(0.5 * before))] == ["third"]
        assert store.size_bytes() <= 0.5 * before
        assert np.array_equal(store.read("first", TEXTS)[0], _matrix("first"))


def test_what_a_run_needs_stays(path: Path) -> None:
    with VectorStore(path) as store:
        before = store.size_bytes()
        assert [model.key for model in prune(store, int(0.75 * before), keep={"first"})] == ["second"]
        assert [model.key for model in prune(store, 1, keep={"first", "third"})] == []
        assert _keys(store) == ["first", "third"]
        assert [model.key for model in prune(store, 1)] == ["first", "third"] and store.models() == ()


def test_a_file_that_is_small_enough_stays_as_it_is(path: Path) -> None:
    before = path.read_bytes()
    with VectorStore(path) as store:
        assert prune(store, len(before)) == ()
    assert path.read_bytes() == before


def test_a_use_is_noted_at_most_once_an_hour(path: Path) -> None:
    now = int(time.time())
    _used(path, {"first": now - 7_200, "second": now - 60})
    with VectorStore(path) as store:
        for key in (*KEYS, "unknown"):
            store.read(key, TEXTS)
    assert _when(path)["first"] >= now and _when(path)["second"] == now - 60 and _when(path)["third"] >= now


def test_a_use_that_cannot_be_noted_is_no_error(path: Path) -> None:
    """Another process writes for a long time; the disk is read-only (as root: by SQLite's own word)."""
    with VectorStore(path) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert store.read("first", TEXTS)[1].all()
        other.execute("ROLLBACK")
        other.close()
        store._connection.execute("PRAGMA query_only=ON")
        assert store.read("first", TEXTS)[1].all()
    assert _when(path)["first"] == 1_000


def test_an_open_store_follows_to_the_file_that_was_begun_anew(path: Path) -> None:
    with VectorStore(path) as late, VectorStore(path) as quick:
        assert late.count("first", TEXTS) == 200
        held = os.open(path, os.O_RDONLY)
        assert quick.delete() == 600
        assert os.fstat(held).st_size == 0  # whoever has the old file open holds none of its room
        os.close(held)
        assert late.count("first", TEXTS) == 0 and not late.read("first", TEXTS)[1].any()
        late.add("first", "first", TEXTS, _matrix("first"))
        assert quick.count("first", TEXTS) == 200 and _keys(quick) == ["first"]
    with VectorStore(path) as store:
        assert store.read("first", TEXTS)[1].all()


FULL = """
import os, sys
from pathlib import Path
import numpy as np
from numembed.core.errors import StoreFull
from numembed.storage.pruning import prune
from numembed.storage.room import reserve_of
from numembed.storage.vectors import VectorStore

what, folder = sys.argv[1], Path(sys.argv[2])
texts = [f"text {n}" for n in range(1_500)]

def matrix(key):
    return np.random.default_rng(list(key.encode())).standard_normal((1_500, 1_024)).astype(np.float32)

def free():
    return os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize

store = VectorStore(folder / "cache.db")
for key in ("first", "second", "third"):
    for start in range(0, 1_500, 250):
        store.add(key, key, texts[start : start + 250], matrix(key)[start : start + 250])
assert reserve_of(store.path).stat().st_size == 4 * 2**20, "no reserve"
if what == "nothing kept":
    reserve_of(store.path).unlink()
with open(folder / "ballast", "wb", buffering=0) as ballast:
    try:
        while ballast.write(b"x" * 4096):
            pass
    except OSError:
        pass
assert free() == 0
try:
    store.add("new", "new", texts, matrix("new"))
    raise SystemExit("the disk is not full")
except StoreFull:
    pass
if what == "all" or what == "nothing kept":
    if what == "nothing kept":
        try:
            store.delete("first")
            raise SystemExit("a part went without room")
        except StoreFull as error:
            assert "Delete those of all models" in str(error), error
        assert np.array_equal(store.read("third", texts)[0], matrix("third"))
    store.delete()
    assert store.models() == () and free() > 15 * 2**20, free()
else:
    if what == "one":
        assert store.delete("second") == 1_500
        left = ("first", "third")
    else:
        assert [model.key for model in prune(store, 11 * 2**20, keep={"second"})] == ["first", "third"]
        left = ("second",)
    assert free() > 2**20, free()
    assert sorted(model.key for model in store.models()) == sorted(left)
    for key in left:
        found, there = store.read(key, texts)
        assert there.all() and np.array_equal(found, matrix(key))
    if what == "some":
        assert reserve_of(store.path).exists(), "the reserve was not made again"
assert store._connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
store.add("new", "new", texts[:250], matrix("new")[:250])
print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["one", "some", "all", "nothing kept"])
def test_vectors_are_deleted_on_a_full_disk(tmp_path: Path, what: str) -> None:
    """On a small disk of its own, in a namespace where any user may mount one."""
    _refuse_without_disk(tmp_path)
    folder = str(tmp_path)
    done = on_a_small_disk(folder, sys.executable, "-c", FULL, what, folder)
    assert done.stdout.strip() == "done", done.stderr


def _refuse_without_disk(folder: Path) -> None:
    """Skip where nothing can be mounted; fail there in CI, where it would go unnoticed."""
    if has_disks(folder):
        return
    if os.environ.get("CI"):
        pytest.fail(NO_DISK)
    pytest.skip(NO_DISK)


def test_a_store_of_the_first_version_is_pruned_as_well(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    other = sqlite3.connect(path)
    other.executescript(FIRST)
    other.execute("INSERT INTO models VALUES (1, 'old', 'old')")
    rows = [(at, 1, b"t", b"c", os.urandom(4_000)) for at in range(300)]
    other.executemany("INSERT INTO vectors VALUES (?, ?, ?, ?, ?)", rows)
    other.commit()
    other.close()
    with VectorStore(path) as store:
        store.add("new", "new", TEXTS, _matrix("new"))
        assert [model.key for model in prune(store, 1_000_000)] == ["old"]
        assert store.size_bytes() <= 1_000_000 and store.read("new", TEXTS)[1].all()
