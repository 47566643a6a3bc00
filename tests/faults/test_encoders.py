"""Memory that does not suffice, graphics cards that are lost and servers that hang: real models, real workers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.faults_places import SUPERVISOR, Place, wait_until
from benchmarks.page import ROOT
from numembed.core.arrays import Matrix
from numembed.core.errors import (
    LIGHT,
    AcceleratorLost,
    ModelUnavailable,
    NumembedError,
    TextFailed,
    TooLarge,
    reason_of,
)
from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.models.embedding import embed
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.loading.loader import is_lost, is_out_of_memory
from numembed.models.resolve import resolve
from numembed.paper.protocol import PAPER_FAMILIES
from numembed.sequences.sets import make_sequences
from numembed.storage.vectors import VectorStore
from numembed.studies.study import Study
from tests import tiny
from tests.offline import OFFLINE
from tests.servers.embeddings import EmbeddingServer, slow
from tests.servers.hub import serve_hub

pytestmark = pytest.mark.slow  # together they take long

NO_ROOM = (
    "",  # torch's own class
    "CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 15.78 GiB total capacity)",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "MPS backend out of memory (MPS allocated: 5.05 GB)",
    "could not create a primitive",
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate",
    "[enforce fail at alloc_cpu.cpp:75] data. DefaultCPUAllocator: not enough memory: you tried to allocate",
    "Unable to allocate 4.00 GiB for an array",
)
LOST = "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported"
SEQUENCES = make_sequences(PAPER_FAMILIES, per_family=10, length=12)
TEXTS = SEQUENCES.texts
FEW = TEXTS[::5]
QUICK = Study(("even", "odd", "primes"), (model("last_digits"),), per_family=1, length=5)
LOSING = f"""
import sys
from sentence_transformers import SentenceTransformer
from numembed.runs.worker import _started
original, batches = SentenceTransformer.encode, 0
def encode(self, texts, **options):
    global batches
    batches += len(texts) > 2  # the check at loading asks for fewer
    if batches > 3:
        raise RuntimeError({LOST!r})
    return original(self, texts, **options)
SentenceTransformer.encode = encode
sys.exit(_started(["model"]))
"""
NARROW = """
import resource, sys
from pathlib import Path
import numpy as np
import psutil
from numembed.models.catalogue.names import model
from numembed.models.resolve import resolve
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.core.settings import Settings
settings = Settings(Path(sys.argv[2]), offline=True, prewarm=False)
encoder = SentenceEncoder(resolve(model(sys.argv[1]), settings), Path(sys.argv[1]), device="cpu")
encoder.model[0].auto_model.set_attn_implementation("eager")
texts = [" ".join(str((start * number) % 90 + 10) for number in range(400)) for start in range(1, 33)]
wanted = encoder.encode(texts)
def calls(room):
    asked, original = [], encoder._forward
    encoder._forward = lambda texts: asked.append(len(texts)) or original(texts)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + room, resource.RLIM_INFINITY))
    rows = encoder.encode(texts)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    encoder._forward = original
    return asked, float(np.abs(rows - wanted).max())
print([calls(1 << 32), calls(40 << 20)])
"""
# What is freed goes back to the system at once, and no thread takes a stack of its own: the room is as narrow as told.
ONE_HEAP = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@pytest.fixture
def place(settings: Settings) -> Iterator[Place]:
    here = Place(settings)
    yield here
    here.clear()


class Small:
    """A processor with room for ``most`` padded tokens at a time; stands before a real model's encode."""

    def __init__(self, encoder: SentenceEncoder, most: int, error: BaseException) -> None:
        self.encoder, self.most, self.error = encoder, most, error
        self.original, self.calls, self.refused = encoder.model.encode, [], 0  # type: ignore[var-annotated]
        encoder.model.encode = self

    def __call__(self, texts: Sequence[str], **options: Any) -> Any:
        tokens = len(texts) * max(map(len, self.encoder.token_ids(texts)))
        self.calls.append(tokens)
        if tokens > self.most:
            self.refused += 1
            raise self.error
        return self.original(texts, **options)


def _no_room() -> BaseException:
    import torch

    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


def _encoder(folder: Path, **changes: Any) -> SentenceEncoder:
    return SentenceEncoder(replace(resolve(model(str(folder)), OFFLINE), **changes), folder, device="cpu")


