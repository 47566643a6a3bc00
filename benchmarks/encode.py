"""Encoding against SentenceTransformer.encode with its defaults: the bundled model, and SmolLM2 where it is here."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.measure import Figure, interleaved
from numembed.core.arrays import Matrix
from numembed.core.settings import Settings, read_settings
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.loading.devices import has_bfloat16
from numembed.models.resolve import known_folder

ROUNDS = 3
_GOALS = {"float32": (1.15, 0.5, 1e-5), "bfloat16": (1.8, 0.3, 1e-3)}  # of SmolLM2: gain, share, distance
_SIDE, _PRODUCTS = 2_048, 4  # of the product of matrices that tells what the processor can do


def mixed_texts(count: int, *, longest: int = 200, seed: int = 0) -> list[str]:
    """Return texts of 5 to ``longest`` numbers of 1 to 4 digits."""
    draw = random.Random(seed)
    return [
        ", ".join(str(draw.randrange(1, 10 ** draw.randrange(1, 5))) for _ in range(draw.randrange(5, longest + 1)))
        for _ in range(count)
    ]


def encoded(encoder: Any, texts: Sequence[str]) -> Matrix:
    """Return (n, d) as ``embed`` computes it: in the encoder's own batches."""
    matrix = np.empty((len(texts), encoder.model.get_embedding_dimension()), dtype=np.float32)
    for batch in encoder.batches(texts):
        matrix[batch] = encoder.encode([texts[i] for i in batch])
    return matrix


def encode() -> list[Figure]:
    """Token-sorted batches of about 1,000 tokens, beside encode() as it is by default, 32 texts a batch in float32."""
    encoder: Any = LoadedModel(read_settings()).get(model("all-MiniLM-L6-v2"))
    plain, texts = encoder.model, mixed_texts(192)
    encoded(encoder, texts[:16])
    plain.encode(texts[:16])
    theirs, ours = interleaved(lambda: plain.encode(texts), lambda: encoded(encoder, texts), rounds=ROUNDS)
    one, other = encoded(encoder, texts), plain.encode(texts)
    cosine = float((one * other).sum(axis=1).min())
    lengths = [len(ids) for ids in encoder.token_ids(texts)]
    padded = sum(max(lengths[i] for i in batch) * len(batch) for batch in encoder.batches(texts))
    single = np.concatenate([encoder.encode([text]) for text in texts[:32]])
    print(f"{len(texts)} texts, {sum(lengths):,} tokens: encode() {theirs:.2f} s, ours {ours:.2f} s of CPU")
    return [
        Figure("encode throughput", theirs / ours, 1.15),
        Figure("encode cosine to encode()", cosine, 0.99999),
        Figure("encode padding, share of tokens", 1 - sum(lengths) / padded, 0.03, at_most=True),
        Figure("encode single against batched", float(np.abs(single - one[:32]).max()), 1e-5, at_most=True),
        *_language_model(read_settings()),
    ]


def _language_model(settings: Settings) -> list[Figure]:
    """SmolLM2 in float32 and bfloat16, both beside encode() as it is by default: float32, in batches of 32."""
    if known_folder(model("smollm2").weights, settings) is None:
        print("SmolLM2 is not on this machine: run `python -m numembed get smollm2` to measure it as well.")
        return []
    formats = ["float32", "bfloat16"] if has_bfloat16("cpu") else ["float32"]
    if len(formats) == 1:
        print("This processor has no units for bfloat16: SmolLM2 is measured in float32 only.")
    texts, figures = mixed_texts(64, longest=20), []
    encoders: Any = [LoadedModel(settings).get(model(f"smollm2 dtype={numbers}")) for numbers in formats]
    works: list[Callable[[], object]] = []
    vectors: dict[int, Matrix] = {}
    for numbers, encoder in zip(formats, encoders, strict=True):
        works += [partial(_kept, vectors, len(works) + at, encoder, texts, ours=at == 1) for at in (0, 1)]
        works.append(_products(numbers))
        encoder.encode(texts[:4]), works[-1]()
    spent = interleaved(*works, rounds=ROUNDS)
    lengths, theirs, right = [len(ids) for ids in encoders[0].token_ids(texts)], spent[0], _unit(vectors[0])
    operations = _operations(encoders[0].model, lengths)
    for at, numbers in enumerate(formats):
        own, ours, products = spent[3 * at : 3 * at + 3]
        reached, possible = operations / ours / 1e9, 2 * _SIDE**3 * _PRODUCTS / products / 1e9
        print(f"SmolLM2 in {numbers}, {len(texts)} texts, {sum(lengths):,} tokens: its own encode() {own:.2f} s,")
        print(f"ours {ours:.2f} s of CPU; {reached:,.0f} of {possible:,.0f} GFLOP/s")
        apart = float(1 - (_unit(vectors[3 * at + 1]) * right).sum(axis=1).min())
        beside, share, farthest = _GOALS[numbers]
        figures += [
            Figure(f"encode SmolLM2 in {numbers}, beside encode() in float32", theirs / ours, beside),
            Figure(f"encode SmolLM2 in {numbers}, share of the rate of matrix products", reached / possible, share),
            Figure(f"encode SmolLM2 in {numbers}, 1 − cosine to encode() in float32", apart, farthest, at_most=True),
        ]
    return figures


def _kept(vectors: dict[int, Matrix], key: int, encoder: Any, texts: Sequence[str], *, ours: bool) -> None:
    """Encode in our batches or by encode() alone, and keep the vectors under ``key``."""
    vectors[key] = encoded(encoder, texts) if ours else encoder.model.encode(texts)


def _unit(matrix: Matrix) -> Any:
    """Return the rows at length one, in float64."""
    wide = np.asarray(matrix, dtype=np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def _products(numbers: str) -> Callable[[], object]:
    """Return the work of a few large products of matrices in a number format."""
    import torch

    one, other = (torch.randn(_SIDE, _SIDE, dtype=getattr(torch, numbers)) for _ in range(2))
    return lambda: [one @ other for _ in range(_PRODUCTS)]


def _operations(plain: Any, lengths: Sequence[int]) -> float:
    """Return the operations that texts of so many tokens need: padding and the table of token vectors need none."""
    decoder = plain[0].auto_model
    matrices = sum(one.numel() for name, one in decoder.named_parameters() if one.ndim > 1 and "embed" not in name)
    pairs = sum(length * (length + 1) / 2 for length in lengths)  # each token sees those before it, and itself
    width = decoder.config.num_attention_heads * decoder.config.head_dim
    return float(2 * matrices * sum(lengths) + 4 * width * decoder.config.num_hidden_layers * pairs)


def cut() -> list[Figure]:
    """Texts of 20,000 characters cut at a separator before they are tokenised, beside tokenising them whole."""
    encoder: Any = LoadedModel(read_settings()).get(model("all-MiniLM-L6-v2"))
    draw = random.Random(0)
    texts = [", ".join(str(draw.randrange(1, 10**4)) for _ in range(6_000))[:20_000] for _ in range(64)]
    whole, short = interleaved(
        lambda: encoder.token_ids(texts), lambda: encoder.token_ids(encoder._cut(texts)), rounds=ROUNDS
    )
    same = encoder.token_ids(texts) == encoder.token_ids(encoder._cut(texts))
    print(f"{len(texts)} texts: whole {whole:.3f} s, cut {short:.3f} s of CPU; identical ids: {same}")
    return [Figure("cut tokenising", whole / short, 4.0), Figure("cut identical ids", float(same), 1.0)]
