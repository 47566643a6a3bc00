"""What a model's own code raises: the model's failure while it is checked, later the failure of the texts it read."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers import models as tokenizer_models

from numembed.core.errors import AcceleratorLost, ModelUnavailable, TextFailed
from numembed.models.catalogue.names import model
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.failures import text_failures
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.resolve import resolve
from numembed.models.spec import LocalWeights, ModelSpec
from tests import tiny
from tests.offline import OFFLINE

READS = "was loaded but cannot read texts with the installed libraries: "


def _loaded(folder: Path) -> SentenceEncoder:
    encoder = LoadedModel(OFFLINE).get(resolve(model(str(folder)), OFFLINE))
    assert isinstance(encoder, SentenceEncoder)
    return encoder


def _append(folder: Path, module: Any, name: str) -> None:
    """Put another module behind those of a folder."""
    place = folder / f"3_{name}"
    place.mkdir()
    module.save(str(place))
    listed = json.loads((folder / "modules.json").read_text())
    listed.append({"idx": 3, "name": "3", "path": place.name, "type": f"{type(module).__module__}.{name}"})
    (folder / "modules.json").write_text(json.dumps(listed))


def _lstm(folder: Path) -> None:
    from sentence_transformers.sentence_transformer.modules import LSTM

    _append(folder, LSTM(tiny.HIDDEN, 16), "LSTM")  # wants the lengths that only word vectors come with


def _wrong_width(folder: Path) -> None:
    from sentence_transformers.base.modules import Dense

    _append(folder, Dense(tiny.HIDDEN + 1, 4), "Dense")


def _foreign_tokens(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"] = tensors["embeddings.word_embeddings.weight"][:9].copy()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 9}))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_lstm, "KeyError: 'sentence_lengths'."),
        (_wrong_width, r"mat1 and mat2 shapes cannot be multiplied \(.*32.*33x4\)."),
        (_foreign_tokens, "its tokenizer gives token .*, but the model has vectors for 9 tokens only"),
    ],
)
def test_a_model_that_cannot_read_is_refused_with_the_reason(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None], reason: str
) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "odd")
    spoil(folder)
    caplog.set_level(logging.INFO, logger="numembed")
    with pytest.raises(ModelUnavailable, match=f"^odd {READS}{reason}.* or choose another model.$"):
        _loaded(folder)
    assert any(record.exc_info for record in caplog.records)  # the traceback is in the log


def test_a_table_of_token_vectors_that_is_too_short_is_a_sentence(tmp_path: Path) -> None:
    folder = tiny.write_static_model(tmp_path / "table")
    save_file({"embedding.weight": np.ones((7, tiny.HIDDEN), np.float32)}, folder / "model.safetensors")
    with pytest.raises(ModelUnavailable, match=f"^table {READS}its tokenizer gives token .* for 7 tokens only"):
        _loaded(folder)


def _words(folder: Path, words: list[str], *, rows: int) -> Path:
    """Write a model that knows some words only, and vectors for the first ``rows`` of them."""
    tokenizer = Tokenizer(tokenizer_models.WordLevel({word: number for number, word in enumerate(words)}))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tiny.write_model(folder, tokenizer=tokenizer)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"})
    )
    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"] = tensors["embeddings.word_embeddings.weight"][:rows].copy()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": rows}))
    return folder


KNOWN = ["[PAD]", *"0123456789, "]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([*KNOWN, "x"], "its tokenizer gives token 13, but the model has vectors for 13 tokens only"),
        (KNOWN, r"WordLevel error: Missing \[UNK\] token from the vocabulary"),
    ],
    ids=["no vector", "no token"],
)
def test_a_text_that_cannot_be_read_costs_only_itself(tmp_path: Path, words: list[str], reason: str) -> None:
    encoder = _loaded(_words(tmp_path / "odd", words, rows=len(KNOWN)))
    assert encoder.check.ok, encoder.check.sentence
    texts = ["1, 2, 3", "1, x", "2, 4, 6, 8"]
    batches = encoder.batches(texts)
    assert sorted(i for batch in batches for i in batch) == [0, 1, 2]
    with pytest.raises(TextFailed, match=f"^odd cannot read one of 3 texts, the first of them '1, 2, 3': {reason}"):
        encoder.encode(texts)
    with pytest.raises(TextFailed, match=f"^odd cannot read '1, x': {reason}") as caught:
        encoder.encode(texts[1:2])
    assert caught.value.__cause__ is not None
    assert encoder.encode([texts[0], texts[2]]).shape == (2, tiny.HIDDEN)


def test_what_is_no_fault_of_a_text_keeps_its_name() -> None:
    spec = ModelSpec("m", LocalWeights("/m"))
    for raised, told in (
        (RuntimeError("CUDA error: device-side assert triggered"), AcceleratorLost),
        (RuntimeError("CUDA out of memory"), RuntimeError),
        (MemoryError(), MemoryError),
        (ModelUnavailable("a sentence"), ModelUnavailable),
        (RuntimeError("the size of tensor a must match"), TextFailed),
        (OSError("/home/me/x is gone"), TextFailed),
    ):
        with pytest.raises(told) as caught, text_failures(spec, ["1, 2"]):
            raise raised
        assert type(caught.value) is told and "/home/me" not in str(caught.value)
