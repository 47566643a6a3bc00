"""Merges of folders: the merge in memory, written as a whole model."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numembed.core.errors import ModelUnavailable
from numembed.models.files.publish import MANIFEST, is_whole
from numembed.models.files.tensors import TensorFolder, as_stored
from numembed.models.merging.folders import merge_folders
from numembed.models.merging.tensors import Merge, ingredients
from numembed.models.resolve import resolve
from numembed.models.spec import LocalWeights, ModelSpec
from tests.models.merging.weight_files import merged_tensors, write_weights
from tests.offline import OFFLINE

SLERP, SOUP = Merge("slerp"), Merge("soup")


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
    whole = write_weights(tmp_path / "whole", {"x": ("F32", drawn[0]), "y": ("F32", drawn[1])})
    shards = write_weights(tmp_path / "shards", {"x": ("F32", drawn[2])}, "model-1.safetensors")
    write_weights(shards, {"y": ("F32", drawn[3])}, "model-2.safetensors")
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
        write_weights(folder / "2_Dense", {"linear.weight": ("F32", np.full((3, 32), number, np.float32))})
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
        write_weights(tmp_path / name, {"unused": ("F32", np.zeros(1, np.float32))})
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
