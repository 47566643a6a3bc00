from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from numembed.core.settings import Settings
from numembed.models.catalogue.names import CATALOGUE, model
from numembed.models.embedding import Work
from numembed.models.encoders.memory import parameters_of
from numembed.models.resolve import resolve
from numembed.models.spec import ModelSpec
from numembed.studies.cost import Machine, cost_of, machine, remember_machine, this_processor
from numembed.studies.results import ResultStore
from tests.offline import OFFLINE

GIB = 1 << 30


@pytest.fixture
def results(settings: Settings) -> Iterator[ResultStore]:
    with ResultStore(settings.app_db) as store:
        yield store


def _work(seconds: float, *, parameters: int = 100_000_000, characters: int = 1_000, device: str = "cpu") -> Work:
    return Work(parameters, device, 10, characters, seconds, 0.1)


def test_a_machine_is_its_processor_until_the_worker_says_more(results: ResultStore) -> None:
    assert machine(results) == this_processor() and this_processor().memory_bytes > GIB
    card = Machine("cuda", "a card", 24 * GIB)
    remember_machine(results, card)
    assert machine(results) == card


def test_a_catalogue_model_costs_what_its_row_says(results: ResultStore, settings: Settings) -> None:
    remember_machine(results, Machine("cuda", "a card", 16 * GIB))
    small, large = model("Qwen3-Embedding-0.6B"), model("bge-multilingual-gemma2")
    cost = cost_of(small, characters=1_000, settings=settings, results=results)
    assert cost.download_bytes == CATALOGUE["Qwen3-Embedding-0.6B"].download_gb * 1e9 and cost.fits is True
    assert cost.memory_bytes is not None and 1.2e9 < cost.memory_bytes < 2.5e9  # two bytes a parameter, and the rest
    assert cost.seconds is None  # nothing was learnt yet
    assert cost_of(large, characters=1, settings=settings, results=results).fits is False
    in_float32 = cost_of(replace(small, dtype="float32"), characters=1, settings=settings, results=results)
    assert in_float32.memory_bytes is not None and in_float32.memory_bytes > 1.5 * cost.memory_bytes


def test_what_is_here_is_not_downloaded(results: ResultStore, settings: Settings, tiny_model: Path) -> None:
    for spec in (model("all-MiniLM-L6-v2"), model(str(tiny_model)), model("last_digits")):
        assert cost_of(spec, characters=1, settings=settings, results=results).download_bytes == 0


def test_what_nobody_knows_is_none(results: ResultStore, settings: Settings) -> None:
    cost = cost_of(model("owner/name"), characters=1_000, settings=settings, results=results)
    assert (cost.download_bytes, cost.memory_bytes, cost.fits, cost.seconds) == (None, None, None, None)


def test_the_size_of_a_folder_is_that_of_its_weights_whatever_their_type(tiny_model: Path, tmp_path: Path) -> None:
    tensors = load_file(tiny_model / "model.safetensors")
    numbers = sum(tensor.size for tensor in tensors.values())
    half = Path(shutil.copytree(tiny_model, tmp_path / "half"))
    save_file({name: tensor.astype(np.float16) for name, tensor in tensors.items()}, half / "model.safetensors")
    for folder in (tiny_model, half):
        assert parameters_of(model(str(folder)), folder) == numbers
    (half / "model.safetensors").write_bytes(b"torn")
    assert parameters_of(model(str(half)), half) is None


def test_the_time_is_learnt_from_the_same_model_first(
    results: ResultStore, settings: Settings, tiny_model: Path
) -> None:
    spec: ModelSpec = resolve(model(str(tiny_model)), OFFLINE)
    for seconds in (1.0, 2.0, 300.0):  # one run beside other work
        results.add_work(spec.stored.key, _work(seconds))
    results.add_work("another", _work(50.0))
    cost = cost_of(spec, characters=3_000, settings=settings, results=results)
    assert cost.seconds == pytest.approx(3 * 2.0)
    short = cost_of(replace(spec, dimensions=4), characters=3_000, settings=settings, results=results)
    assert short.seconds == cost.seconds


def test_what_a_processor_took_tells_nothing_of_a_new_graphics_card(
    results: ResultStore, settings: Settings, tiny_model: Path
) -> None:
    spec = resolve(model(str(tiny_model)), OFFLINE)
    results.add_work(spec.stored.key, _work(2.0))
    remember_machine(results, Machine("cuda", "a card", 24 * GIB))
    assert cost_of(spec, characters=1, settings=settings, results=results).seconds is None
    endpoint = model("endpoint:lab")
    endpoint = replace(endpoint, weights=replace(endpoint.weights, url="http://lab", model="m"))
    results.add_work(endpoint.stored.key, _work(3.0, device="lab"))
    assert cost_of(endpoint, characters=1_000, settings=settings, results=results).seconds == pytest.approx(3.0)


def test_a_new_model_is_judged_by_its_size(results: ResultStore, settings: Settings) -> None:
    remember_machine(results, Machine("cpu", "", 64 * GIB))
    results.add_work("one", _work(2.0, parameters=100_000_000))
    results.add_work("tiny", _work(9.0, parameters=1_000))  # tells nothing about others
    results.add_work("on a card", _work(0.001, device="cuda"))
    cost = cost_of(model("Qwen3-Embedding-0.6B"), characters=1_000, settings=settings, results=results)
    assert cost.seconds == pytest.approx(2.0 * 595.8e6 / 100e6)
    assert cost_of(model("last_digits"), characters=1, settings=settings, results=results).seconds is None
