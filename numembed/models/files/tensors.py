"""Weights in safetensors files, read and written one tensor at a time: numpy alone, whatever their type."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from numembed.core.arrays import Tensor
from numembed.core.errors import BadChoice, ModelUnavailable
from numembed.models.files.architectures import UNKNOWN, Architecture, architecture_of
from numembed.models.files.folders import MOST_HEADER_BYTES, read_json
from numembed.models.files.settings import quantisation_of

FLOATS = ("F64", "F32", "F16", "BF16")
INDEX = "model.safetensors.index.json"
_TYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "BOOL": "?"},
    **{"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1"},
}


@dataclass(frozen=True)
class Stored:
    """Where a tensor lies and what it is."""

    file: Path
    dtype: str  # as the format calls it: F32, BF16
    shape: tuple[int, ...]
    offset: int  # of its first byte in the file

    @property
    def size(self) -> int:
        """The number of its values."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def is_float(self) -> bool:
        """True for numbers that a merge can mix."""
        return self.dtype in FLOATS

    def read(self) -> Tensor:
        """Return the values: half precision as float32, everything else as it stands."""
        with self.file.open("rb") as opened:
            opened.seek(self.offset)
            values = np.fromfile(opened, dtype=_TYPES[self.dtype], count=self.size)
        if values.size != self.size:
            raise _damaged(self.file)
        if self.dtype == "BF16":  # the upper half of a float32
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return (values.astype(np.float32) if self.dtype == "F16" else values).reshape(self.shape)


class TensorFolder(Mapping[str, Tensor]):
    """The weights of a model folder by name; each is read on demand and not kept.

    Names of modules behind the first begin with the module's number: ``2/linear.weight``.
    Raises ModelUnavailable for a folder that holds no weights or damaged ones, BadChoice for quantised ones.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules = modules_of(folder)  # their folders below this one, "" for the first as a rule
        self.architecture = architecture_of(read_json(folder / self.modules[0] / "config.json"))
        self.stored: dict[str, Stored] = {}
        for number, module in enumerate(self.modules):
            for file in weight_files(folder / module):
                self.stored |= {f"{number}/{name}" if number else name: one for name, one in read_header(file).items()}
        if not self.stored:
            raise ModelUnavailable(f"The folder {folder.name[:80]!r} holds no weights in the safetensors format.")
        packed = [one.dtype for one in self.stored.values() if one.dtype not in _TYPES]
        configs = [read_json(folder / module / "config.json") for module in self.modules]
        if packed or any("quantization_config" in config for config in configs):
            method = next(filter(None, map(quantisation_of, configs)), "")
            how = ", ".join(filter(None, (packed[0][:20] if packed else "packed", method)))
            raise BadChoice(
                f"The weights of {folder.name[:80]!r} are quantised ({how}), which cannot be merged or adapted. Use "
                "the model in float32, bfloat16 or float16."
            )

    def __getitem__(self, name: str) -> Tensor:
        return self.stored[name].read()

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __len__(self) -> int:
        return len(self.stored)


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[tuple[int, ...], bool]]:
    """Return (shape, True for floats) of every tensor, without reading those of a folder."""
    if isinstance(stored := getattr(tensors, "stored", None), dict):
        return {name: (one.shape, one.is_float) for name, one in stored.items()}
    return {name: (tensor.shape, np.issubdtype(tensor.dtype, np.floating)) for name, tensor in tensors.items()}


def names_of(tensors: Mapping[str, Any]) -> dict[str, str]:
    """Return what each tensor is called without its architecture's own name in front: plain name to stored name.

    Output heads, which lie outside the model that the name stands for, keep their stored names.

    >>> names_of({"encoder.bias": 0})
    {'encoder.bias': 'encoder.bias'}
    """
    own = _own_names(tensors)
    outside = {name: name for name in tensors if name not in own}
    return outside | {plain: stored for stored, plain in own.items()}


def passed_through(tensors: Mapping[str, Any]) -> frozenset[str]:
    """Return the plain names of the tensors that a text's vector passes through: no heads, no poolers."""
    architecture = architecture_in(tensors)
    own = _own_names(tensors).values()
    return frozenset(name for name in own if _is_behind(name) or architecture.passes(name))


def plain_name(name: str, tensors: Mapping[str, Any]) -> str:
    """Return the plain name, as in :func:`names_of`, of a tensor of which any name is known."""
    return architecture_in(tensors).own_name(name)


def architecture_in(tensors: Mapping[str, Any]) -> Architecture:
    """Return what is known of the architecture that some tensors are of: nothing where they are of no folder."""
    return getattr(tensors, "architecture", UNKNOWN)


def _own_names(tensors: Mapping[str, Any]) -> dict[str, str]:
    """Return stored name to plain name, without heads; of modules behind the first every tensor is the model's own."""
    architecture = architecture_in(tensors)
    heads = HEADS if architecture is UNKNOWN else ()
    first = [name for name in tensors if not _is_behind(name) and not name.endswith(heads)]
    return architecture.own_names(first) | {name: name for name in tensors if _is_behind(name)}


