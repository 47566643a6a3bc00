"""At most one model is in memory, what is freed goes back to the system, and the next one's files are read ahead."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from numembed.core.errors import ModelUnavailable
from numembed.core.progress import Progress, silent
from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.models.encoders import encoder as encoders
from numembed.models.encoders import loaded as loaded_models
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.interface import REFERENCE, Encoder, Finding
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.resolve import resolve
from numembed.models.sources import bundled_folder
from numembed.models.spec import HubWeights, Loading, LocalWeights, ModelSpec, RemoteWeights
from numembed.runs.study_run import Outcome, run
from numembed.storage.vectors import VectorStore
from numembed.studies.results import ResultStore
from numembed.studies.study import Study
from tests import tiny
from tests.offline import OFFLINE

ROOT = Path(__file__).parents[3]
FAMILIES = ("even", "odd", "primes")
MEBIBYTE = 2**20
MEASURE = """
import json, sys, threading, time
from dataclasses import replace
from pathlib import Path
import psutil
from numembed.models.catalogue.names import model
from numembed.models.resolve import resolve
from numembed.models.encoders.loaded import LoadedModel
from numembed.core.settings import Settings
settings = Settings(Path(sys.argv[1]), offline=True, prewarm=False, device="cpu")
process, loaded, peak = psutil.Process(), LoadedModel(settings), [0]
bundled = resolve(model("all-MiniLM-L6-v2"), settings)
texts = [", ".join(str(number * step) for number in range(30)) for step in range(16)]
def rss():
    return process.memory_info().rss
def watch():
    while True:
        peak[0] = max(peak[0], rss())
        time.sleep(0.01)
threading.Thread(target=watch, daemon=True).start()
full, freed, peaks = [], [], []
for _ in range(4):
    loaded.get(bundled).encode(texts)
    full.append(rss())
    loaded.free()
    freed.append(rss())
for change in ({}, {"max_tokens": 200}, {"loading": replace(bundled.loading, random_seed=0)}):
    peak[0] = 0
    loaded.get(replace(bundled, **change)).encode(texts)
    peaks.append(peak[0])
print(json.dumps({"full": full, "freed": freed, "peaks": peaks}))
"""


class Watched(LoadedModel):
    """A real one that notes what is read ahead, and in front of which model."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.events: list[tuple[str, str]] = []
        self.threads: list[threading.Thread | None] = []

    def get(self, spec: ModelSpec, progress: Progress = silent) -> Encoder:
        encoder = super().get(spec, progress)
        self.events.append(("loaded", spec.name))
        return encoder

    def read_ahead(self, spec: ModelSpec) -> threading.Thread | None:
        self.events.append(("ahead", spec.name))
        self.threads.append(super().read_ahead(spec))
        return self.threads[-1]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Three different models."""
    below = tmp_path_factory.mktemp("three")
    return tuple(tiny.write_model(below / name, seed=seed) for seed, name in enumerate("ABC"))


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many models of the library were in memory whenever the next one was about to be loaded."""
    original, traces, counts = encoders.load, [], []

    def load(*given: Any, **named: Any) -> Any:
        counts.append(sum(trace() is not None for trace in traces))
        found, report = original(*given, **named)
        traces.append(weakref.ref(found))
        return found, report

    monkeypatch.setattr(encoders, "load", load)
    return counts


def _spec(folder: Path) -> ModelSpec:
    return resolve(model(str(folder)), OFFLINE)


def _run(study: Study, settings: Settings, loaded: LoadedModel) -> Outcome:
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        return run(study, vectors=vectors, results=results, loaded=loaded, settings=settings)


def _study(*folders: Path) -> Study:
    return Study(FAMILIES, tuple(model(str(folder)) for folder in folders), per_family=2, length=8)


@pytest.mark.slow
def test_three_models_in_turn_are_never_two_at_a_time(folders: tuple[Path, ...], alive: list[int]) -> None:
    loaded = LoadedModel(OFFLINE)
    for folder in (*folders, folders[0]):
        loaded.get(_spec(folder)).encode(["1, 2, 3"])
    assert alive == [0, 0, 0, 0]


