"""Encoding on a graphics card: models of true shapes with random weights, beside SentenceTransformer's own encode().

Without a card nothing is measured, and that is said. ``measured`` itself takes any shape and device; its test runs a
tiny one on a processor.
"""

from __future__ import annotations

import contextlib
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Figure
from numembed.core.arrays import Matrix
from numembed.models.builtin.files import FIRST, LAST, PAD, SPECIAL, UNKNOWN
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.loading.devices import give_back_memory
from numembed.models.spec import LocalWeights, ModelSpec
from numembed.paper.protocol import PAPER_FAMILIES
from numembed.sequences.sets import make_sequences

ROUNDS = 3
_FEW, _MANY = 24, 10_000  # sequences
_SIMULATED_TOKENS = 256  # of a batch that fits, where the full memory is only simulated


@dataclass(frozen=True)
class Shape:
    """What a Qwen3 is built of; the vocabulary is Qwen3's own in the true shapes."""

    width: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head: int  # numbers of one head
    vocabulary: int = 151_669

    @property
    def billions(self) -> float:
        """Parameters that a token passes through, in billions: all but the table of token vectors."""
        attention = self.width * self.head * 2 * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.width * self.inner) / 1e9


SHAPES = {
    "Qwen3-Embedding-0.6B": Shape(1_024, 3_072, 28, 16, 8, 128),
    "Qwen3-Embedding-8B": Shape(4_096, 12_288, 36, 32, 8, 128),
}


def card() -> list[Figure]:
    """Qwen3 shapes in bfloat16 on a graphics card: share of what its matrix products allow, and beside encode()."""
    import torch

    if not torch.cuda.is_available():
        print("There is no graphics card on this machine: nothing was measured.")
        return []
    figures: list[Figure] = []
    for name, shape in SHAPES.items():
        room = torch.cuda.mem_get_info()[0]
        if room < 2.5e9 * (shape.billions + 1):
            print(f"{name} needs more memory than the {room / 1e9:.0f} GB that are free: left out.")
            continue
        figures += measured(name, shape, device="cuda", many=_MANY)
    name, shape = next(iter(SHAPES.items()))  # the larger one would take a processor minutes
    return [*agreeing(name, shape, device="cuda"), *figures]


def measured(name: str, shape: Shape, *, device: str, many: int) -> list[Figure]:
    """Encode 24 and ``many`` sequences with random weights of a shape; print tokens a second and return the figures."""
    before = _taken(device)
    with tempfile.TemporaryDirectory() as place:
        encoder = _encoder(name, write_folder(Path(place), shape, device), "bfloat16", device)
        held = _taken(device) - before
        figures = _of_encoder(encoder, shape, many)
    del encoder
    gc.collect()
    give_back_memory()
    stays = (_taken(device) - before) / held if held else 0.0
    return [*figures, Figure(f"{name}: share of its memory that stays", stays, 0.05, at_most=True)]


def _of_encoder(encoder: SentenceEncoder, shape: Shape, many: int) -> list[Figure]:
    name, device, peak = encoder.spec.name, encoder.device, _matrix_rate(encoder.device)
    rates = {}
    for count in (_FEW, many):
        texts = _texts(count)
        tokens = sum(map(len, encoder.token_ids(texts)))
        seconds = _seconds(lambda texts=texts: _encoded(encoder, texts), device)  # type: ignore[misc]
        share = 2e9 * shape.billions * tokens / seconds / peak
        rates[count] = (texts, seconds, share)
        print(f"{name}, {count:,} sequences: {tokens / seconds:,.0f} tokens a second, {share:.0%} of the roofline")
    texts, ours, share = rates[many]
    theirs = _seconds(lambda: encoder.model.encode(list(texts), batch_size=64, show_progress_bar=False), device)
    return [
        Figure(f"{name}: share of the roofline, {many:,} sequences", share, 0.4),
        Figure(f"{name}: beside encode(batch_size=64)", theirs / ours, 1.3),
        *halved(name, encoder, texts, device),
    ]


def agreeing(name: str, shape: Shape, *, device: str, few: int = 8) -> list[Figure]:
    """Return how close the vectors of a shape on ``device`` are to those on the processor, in both number formats."""
    texts, figures = _texts(few), []
    with tempfile.TemporaryDirectory() as place:
        folder = write_folder(Path(place), shape, device)
        for dtype, least in (("float32", 0.9999), ("bfloat16", 0.999)):
            here, there = (_encoder(name, folder, dtype, one).encode(texts) for one in ("cpu", device))
            cosine = _least_cosine(here, there)
            figures.append(Figure(f"{name}: cosine to the processor's vectors, {dtype}", cosine, least))
    return figures


