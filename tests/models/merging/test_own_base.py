"""A fine-tuned model and its own base as it lies on the hub: with the head of its pre-training, and with its name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from numembed.core.errors import BadChoice
from numembed.models.files.tensors import TensorFolder, names_of, passed_through
from numembed.models.merging.folders import merge_folders
from numembed.models.merging.tensors import Merge
from tests import tiny

_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 80,
}
_SMALL = {
    **_SIZES,
    **{"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "num_key_value_heads": 2, "head_dim": 16},
    **{"embedding_size": 16},
}
KINDS = (  # with the head of their pre-training and how it is tied
    ("bert", "MaskedLM"),
    ("bert", "PreTraining"),
    ("distilbert", "MaskedLM"),
    ("roberta", "MaskedLM"),
    ("mpnet", "MaskedLM"),
    ("electra", "PreTraining"),
    ("deberta-v2", "MaskedLM"),
    ("modernbert", "MaskedLM"),
    ("xlm", "CausalLM"),
    ("gpt2", "CausalLM"),
    ("gpt_neox", "CausalLM"),  # its head is its own
    ("qwen3", "CausalLM"),
    ("albert", "SequenceClassification"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a model of random weights, without a head or with one."""
    root = tmp_path_factory.mktemp("own-base")

    def write(kind: str, head: str = "", seed: int = 0) -> Path:
        import torch
        import transformers

        from numembed.models.loading.architectures import takes

        folder = root / f"{kind}{head}{seed}"
        if not folder.is_dir():
            config: Any = transformers.models.auto.configuration_auto.CONFIG_MAPPING[kind]
            library: Any = getattr(transformers, f"AutoModelFor{head}" if head else "AutoModel")
            torch.manual_seed(seed)
            library.from_config(config(**{n: v for n, v in _SMALL.items() if takes(config, n)})).save_pretrained(folder)
            tiny.wordpiece().save(str(folder / "tokenizer.json"))
        return folder

    return write


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "head"), KINDS)
def test_a_fine_tuned_model_is_mixed_with_its_base_in_either_place(
    made: Callable[..., Path], kind: str, head: str, tmp_path: Path
) -> None:
    tuned, base = made(kind), made(kind, head, seed=1)
    half = Merge("wise_ft", options=(("t", 0.5),))
    _is_the_mean(merge_folders(half, [tuned], tmp_path / "one", base=base).folder, tuned, base)
    other = merge_folders(Merge("soup"), [base, tuned], tmp_path / "other").folder
    _is_the_mean(other, tuned, base)
    assert set(TensorFolder(other)) == set(TensorFolder(base))  # saved as the first part is


def _is_the_mean(found: Path, *parts: Path) -> None:
    opened = [TensorFolder(folder) for folder in (found, *parts)]
    names = [names_of(one) for one in opened]
    counted = passed_through(opened[0])
    assert counted == passed_through(opened[1]) == passed_through(opened[2]) and len(counted) > 10
    for plain in counted:
        mixed, one, other = (each[name[plain]] for each, name in zip(opened, names, strict=True))
        if np.issubdtype(mixed.dtype, np.floating):
            np.testing.assert_allclose(mixed, (one + other) / 2, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_head_that_repeats_the_embedding_repeats_the_merged_one(made: Callable[..., Path], tmp_path: Path) -> None:
    tied = made("gpt2", "CausalLM", seed=1)
    found = TensorFolder(merge_folders(Merge("soup"), [tied, made("gpt2")], tmp_path / "merged").folder)
    if "lm_head.weight" in found:
        assert (found["lm_head.weight"] == found["transformer.wte.weight"]).all()
    with pytest.raises(BadChoice, match="different architectures"):
        merge_folders(Merge("soup"), [tied, made("gpt_neox")], tmp_path / "none")


@pytest.mark.slow
def test_a_table_of_positions_that_is_not_used_may_be_missing(made: Callable[..., Path], tmp_path: Path) -> None:
    """DeBERTa without positions of its own: files of its pre-training hold a table, those saved later none."""
    with_table, without = (shutil.copytree(made("deberta-v2"), tmp_path / name) for name in ("with", "without"))
    table, file = "embeddings.position_embeddings.weight", "model.safetensors"
    tensors = {name: tensor for name, tensor in load_file(without / file).items() if name != table}
    save_file(tensors, without / file, metadata={"format": "pt"})
    for number, (first, base) in enumerate(((with_table, without), (without, with_table))):
        found = merge_folders(Merge("wise_ft"), [first], tmp_path / str(number), base=base).folder
        assert (table in TensorFolder(found)) is (table in TensorFolder(first))
    lost = {name: tensor for name, tensor in tensors.items() if not name.startswith("encoder.layer.1.")}
    save_file(lost, without / file, metadata={"format": "pt"})
    with pytest.raises(BadChoice, match=r"lacks 1\d of the tensors"):
        merge_folders(Merge("wise_ft"), [with_table], tmp_path / "none", base=without)


@pytest.mark.slow
def test_special_tokens_listed_a_second_time_are_no_other_tokenizer(made: Callable[..., Path], tmp_path: Path) -> None:
    """The library lists them beside the vocabulary when it saves a model again."""
    first, again = made("bert"), shutil.copytree(made("bert"), tmp_path / "again")
    plain = json.loads((again / "tokenizer.json").read_text())
    number = plain["model"]["vocab"]["[CLS]"]
    for at, name in ((number, "same"), (number + 1, "other")):
        token = {"id": at, "content": "[CLS]", "special": True, "single_word": False, "lstrip": False, "rstrip": False}
        (again / "tokenizer.json").write_text(json.dumps(plain | {"added_tokens": [token | {"normalized": False}]}))
        if name == "same":
            merge_folders(Merge("soup"), [first, again], tmp_path / name)
        else:
            with pytest.raises(BadChoice, match="different tokenizers"):
                merge_folders(Merge("soup"), [first, again], tmp_path / name)