def _rows(encoder: SentenceEncoder, batches: list[list[int]]) -> Matrix:
    rows = np.empty((len(TEXTS), tiny.HIDDEN), dtype=np.float32)
    for batch in batches:
        rows[batch] = encoder.encode([TEXTS[i] for i in batch])
    return rows


@pytest.mark.parametrize("words", NO_ROOM)
def test_a_batch_without_room_is_halved_and_the_rows_are_the_same(tiny_model: Path, words: str) -> None:
    encoder, error = _encoder(tiny_model), MemoryError(words) if "array" in words else RuntimeError(words)
    wanted, batches = encoder.encode(TEXTS), encoder.batches(TEXTS)
    assert len(batches) > 1  # cut before the trouble
    small = Small(encoder, 200, error if words else _no_room())
    assert np.abs(_rows(encoder, batches) - wanted).max() < 1e-5
    assert 0 < small.refused <= 4  # 1,024 to 128
    small.refused, before = 0, len(small.calls)
    assert np.abs(_rows(encoder, batches) - wanted).max() < 1e-5
    assert small.refused == 0 and max(small.calls[before:]) <= 200, "it forgot how little room there is"


def test_it_goes_down_to_single_texts(tiny_model: Path) -> None:
    encoder = _encoder(tiny_model)
    wanted, longest = encoder.encode(FEW), max(map(len, encoder.token_ids(FEW)))
    small = Small(encoder, longest, _no_room())
    assert np.abs(encoder.encode(FEW) - wanted).max() < 1e-5
    assert longest in small.calls  # the longest went alone
    assert len(small.calls) < 3 * len(FEW)


def test_a_single_text_without_room_is_a_sentence_with_its_tokens(tiny_model: Path) -> None:
    encoder = _encoder(tiny_model)
    longest = max(map(len, encoder.token_ids(FEW)))
    small = Small(encoder, longest - 1, _no_room())
    with pytest.raises(TooLarge, match=f"^One text of {longest} tokens does not fit into the memory") as caught:
        encoder.encode(FEW)
    assert "Choose fewer terms per sequence" in str(caught.value) and small.calls[-1] == longest


@pytest.mark.parametrize("error", [ValueError("no such prompt"), RuntimeError("sizes do not match"), KeyError("x")])
def test_any_other_error_is_told_with_its_reason_and_not_tried_again(tiny_model: Path, error: Exception) -> None:
    encoder = _encoder(tiny_model)
    budget, small = encoder.budget, Small(encoder, 0, error)
    with pytest.raises(TextFailed, match=re.escape(reason_of(error))) as caught:
        encoder.encode(TEXTS[:4])
    assert caught.value.__cause__ is error and len(small.calls) == 1 and encoder.budget == budget


def test_a_run_with_little_room_stores_every_row_once(tiny_model: Path, tmp_path: Path) -> None:
    spec, loaded = resolve(model(str(tiny_model)), OFFLINE), LoadedModel(OFFLINE)
    wanted = embed(spec, SEQUENCES, store=VectorStore(tmp_path / "one.db"), loaded=loaded).matrix
    encoder = loaded.get(spec)
    assert isinstance(encoder, SentenceEncoder)
    small, store = Small(encoder, 150, _no_room()), VectorStore(tmp_path / "two.db")
    steps: list[int] = []
    found = embed(spec, SEQUENCES, store=store, loaded=loaded, progress=lambda done, total, note: steps.append(done))
    assert np.abs(found.matrix - wanted).max() < 1e-5 and small.refused
    assert steps == sorted(steps) and steps[-1] == len(TEXTS) == store.count(spec.key, TEXTS)
    rows, there = store.read(spec.key, TEXTS)
    assert there.all() and rows.tobytes() == found.matrix.tobytes()


def test_texts_without_room_cost_only_themselves(tiny_model: Path, tmp_path: Path) -> None:
    spec, loaded = resolve(model(str(tiny_model)), OFFLINE), LoadedModel(OFFLINE)
    encoder, store = loaded.get(spec), VectorStore(tmp_path / "cache.db")
    assert isinstance(encoder, SentenceEncoder)
    encoder.budget = 120
    lengths = list(map(len, encoder.token_ids(TEXTS)))
    Small(encoder, max(lengths) - 1, _no_room())
    with pytest.raises(TextFailed, match=r"does not fit into the memory.*The vectors of all other texts are kept"):
        embed(spec, SEQUENCES, store=store, loaded=loaded)
    assert store.count(spec.key, TEXTS) == sum(length < max(lengths) for length in lengths) > 0


