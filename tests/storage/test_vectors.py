from __future__ import annotations

import multiprocessing
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as how
from hypothesis import strategies as st
from numpy.typing import NDArray

from numembed.core.errors import NonFiniteVectors, NumembedError, StoreFull
from numembed.storage.vectors import VectorStore

Matrix = NDArray[np.float32]
KEY, OTHER = "a" * 64, "b" * 64
TEXTS = [f"{n}, {n + 1}, {n * n}" for n in range(60)]


def _vectors(texts: list[str], width: int = 300) -> Matrix:
    """Vectors that follow from their texts, so that a wrong one is noticed."""
    rows = [np.random.default_rng(list(text.encode())).standard_normal(width) for text in texts]
    return np.array(rows, dtype=np.float32).reshape(len(texts), width)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed file that holds TEXTS."""
    path = tmp_path_factory.mktemp("whole") / "cache.db"
    with VectorStore(path) as store:
        store.add(KEY, "one", TEXTS, _vectors(TEXTS))
    return path


def _break(path: Path) -> None:
    """Overwrite all but the first page, which holds the schema."""
    content = path.read_bytes()
    page = int.from_bytes(content[16:18], "big")  # at most 32,768; SQLite writes 65,536 as 1
    path.write_bytes(content[:page] + b"\xff" * (len(content) - page))


def _check_nothing_wrong(store: VectorStore, texts: list[str] = TEXTS, key: str = KEY) -> int:
    matrix, found = store.read(key, texts)
    assert np.array_equal(matrix[found], _vectors(texts)[found] if found.any() else matrix[found])
    return int(found.sum())


def test_what_was_stored_comes_back_bit_by_bit(path: Path) -> None:
    vectors = _vectors(TEXTS)
    vectors[0, :4] = [0.0, -0.0, np.finfo(np.float32).tiny / 8, np.finfo(np.float32).max]
    with VectorStore(path) as store:
        store.add(KEY, "one", TEXTS, vectors)
    with VectorStore(path) as store:
        matrix, found = store.read(KEY, TEXTS)
    assert found.all() and matrix.dtype == np.float32 and matrix.tobytes() == vectors.tobytes()


def test_rows_come_in_the_order_that_was_requested(whole: Path) -> None:
    asked = [*TEXTS[30:10:-3], "absent", TEXTS[3], TEXTS[3], "absent"]
    with VectorStore(whole) as store:
        matrix, found = store.read(KEY, asked)
    assert found.tolist() == [text != "absent" for text in asked]
    assert np.array_equal(matrix[found], _vectors(asked)[found]) and not matrix[~found].any()


def test_an_empty_store_and_an_empty_question(path: Path) -> None:
    with VectorStore(path) as store:
        matrix, found = store.read(KEY, TEXTS)
        assert matrix.shape == (60, 0) and not found.any()
        assert store.read(KEY, [])[0].shape == (0, 0) and store.count(KEY, []) == 0
        store.add(KEY, "one", [], np.zeros((0, 4), dtype=np.float32))
        assert store.count(KEY, TEXTS) == 0 and store.models()[0].vectors == 0


def test_more_texts_than_one_statement_takes(path: Path) -> None:
    texts = [str(n) for n in range(1_300)]
    with VectorStore(path) as store:
        store.add(KEY, "one", texts, _vectors(texts, 4))
        assert store.count(KEY, texts) == 1_300
        matrix, found = store.read(KEY, texts[::-1])
    assert found.all() and np.array_equal(matrix, _vectors(texts[::-1], 4))


def test_models_do_not_share_vectors(path: Path) -> None:
    with VectorStore(path) as store:
        store.add(KEY, "one", TEXTS, _vectors(TEXTS))
        store.add(OTHER, "two", TEXTS[:2], -_vectors(TEXTS[:2], 3))
        assert not store.read("c" * 64, TEXTS)[1].any()
        assert store.read(OTHER, TEXTS)[0].shape == (60, 3) and store.read(OTHER, TEXTS)[1].sum() == 2
        assert _check_nothing_wrong(store) == 60


def test_models_lists_the_largest_first(path: Path) -> None:
    with VectorStore(path) as store:
        store.add(KEY, "small", TEXTS[:2], _vectors(TEXTS[:2]))
        store.add(OTHER, "large", TEXTS, _vectors(TEXTS))
        listed = store.models()
        assert [(one.key, one.name, one.vectors) for one in listed] == [(OTHER, "large", 60), (KEY, "small", 2)]
        assert listed[0].size_bytes >= 60 * 300 * 4 and store.size_bytes() == path.stat().st_size


def test_count_counts_distinct_texts(whole: Path) -> None:
    with VectorStore(whole) as store:
        assert store.count(KEY, [*TEXTS, *TEXTS, "absent"]) == 60
        assert store.count(KEY, (text for text in TEXTS[:7])) == 7
        assert store.count(OTHER, TEXTS) == 0


def test_adding_again_changes_nothing(path: Path) -> None:
    with VectorStore(path) as store:
        store.add(KEY, "one", TEXTS, _vectors(TEXTS))
        store.add(KEY, "another name", TEXTS[:9], _vectors(TEXTS[:9]))
        assert store.count(KEY, TEXTS) == 60 and _check_nothing_wrong(store) == 60


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_refused_and_nothing_stored(path: Path, bad: float) -> None:
    vectors = _vectors(TEXTS)
    vectors[41, 3] = bad
    with VectorStore(path) as store:
        with pytest.raises(NonFiniteVectors, match="one returned numbers that are not finite; nothing was stored"):
            store.add(KEY, "one", TEXTS, vectors)
        assert store.count(KEY, TEXTS) == 0 and store.models() == ()


def test_delete_one_model_or_all(path: Path) -> None:
    with VectorStore(path) as store:
        for key in (KEY, OTHER):
            store.add(key, key[0], TEXTS, _vectors(TEXTS, 4_000))
        before = store.size_bytes()
        assert store.delete(KEY) == 60
        assert store.count(KEY, TEXTS) == 0 and store.count(OTHER, TEXTS) == 60
        assert [one.name for one in store.models()] == ["b"] and store.size_bytes() < 0.7 * before
        assert store.delete("unknown") == 0
        assert store.delete() == 60 and store.models() == ()
        store.add(KEY, "a", TEXTS, _vectors(TEXTS))
        assert _check_nothing_wrong(store) == 60


@pytest.mark.parametrize("column", ["vector", "checksum", "text"])
def test_a_flipped_byte_is_a_miss(path: Path, column: str) -> None:
    with VectorStore(path) as store:
        store.add(KEY, "one", TEXTS, _vectors(TEXTS))
    other = sqlite3.connect(path)
    place, value = other.execute(f"SELECT id, {column} FROM entries LIMIT 1").fetchone()
    flipped = bytes([value[0] ^ 4]) + value[1:]
    other.execute(f"UPDATE entries SET {column} = ? WHERE id = ?", (flipped, place))
    other.commit()
    other.close()
    with VectorStore(path) as store:
        assert _check_nothing_wrong(store) == 59
        store.add(KEY, "one", TEXTS, _vectors(TEXTS))
        assert _check_nothing_wrong(store) == 60


@pytest.mark.parametrize("value", [None, 7, 1.5, "text", b""], ids=str)
def test_a_row_of_another_type_is_a_miss(whole: Path, path: Path, value: object) -> None:
    shutil.copy(whole, path)
    other = sqlite3.connect(path)
    other.execute("PRAGMA writable_schema=ON")
    other.execute("UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL', '')")
    other.commit()
    other.close()
    other = sqlite3.connect(path)
    for row, column in enumerate(("vector", "checksum", "text")):
        query = f"UPDATE entries SET {column} = ? WHERE id = (SELECT id FROM entries ORDER BY id LIMIT 1 OFFSET {row})"
        other.execute(query, (value,))
    other.commit()
    other.close()
    with VectorStore(path) as store:
        assert _check_nothing_wrong(store) == 57


def test_a_row_under_another_texts_number_is_a_miss(path: Path) -> None:
    """Two texts whose 64-bit places fall together, or damage to the index."""
    with VectorStore(path) as store:
        store.add(KEY, "one", TEXTS[:2], _vectors(TEXTS[:2]))
    other = sqlite3.connect(path)
    (first,), (second,) = other.execute("SELECT place FROM entries").fetchall()
    other.execute("DELETE FROM entries WHERE place = ?", (first,))
    other.execute("UPDATE entries SET place = ? WHERE place = ?", (first, second))
    other.commit()
    other.close()
    with VectorStore(path) as store:
        assert _check_nothing_wrong(store) == 0


def test_a_file_that_breaks_while_it_is_open_is_started_again(whole: Path, path: Path) -> None:
    shutil.copy(whole, path)
    for act in (
        lambda store: store.read(KEY, TEXTS),
        lambda store: store.add(KEY, "one", TEXTS, _vectors(TEXTS)),
        lambda store: store.count(KEY, TEXTS),
        lambda store: store.models(),
        lambda store: store.delete(),
    ):
        with VectorStore(path) as store:
            store.add(KEY, "one", TEXTS, _vectors(TEXTS))
        with VectorStore(path) as store:
            _break(path)
            act(store)
            store.add(KEY, "one", TEXTS, _vectors(TEXTS))
            assert _check_nothing_wrong(store) == 60
    assert len(list(path.parent.glob("cache.db.corrupt-*"))) == 5


def test_a_file_that_another_process_started_again_is_not_set_aside_again(path: Path) -> None:
    with VectorStore(path) as late:
        late.add(KEY, "one", TEXTS, _vectors(TEXTS))
    with VectorStore(path) as late:
        _break(path)
        with VectorStore(path) as quick:
            quick.read(KEY, TEXTS)
            quick.add(KEY, "one", TEXTS, _vectors(TEXTS))
        assert _check_nothing_wrong(late) == 60
    assert [file.name for file in path.parent.glob("*corrupt*")] == ["cache.db.corrupt-1"]


DAMAGE = st.lists(
    st.one_of(
        st.tuples(st.just("bytes"), st.floats(0, 1), st.binary(min_size=1, max_size=64)),
        st.tuples(st.just("zeros"), st.floats(0, 1), st.sampled_from([16, 4_096, 16_384])),
        st.tuples(st.just("cut"), st.floats(0, 1), st.none()),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.slow
@how(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(damage=[("bytes", 0.5703125, b"\0")])  # the place in a row is no longer that in the index
@given(damage=DAMAGE)
def test_no_damage_serves_a_wrong_vector(
    whole: Path, damage: list[tuple[str, float, object]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(whole.read_bytes())
    for kind, place, what in damage:
        at = int(place * max(len(content) - 1, 0))
        if kind == "cut":
            del content[at:]
        else:
            put = bytes(what) if isinstance(what, bytes) else bytes(int(what))  # type: ignore[call-overload]
            content[at : at + len(put)] = put[: max(len(content) - at, 0)]
    path = tmp_path_factory.mktemp("damaged") / "cache.db"
    path.write_bytes(content)
    try:
        with VectorStore(path) as store:
            _check_nothing_wrong(store)
            store.count(KEY, TEXTS), store.models()
            store.add(KEY, "one", TEXTS, _vectors(TEXTS))
            _check_nothing_wrong(store)  # this reading may be the first that finds the damage: the file is set aside
            store.add(KEY, "one", TEXTS, _vectors(TEXTS))
            assert _check_nothing_wrong(store) == 60
    except NumembedError:
        pass  # a sentence is right as well
    finally:
        shutil.rmtree(path.parent)


def _write_all(path: Path, order: int) -> None:
    texts = TEXTS[::order]
    with VectorStore(path) as store:
        for text in texts:
            store.add(KEY, "one", [text], _vectors([text]))


@pytest.mark.slow
def test_two_processes_write_the_same_rows(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_all, args=(path, order)) for order in (1, -1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    with VectorStore(path) as store:
        assert _check_nothing_wrong(store) == 60 and store.models()[0].vectors == 60


FILL = """
import resource, signal, sys
import numpy as np
from pathlib import Path
from numembed.core.errors import StoreFull
from numembed.storage.vectors import VectorStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = VectorStore(Path(sys.argv[1]))
limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limit))
batch = 0
try:
    while batch < 100:
        texts = [f"{batch} {n}" for n in range(16)]
        store.add("k", "one", texts, np.full((16, 256), batch, dtype=np.float32))
        batch += 1
