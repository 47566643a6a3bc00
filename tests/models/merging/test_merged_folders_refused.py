"""Merges of folders that cannot be: refused in a sentence before anything is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numembed.core.errors import BadChoice, ModelUnavailable, StoreFull, TooLarge
from numembed.models.files.publish import is_whole, published
from numembed.models.loading.devices import available_memory
from numembed.models.merging.folders import merge_folders
from numembed.models.merging.tensors import Merge
from tests import tiny
from tests.models.merging.weight_files import write_hollow, write_sharded, write_weights

SLERP, SOUP = Merge("slerp"), Merge("soup")


def _changed(folder: Path, file: str, **changes: Any) -> None:
    plain = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(plain | changes))


def test_other_architectures_poolings_and_tokenizers_are_refused_and_nothing_is_written(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    first, other = two
    before = sorted(tmp_path.iterdir())

    def refused(words: str) -> None:
        with pytest.raises(BadChoice, match=words):
            merge_folders(SOUP, two, tmp_path / "out")
        with pytest.raises(BadChoice, match=words):
            merge_folders(Merge("wise_ft"), [first], tmp_path / "out", base=other)
        assert sorted(tmp_path.iterdir()) == before
        shutil.rmtree(other)
        tiny.write_model(other, seed=2)

    _changed(other, "config.json", model_type="roberta")
    refused("model_type is bert and roberta")
    _changed(other, "config.json", num_hidden_layers=7)
    refused("num_hidden_layers is 2 and 7")
    _changed(other, "1_Pooling/config.json", pooling_mode_mean_tokens=False, pooling_mode_cls_token=True)
    refused("have different pooling .mean and cls")
    tiny.unigram().save(str(other / "tokenizer.json"))
    refused("different tokenizers")
    modules = json.loads((other / "modules.json").read_text())
    (other / "modules.json").write_text(json.dumps(modules[:2]))
    refused("consist of different modules")
    (other / "model.safetensors").write_bytes((first / "model.safetensors").read_bytes()[:-400_000])
    with pytest.raises(ModelUnavailable, match="damaged"):
        merge_folders(SOUP, two, tmp_path / "out")


def test_settings_that_compute_something_else_are_refused_in_whatever_form_a_version_wrote_them(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    first, other = two
    _changed(first, "config.json", rope_theta=1e6)
    _changed(other, "config.json", rope_parameters={"rope_type": "default", "rope_theta": 1e4})
    with pytest.raises(BadChoice, match=r"rope_theta is 1000000\.0 and 10000\.0"):
        merge_folders(SOUP, two, tmp_path / "out")
    _changed(other, "config.json", rope_parameters={"rope_type": "default", "rope_theta": 1e6})
    merge_folders(SOUP, two, tmp_path / "out")
    _changed(first, "config.json", layer_norm_epsilon=1e-5)
    _changed(other, "config.json", layer_norm_epsilon=1e-12)
    with pytest.raises(BadChoice, match="layer_norm_epsilon is"):
        merge_folders(SOUP, two, tmp_path / "other")


def test_what_training_writes_into_a_tokenizer_file_does_not_make_it_another(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    _changed(
        two[1],
        "tokenizer.json",
        truncation={"max_length": 64, "stride": 0, "strategy": "LongestFirst"},
        padding=None,
        version="2.0",
    )
    _changed(two[1], "config.json", transformers_version="9", _name_or_path="/somewhere", architectures=["X"])
    assert is_whole(merge_folders(SOUP, two, tmp_path / "out").folder)


def test_a_model_of_several_models_is_refused(two: tuple[Path, Path], tmp_path: Path) -> None:
    modules = json.loads((two[0] / "modules.json").read_text())
    modules[0]["type"] = "sentence_transformers.models.Router"
    (two[0] / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(BadChoice, match="several models inside"):
        merge_folders(SOUP, two, tmp_path / "out")


def test_weights_packed_by_quantisation_are_refused(tmp_path: Path) -> None:
    for name in "ab":
        folder = write_hollow(tmp_path / name, [(4,)])
        raw = (folder / "model.safetensors").read_bytes().replace(b'"F32"', b'"F8E"')
        (folder / "model.safetensors").write_bytes(raw)
    with pytest.raises(BadChoice, match=r"are quantised .F8E"):
        merge_folders(SOUP, [tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    for name in "cd":  # four numbers in a byte look like whole numbers, which a merge would keep
        write_weights(tmp_path / name, {"w": ("U8", np.ones(4, np.uint8)), "scale": ("F32", np.ones(1, np.float32))})
        (tmp_path / name / "config.json").write_text('{"quantization_config": {"quant_method": "bitsandbytes"}}')
    with pytest.raises(BadChoice, match=r"are quantised .packed"):
        merge_folders(SOUP, [tmp_path / "c", tmp_path / "d"], tmp_path / "out")


def test_more_memory_than_there_is_is_refused_with_the_figure(tmp_path: Path) -> None:
    free = available_memory()
    if free is None:
        pytest.skip("this system does not say how much memory is free")
    parts = [write_hollow(tmp_path / name, [(free // 8, 1)]) for name in "ab"]  # half of it each
    with pytest.raises(TooLarge, match=r"needs [\d,.]+ GB of memory and [\d,.]+ GB are free"):
        merge_folders(SOUP, parts, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_more_disk_than_there_is_is_refused_with_the_figure(tmp_path: Path) -> None:
    rows = 1 << 24
    count = shutil.disk_usage(tmp_path).free // (4 * rows) + 2
    parts = [write_hollow(tmp_path / name, [(rows,)] * count) for name in "ab"]
    with pytest.raises(StoreFull, match=r"takes [\d,.]+ GB of disk and [\d,.]+ GB are free"):
        merge_folders(SOUP, parts, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_taken_is_never_overwritten(two: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(BadChoice, match="'a' exists already"):
        merge_folders(SOUP, two, two[0])
    with published(tmp_path / "out") as draft:
        with pytest.raises(BadChoice, match="being written by another process"):
            merge_folders(SOUP, two, tmp_path / "out")
        assert draft.is_dir()
    assert is_whole(tmp_path / "out")


def test_a_refusal_comes_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [write_sharded(tmp_path / name, seed=seed, shapes=[(64, 64)]) for seed, name in enumerate("ab")]
    before = sorted(tmp_path.rglob("*"))
    with monkeypatch.context() as scarce:
        scarce.setattr("numembed.models.merging.folders.available_memory", lambda: 1_000_000)
        with pytest.raises(TooLarge, match=r"needs 0\.1 GB of memory and 0\.0 GB are free"):
            merge_folders(SOUP, parts, tmp_path / "new" / "out")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10**9, 10**9, 1_000))
    with pytest.raises(StoreFull, match=r"takes 0\.1 GB of disk and 0\.0 GB are free"):
        merge_folders(SOUP, parts, tmp_path / "new" / "out")
    assert sorted(tmp_path.rglob("*")) == before
