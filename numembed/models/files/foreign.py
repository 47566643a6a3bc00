"""What is no model folder that can be loaded here, and what to do with it: single files and other programs' formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from numembed.models.files.listing import files_in, told

ADAPTER_FILE = "adapter_config.json"
_LISTS = ("modules.json", "config.json", ADAPTER_FILE)  # one of them makes a folder a model or an adapter
_PACKED = (".zip", ".tar", ".gz", ".tgz", ".xz", ".zst", ".7z")
_GGUF = (
    "GGUF is the format of llama.cpp, which is not read here. Take the model from which it was made, with its weights "
    "in the safetensors format, or run it with llama-server and let the operator add that as an endpoint."
)
_OTHERS = {  # by the ends of their files' names: what holds the weights, and what to do
    (".gguf",): _GGUF,
    (".onnx", ".ort"): "It holds an ONNX export, which is not read here. Take the model that was exported, with its "
    "weights in the safetensors format.",
    (".xml",): "It holds an OpenVINO export, which is not read here. Take the model that was exported, with its "
    "weights in the safetensors format.",
    (".h5", ".tflite", ".msgpack"): "It holds weights of TensorFlow or Flax, which are not read here. Take a copy with "
    "its weights in the safetensors format.",
}
_DEEPEST = 2  # folders between a file of a part and its model


def file_sentence(file: Path) -> str:
    """Return what to write instead of ``file``, which is one file and no folder."""
    named = f"{told(file)[:120]!r} is a file"
    if file.suffix.lower() == ".gguf":
        return f"{named}. {_GGUF}"
    if file.suffix.lower() in _PACKED:
        return f"{named}. Unpack it, and name the folder that comes out."
    above = list(file.parents)[:_DEEPEST]
    folder = next((one for one in above if (one / "modules.json").is_file()), file.parent)
    if not any((folder / name).is_file() for name in _LISTS):
        return f"{named}. A model is a folder that has modules.json or config.json: name such a folder."
    if (folder / ADAPTER_FILE).is_file():
        return (
            f"{named} of a LoRA adapter. Write the name of the model that the adapter changes, then "
            f"adapter={_written(folder)}."
        )
    return f"{named}, and a model is its whole folder. Write {_written(folder)}."


def foreign_sentence(folder: Path, name: str, model_type: object) -> str:
    """Return what another program's model folder is, and what to do; "" where nothing is recognised."""
    if not (folder / "modules.json").is_file() and model_type == "model2vec":
        return (
            f"{name!r} is a model2vec model without modules.json, which sentence-transformers cannot load in this "
            "form. Where the package model2vec is installed, "
            "SentenceTransformer(modules=[StaticEmbedding.from_model2vec(folder)]).save_pretrained(new_folder) makes a "
            "folder that runs here."
        )
    if any((folder / one).is_file() for one in _LISTS) and not _is_only_gguf(folder):
        return ""
    return _other_format(files_in(folder), name)


def unsafe_sentence(folder: Path, files: Sequence[Path], name: str, *, somewhere: bool) -> str:
    """Return why the weights among ``files`` are refused, ``somewhere`` some are safe, and how to get others."""
    if not somewhere and (other := _other_format([*files, *folder.glob("onnx/*"), *folder.glob("openvino/*")], name)):
        return other
    where = "weights outside" if somewhere else "no weights in"
    return (
        f"The model {name!r} has {where} the safetensors format. Other formats can run code while they load, so they "
        "are refused. Save the model again in the safetensors format: where you trust its files, "
        "SentenceTransformer(folder).save_pretrained(new_folder) does that."
    )


def _is_only_gguf(folder: Path) -> bool:
    return any(folder.glob("*.gguf")) and not any(folder.glob("*.safetensors"))


def _other_format(files: Sequence[Path], name: str) -> str:
    ends = {file.suffix.lower() for file in files}
    told = next((told for kinds, told in _OTHERS.items() if ends.intersection(kinds)), "")
    return f"The model {name!r} has no weights in the safetensors format. {told}" if told else ""


def _written(folder: Path) -> str:
    text = told(folder)[:200]
    return f'"{text}"' if " " in text else text
