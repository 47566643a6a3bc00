"""Tokenizers without a padding token that their model knows: a text has one vector, alone and in a batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numembed.core.arrays import Matrix
from numembed.models.catalogue.names import model
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.resolve import resolve
from tests import architectures, tiny
from tests.offline import OFFLINE

TEXTS = ["2, 3, 5, 7, 11", "1", "4, 6, 8, 9, 10, 12, 14, 15, 16, 18"]
END = "<|endoftext|>"
KINDS = {  # where positions come from: a table from the left, the mask, the ids, nowhere
    "gpt2": ("lasttoken", {"n_positions": tiny.POSITIONS}),
    "opt": ("mean", {"word_embed_proj_dim": tiny.HIDDEN, "ffn_dim": 64}),
    "llama": ("lasttoken", {}),
    "qwen3": ("lasttoken", {"head_dim": 16, "num_key_value_heads": 1}),
    "bert": ("mean", {}),
    "roberta": ("mean", {"pad_token_id": 1}),  # from which it counts its positions
    "modernbert": ("cls", {}),
}


def _written(folder: Path, kind: str, special: dict[str, Any]) -> Path:
    """Write a tiny random model whose tokenizer has the special tokens named and no others."""
    import torch
    from transformers import AutoConfig, AutoModel

    tokenizer, (pooling, more) = architectures.qwen(), KINDS[kind]
    width: dict[str, Any] = {"hidden_size": tiny.HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = AutoConfig.for_model(
        kind,
        vocab_size=tokenizer.get_vocab_size(),
        intermediate_size=64,
        max_position_embeddings=tiny.POSITIONS,
        **(width | dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id")) | more),
    )
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        whole = AutoModel.from_config(config)
        for weight in whole.parameters():
            weight.normal_(0, 0.3) if weight.ndim > 1 else weight
    whole.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    architectures._write(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"} | special)
    architectures._write(folder / "sentence_bert_config.json", {"max_seq_length": 256})
    architectures._write_modules(folder, pooling)
    return folder


def _alone(folder: Path, pooling: str) -> Matrix:
    """Return the vectors that transformers gives for one text at a time, which needs no padding."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    whole, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    rows = []
    for text in TEXTS:
        with torch.no_grad():
            tokens = whole(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        rows.append({"mean": tokens.mean(0), "cls": tokens[0], "lasttoken": tokens[-1]}[pooling])
    matrix = torch.stack(rows).numpy()
    unit: Matrix = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    return unit


def _ours(folder: Path) -> tuple[SentenceEncoder, Matrix]:
    encoder = LoadedModel(OFFLINE).get(resolve(model(str(folder)), OFFLINE))
    assert isinstance(encoder, SentenceEncoder)
    matrix = encoder.encode(TEXTS)
    return encoder, matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


@pytest.mark.slow
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_end_token_fills_up_and_changes_nothing(tmp_path: Path, kind: str, side: str) -> None:
    folder = _written(tmp_path / "nopad", kind, {"eos_token": END, "padding_side": side})
    encoder, vectors = _ours(folder)
    assert encoder.model.tokenizer.pad_token_id == (1 if kind == "roberta" else architectures.qwen().token_to_id(END))
    assert {one.name: one.ok for one in encoder.check.findings}["batches"], encoder.check.sentence
    np.testing.assert_allclose(vectors, _alone(folder, KINDS[kind][0]), atol=2e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_without_an_end_token_any_token_will_do(tmp_path: Path, kind: str) -> None:
    folder = _written(tmp_path / "bare", kind, {})
    before = architectures.qwen().encode(TEXTS[0]).ids
    encoder, vectors = _ours(folder)
    assert encoder.model.tokenizer.pad_token_id == 0
    assert encoder.token_ids(TEXTS[:1]) == [before]  # which is still read as what it is
    np.testing.assert_allclose(vectors, _alone(folder, KINDS[kind][0]), atol=2e-5)


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_a_padding_token_without_a_vector_is_not_used(tmp_path: Path, kind: str) -> None:
    """It was added to the tokenizer, and the model's table was not made longer."""
    folder = _written(tmp_path / "longer", kind, {"eos_token": END})
    tokenizer = architectures.qwen()
    tokenizer.add_special_tokens(["[PAD]"])
    tokenizer.save(str(folder / "tokenizer.json"))
    architectures._write(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "eos_token": END},
    )
    encoder, vectors = _ours(folder)
    assert encoder.model.tokenizer.pad_token == END
    np.testing.assert_allclose(vectors, _alone(folder, KINDS[kind][0]), atol=2e-5)


def test_a_padding_token_of_the_makers_stays(tmp_path: Path) -> None:
    folder = _written(tmp_path / "given", "llama", {"pad_token": "<|im_start|>", "padding_side": "left"})
    encoder, vectors = _ours(folder)
    assert encoder.model.tokenizer.pad_token == "<|im_start|>" and encoder.model.tokenizer.padding_side == "left"
    np.testing.assert_allclose(vectors, _alone(folder, "lasttoken"), atol=2e-5)
    assert json.loads((folder / "tokenizer_config.json").read_text())["padding_side"] == "left"
