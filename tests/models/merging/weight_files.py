"""Folders of weights that tests of merges write, and whole merges in memory."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from numembed.core.arrays import Tensor
from numembed.models.files.tensors import write_file
from numembed.models.merging.arcs import Gram
from numembed.models.merging.tensors import Ingredients, Merge, merger


def write_weights(folder: Path, tensors: dict[str, tuple[str, np.ndarray]], name: str = "model.safetensors") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [(one, dtype, values.shape) for one, (dtype, values) in tensors.items()]
    write_file(folder / name, wanted, lambda one: tensors[one][1])
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "dtype": "bfloat16"}))
    return folder


def write_hollow(folder: Path, shapes: Sequence[tuple[int, ...]]) -> Path:
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


SHARD_BYTES = 48 << 20
SHAPES = ((6_144, 1_024), *((2_048, 1_024),) * 9)  # a table of a quarter of the shard, and layers


def write_sharded(folder: Path, *, seed: int, shapes: Sequence[tuple[int, ...]] = SHAPES, shards: int = 2) -> Path:
    """Write a model of bfloat16 shards."""
    drawn, names = np.random.default_rng(seed), {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        tensors = {
            f"w{shard}.{number}": ("BF16", drawn.standard_normal(shape, dtype=np.float32))
            for number, shape in enumerate(shapes)
        }
        write_weights(folder, tensors, file)
        names |= dict.fromkeys(tensors, file)
    index = {"metadata": {"total_size": 0}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def merged_tensors(merge: Merge, given: Ingredients, *, grams: Mapping[str, Gram] | None = None) -> dict[str, Tensor]:
    """Return the merged model's tensors by the first part's names."""
    value_of = merger(merge, given, grams=grams)
    return {name: value_of(name) for name in (*given.mixed, *given.kept, *given.tied)}
