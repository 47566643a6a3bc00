"""Encoding against SentenceTransformer.encode with its defaults, on the bundled model in float32."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.measure import Figure, interleaved
from numembed.core.arrays import Matrix
from numembed.core.settings import read_settings
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel

ROUNDS = 3


def mixed_texts(count: int, *, seed: int = 0) -> list[str]:
    """Return texts of 5 to 200 numbers of 1 to 4 digits."""
    draw = random.Random(seed)
    return [
        ", ".join(str(draw.randrange(1, 10 ** draw.randrange(1, 5))) for _ in range(draw.randrange(5, 201)))
        for _ in range(count)
    ]


def encoded(encoder: Any, texts: Sequence[str]) -> Matrix:
    """Return (n, d) as ``embed`` computes it: in the encoder's own batches."""
    matrix = np.empty((len(texts), 384), dtype=np.float32)
    for batch in encoder.batches(texts):
        matrix[batch] = encoder.encode([texts[i] for i in batch])
    return matrix


def encode() -> list[Figure]:
    """Token-sorted batches of about 1,000 tokens, beside encode() at its default batch of 32: CPU seconds."""
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
    ]


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
