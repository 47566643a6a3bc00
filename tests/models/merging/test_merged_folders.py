"""Merges of folders: whole or absent after any death, streamed, and refused before they start where they cannot be."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numembed.core.errors import BadChoice, Cancelled, ModelUnavailable, StoreFull, TooLarge
from numembed.models.files.publish import MANIFEST, is_whole, published
from numembed.models.files.tensors import TensorFolder, as_stored, write_file
from numembed.models.loading.devices import available_memory
from numembed.models.merging.folders import merge_folders
from numembed.models.merging.tensors import Merge, ingredients, merged_tensors
from numembed.models.resolve import resolve
from numembed.models.spec import LocalWeights, ModelSpec
from tests import tiny
from tests.offline import OFFLINE

ROOT = Path(__file__).parents[3]
SLERP, SOUP = Merge("slerp"), Merge("soup")
ENDLESS = """
import sys
from pathlib import Path
from numembed.models.merging.folders import merge_folders
from numembed.models.merging.tensors import Merge
below = Path(sys.argv[1])
(below / "ready").touch()
for number in range(100_000):
    merge_folders(Merge("soup"), [below / "a", below / "b"], below / f"out-{number}")
"""
SELF_KILLED = """
import os, signal, sys
from pathlib import Path
from numembed.models.merging.folders import merge_folders
from numembed.models.merging.tensors import Merge
below, last, steps = Path(sys.argv[1]), int(sys.argv[2]), [0]
def die(done, total, note):
    steps[0] += 1
    if steps[0] == last:
        os.kill(os.getpid(), signal.SIGKILL)
merge_folders(Merge("soup"), [below / "a", below / "b"], below / "out", progress=die)
"""
FULL_DISK = """
import resource, sys
from pathlib import Path
from numembed.core.errors import StoreFull
from numembed.models.merging.folders import merge_folders
from numembed.models.merging.tensors import Merge
below = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    merge_folders(Merge("soup"), [below / "a", below / "b"], below / "out")
except StoreFull as error:
    print(error)
"""
PEAK = """
import sys
from pathlib import Path
from numembed.models.merging.folders import merge_folders
from numembed.models.merging.tensors import Merge
below, merge = Path(sys.argv[1]), Merge(sys.argv[2], scope=sys.argv[3])
def peak():  # getrusage would tell the peak of the process that has started this one
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
merge_folders(merge, [below / "small-a", below / "small-b"], below / "small-out")
Path("/proc/self/clear_refs").write_text("5")  # the peak begins at what is there now
before = peak()
merge_folders(merge, [below / "a", below / "b"], below / "out")
print(peak() - before)
"""


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two tiny models of one architecture."""
    return tiny.write_model(tmp_path / "a", seed=1), tiny.write_model(tmp_path / "b", seed=2)


def _python(code: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    told = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(told, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def _write(folder: Path, tensors: dict[str, tuple[str, np.ndarray]], name: str = "model.safetensors") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [(one, dtype, values.shape) for one, (dtype, values) in tensors.items()]
    write_file(folder / name, wanted, lambda one: tensors[one][1])
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "dtype": "bfloat16"}))
    return folder


def _hollow(folder: Path, shapes: Sequence[tuple[int, ...]]) -> Path:
    """Write a folder whose weights are a hole in the disk: a header, and nothing behind it."""
    folder.mkdir()
    header, end = {}, 0
    for number, shape in enumerate(shapes):
        begin, end = end, end + 4 * int(np.prod(shape, dtype=np.int64))
        header[f"w{number}"] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        out.truncate(8 + len(text) + end)
    return folder


def test_a_merged_folder_is_the_merge_in_memory_and_a_whole_model(two: tuple[Path, Path], tmp_path: Path) -> None:
    saved = merge_folders(SLERP, two, tmp_path / "new" / "out")
    sides = [TensorFolder(folder) for folder in two]
    expected = merged_tensors(SLERP, ingredients(sides))
    found = TensorFolder(saved.folder)
    assert found.keys() == expected.keys()
    assert all((found[name] == expected[name]).all() for name in expected)
    assert is_whole(saved.folder) and saved.lost == 0 and saved.update > 1
    assert saved.size_bytes == (saved.folder / "model.safetensors").stat().st_size
    assert not [file for file in saved.folder.parent.iterdir() if file.name.startswith(".tmp")]
    weights = LocalWeights(str(saved.folder))
    assert resolve(ModelSpec("merged", weights), OFFLINE).resolved