def _is_behind(name: str) -> bool:
    return name.partition("/")[0].isdigit()


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of one module: those that its index names, or all."""
    shards = read_json(folder / INDEX).get("weight_map")
    if not isinstance(shards, dict):
        return sorted(file for file in folder.glob("*.safetensors") if not file.name.startswith("adapter_"))
    return [folder / Path(name).name for name in sorted({str(shard) for shard in shards.values()})]


def read_header(file: Path) -> dict[str, Stored]:
    """Return where each tensor of a safetensors file lies; raises ModelUnavailable where that cannot be read."""
    try:
        with file.open("rb") as opened:
            length = struct.unpack("<Q", opened.read(8))[0]
            if not 0 < length <= MOST_HEADER_BYTES:
                raise ValueError
            header, size = json.loads(opened.read(length)), file.stat().st_size
        header.pop("__metadata__", None)
        tensors, begin = {}, 8 + length
        for name, facts in header.items():
            first, last = map(int, facts["data_offsets"])
            one = Stored(file, str(facts["dtype"]), tuple(map(int, facts["shape"])), begin + first)
            width = np.dtype(_TYPES[one.dtype]).itemsize if one.dtype in _TYPES else None
            if not 0 <= first <= last <= size - begin or (width and one.size * width != last - first):
                raise ValueError
            tensors[str(name)] = one
    except FileNotFoundError:
        raise ModelUnavailable(
            f"The model {file.parent.name[:80]!r} is incomplete: its weight file {file.name[:80]!r} is missing."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        raise _damaged(file) from None
    return tensors


def write_file(
    file: Path, wanted: Sequence[tuple[str, str, tuple[int, ...]]], value_of: Callable[[str], Tensor]
) -> str:
    """Write the tensors (name, type, shape), asking ``value_of`` for one at a time; return the file's sha256.

    The file is on the disk when this returns. Raises ModelUnavailable where a finite value is beyond the range of its
    type, which would be written as infinity.
    """
    ordered = sorted(wanted, key=lambda one: (-np.dtype(_TYPES[one[1]]).itemsize, one[0]))  # so that all lie aligned
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, dtype, shape in ordered:
        begin, end = end, end + np.dtype(_TYPES[dtype]).itemsize * int(np.prod(shape, dtype=np.int64))
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}  # type: ignore[dict-item]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    digester = hashlib.sha256()
    with file.open("wb") as out:
        for block in (struct.pack("<Q", len(text)), text):
            out.write(block)
            digester.update(block)
        for name, dtype, shape in ordered:
            values = _stored_finite(value_of(name), dtype, name)
            assert values.shape == shape, name
            raw = values.reshape(-1).view(np.uint8).data
            out.write(raw)
            digester.update(raw)
        out.flush()
        os.fsync(out.fileno())
    return digester.hexdigest()


def as_stored(values: Tensor, dtype: str) -> Tensor:
    """Return ``values`` as the format stores them; bfloat16, which numpy lacks, rounded to the nearest as its bits."""
    if dtype != "BF16":
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(values, dtype=_TYPES[dtype]).reshape(values.shape)
    bits = np.ascontiguousarray(values, dtype=np.float32).reshape(values.shape).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)


def _stored_finite(values: Tensor, dtype: str, name: str) -> Tensor:
    kept = as_stored(values, dtype)
    infinite = (kept & 0x7FFF) == 0x7F80 if dtype == "BF16" else np.isinf(kept)
    if infinite.any() and (beyond := np.abs(values[infinite & np.isfinite(values)])).size:
        raise ModelUnavailable(
            f"The tensor {name[:120]!r} holds {beyond.max():.6g}, which is beyond the range of {dtype} and would be "
            'saved as infinity. Save the model as float32 (saved_type="float32").'
        )
    return kept


def modules_of(folder: Path) -> tuple[str, ...]:
    """Return where the parts of a SentenceTransformer lie, in order; a plain transformers folder is one part."""
    try:
        listed = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        modules = [(str(module["type"]), str(module.get("path", ""))) for module in listed]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ("",)
    if nested := [kind for kind, _ in modules if kind.endswith(("Router", "Asym"))]:
        raise BadChoice(
            f"The model {folder.name[:80]!r} chooses between several models inside it "
            f"({nested[0].split('.')[-1]}), which cannot be merged or adapted. Merge the models inside it."
        )
    if any(".." in Path(path).parts or Path(path).is_absolute() for _, path in modules):
        raise ModelUnavailable(f"The model {folder.name[:80]!r} names parts outside its folder. It is not read.")
    return tuple(path for _, path in modules) or ("",)


def _damaged(file: Path) -> ModelUnavailable:
    place = f"{file.name[:80]!r} of {file.parent.name[:80]!r}"
    return ModelUnavailable(f"The weight file {place} is damaged. Download or save it again.")


HEADS = ("lm_head.weight", "cls.predictions.decoder.weight")  # of models whose architecture is not known


def tied_embedding(tensors: Mapping[str, Tensor], head: str) -> str | None:
    """Return the name of the embedding that the output head ``head`` repeats bit for bit, or None."""
    shapes, own = shapes_of(tensors), _own_names(tensors)
    shape = shapes[head][0]
    if len(shape) != 2 or shape[0] == shape[1]:  # a layer of a head, which no embedding is like
        return None
    same_shape = [name for name in own if shapes[name] == shapes[head]]
    return next((name for name in same_shape if np.array_equal(tensors[name], tensors[head])), None)
