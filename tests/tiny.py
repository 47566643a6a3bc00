"""Tiny SentenceTransformer folders with random weights, written file by file: milliseconds, no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HIDDEN, LAYERS, HEADS, POSITIONS = 32, 2, 2, 512
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
_CORPUS = [", ".join(str((start * 37 + step * step) % 5_000) for step in range(40)) for start in range(60)]


def write_model(
    folder: Path, *, tokenizer: Tokenizer | None = None, limit: int = 256, seed: int = 0, nan: bool = False
) -> Path:
    """Write a BERT of two layers with mean pooling and unit length into ``folder`` and return it."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    chosen = tokenizer or wordpiece()
    chosen.save(str(folder / "tokenizer.json"))
    tensors = _weights(chosen.get_vocab_size(), np.random.default_rng(seed))
    if nan:
        tensors["embeddings.word_embeddings.weight"][:] = np.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _write(folder / "config.json", _config(chosen.get_vocab_size()))
    _write(folder / "tokenizer_config.json", _tokenizer_config())
    _write(folder / "sentence_bert_config.json", {"max_seq_length": limit, "do_lower_case": False})
    _write(folder / "config_sentence_transformers.json", {"prompts": {}, "similarity_fn_name": "cosine"})
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": True})
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    _write(folder / "modules.json", [_module(number, *kind) for number, kind in enumerate(kinds)])
    return folder


def write_static_model(folder: Path) -> Path:
    """Write a model without attention, a table of token vectors, into ``folder`` and return it."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    chosen = wordpiece()
    chosen.save(str(folder / "tokenizer.json"))
    table = np.random.default_rng(0).standard_normal((chosen.get_vocab_size(), HIDDEN)).astype(np.float32)
    save_file({"embedding.weight": table}, folder / "model.safetensors", metadata={"format": "pt"})
    _write(folder / "modules.json", [_module(0, "", "StaticEmbedding")])
    _write(folder / "config_sentence_transformers.json", {"prompts": {}, "similarity_fn_name": "cosine"})
    return folder


def wordpiece() -> Tokenizer:
    """Digits in pieces; a number above 100 digits is one unknown token, as in BERT."""
    digits = [str(digit) for digit in range(10)]
    pieces = [*SPECIAL, ",", ".", "-", *digits, *(f"##{digit}" for digit in digits), *(str(n) for n in range(10, 100))]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return _with_ends(tokenizer)


def byte_level_bpe() -> Tokenizer:
    """As in GPT-2 and Qwen: a space belongs to the word after it, digits merge."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return _with_ends(tokenizer)


def unigram() -> Tokenizer:
    """As in XLM-R: words begin with a mark, the likeliest pieces win."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=SPECIAL, unk_token="[UNK]")
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return _with_ends(tokenizer)


TOKENIZERS = {"wordpiece": wordpiece, "byte_level_bpe": byte_level_bpe, "unigram": unigram}


def _with_ends(tokenizer: Tokenizer) -> Tokenizer:
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return tokenizer


def _weights(vocabulary: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    tensors: dict[str, np.ndarray] = {}

    def linear(name: str, wide: int, narrow: int) -> None:
        tensors[f"{name}.weight"] = (random.standard_normal((wide, narrow)) * 0.3).astype(np.float32)
        tensors[f"{name}.bias"] = (random.standard_normal(wide) * 0.1).astype(np.float32)

    def norm(name: str) -> None:
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = np.ones(HIDDEN, "f4"), np.zeros(HIDDEN, "f4")

    for name, rows in (("word", vocabulary), ("position", POSITIONS), ("token_type", 2)):
        tensors[f"embeddings.{name}_embeddings.weight"] = random.standard_normal((rows, HIDDEN)).astype(np.float32)
    norm("embeddings.LayerNorm")
    for layer in (f"encoder.layer.{number}" for number in range(LAYERS)):
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            linear(f"{layer}.{part}", HIDDEN, HIDDEN)
        linear(f"{layer}.intermediate.dense", 2 * HIDDEN, HIDDEN)
        linear(f"{layer}.output.dense", HIDDEN, 2 * HIDDEN)
        norm(f"{layer}.attention.output.LayerNorm")
        norm(f"{layer}.output.LayerNorm")
    linear("pooler.dense", HIDDEN, HIDDEN)
    return tensors


def _config(vocabulary: int) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": 2 * HIDDEN,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
        "pad_token_id": 0,
    }


def _tokenizer_config() -> dict[str, Any]:
    names = ("pad_token", "unk_token", "cls_token", "sep_token")
    return {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": POSITIONS} | dict(
        zip(names, SPECIAL, strict=True)
    )


def _module(number: int, path: str, kind: str) -> dict[str, Any]:
    return {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}


def _write(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value))