@pytest.mark.slow
def test_a_merged_folder_is_loaded_by_the_library(two: tuple[Path, Path], tmp_path: Path) -> None:
    from safetensors import safe_open
    from sentence_transformers import SentenceTransformer

    out = merge_folders(SLERP, two, tmp_path / "out").folder
    models = [SentenceTransformer(str(folder)) for folder in (*two, out)]
    one, other, between = (model.encode(["1, 2, 3", "5, 7, 11"]) for model in models)
    assert between.shape == one.shape and not np.allclose(between, one) and not np.allclose(between, other)
    with safe_open(out / "model.safetensors", "pt") as opened:
        assert opened.metadata() == {"format": "pt"}


def test_settings_are_the_first_models_and_its_card_and_other_weights_are_not_taken(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    first, _ = two
    (first / "README.md").write_text("I am another model")
    for name in ("pytorch_model.bin", "modeling.py", "adapter_config.txt", "onnx/model.onnx", "checkpoint-5/x.json"):
        (first / name).parent.mkdir(exist_ok=True)
        (first / name).write_text("{}")
    out = merge_folders(SOUP, two, tmp_path / "out").folder
    names = {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()}
    assert names == {
        *("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "modules.json", "README.md"),
        *("sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling/config.json", MANIFEST),
    }
    card = (out / "README.md").read_text()
    assert "another model" not in card and '"method": "soup"' in card
    assert (merge_folders(SOUP, two, tmp_path / "own", card="mine").folder / "README.md").read_text() == "mine"


def test_the_manifest_can_be_checked_by_hand_and_notices_one_changed_byte(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    out = merge_folders(SOUP, two, tmp_path / "out").folder
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--quiet", "-c", MANIFEST], cwd=out, check=True)
    weights = bytearray((out / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (out / "model.safetensors").write_bytes(weights)
    assert not is_whole(out) and not is_whole(two[0])


def test_models_in_shards_and_in_one_file_go_together(tmp_path: Path) -> None:
    drawn = [np.random.default_rng(seed).standard_normal((4, 5)).astype(np.float32) for seed in range(4)]
    whole = _write(tmp_path / "whole", {"x": ("F32", drawn[0]), "y": ("F32", drawn[1])})
    shards = _write(tmp_path / "shards", {"x": ("F32", drawn[2])}, "model-1.safetensors")
    _write(shards, {"y": ("F32", drawn[3])}, "model-2.safetensors")
    index = {"metadata": {"total_size": 1}, "weight_map": {"x": "model-1.safetensors", "y": "model-2.safetensors"}}
    (shards / "model.safetensors.index.json").write_text(json.dumps(index))
    for number, parts in enumerate(([whole, shards], [shards, whole])):
        out = merge_folders(SOUP, parts, tmp_path / f"out{number}").folder
        found = TensorFolder(out)
        np.testing.assert_allclose(found["x"], (drawn[0] + drawn[2]) / 2, rtol=1e-6)
        np.testing.assert_allclose(found["y"], (drawn[1] + drawn[3]) / 2, rtol=1e-6)
        assert {file.name for file in out.glob("*.safetensors")} == {
            file.name for file in parts[0].glob("*.safetensors")
        }
    kept = json.loads((tmp_path / "out1" / "model.safetensors.index.json").read_text())
    assert kept["weight_map"] == index["weight_map"] and kept["metadata"]["total_size"] > 1
    (shards / "model-2.safetensors").unlink()
    with pytest.raises(ModelUnavailable, match=r"incomplete: its weight file 'model-2\.safetensors' is missing"):
        merge_folders(SOUP, [whole, shards], tmp_path / "none")


def test_dense_layers_behind_the_transformer_are_merged_too(two: tuple[Path, Path], tmp_path: Path) -> None:
    for number, folder in enumerate(two):
        _write(folder / "2_Dense", {"linear.weight": ("F32", np.full((3, 32), number, np.float32))})
        modules = json.loads((folder / "modules.json").read_text())
        modules[2] = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
        (folder / "modules.json").write_text(json.dumps(modules))
    out = merge_folders(SOUP, two, tmp_path / "out").folder
    assert (TensorFolder(out)["2/linear.weight"] == 0.5).all()
    assert (out / "2_Dense" / "config.json").is_file() and is_whole(out)


def test_half_precision_is_read_as_torch_wrote_it_and_saved_without_losing_the_update(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    base = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    wide = {name: (base + step).to(torch.bfloat16) for name, step in (("a", 0.0), ("b", 0.02), ("base", 0.01))}
    for name, tensor in wide.items():
        _write(tmp_path / name, {"unused": ("F32", np.zeros(1, np.float32))})
        save_file({"w": tensor, "h": tensor.to(torch.float16)}, tmp_path / name / "model.safetensors")
        read = TensorFolder(tmp_path / name)
        assert (read["w"] == tensor.float().numpy()).all() and (read["h"] == tensor.float().numpy()).all()
    given: dict[str, Any] = {"parts": [tmp_path / "a", tmp_path / "b"], "base": tmp_path / "base"}
    merge = Merge("slerp", "task_vectors", options=(("t", 0.3),))
    full = merge_folders(merge, out=tmp_path / "full", **given)
    same = merge_folders(merge, out=tmp_path / "same", saved_type="same", **given)
    assert full.lost == 0 and 0.02 < same.lost < 0.5
    stored = {folder.name: TensorFolder(folder).stored["w"].dtype for folder in (full.folder, same.folder)}
    assert stored == {"full": "F32", "same": "BF16"}
    stated = [json.loads((one.folder / "config.json").read_text())["dtype"] for one in (full, same)]
    assert stated == ["float32", "bfloat16"]  # what the library loads the weights as
    exact = merged_tensors(
        merge, ingredients([TensorFolder(part) for part in given["parts"]], TensorFolder(given["base"]))
    )
    assert (TensorFolder(full.folder)["w"] == exact["w"]).all()
    rounded = torch.from_numpy(exact["w"]).to(torch.bfloat16).float().numpy()
    assert (TensorFolder(same.folder)["w"] == rounded).all()


def test_rounding_to_bfloat16_is_torchs() -> None:
    import torch

    values = np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)
    values = np.concatenate([values, np.array([0, -0.0, np.inf, -np.inf, np.nan, 3.4e38], np.float32)])
    ours = (as_stored(values, "BF16").astype(np.uint32) << 16).view(np.float32)
    theirs = torch.from_numpy(values).to(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(ours, theirs)


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
    refused("pool their tokens differently .mean and cls")
    tiny.unigram().save(str(other / "tokenizer.json"))
    refused("different tokenizers")
    modules = json.loads((other / "modules.json").read_text())
    (other / "modules.json").write_text(json.dumps(modules[:2]))
    refused("different parts")
    (other / "model.safetensors").write_bytes((first / "model.safetensors").read_bytes()[:-400_000])
    with pytest.raises(ModelUnavailable, match="damaged"):
        merge_folders(SOUP, two, tmp_path / "out")


def test_what_training_writes_into_a_tokenizer_file_does_not_make_it_another(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    _changed(two[1], "tokenizer.json", truncation={"max_length": 64, "stride": 0, "strategy": "LongestFirst"},
             padding=None, version="2.0")  # fmt: skip
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
        folder = _hollow(tmp_path / name, [(4,)])
        raw = (folder / "model.safetensors").read_bytes().replace(b'"F32"', b'"F8E"')
        (folder / "model.safetensors").write_bytes(raw)
    with pytest.raises(BadChoice, match=r"are quantised .F8E"):
        merge_folders(SOUP, [tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    for name in "cd":  # four numbers in a byte look like whole numbers, which a merge would keep
        _write(tmp_path / name, {"w": ("U8", np.ones(4, np.uint8)), "scale": ("F32", np.ones(1, np.float32))})
        (tmp_path / name / "config.json").write_text('{"quantization_config": {"quant_method": "bitsandbytes"}}')
    with pytest.raises(BadChoice, match=r"are quantised .packed"):
        merge_folders(SOUP, [tmp_path / "c", tmp_path / "d"], tmp_path / "out")


def test_more_memory_than_there_is_is_refused_with_the_figure(tmp_path: Path) -> None:
    free = available_memory()
    if free is None:
        pytest.skip("this system does not say how much memory is free")
    parts = [_hollow(tmp_path / name, [(free // 8, 1)]) for name in "ab"]  # half of it each
    with pytest.raises(TooLarge, match=r"needs [\d,.]+ GB of memory and [\d,.]+ GB are free"):
        merge_folders(SOUP, parts, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_more_disk_than_there_is_is_refused_with_the_figure(tmp_path: Path) -> None:
    rows = 1 << 24
    count = shutil.disk_usage(tmp_path).free // (4 * rows) + 2
    parts = [_hollow(tmp_path / name, [(rows,)] * count) for name in "ab"]
    with pytest.raises(StoreFull, match=r"takes [\d,.]+ GB of disk and [\d,.]+ GB are free"):
        merge_folders(SOUP, parts, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_taken_is_never_overwritten(two: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(BadChoice, match="There is 'a' at that place already"):
        merge_folders(SOUP, two, two[0])
    with published(tmp_path / "out") as draft:
        with pytest.raises(BadChoice, match="being written by another process"):
            merge_folders(SOUP, two, tmp_path / "out")
        assert draft.is_dir()
    assert is_whole(tmp_path / "out")


def test_a_stopped_merge_leaves_nothing(two: tuple[Path, Path], tmp_path: Path) -> None:
    before, seen = sorted(tmp_path.iterdir()), []

    def stop(done: int, total: int, note: str) -> None:
        seen.append((done, total, note))
        if done > total / 2:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        merge_folders(SOUP, two, tmp_path / "out", progress=stop)
    assert len(seen) > 2 and sorted(tmp_path.iterdir()) == before


@pytest.mark.slow
def test_a_full_disk_is_told_in_a_sentence_and_leaves_nothing(two: tuple[Path, Path], tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    done = _python(FULL_DISK, tmp_path)
    assert done.stdout.startswith("The disk is full: 'out' could not be saved"), done.stderr[-2_000:]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 5, 30, 40])
def test_a_merge_killed_at_any_step_leaves_no_model_and_the_next_one_sweeps(
    two: tuple[Path, Path], tmp_path: Path, step: int
) -> None:
    assert _python(SELF_KILLED, tmp_path, step).returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert (tmp_path / ".tmp-out").is_dir() and not is_whole(tmp_path / ".tmp-out")
    assert is_whole(merge_folders(SOUP, two, tmp_path / "out").folder)
    assert {file.name for file in tmp_path.iterdir()} == {"a", "b", "out"}


@pytest.mark.slow
def test_kills_at_random_moments_leave_only_whole_models(two: tuple[Path, Path], tmp_path: Path) -> None:
    whole = 0
    moments = random.Random(5)
    for _ in range(12):
        process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not (tmp_path / "ready").exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, process.stderr.read() if process.stderr else ""
        assert process.stderr is not None
        process.stderr.close()
        for folder in tmp_path.glob("out-*"):
            assert is_whole(folder), folder
            whole += 1
            shutil.rmtree(folder)
        (tmp_path / "ready").unlink()
    assert whole > 12


@pytest.mark.slow
@pytest.mark.parametrize(("method", "scope"), [("soup", "tensor"), ("slerp", "flat")])
def test_memory_holds_a_few_tensors_and_not_the_models(tmp_path: Path, method: str, scope: str) -> None:
    random_numbers = np.random.default_rng(0)
    for name, count in (("small-a", 1), ("small-b", 1), ("a", 24), ("b", 24)):
        tensors = {
            f"w{n}": ("F32", random_numbers.standard_normal((1024, 1024), dtype=np.float32)) for n in range(count)
        }
        _write(tmp_path / name, tensors)
    done = _python(PEAK, tmp_path, method, scope)
    assert done.returncode == 0, done.stderr[-2_000:]
    assert 2**20 < int(done.stdout) < 24 * 2**20, "four tensors more than for one, of 96 MiB a model"


SHARD_BYTES = 48 << 20
SHAPES = ((6_144, 1_024), *((2_048, 1_024),) * 9)  # a table of a quarter of the shard, and layers


def _sharded(folder: Path, *, seed: int, shapes: Sequence[tuple[int, ...]] = SHAPES, shards: int = 2) -> Path:
    """Write a model of bfloat16 shards."""
    drawn, names = np.random.default_rng(seed), {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        tensors = {
            f"w{shard}.{number}": ("BF16", drawn.standard_normal(shape, dtype=np.float32))
            for number, shape in enumerate(shapes)
        }
        _write(folder, tensors, file)
        names |= dict.fromkeys(tensors, file)
    index = {"metadata": {"total_size": 0}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.slow
def test_shards_of_bfloat16_need_no_more_memory_than_parts_and_one_shard(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        _sharded(tmp_path / f"small-{name}", seed=seed, shapes=[(4, 4)])
        for file in _sharded(tmp_path / name, seed=seed).glob("*.safetensors"):
            assert SHARD_BYTES <= file.stat().st_size < SHARD_BYTES + 4_096
    done = _python(PEAK, tmp_path, "slerp", "flat")
    assert done.returncode == 0, done.stderr[-2_000:]
    assert SHARD_BYTES // 4 < int(done.stdout) < 3 * SHARD_BYTES


def test_a_refusal_comes_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [_sharded(tmp_path / name, seed=seed, shapes=[(64, 64)]) for seed, name in enumerate("ab")]
    before = sorted(tmp_path.rglob("*"))
    with monkeypatch.context() as scarce:
        scarce.setattr("numembed.models.merging.folders.available_memory", lambda: 1_000_000)
        with pytest.raises(TooLarge, match=r"needs 0\.1 GB of memory and 0\.0 GB are free"):
            merge_folders(SOUP, parts, tmp_path / "new" / "out")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10**9, 10**9, 1_000))
    with pytest.raises(StoreFull, match=r"takes 0\.1 GB of disk and 0\.0 GB are free"):
        merge_folders(SOUP, parts, tmp_path / "new" / "out")
    assert sorted(tmp_path.rglob("*")) == before
