"""What is known of each architecture: names with and without a head, what a vector passes through, positions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from numembed.models.encoders.tokens import max_tokens
from numembed.models.files.architectures import NO_LIMIT, UNKNOWN, architecture_of
from numembed.models.files.tensors import TensorFolder, names_of, passed_through
from tests import tiny

DISTILBERT = architecture_of({"model_type": "distilbert"})
BERT = architecture_of({"model_type": "bert"})


def test_names_lose_the_architecture_s_own_name_and_heads_are_left_out() -> None:
    stored = ["distilbert.transformer.layer.0.bias", "vocab_layer_norm.bias", "distilbert.embeddings.x"]
    assert DISTILBERT.own_names(stored) == {
        "distilbert.transformer.layer.0.bias": "transformer.layer.0.bias",
        "distilbert.embeddings.x": "embeddings.x",
    }
    bare = ["transformer.layer.0.bias", "embeddings.x", "vocab_layer_norm.bias"]
    assert list(DISTILBERT.own_names(bare)) == bare[:2]


def test_what_nobody_knows_to_be_a_head_counts_in_files_without_the_architecture_s_name() -> None:
    """Else a part that only some settings have would silently be no part of a merge."""
    assert "something.new" in DISTILBERT.own_names(["embeddings.x", "something.new"])
    assert "something.new" not in DISTILBERT.own_names(["distilbert.embeddings.x", "something.new"])


def test_an_unknown_type_has_no_heads_and_no_limit() -> None:
    unknown = architecture_of({"model_type": "of_tomorrow", "max_position_embeddings": 64})
    assert unknown is UNKNOWN and unknown.own_names(["a.b"]) == {"a.b": "a.b"}
    assert unknown.most_tokens({"max_position_embeddings": 64}, ()) is None


@pytest.mark.parametrize(
    ("own_name", "passes"),
    [("encoder.layer.0.output.dense.weight", True), ("pooler.dense.weight", False), ("embeddings.position_ids", False)],
)
def test_a_vector_passes_through_layers_and_not_through_poolers_or_computed_tables(own_name: str, passes: bool) -> None:
    assert BERT.passes(own_name) is passes


def test_heads_and_poolers_of_a_folder_keep_their_names_and_do_not_count(tmp_path: Path) -> None:
    folder = TensorFolder(tiny.write_model(tmp_path / "model"))
    assert names_of(folder)["pooler.dense.weight"] == "pooler.dense.weight"
    assert set(names_of(folder)) - passed_through(folder) == {"pooler.dense.weight", "pooler.dense.bias"}


@pytest.mark.parametrize(
    ("config", "names", "most"),
    [
        ({"model_type": "bert"}, {"embeddings.position_embeddings.weight"}, 512),  # left out of config.json
        ({"model_type": "gpt2", "n_positions": 256}, {"wpe.weight"}, 256),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, None, 512),
        ({"model_type": "luke", "max_position_embeddings": 514, "pad_token_id": 1}, None, 512),
        ({"model_type": "ibert", "max_position_embeddings": 514, "pad_token_id": 3}, None, 510),
        ({"model_type": "mpnet", "max_position_embeddings": 514, "pad_token_id": 3}, None, 512),  # its own, always 1
        ({"model_type": "opt", "max_position_embeddings": 64}, {"decoder.embed_positions.weight"}, 64),
        ({"model_type": "deberta-v2", "max_position_embeddings": 64}, set(), None),  # relative positions alone
        ({"model_type": "deberta-v2", "max_position_embeddings": 64}, None, 64),
        ({"model_type": "qwen3", "max_position_embeddings": 64}, set(), None),  # rotary
        ({"model_type": "gptj", "n_positions": 64}, set(), 64),  # a computed table that ends all the same
    ],
)
def test_positions_end_where_the_table_does(config: dict[str, Any], names: set[str] | None, most: int | None) -> None:
    names = {"embeddings.position_embeddings.weight"} if names is None else names
    assert architecture_of(config).most_tokens(config, names) == most


def test_the_page_knows_the_limit_that_the_library_would_take(tmp_path: Path) -> None:
    folder = tiny.write_model(tmp_path / "model", limit=256)
    assert max_tokens(folder) == 256 and max_tokens(folder, requested=1_000) == 512
    (folder / "sentence_bert_config.json").unlink()
    assert max_tokens(folder) == 512
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "qwen3", "max_position_embeddings": 100}))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": 1e30}))
    assert max_tokens(folder) == 100  # nobody says more, and the library stops there
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 300}))
    assert max_tokens(folder) == 300 < NO_LIMIT  # rotary positions go on


@pytest.mark.parametrize(
    ("kind", "turned"),
    [
        ("gpt2", ("c_attn", "c_fc", "c_proj")),
        ("openai-gpt", ("c_attn", "c_fc", "c_proj")),
        ("bert", ()),
        ("gpt_bigcode", ()),  # the same names, and plain layers
        ("of_tomorrow", ()),
    ],
)
def test_layers_lie_turned_where_their_class_says_so(kind: str, turned: tuple[str, ...]) -> None:
    assert architecture_of({"model_type": kind}).turned == turned