@pytest.mark.slow
def test_a_run_holds_one_model_also_after_one_that_fails(
    folders: tuple[Path, ...], nan_model: Path, alive: list[int], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = SentenceEncoder.encode

    def failing(self: SentenceEncoder, texts: list[str]) -> encoders.Matrix:
        if self.folder == folders[1] and len(texts) > 2:  # the check at loading asks for fewer
            raise ModelUnavailable("no room")
        return encode(self, texts)

    monkeypatch.setattr(SentenceEncoder, "encode", failing)
    outcome = _run(_study(folders[0], nan_model, folders[1], folders[2]), settings, LoadedModel(settings))
    assert set(outcome.errors) == {"broken", "B"} and len(outcome.results) == 2
    assert len(alive) >= 4 and set(alive) == {0}  # the models, and what they are held against


@pytest.mark.slow
def test_a_real_model_gives_its_memory_back(tmp_path: Path) -> None:
    """The bundled model, loaded and freed again and again, in place of itself, and with random weights."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    told: dict[str, list[int]] = json.loads(done.stdout)
    size = (bundled_folder() / "model.safetensors").stat().st_size
    first, *later = told["freed"]  # the first time, libraries come too and stay
    assert size > 80 * MEBIBYTE and max(later) < first + 15 * MEBIBYTE
    for full, freed in zip(told["full"], told["freed"], strict=True):
        assert full - freed > size / 2  # what is not freed gives 0; pages that the weights shared stay a while
    *plain, drawn = told["peaks"]
    assert max(plain) < max(told["full"]) + size / 2, "two models were in memory when one took another's place"
    assert drawn < max(told["full"]) + size, "random weights stood beside the learnt ones"  # they touch every page


def _findings(encoder: Encoder) -> list[Finding]:
    """What was found but for the reference vectors, which only a model that was read from its files has."""
    return [finding for finding in encoder.check.findings if finding.name != REFERENCE]


@pytest.mark.slow
def test_another_prompt_is_no_reason_to_load_again(folders: tuple[Path, ...], alive: list[int]) -> None:
    loaded, spec, texts = LoadedModel(OFFLINE), _spec(folders[0]), ["1, 2, 3", "5, 8, 13, 21", "7"]
    first, seconds = loaded.get(spec), loaded.load_seconds
    found = {prompt: loaded.get(replace(spec, prompt=prompt)) for prompt in ("a: ", "9, 9: ", "", "a: ")}
    assert len(alive) == 1 and seconds > 0 == loaded.load_seconds
    assert all(one.model is first.model for one in found.values())  # type: ignore[attr-defined]
    for prompt, encoder in found.items():
        fresh = LoadedModel(OFFLINE).get(replace(spec, prompt=prompt))
        assert np.array_equal(encoder.encode(texts), fresh.encode(texts))
        assert _findings(encoder) == _findings(fresh)
        assert encoder.batches(texts) == fresh.batches(texts)
    assert loaded.get(replace(spec, prompt="a: ", name="renamed", dimensions=4)) is found["a: "]
    assert np.array_equal(first.encode(texts), found[""].encode(texts))  # which keeps its own prompt


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"max_tokens": 20}, {"dtype": "bfloat16"}, {"loading": Loading(random_seed=0)}])
def test_all_else_that_changes_with_the_prompt_is_loaded(
    folders: tuple[Path, ...], alive: list[int], change: dict[str, Any]
) -> None:
    loaded, spec = LoadedModel(OFFLINE), _spec(folders[0])
    loaded.get(spec)
    loaded.get(replace(spec, prompt="a: ", **change))
    loaded.get(replace(spec, prompt="a: "))
    assert alive == [0, 0, 0] and loaded.load_seconds > 0
    loaded.free()
    loaded.get(spec)
    assert len(alive) == 4


@pytest.mark.slow
def test_the_next_models_weights_are_read_to_the_end(folders: tuple[Path, ...]) -> None:
    loaded, process = LoadedModel(OFFLINE), psutil.Process()
    loaded.get(_spec(folders[0]))
    bundled = resolve(model("all-MiniLM-L6-v2"), OFFLINE)
    before = process.io_counters().read_chars
    thread = loaded.read_ahead(bundled)
    assert thread is not None and thread.daemon  # a worker that ends does not wait for it
    thread.join(60)
    size = (bundled_folder() / "model.safetensors").stat().st_size
    assert not thread.is_alive() and process.io_counters().read_chars - before >= size
    assert loaded.get(_spec(folders[0])) is loaded.get(_spec(folders[0]))


@pytest.mark.slow
def test_what_is_here_already_or_has_no_files_is_not_read_ahead(folders: tuple[Path, ...], tmp_path: Path) -> None:
    loaded = LoadedModel(OFFLINE)
    present = _spec(folders[0])
    loaded.get(present)
    absent = ModelSpec("absent", LocalWeights(str(tmp_path / "absent"), "0" * 64))
    for spec in (
        present,
        replace(present, name="of another name"),
        replace(present, dimensions=8),
        model("last_digits"),
        replace(present, prompt="another: "),
        ModelSpec("lab", RemoteWeights("lab", "http://127.0.0.1:1/v1", "small")),
        absent,
        ModelSpec("never fetched", HubWeights("owner/never-fetched", "0" * 40)),
    ):
        assert loaded.read_ahead(spec) is None, spec.name
    assert loaded.read_ahead(_spec(folders[1])) is not None


def test_files_that_vanish_while_they_are_read_harm_nobody(
    tmp_path: Path, folders: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    folder = tiny.write_model(tmp_path / "brief")
    spec = _spec(folder)
    monkeypatch.setattr(loaded_models, "known_folder", lambda *_: folder)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(tmp_path / "nowhere")
    thread = LoadedModel(OFFLINE).read_ahead(spec)
    assert thread is not None
    thread.join(60)
    assert not thread.is_alive() and not raised


@pytest.mark.slow
def test_a_run_reads_the_next_model_while_the_present_one_encodes(
    folders: tuple[Path, ...], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, _ = folders
    _run(replace(_study(two), per_family=1), settings, LoadedModel(settings))  # since then it is known what it is
    loaded, encode = Watched(settings), SentenceEncoder.encode

    def noted(self: SentenceEncoder, texts: list[str]) -> encoders.Matrix:
        if len(texts) > 2:
            loaded.events.append(("encodes", self.spec.name))
        return encode(self, texts)

    monkeypatch.setattr(SentenceEncoder, "encode", noted)
    outcome = _run(_study(one, two), settings, loaded)
    assert not outcome.errors and len(outcome.results) == 2
    steps = list(dict.fromkeys(loaded.events))
    assert steps[:5] == [("loaded", "A"), ("ahead", "B"), ("encodes", "A"), ("loaded", "B"), ("encodes", "B")]
    (thread,) = loaded.threads
    assert thread is not None
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.slow
def test_a_model_that_no_run_has_met_is_not_looked_for_ahead(folders: tuple[Path, ...], settings: Settings) -> None:
    loaded = Watched(settings)
    assert not _run(_study(*folders[:2]), settings, loaded).errors
    assert [event for event in loaded.events if event[0] == "ahead"] == []
