"""LoRA folded into its base is what PEFT's merge_and_unload gives; adapters that are more than that are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numembed.core.errors import BadChoice, ModelUnavailable
from numembed.models.adapters.fold import AdaptedFolder
from numembed.models.files.architectures import architecture_of
from numembed.models.files.publish import is_whole
from numembed.models.files.tensors import TensorFolder
from numembed.models.merging.tensors import Merge, ingredients
from tests import tiny
from tests.lora import fold_folder, fold_lora
from tests.models.merging.weight_files import merged_tensors

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # transformers and PEFT warn of themselves
Tensors = dict[str, np.ndarray]
LAYER = "encoder.layer.0.attention.self"


def _adapted(base: Any, folder: Path, *, seed: int = 0, **options: Any) -> Tensors:
    """Train nothing: give ``base`` a random adapter, save it to ``folder``, return PEFT's merged weights."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    model = get_peft_model(
        base, LoraConfig(**({"r": 4, "lora_alpha": 16, "target_modules": ["query", "value"]} | options))
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.1)
    model.save_pretrained(str(folder))
    return {name: weight.numpy() for name, weight in model.merge_and_unload().state_dict().items()}


@pytest.fixture
def bert(tiny_model: Path) -> Callable[[], Any]:
    """The tiny model as transformers load it."""
    from transformers import AutoModel

    return lambda: AutoModel.from_pretrained(str(tiny_model))


def _read(folder: Path) -> tuple[Tensors, dict[str, Any]]:
    from safetensors.numpy import load_file

    return load_file(folder / "adapter_model.safetensors"), json.loads((folder / "adapter_config.json").read_text())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_rslora": True},
        {"target_modules": ["query", "key", "value", "dense"], "r": 3, "lora_alpha": 5},
        {
            "target_modules": ["query", "dense"],
            "rank_pattern": {"query": 2},
            "alpha_pattern": {"0.*query": 7, "dense": 1},
        },
        {"target_modules": ["word_embeddings", "query"]},
        {"init_lora_weights": "gaussian", "layers_to_transform": [1]},
    ],
    ids=["plain", "rslora", "all", "patterns", "embeddings", "one layer"],
)
def test_folding_gives_what_peft_gives(
    bert: Callable[[], Any], tiny_model: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    theirs = _adapted(bert(), tmp_path, **options)
    base = dict(TensorFolder(tiny_model))
    adapter, config = _read(tmp_path)
    ours, folder = fold_lora(base, adapter, config), AdaptedFolder(tiny_model, tmp_path)
    assert ours.keys() == base.keys()
    changed = {name for name in base if (ours[name] != base[name]).any()}
    assert changed == set(folder.changed) != set()
    for name in base:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=3e-7)
        assert (folder[name] == ours[name]).all()


def test_layers_that_store_their_weights_turned_are_folded_as_such(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2Model

    base = GPT2Model(GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=20, n_positions=8))
    before = {name: weight.numpy().copy() for name, weight in base.state_dict().items()}
    options = {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}  # one of them is square
    theirs = _adapted(base, tmp_path, **options)
    ours = fold_lora(before, *_read(tmp_path), turned=architecture_of({"model_type": "gpt2"}).turned)
    assert (ours["h.0.attn.c_proj.weight"] != before["h.0.attn.c_proj.weight"]).any()
    for name in before:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=3e-7)


@pytest.mark.parametrize("head_is_stored", [True, False])
def test_a_tied_head_gets_what_its_embedding_gets(tmp_path: Path, head_is_stored: bool) -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=20,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        tie_word_embeddings=True,
    )
    model = Qwen3ForCausalLM(config)
    before = {name: weight.numpy().copy() for name, weight in model.state_dict().items()}
    if not head_is_stored:
        del before["lm_head.weight"]
    theirs = _adapted(model, tmp_path, target_modules=["embed_tokens", "q_proj"])
    ours = fold_lora(before, *_read(tmp_path))
    for name in before:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=3e-7)
    assert (ours["model.embed_tokens.weight"] != before["model.embed_tokens.weight"]).any()


def test_strength_and_several_adapters_add_up(bert: Callable[[], Any], tiny_model: Path, tmp_path: Path) -> None:
    base, name = dict(TensorFolder(tiny_model)), f"{LAYER}.query.weight"
    for seed in (0, 1):
        _adapted(bert(), tmp_path / str(seed), seed=seed)
    (one, config), (two, _) = (_read(tmp_path / str(seed)) for seed in (0, 1))
    deltas = [fold_lora(base, adapter, config)[name] - base[name] for adapter in (one, two)]
    assert (fold_lora(base, one, config, scale=0)[name] == base[name]).all()
    np.testing.assert_allclose(fold_lora(base, one, config, scale=1.5)[name], base[name] + 1.5 * deltas[0], atol=3e-7)
    both = fold_lora(fold_lora(base, one, config), two, config)[name]
    np.testing.assert_allclose(both, base[name] + deltas[0] + deltas[1], atol=5e-7)
    np.testing.assert_allclose(fold_lora(base, one, config, scale=0.5)[name], base[name] + deltas[0] / 2, atol=3e-7)


