"""Tiny random models of many architectures, and adapters for them as PEFT saves them, with the vectors it gives."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from numembed.models.encoders.encoder import Matrix
from numembed.models.encoders.loaded import LoadedModel
from tests import architectures, tiny
from tests.architectures import BERT, DECODER, GEMMA, LLAMA3, QWEN, SCALED, XLMR
from tests.models.adapters.adapted import TEXTS, adapted_spec
from tests.offline import OFFLINE

_DEBERTA = {
    "relative_attention": True,
    "position_biased_input": False,
    "pos_att_type": ["p2c", "c2p"],
    "position_buckets": 64,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "type_vocab_size": 0,
}


@dataclass(frozen=True)
class Kind:
    """An architecture: how it is built, and which of its layers are adapted as a rule."""

    model_type: str
    tokenizer: Callable[[], Tokenizer]
    special: dict[str, str]
    targets: tuple[str, ...]
    config: dict[str, Any] = field(default_factory=dict)
    saved_as: str = "AutoModel"  # the class whose weights lie in the folder


KINDS = {
    "bert": Kind("bert", tiny.wordpiece, BERT, ("query", "value", "dense")),
    "bert-pretraining": Kind("bert", tiny.wordpiece, BERT, ("query", "dense"), saved_as="AutoModelForPreTraining"),
    "distilbert-mlm": Kind("distilbert", tiny.wordpiece, BERT, ("q_lin", "v_lin"), saved_as="AutoModelForMaskedLM"),
    "roberta-mlm": Kind("roberta", architectures.xlmr, XLMR, ("query", "dense"), saved_as="AutoModelForMaskedLM"),
    "deberta-mlm": Kind(
        "deberta-v2", architectures.xlmr, XLMR, ("query_proj", "dense"), _DEBERTA, saved_as="AutoModelForMaskedLM"
    ),
    "modernbert": Kind("modernbert", architectures.modernbert, BERT, ("Wqkv", "Wo")),
    "gpt2": Kind("gpt2", architectures.qwen, QWEN, ("c_attn", "c_proj")),
    "gpt2-lm": Kind("gpt2", architectures.qwen, QWEN, ("attn.c_proj",), saved_as="AutoModelForCausalLM"),
    "t5": Kind("t5", architectures.xlmr, XLMR, ("q", "v", "wo"), {"d_kv": 16}, saved_as="AutoModelForSeq2SeqLM"),
    "qwen3": Kind("qwen3", architectures.qwen, QWEN, ("q_proj", "down_proj"), DECODER),
    "qwen3-tied": Kind(
        "qwen3", architectures.qwen, QWEN, ("q_proj",), DECODER | {"tie_word_embeddings": True}, "AutoModelForCausalLM"
    ),
    "llama-lm": Kind("llama", architectures.llama3, LLAMA3, ("q_proj", "v_proj"), DECODER, "AutoModelForCausalLM"),
    "gemma3": Kind("gemma3_text", architectures.gemma, GEMMA, ("q_proj", "o_proj"), SCALED),
}


@dataclass(frozen=True)
class Base:
    """A model folder, opened by the library and by numembed once for all its adapters."""

    folder: Path
    theirs: Any  # the SentenceTransformer
    plain: Any  # its transformer without any adapter
    unchanged: Matrix  # what the library gives for the texts with it
    ours: LoadedModel

    def fresh(self) -> Any:
        """Return the transformer for an adapter of its own."""
        return copy.deepcopy(self.plain)

    def vectors_of(self, transformer: Any) -> Matrix:
        """Return what the library gives for the texts with ``transformer`` inside."""
        self.theirs[0].model = transformer.eval()
        return np.asarray(self.theirs.encode(TEXTS), dtype=np.float32)

    def adapted(self, adapter: Path) -> Matrix:
        """Return what numembed gives for the texts with the adapter attached."""
        return self.ours.get(adapted_spec(self.folder, adapter)).encode(TEXTS)


def opened(kind: str, folder: Path) -> Base:
    """Write a tiny model as it lies on the hub, and open it."""
    from sentence_transformers import SentenceTransformer

    _write(KINDS[kind], folder)
    theirs = SentenceTransformer(str(folder), device="cpu")
    return Base(folder, theirs, theirs[0].auto_model, theirs.encode(TEXTS), LoadedModel(OFFLINE))


def randomize(model: Any, *, seed: int = 1, size: float = 0.2) -> None:
    """Give everything that a training would have changed other values."""
    import torch

    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for name, weight in model.named_parameters():
            if weight.requires_grad or "lora_" in name:
                weight.add_(torch.randn_like(weight), alpha=size)


def _write(kind: Kind, folder: Path) -> None:
    import torch
    import transformers

    tokenizer = kind.tokenizer()
    ids = {f"{name}_id": tokenizer.token_to_id(token) for name, token in kind.special.items()}
    sizes = {"hidden_size": 32, "intermediate_size": 64, "hidden_dim": 64, "d_ff": 64, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 2, "max_position_embeddings": 128, "vocab_size": tokenizer.get_vocab_size()}
    known = transformers.AutoConfig.for_model(kind.model_type)
    sizes = {name: value for name, value in sizes.items() if hasattr(known, name)}
    config = transformers.AutoConfig.for_model(kind.model_type, **sizes, **ids, **kind.config)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = getattr(transformers, kind.saved_as).from_config(config)
        for weight in model.parameters():
            weight.normal_(0, 0.3) if weight.ndim > 1 else weight.add_(torch.randn_like(weight), alpha=0.1)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    modules = {"": "Transformer", "1_Pooling": "Pooling"}
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
    files: dict[str, Any] = {
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", **kind.special},
        "sentence_bert_config.json": {"max_seq_length": 100, "do_lower_case": False},
        "1_Pooling/config.json": pooling,
        "modules.json": [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{name}"}
            for number, (path, name) in enumerate(modules.items())
        ],
    }
    (folder / "1_Pooling").mkdir()
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value))


def save_adapter(base: Base, config: Any, folder: Path) -> None:
    """Give the base an adapter that stands for a trained one, and save it to ``folder``."""
    import torch
    from peft import get_peft_model

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = get_peft_model(base.fresh(), config)
    randomize(model)
    model.save_pretrained(str(folder))


def check_like_peft(base: Base, adapter: Path) -> dict[str, Any]:
    """Check that the vectors are those of the model that PEFT merges of a folder; return the adapter's settings."""
    from peft import PeftModel

    theirs = base.vectors_of(PeftModel.from_pretrained(base.fresh(), str(adapter)).merge_and_unload())
    moved, off = (float(np.abs(theirs - other).max()) for other in (base.unchanged, base.adapted(adapter)))
    assert off < 1e-5 < 0.1 < moved
    return dict(json.loads((adapter / "adapter_config.json").read_text()))
