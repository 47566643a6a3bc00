"""What is no model folder: other programs' formats and single files are recognised, and it is said what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from numembed.core.errors import BadChoice, ModelUnavailable
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.merging.tensors import Merge
from numembed.models.resolve import adapter_folder, resolve
from numembed.models.save import save_merge
from numembed.models.spec import LocalWeights
from tests import tiny
from tests.lora import write_adapter
from tests.offline import OFFLINE


def _told(reference: str) -> str:
    with pytest.raises(ModelUnavailable) as caught:
        resolve(model(reference), OFFLINE)
    return str(caught.value)


def _model2vec(folder: Path) -> None:
    (folder / "modules.json").unlink()
    (folder / "config.json").write_text('{"model_type": "model2vec", "normalize": true}')


def _bare_gguf(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "model-Q4_K_M.gguf").write_bytes(b"GGUF")


def _gguf_beside_config(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-Q4_K_M.gguf")


def _onnx(place: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / "model.safetensors").rename(folder / place)

    return spoil


def _renamed(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "model.safetensors").rename(folder / name) and None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_model2vec, ("is a model2vec model", "StaticEmbedding.from_model2vec(folder)", "save_pretrained")),
        (_bare_gguf, ("GGUF is the format of llama.cpp", "safetensors", "endpoint")),
        (_gguf_beside_config, ("GGUF is the format of llama.cpp",)),
        (_onnx("model.onnx"), ("ONNX export", "Take the model that was exported")),
        (_onnx("onnx/model.onnx"), ("ONNX export", "Take the model that was exported")),
        (_onnx("openvino/openvino_model.xml"), ("OpenVINO export", "Take the model that was exported")),
        (_renamed("tf_model.h5"), ("TensorFlow or Flax",)),
        (_renamed("flax_model.msgpack"), ("TensorFlow or Flax",)),
        (_renamed("pytorch_model.bin"), ("no weights in the safetensors format", "can run code", "save_pretrained(")),
    ],
)
def test_another_programs_folder_is_recognised(
    tmp_path: Path, spoil: Callable[[Path], None], words: tuple[str, ...]
) -> None:
    folder = tiny.write_model(tmp_path / "odd")
    spoil(folder)
    told = _told(str(folder))
    assert [word for word in words if word not in told] == [], told


def test_the_advice_for_model2vec_is_sound(tmp_path: Path) -> None:
    """What it says gives a folder that runs here; the package itself need not be installed for that."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    table = StaticEmbedding(tiny.wordpiece(), embedding_dim=8)
    assert hasattr(StaticEmbedding, "from_model2vec")
    SentenceTransformer(modules=[table], device="cpu").save_pretrained(str(tmp_path / "new"), create_model_card=False)
    assert LoadedModel(OFFLINE).get(resolve(model(str(tmp_path / "new")), OFFLINE)).encode(["1, 2"]).shape == (1, 8)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "modules.json", "tokenizer.json", "1_Pooling/config.json"]
)
@pytest.mark.parametrize("place", ["mine", "my model"])
def test_a_file_instead_of_its_folder_names_the_folder(tmp_path: Path, place: str, name: str) -> None:
    folder = tiny.write_model(tmp_path / place)
    told = _told(f'"{folder / name}"')
    assert f"{Path(name).name}' is a file, and a model is its whole folder." in told
    written = told.rpartition("Write ")[2].removesuffix(".")
    assert resolve(model(written), OFFLINE).weights == resolve(model(str(folder)), OFFLINE).weights


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_a_file_of_an_adapter_names_what_to_write(tmp_path: Path, tiny_model: Path, name: str) -> None:
    adapter = write_adapter(tmp_path / "adapter", tiny_model)
    file = adapter / name
    assert f"adapter={adapter}." in _told(str(file)) and "LoRA adapter" in _told(str(file))
    with pytest.raises(ModelUnavailable, match="is a file of a LoRA adapter"):
        adapter_folder(LocalWeights(str(file)), OFFLINE)
    with pytest.raises(ModelUnavailable, match=f"adapter={adapter}"):
        resolve(model(f"{tiny_model} adapter={file}"), OFFLINE)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.gguf", "GGUF is the format of llama.cpp"),
        ("model.zip", "Unpack it, and name the folder"),
        ("model.tar.gz", "Unpack it, and name the folder"),
        ("notes.txt", "A model is a folder that has modules.json or config.json"),
    ],
)
def test_another_file_is_told_apart(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert words in _told(str(tmp_path / name))


def test_parts_of_a_merge_are_named_as_models_are(tmp_path: Path) -> None:
    parts = [tiny.write_model(tmp_path / f"my model {seed}", seed=seed) for seed in (1, 2)]
    merge = Merge("linear")
    quoted = [f'"{parts[0]}"', f"“{parts[1]}”"]
    save_merge(merge, quoted, tmp_path / "one", settings=OFFLINE)
    save_merge(merge, list(map(str, parts)), tmp_path / "other", settings=OFFLINE)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "other")]
    assert weights[0] == weights[1]
    with pytest.raises(BadChoice, match="is a file, and a model is its whole folder"):
        save_merge(merge, [str(parts[0]), str(parts[1] / "model.safetensors")], tmp_path / "two", settings=OFFLINE)