def test_adapters_are_merged_without_being_saved_first(
    bert: Callable[[], Any], tiny_model: Path, tmp_path: Path
) -> None:
    name = f"{LAYER}.value.weight"
    for seed in (0, 1):
        _adapted(bert(), tmp_path / str(seed), seed=seed)
    parts = [AdaptedFolder(tiny_model, tmp_path / str(seed)) for seed in (0, 1)]
    base = TensorFolder(tiny_model)
    soup = merged_tensors(Merge("task_arithmetic", options=(("scale", 0.5),)), ingredients(parts, base))
    np.testing.assert_allclose(soup[name], (parts[0][name] + parts[1][name]) / 2, atol=3e-7)
    assert (soup["pooler.dense.weight"] == base["pooler.dense.weight"]).all()


def test_a_folded_folder_encodes_like_pefts_model(bert: Callable[[], Any], tiny_model: Path, tmp_path: Path) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    theirs = _adapted(bert(), tmp_path / "adapter")
    saved = fold_folder(tiny_model, tmp_path / "adapter", tmp_path / "out")
    assert is_whole(tmp_path / "out") and saved.update > 0 and "adapter" in (saved.folder / "README.md").read_text()
    ours, expected = SentenceTransformer(str(saved.folder)), SentenceTransformer(str(tiny_model))
    expected[0].auto_model.load_state_dict({name: torch.from_numpy(value) for name, value in theirs.items()})
    texts = ["1, 2, 3", "4, 6, 8, 10"]
    np.testing.assert_allclose(ours.encode(texts), expected.encode(texts), atol=1e-5)
    assert not np.allclose(ours.encode(texts), SentenceTransformer(str(tiny_model)).encode(texts), atol=1e-3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"init_lora_weights": "pissa"}, "a changed base"),
        ({"trainable_token_indices": [1, 2]}, "retrained tokens"),
    ],
)
def test_more_than_lora_is_refused_in_a_sentence(
    bert: Callable[[], Any], tiny_model: Path, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    _adapted(bert(), tmp_path, **options)
    with pytest.raises(BadChoice, match=f"more than plain LoRA: it uses {words}.*merge_and_unload"):
        AdaptedFolder(tiny_model, tmp_path)


def test_what_no_setting_tells_is_still_refused(bert: Callable[[], Any], tiny_model: Path, tmp_path: Path) -> None:
    _adapted(bert(), tmp_path)
    adapter, config = _read(tmp_path)
    base = dict(TensorFolder(tiny_model))
    extra = {"base_model.model.encoder.layer.0.attention.self.query.lora_magnitude_vector": np.ones(32, np.float32)}
    with pytest.raises(BadChoice, match="no LoRA factor"):
        fold_lora(base, adapter | extra, config)
    own = {"base_model.model.embeddings.word_embeddings.weight": base["embeddings.word_embeddings.weight"]}
    fold_lora(base, adapter | own, config)  # PEFT saves a copy of an embedding
    with pytest.raises(BadChoice, match="not the base's own"):
        fold_lora(base, adapter | {name: tensor + 1 for name, tensor in own.items()}, config)
    with pytest.raises(BadChoice, match="it uses IA3"):
        fold_lora(base, adapter, config | {"peft_type": "IA3"})
    with pytest.raises(BadChoice, match="The adapter is empty"):
        fold_lora(base, {}, config)


def test_an_adapter_of_another_base_is_refused_before_its_weights_are_used(
    bert: Callable[[], Any], tiny_model: Path, tmp_path: Path
) -> None:
    _adapted(bert(), tmp_path)
    adapter, config = _read(tmp_path)
    base = dict(TensorFolder(tiny_model))
    deeper = {name.replace("layer.1", "layer.11"): tensor for name, tensor in adapter.items()}
    with pytest.raises(BadChoice, match=r"made for another base: this one has no 'encoder\.layer\.11"):
        fold_lora(base, deeper, config)
    wider = {name: np.repeat(tensor, 2, axis=1) if "lora_A" in name else tensor for name, tensor in adapter.items()}
    with pytest.raises(BadChoice, match=r"made for another base: .* is 32×64 and 32×32"):
        fold_lora(base, wider, config)


def test_a_folder_without_an_adapter_is_reported(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="is not a LoRA adapter"):
        AdaptedFolder(tiny_model, tmp_path)
    tiny.write_model(tmp_path / "model")
    with pytest.raises(ModelUnavailable, match="is not a LoRA adapter"):
        AdaptedFolder(tiny_model, tmp_path / "model")