except StoreFull as error:
    print(batch, store.count("k", [f"{b} {n}" for b in range(100) for n in range(16)]), error, sep="|")
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
store.add("k", "one", ["room again"], np.ones((1, 256), dtype=np.float32))
"""


def test_a_full_disk_loses_nothing(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FILL, str(path)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    batches, stored, sentence = done.stdout.strip().split("|")
    assert 0 < int(batches) < 100 and int(stored) == 16 * int(batches)
    assert sentence.startswith("The disk is full.")
    with VectorStore(path) as store:
        for batch in range(int(batches)):
            matrix, found = store.read("k", [f"{batch} {n}" for n in range(16)])
            assert found.all() and (matrix == batch).all()
        assert store.count("k", ["room again"]) == 1


def test_a_full_disk_is_a_sentence_when_the_file_is_made(tmp_path: Path) -> None:
    tool = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    tool += "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); from pathlib import Path; "
    tool += f"from numembed.storage.vectors import VectorStore; VectorStore(Path({str(tmp_path / 'cache.db')!r}))"
    done = subprocess.run([sys.executable, "-c", tool], capture_output=True, text=True, timeout=240)
    assert done.stderr.strip().splitlines()[-1].startswith(f"{StoreFull.__module__}.StoreFull: The disk is full.")
