"""A walk over transformers' own lists: every type that a small common configuration can build, with random weights."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.tokens import max_tokens
from numembed.models.files.architectures import FACTS, architecture_of
from numembed.models.spec import LocalWeights, ModelSpec
from tests import tiny
from tests.architectures import BERT

POSITIONS = 40
SHORT = ["1, 2, 3, 4", "7, 7", "10, 200, 3000, 40000, 5"]
LONG = ", ".join(map(str, range(60)))
COMMON = {
    **{"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "max_position_embeddings": POSITIONS},
    **{"hidden_size": 32, "intermediate_size": 64, "embedding_size": 32, "num_hidden_layers": 2},
    **{"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16, "d_head": 16, "rotary_dim": 16},
    **{"encoder_layers": 2, "encoder_ffn_dim": 64, "encoder_attention_heads": 2},
    **{"decoder_layers": 2, "decoder_ffn_dim": 64, "decoder_attention_heads": 2},
    **{"num_experts": 4, "n_routed_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "n_group": 1},
    **{"n_shared_experts": 1, "topk_group": 1, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16},
    **{"kv_lora_rank": 16, "q_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 16},
    **{
        "entity_vocab_size": 10,
        "entity_emb_size": 16,
        "default_language": "en_XX",
        "attention_types": [[["global"], 2]],
    },
    **{"axial_pos_embds_dim": [16, 16], "axial_pos_shape": [5, 8]},
}
NOT_WALKED = {
    "its class cannot be built from its own settings": (
        *("dbrx", "musicgen", "musicgen_melody", "emu3", "gemma3n", "gemma3n_text", "cohere_compass_text", "funnel"),
        *("lfm2_moe", "qwen4_exp", "gemma4_assistant", "gemma4_unified_assistant", "trocr", "dots1"),
    ),
    "its sizes must fit each other in its own way": (
        *("bamba", "granitemoehybrid", "mamba2", "zamba", "zamba2", "zaya", "codegen", "mimo_v2_flash"),
    ),
    "it also reads images or sound, and stays large": (
        *("dots3_note", "fuyu", "gemma3", "gemma4", "gemma4_unified", "git", "got_ocr2", "llama4", "mllama"),
        *("modernvbert", "moss_transcribe_diarize", "perceiver", "phi4_multimodal", "qwen3_5", "qwen3_5_moe"),
        *("ultravbert", "neomme", "whisper"),
    ),
    "the common sizes leave it with more than eight million weights": (
        *("blt", "gemma4_text", "longcat_flash", "roc_bert", "t5gemma"),
    ),
}
BARE = ("deepseek_v4",)  # of its files with a head the library loses a weight, which the check tells
LEFT_OUT = {name for names in NOT_WALKED.values() for name in names}
WALKED = [name for name in json.loads(FACTS.read_text()) if name not in LEFT_OUT]


@pytest.mark.slow
def test_the_facts_cover_every_type_of_the_installed_library() -> None:
    from numembed.models.loading.architectures import model_types

    assert set(WALKED) | LEFT_OUT == set(model_types()) and len(WALKED) >= 60


@pytest.mark.slow
@pytest.mark.parametrize("name", WALKED)
def test_a_type_is_read_as_the_library_reads_it(name: str, tmp_path: Path) -> None:
    folder = _written(name, tmp_path / name)
    ours = SentenceEncoder(ModelSpec(name, LocalWeights(str(folder), digest="x" * 64)), folder, device="cpu")
    limit = ours.max_tokens
    weights = next(finding for finding in ours.check.findings if finding.name == "weights")
    assert weights.ok, weights.sentence
    assert max_tokens(folder) == limit, "a page says another limit"

    library = _library(folder)
    vectors = ours.encode(SHORT)
    np.testing.assert_allclose(vectors, library.encode(SHORT), atol=1e-5)
    if limit is not None and limit <= POSITIONS:
        library.max_seq_length = limit
        cut = ours.encode([LONG])
        np.testing.assert_allclose(cut, library.encode([LONG]), atol=1e-5)

    facts, inner = architecture_of({"model_type": name}), ours.model[0].auto_model
    _poison(inner, facts.unused)
    assert np.array_equal(ours.encode(SHORT), vectors), f"{facts.unused} are said to be no part of a vector"
    _same_facts(name, inner.config)


def _same_facts(name: str, config: Any) -> None:
    """Hold the facts in the file against the library, but for what follows from the sizes of this configuration."""
    from numembed.models.loading.architectures import derived

    known, now = architecture_of({"model_type": name}), derived(config)
    of_sizes: dict[str, Any] = {"default_limit": known.default_limit, "parts": known.parts}
    of_sizes |= {} if known.own_padding else {"padding": known.padding}
    assert replace(now, **of_sizes, heads=known.heads) == known
    assert set(now.parts) <= set(known.parts), "run python -m numembed.models.loading.architectures"


def _poison(inner: Any, unused: tuple[str, ...]) -> None:
    import torch

    with torch.no_grad():
        for name, parameter in inner.named_parameters():
            if name.partition(".")[0] in unused:
                parameter.fill_(float("nan"))


def _library(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True, model_kwargs={"dtype": "float32"})


def _written(name: str, folder: Path) -> Path:
    """Write a model of this type with random weights, and with the head of its pre-training where it has one."""
    import torch
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from numembed.models.loading.architectures import takes

    transformers.logging.set_verbosity_error()
    tokenizer, kind = tiny.wordpiece(), CONFIG_MAPPING[name]
    settings = COMMON | {"vocab_size": tokenizer.get_vocab_size(), "encoder_vocab_size": tokenizer.get_vocab_size()}
    config = _first_that_works(
        *(
            functools.partial(kind, **{one: value for one, value in (settings | more).items() if takes(kind, one)})
            for more in ({}, {"layer_types": None})
        )
    )
    torch.manual_seed(0)
    model = _model(config)
    assert sum(parameter.numel() for parameter in model.parameters()) < 8_000_000
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(kinds)
    ]
    _write(folder / "modules.json", modules)
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **BERT})
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True})
    return folder


def _model(config: Any) -> Any:
    from sentence_transformers.base.modules.transformer import _ENCODER_ONLY_MODELS
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

    for kind, module, name in _ENCODER_ONLY_MODELS:
        if isinstance(config, kind):
            return getattr(importlib.import_module(module), name)(config)
    base = AutoModel.from_config(config, dtype="float32")
    if config.model_type in BARE:
        return base
    for library in (AutoModelForMaskedLM, AutoModelForCausalLM):
        with contextlib.suppress(Exception):  # a type that has no such head, or not with this configuration
            whole = library.from_config(config, dtype="float32")
            if type(whole.base_model) is type(base):
                return whole
    return base


def _first_that_works(*made: Callable[[], Any]) -> Any:
    for one in made[:-1]:
        with contextlib.suppress(Exception):
            return one()
    return made[-1]()


def _write(file: Path, value: list[Any] | Mapping[str, Any]) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(value))