def _least_cosine(one: Matrix, other: Matrix) -> float:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(axis=1) / lengths).min())


def halved(name: str, encoder: SentenceEncoder, texts: Sequence[str], device: str) -> list[Figure]:
    """Leave too little memory for a batch: it must be halved, and give the vectors it gave before."""
    some = list(texts[:512])
    wanted, budget = encoder.encode(some), encoder.budget
    with (_full_memory if device == "cuda" else _simulated)(encoder):
        again = encoder.encode(some)
    cosine = _least_cosine(wanted, again)
    print(f"{name} with little memory: batches of {budget:,} tokens became {encoder.budget:,}")
    return [
        Figure(f"{name}: batches halved in a full memory", float(encoder.budget < budget), 1.0),
        Figure(f"{name}: cosine to the vectors before", cosine, 0.999),
    ]


@contextlib.contextmanager
def _full_memory(encoder: SentenceEncoder) -> Iterator[None]:
    """Leave 300 MB of the card's memory."""
    import torch

    torch.cuda.empty_cache()
    taken = torch.empty(torch.cuda.mem_get_info()[0] - (300 << 20), dtype=torch.uint8, device="cuda")
    yield
    del taken


@contextlib.contextmanager
def _simulated(encoder: SentenceEncoder) -> Iterator[None]:
    """Let the model fail as on a full card where a batch has more than 256 tokens; no memory is filled."""
    import torch

    encode = encoder.model.encode

    def failing(texts: Sequence[str], **named: Any) -> Any:
        if len(texts) > 1 and sum(map(len, encoder.token_ids(texts))) > _SIMULATED_TOKENS:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return encode(texts, **named)

    encoder.model.encode = failing
    yield
    encoder.model.encode = encode


def _taken(device: str) -> int:
    """Return the bytes of the card that are in use; 0 for a processor, whose libraries keep some of theirs."""
    import torch

    return int(torch.cuda.memory_allocated()) if device == "cuda" else 0


def _encoder(name: str, folder: Path, dtype: str, device: str) -> SentenceEncoder:
    spec = ModelSpec(name, LocalWeights(str(folder), digest="x" * 64), dtype=dtype)
    return SentenceEncoder(spec, folder, device=device)


def _texts(count: int) -> Sequence[str]:
    return make_sequences(PAPER_FAMILIES, per_family=-(-count // 6), length=50).texts[:count]


def write_folder(folder: Path, shape: Shape, device: str) -> Path:
    """Write a Qwen3 of ``shape`` with random weights in bfloat16, whose tokens are single digits, as Qwen's are."""
    import torch
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import Qwen3Config, Qwen3Model

    known = {token: number for number, token in enumerate((*SPECIAL, *map(chr, range(32, 127))))}
    made = Tokenizer(models.WordLevel(known, unk_token=UNKNOWN))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    made.post_processor = processors.TemplateProcessing(single=f"$A {LAST}", special_tokens=[(LAST, known[LAST])])
    made.save(str(folder / "tokenizer.json"))
    config = Qwen3Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head,
        max_position_embeddings=32_768,
        pad_token_id=known[PAD],
        eos_token_id=known[LAST],
        dtype="bfloat16",
    )
    torch.manual_seed(0)
    with torch.device(device):
        Qwen3Model(config).to(torch.bfloat16).save_pretrained(folder)  # type: ignore[arg-type]
    gc.collect()
    special = {"pad_token": PAD, "unk_token": UNKNOWN, "cls_token": FIRST, "eos_token": LAST}
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)
    ]
    pooling = {"word_embedding_dimension": shape.width, "pooling_mode_lasttoken": True}
    for name, value in {
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 32_768} | special,
        "modules.json": modules,
        "1_Pooling/config.json": pooling,
        "sentence_bert_config.json": {"max_seq_length": 32_768, "do_lower_case": False},
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(value))
    return folder


def _encoded(encoder: SentenceEncoder, texts: Sequence[str]) -> Matrix:
    batches = encoder.batches(texts)
    rows = [encoder.encode([texts[i] for i in batch]) for batch in batches]
    return np.concatenate(rows)[np.argsort([i for batch in batches for i in batch])]


def _matrix_rate(device: str) -> float:
    """Return the operations a second of a large product of matrices in bfloat16: what the roofline is made of."""
    import torch

    side = 8_192 if device == "cuda" else 512
    one, other = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2.0 * side**3 / _seconds(lambda: one @ other, device, rounds=10)


def _seconds(work: Callable[[], Any], device: str, *, rounds: int = ROUNDS) -> float:
    """Return the median seconds of the clock, the card's own work included; the first call only warms up."""
    import torch

    spent = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent[1:])