def test_a_batch_that_this_processor_really_cannot_hold_is_halved(tmp_path: Path) -> None:
    folder = tiny.write_model(tmp_path / "wide", limit=512)
    done = subprocess.run(
        [sys.executable, "-c", NARROW, str(folder), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, **ONE_HEAP},
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    (plenty, same), (little, equal) = eval(done.stdout)
    assert plenty == [32] and same < 1e-5 and equal < 1e-5
    assert len(little) > 2 and max(little[1:]) < little[0] == 32


@pytest.mark.parametrize(
    ("words", "lost"),
    [
        (LOST, True),
        ("CUDA error: an illegal memory access was encountered", True),
        ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", True),
        ("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED", True),
        ("CUDA error: out of memory", False),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED", False),
        ("no kernel", False),
    ],
)
def test_a_lost_card_is_told_from_a_full_one(tiny_model: Path, words: str, lost: bool) -> None:
    error = RuntimeError(words)
    assert is_lost(error) is lost and not (lost and is_out_of_memory(error))
    encoder = _encoder(tiny_model)
    small = Small(encoder, 0, error)
    with pytest.raises(AcceleratorLost if lost else (TooLarge, TextFailed)):
        encoder.encode(TEXTS[:4])
    assert not lost or len(small.calls) == 1


@pytest.mark.parametrize(("words", "kind"), [(LOST, AcceleratorLost), ("CUDA out of memory.", ModelUnavailable)])
def test_a_card_that_fails_in_a_models_first_pass_is_told_too(
    tiny_model: Path, words: str, kind: type[NumembedError], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentence_transformers import SentenceTransformer

    def failing(*_: object, **__: object) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr(SentenceTransformer, "encode", failing)
    with pytest.raises(kind):
        _encoder(tiny_model)


def test_a_worker_whose_card_is_lost_ends_and_the_second_one_gives_the_run_up(place: Place, tiny_model: Path) -> None:
    study = Study(PAPER_FAMILIES, (model(str(tiny_model)),), per_family=30, length=50)
    key, texts = resolve(study.models[0], OFFLINE).key, study.sequences.texts
    job, after = place.jobs.submit(study, asked_by="one"), place.jobs.submit(QUICK, asked_by="another")
    place.worker(LIGHT)
    assert place.start("-c", LOSING).wait(240) == 75
    before, found = place.vectors.read(key, texts)
    assert (place.job(job).state, place.job(job).attempts) == ("running", 1) and 0 < found.sum() < 180
    second = place.start("-c", LOSING)
    wait_until(lambda: place.job(after).state == "done" and not place.job(job).active)
    given_up = place.job(job)
    assert (given_up.state, given_up.attempts) == ("failed", 2) and second.poll() is None
    assert given_up.error.startswith("The graphics card does not respond, not even in a new process.")
    rows, kept = place.vectors.read(key, texts)
    assert kept.sum() > found.sum() and kept[found].all() and rows[found].tobytes() == before[found].tobytes()

    again = place.jobs.submit(study, asked_by="one")
    assert second.wait(240) == 75 and place.job(again).state == "running"  # another process may find the card again


@pytest.mark.parametrize("kind", ["endpoint", "download"])
def test_a_run_is_cancelled_while_a_server_hangs(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    folder = tiny.write_model(tmp_path / "large")
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + " " * 2**22)  # trickles for 12 s
    with serve_hub() as hub, EmbeddingServer(otherwise=slow(300)) as server:
        hub.add("owner/large", folder)
        hub.slow.set()
        (settings.home / "operator.toml").write_text(f'[endpoints.lab]\nurl = "{server.url}"\n')
        for name, value in (("HF_ENDPOINT", hub.address), ("HF_HUB_OFFLINE", "0"), ("HF_HOME", str(tmp_path / "hub"))):
            monkeypatch.setenv(name, value)
        place = Place(settings)
        try:
            place.start("-c", SUPERVISOR)
            chosen = model("endpoint:lab" if kind == "endpoint" else "owner/large")
            job = place.jobs.submit(replace(QUICK, models=(chosen,)), asked_by="one")
            wait_until(lambda: server.requests or hub.bytes_sent > 2**17)
            after, began = place.jobs.submit(QUICK, asked_by="another"), time.monotonic()
            place.jobs.cancel(job)
            wait_until(lambda: not place.job(job).active)
            assert place.job(job).state == "cancelled" and time.monotonic() - began < 60  # 5 s of grace, a new worker
            wait_until(lambda: place.job(after).state == "done")
        finally:
            place.clear()
