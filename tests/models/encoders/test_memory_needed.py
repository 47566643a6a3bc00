from __future__ import annotations

from pathlib import Path

import pytest

from numembed.core.errors import ModelUnavailable, TooLarge
from numembed.models.catalogue.names import model
from numembed.models.encoders import memory
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.resolve import resolve
from numembed.studies import cost
from numembed.studies.cost import refuse_too_many
from tests.offline import OFFLINE


def test_the_memory_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = memory.machine_memory()
    assert machine > 1e9
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "Path", lambda file: limit)
    for written, expected in (("1000000000\n", 1_000_000_000), ("max\n", None), (f"{10**18}\n", None)):
        limit.write_text(written)
        assert memory.machine_memory() == (expected or pytest.approx(memory.machine_memory()))


def test_a_model_that_cannot_fit_is_refused_with_the_figures_before_it_is_fetched_or_loaded(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "machine_memory", lambda: 8_000_000_000)
    large, tiny = model("bge-multilingual-gemma2"), resolve(model(str(tiny_model)), OFFLINE)
    with pytest.raises(
        ModelUnavailable, match=r"needs about \d+\.\d GB of memory, and of the 8\.0 GB of this machine 7\.2"
    ):
        LoadedModel(OFFLINE)._folder(large, lambda done, total, stage: None)
    assert LoadedModel(OFFLINE)._folder(tiny, lambda done, total, stage: None) == tiny_model
    monkeypatch.setattr(memory, "machine_memory", lambda: 650_000_000)
    with pytest.raises(ModelUnavailable, match=r"It was not loaded\. Choose a smaller model"):
        LoadedModel(OFFLINE).get(tiny)


def test_a_study_whose_scores_cannot_fit_is_refused_with_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_too_many(20_000)
    monkeypatch.setattr(cost, "machine_memory", lambda: 2_000_000_000)
    refuse_too_many(10_000)
    with pytest.raises(TooLarge, match=r"20,000 sequences need about 3\.0 GB of memory, and of the 2\.0 GB"):
        refuse_too_many(20_000)
