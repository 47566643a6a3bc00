from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from numembed.core.errors import (
    AcceleratorLost,
    BadChoice,
    Cancelled,
    CheckFailed,
    ModelUnavailable,
    NonFiniteVectors,
    RemoteFailed,
    StoreFull,
    TextFailed,
    TooLarge,
)
from numembed.models import embedding
from numembed.models.baselines import BASELINES
from numembed.models.catalogue.names import model
from numembed.models.embedding import embed, reduced
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.resolve import resolve
from numembed.models.spec import ModelSpec
from numembed.runs.watch import AskedToEnd
from numembed.sequences.sets import IntegerSequence, SequenceSet, make_sequences
from numembed.storage.vectors import VectorStore
from tests import tiny
from tests.offline import OFFLINE

SEQUENCES = make_sequences(["even", "primes"], per_family=12, length=50)


def _spec(folder: Path) -> ModelSpec:
    return resolve(model(str(folder)), OFFLINE)


@pytest.fixture
def store(tmp_path: Path) -> VectorStore:
    return VectorStore(tmp_path / "cache.db")


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that reaches a real encoder, in order."""
    heard: list[str] = []
    real = SentenceEncoder.encode

    def encode(self: SentenceEncoder, texts: Sequence[str]) -> NDArray[np.float32]:
        heard.extend(texts)
        return real(self, texts)

    monkeypatch.setattr(SentenceEncoder, "encode", encode)
    return heard


def test_missing_texts_share_batches_whatever_their_order(tmp_path: Path, tiny_model: Path, encoded: list[str]) -> None:
    spec, loaded, found = _spec(tiny_model), LoadedModel(OFFLINE), []
    for number, items in enumerate((SEQUENCES.items, SEQUENCES.items[::-1])):
        encoded.clear()
        sequences = SequenceSet(items)
        matrix = embed(spec, sequences, store=VectorStore(tmp_path / f"{number}.db"), loaded=loaded).matrix
        found.append((encoded[-len(items) :], dict(zip(sequences.texts, matrix.tolist(), strict=True))))
    assert found[0] == found[1]


@pytest.mark.parametrize(("most", "expected"), [(2e11, 1), (0, 2)])
def test_small_work_takes_one_thread_and_large_work_all(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, most: float, expected: int
) -> None:
    import torch

    monkeypatch.setattr(embedding, "ONE_THREAD_UP_TO", most)
    loaded, before, seen = LoadedModel(OFFLINE), torch.get_num_threads(), []
    loaded.get(_spec(tiny_model))
    torch.set_num_threads(2)
    try:
        embed(
            *(_spec(tiny_model), SEQUENCES),
            store=VectorStore(tmp_path / "cache.db"),
            loaded=loaded,
            progress=lambda done, total, stage: seen.append((done, torch.get_num_threads())),
        )
        assert {threads for done, threads in seen if done} == {expected} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return LoadedModel(OFFLINE)


def test_row_i_is_the_vector_of_sequence_i(tiny_model: Path, store: VectorStore, loaded: LoadedModel) -> None:
    spec = _spec(tiny_model)
    made = embed(spec, SEQUENCES, store=store, loaded=loaded)
    alone = np.concatenate([loaded.get(spec).encode([text]) for text in SEQUENCES.texts])
    assert made.matrix.shape == (24, 32) and made.matrix.dtype == np.float32
    assert np.abs(made.matrix - alone).max() <= 1e-5
    assert made.sequences is SEQUENCES and made.model == spec
    with pytest.raises(ValueError, match="read-only"):
        made.matrix[0] = 0


def test_the_second_time_nothing_is_encoded(
    tiny_model: Path, store: VectorStore, loaded: LoadedModel, encoded: list[str]
) -> None:
    first = embed(_spec(tiny_model), SEQUENCES, store=store, loaded=loaded)
    assert sorted(encoded) == sorted(SEQUENCES.texts)
    encoded.clear()
    nothing = LoadedModel(OFFLINE)
    second = embed(_spec(tiny_model), SEQUENCES, store=store, loaded=nothing)
    assert encoded == [] and nothing._encoder is None
    assert second.matrix.tobytes() == first.matrix.tobytes() and not second.matrix.flags.writeable


def test_one_more_sequence_encodes_exactly_one_text(
    tiny_model: Path, store: VectorStore, loaded: LoadedModel, encoded: list[str]
) -> None:
    before = embed(_spec(tiny_model), SEQUENCES, store=store, loaded=loaded)
    encoded.clear()
    items = list(SEQUENCES.items)
    items.insert(5, IntegerSequence("mine", 0, (3, 1, 4, 1, 5)))
    steps: list[tuple[int, int, str]] = []
    fresh, told = LoadedModel(OFFLINE), lambda *step: steps.append(step)
    more = embed(_spec(tiny_model), SequenceSet(tuple(items)), store=store, loaded=fresh, progress=told)
    assert encoded[-1] == "3, 1, 4, 1, 5" and not set(encoded) & set(SEQUENCES.texts)
    assert set(steps) == {(24, 25, "load"), (24, 25, "encode"), (25, 25, "encode")}
    assert np.delete(more.matrix, 5, axis=0).tobytes() == before.matrix.tobytes()
    assert store.count(_spec(tiny_model).key, SequenceSet(tuple(items)).texts) == 25


def test_equal_texts_are_encoded_once(
    tiny_model: Path, store: VectorStore, loaded: LoadedModel, encoded: list[str]
) -> None:
    twice = SequenceSet((*SEQUENCES.items[:3], IntegerSequence("again", 7, SEQUENCES.items[1].terms)))
    made = embed(_spec(tiny_model), twice, store=store, loaded=loaded)
    assert sorted(encoded) == sorted(SEQUENCES.texts[:3])
    assert np.array_equal(made.matrix[1], made.matrix[3]) and not np.array_equal(made.matrix[0], made.matrix[1])


@pytest.mark.parametrize("limits", [{"_LATEST_SECONDS": 0}, {"_TOGETHER": 1}, {}, {"_SHARE": 1}])
def test_batches_are_stored_once_they_are_many_or_a_second_old_and_in_the_end(
    tiny_model: Path, store: VectorStore, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]
) -> None:
    for name, value in ({"_LATEST_SECONDS": 60} | limits).items():
        monkeypatch.setattr(embedding, name, value)
    spec, heard, kept = _spec(tiny_model), [], []

    def progress(done: int, total: int, stage: str) -> None:
        heard.append((done, total, stage))
        kept.append(store.count(spec.key, SEQUENCES.texts))

    embed(spec, SEQUENCES, store=store, loaded=loaded, progress=progress)
    assert heard[:2] == [(0, 24, "load"), (0, 24, "encode")] and heard[-1] == (24, 24, "encode")
    done = [done for done, _, _ in heard]
    assert done == sorted(done) and len(set(done)) > 4 and store.count(spec.key, SEQUENCES.texts) == 24
    if "_SHARE" in limits:  # as many wait as are stored
        assert 1 < len(set(kept)) < len(set(done))
    else:
        assert kept == done
    heard.clear()
    embed(spec, SEQUENCES, store=store, loaded=loaded, progress=progress)
    assert heard == [(24, 24, "encode")]


@pytest.mark.parametrize("error", [Cancelled("Stopped."), AskedToEnd()])
def test_a_run_that_is_ended_keeps_what_it_has_and_the_next_asks_for_the_rest(
    tiny_model: Path, store: VectorStore, loaded: LoadedModel, encoded: list[str], error: BaseException
) -> None:
    spec = _spec(tiny_model)

    def stop(done: int, total: int, stage: str) -> None:
        if done >= 10:
            raise error

    with pytest.raises(type(error)):
        embed(spec, SEQUENCES, store=store, loaded=loaded, progress=stop)
    kept = store.count(spec.key, SEQUENCES.texts)
    assert 10 <= kept < 24 and len(encoded) == kept
    before = set(encoded)
    encoded.clear()
    embed(spec, SEQUENCES, store=store, loaded=loaded)
    assert set(encoded) == set(SEQUENCES.texts) - before and len(encoded) == 24 - kept


def test_nothing_of_a_broken_model_is_stored(nan_model: Path, store: VectorStore, loaded: LoadedModel) -> None:
    with pytest.raises(NonFiniteVectors, match="Nothing of that batch was stored"):
        embed(_spec(nan_model), SEQUENCES, store=store, loaded=loaded)
    assert store.models() == ()


@pytest.mark.parametrize("name", BASELINES.names)
def test_baselines_are_computed_and_never_stored(name: str, store: VectorStore, loaded: LoadedModel) -> None:
    heard: list[tuple[int, int, str]] = []
    made = embed(model(name), SEQUENCES, store=store, loaded=loaded, progress=lambda *said: heard.append(said))
    assert np.array_equal(made.matrix, BASELINES[name].function(SEQUENCES.texts)) and len(made.matrix) == 24
    assert store.models() == () and heard == [(24, 24, "encode")]


@pytest.mark.parametrize("dimensions", [1, 5, 32])
def test_matryoshka_keeps_the_first_coordinates_at_length_one(dimensions: int) -> None:
    matrix = np.random.default_rng(0).standard_normal((7, 32)).astype(np.float32)
    short = reduced(matrix, dimensions=dimensions)
    expected = matrix[:, :dimensions] / np.linalg.norm(matrix[:, :dimensions], axis=1, keepdims=True)
    assert short.shape == (7, dimensions) and short.dtype == np.float32 and np.allclose(short, expected, atol=1e-6)
    assert np.array_equal(reduced(matrix), matrix)


def test_more_coordinates_than_there_are_is_a_sentence() -> None:
    with pytest.raises(BadChoice, match="dim=33 is more than the 32 numbers"):
        reduced(np.zeros((2, 32), dtype=np.float32), dimensions=33)


def test_int8_is_what_the_library_keeps_decoded_again() -> None:
    from sentence_transformers.util.quantization import quantize_embeddings

    matrix = np.random.default_rng(1).standard_normal((200, 16)).astype(np.float32)
    codes = quantize_embeddings(matrix, precision="uint8").astype(np.float64)
    low, high = matrix.min(axis=0), matrix.max(axis=0)
    decoded = reduced(matrix, precision="int8")
    assert np.allclose(decoded, codes * (high - low) / 255 + low, atol=1e-5)
    assert np.abs(decoded - matrix).max() <= ((high - low) / 255).max() * 1.001
    assert all(len(np.unique(column)) <= 256 for column in decoded.T)


def test_binary_keeps_signs_and_hamming_distances() -> None:
    from sentence_transformers.util.quantization import quantize_embeddings

    matrix = np.random.default_rng(2).standard_normal((9, 64)).astype(np.float32)
    bits = np.unpackbits(quantize_embeddings(matrix, precision="ubinary"), axis=1)
    signs = reduced(matrix, precision="binary")
    assert np.array_equal(signs > 0, bits == 1) and np.allclose(np.linalg.norm(signs, axis=1), 1)
    hamming = (bits[:, None] != bits[None]).sum(axis=2)
    squared = ((signs[:, None] - signs[None]) ** 2).sum(axis=2)
    assert np.allclose(squared, 4 * hamming / 64, atol=1e-5)


def test_equal_columns_survive_every_precision() -> None:
    flat = np.zeros((4, 3), dtype=np.float32)
    assert np.isfinite(reduced(flat, precision="int8")).all() and np.isfinite(reduced(flat, dimensions=2)).all()


def test_shorter_and_rounder_vectors_encode_nothing(store: VectorStore, tiny_model: Path) -> None:
    sequences = make_sequences(("even", "primes"), per_family=2, length=10)
    full = embed(_spec(tiny_model), sequences, store=store, loaded=LoadedModel(OFFLINE))
    assert full.work is not None and full.work.texts == 4 and full.work.parameters > 0
    changes: tuple[dict[str, Any], ...] = (
        {"dimensions": 8},
        {"precision": "int8"},
        {"precision": "binary", "dimensions": 16},
    )
    for change in changes:
        asked = replace(_spec(tiny_model), **change)
        nothing = LoadedModel(OFFLINE)
        nothing.get = lambda *_: pytest.fail("loaded")  # type: ignore[method-assign,assignment,misc]
        short = embed(asked, sequences, store=store, loaded=nothing)
        assert asked.key != _spec(tiny_model).key and asked.stored.key == _spec(tiny_model).key
        assert np.array_equal(short.matrix, reduced(full.matrix, **change)) and short.work is None


@pytest.mark.slow
def test_a_model_that_fails_its_check_is_refused_before_anything_is_stored(store: VectorStore, tmp_path: Path) -> None:
    folder = tiny.write_model(tmp_path / "unlisted")
    (folder / "modules.json").unlink()
    sequences = make_sequences(("even",), per_family=2, length=5)
    with pytest.raises(CheckFailed, match="does not say how token vectors become one vector"):
        embed(_spec(folder), sequences, store=store, loaded=LoadedModel(OFFLINE))
    assert store.count(_spec(folder).key, sequences.texts) == 0
    heard: list[bool] = []
    embed(_spec(folder), sequences, store=store, loaded=LoadedModel(OFFLINE), judge=lambda c: heard.append(c.ok))
    assert heard == [False] and store.count(_spec(folder).key, sequences.texts) == 2


# --- texts that a model cannot read


Broken = Callable[[Sequence[str]], BaseException | None]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, encoded: list[str]) -> Callable[[Broken], None]:
    """Let real encoders raise what a function of the texts of a batch returns, if that is anything."""

    def breaking(raised: Broken) -> None:
        real = SentenceEncoder.encode

        def encode(self: SentenceEncoder, texts: Sequence[str]) -> NDArray[np.float32]:
            if (error := raised(texts)) is not None:
                raise error
            return real(self, texts)

        monkeypatch.setattr(SentenceEncoder, "encode", encode)

    return breaking


def _written(*texts: str) -> SequenceSet:
    return SequenceSet(tuple(IntegerSequence("mine", at, ()) for at in range(len(texts))), written=texts)


@pytest.mark.parametrize("error", [KeyError("no place"), TextFailed("It is no text."), TooLarge("No room for it.")])
def test_a_text_that_breaks_its_batch_costs_only_itself(
    tiny_model: Path, store: VectorStore, loaded: LoadedModel, broken: Callable[[Broken], None], error: Exception
) -> None:
    spec, bad = _spec(tiny_model), [SEQUENCES.texts[3], SEQUENCES.texts[17]]
    broken(lambda texts: error if set(bad) & set(texts) else None)
    with pytest.raises(TextFailed) as told:
        embed(spec, SEQUENCES, store=store, loaded=loaded)
    found = store.read(spec.key, SEQUENCES.texts)[1]
    assert [text for text, there in zip(SEQUENCES.texts, found, strict=True) if not there] == bad
    first = min(bad, key=len)[:40]
    assert f"tiny cannot read 2 of 24 texts, the first is {first!r}" in str(told.value).replace("…", "")
    assert str(error) in str(told.value) and "all other texts are kept" in str(told.value)


def test_a_weight_that_is_no_number_costs_only_the_texts_that_use_it(
    tmp_path: Path, store: VectorStore, loaded: LoadedModel
) -> None:
    folder = tiny.write_model(tmp_path / "spoiled")
    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"][tiny.wordpiece().token_to_id("-")] = np.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    texts = _written("1, 2", "3 - 1", *(f"{n}, {n + 1}" for n in range(2, 22)))
    with pytest.raises(TextFailed, match=r"1 of 22 texts, the first is '3 - 1': .*not finite"):
        embed(_spec(folder), texts, store=store, loaded=loaded)
    assert store.count(_spec(folder).key, texts.texts) == 21


def test_a_tokenizer_that_fails_at_one_text_costs_only_that(
    tiny_model: Path, store: VectorStore, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SentenceEncoder.token_ids

    def token_ids(self: SentenceEncoder, texts: Sequence[str]) -> list[list[int]]:
        if "7, 7" in texts:
            raise UnicodeError("a sign that has no token")
        return real(self, texts)

    loaded.get(_spec(tiny_model))
    monkeypatch.setattr(SentenceEncoder, "token_ids", token_ids)
    texts = _written(*(f"{n}, {n}" for n in range(12)))
    with pytest.raises(TextFailed, match="1 of 12 texts, the first is '7, 7': a sign that has no token"):
        embed(_spec(tiny_model), texts, store=store, loaded=loaded)
    assert store.count(_spec(tiny_model).key, texts.texts) == 11


def test_what_was_encoded_before_an_error_is_kept(
    tiny_model: Path, store: VectorStore, loaded: LoadedModel, encoded: list[str], broken: Callable[[Broken], None]
) -> None:
    loaded.get(_spec(tiny_model))
    encoded.clear()
    broken(lambda texts: RemoteFailed("gone") if len(encoded) > 9 else None)
    with pytest.raises(RemoteFailed, match="gone"):
        embed(_spec(tiny_model), SEQUENCES, store=store, loaded=loaded)
    assert store.count(_spec(tiny_model).key, SEQUENCES.texts) == len(encoded) > 9


def test_where_every_text_fails_few_are_tried_and_the_models_own_error_is_raised(
    tiny_model: Path, store: VectorStore, loaded: LoadedModel, broken: Callable[[Broken], None]
) -> None:
    alone: list[str] = []

    def fail(texts: Sequence[str]) -> Exception:
        alone.extend(texts if len(texts) == 1 else ())
        return KeyError("no place")

    broken(fail)
    with pytest.raises(KeyError, match="no place"):
        embed(_spec(tiny_model), SEQUENCES, store=store, loaded=loaded)
    assert len(alone) == 8


@pytest.mark.parametrize(
    "error",
    [
        *(RemoteFailed("gone"), ModelUnavailable("gone"), CheckFailed("gone"), AcceleratorLost("gone")),
        *(StoreFull("gone"), Cancelled("gone"), RuntimeError("CUDA error: gone"), KeyboardInterrupt("gone")),
    ],
)
def test_what_concerns_all_texts_is_not_tried_again(
    tiny_model: Path, store: VectorStore, loaded: LoadedModel, broken: Callable[[Broken], None], error: BaseException
) -> None:
    loaded.get(_spec(tiny_model))
    calls: list[int] = []
    broken(lambda texts: (calls.append(len(texts)), error)[1])
    with pytest.raises(type(error), match="gone"):
        embed(_spec(tiny_model), SEQUENCES, store=store, loaded=loaded)
    assert len(calls) == 1
