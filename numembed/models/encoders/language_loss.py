"""How well a decoder still predicts the next token, from the vectors that it is read by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from numembed.models.files.folders import read_json
from numembed.models.files.tensors import modules_of
from numembed.models.loading.loader import transformer_of

if TYPE_CHECKING:
    from numembed.models.encoders.interface import Encoder

DECODERS = ("qwen2", "qwen3", "llama", "mistral", "gemma", "gemma2", "gemma3_text", "gpt2", "phi3", "olmo2", "smollm3")
_TIED = ("gemma", "gemma2", "gemma3_text", "gpt2")  # also where their settings do not say so
_LARGEST_TABLE = 64_000_000  # numbers; larger ones would take as long as the candidate itself


def predicts_tokens(folder: Path) -> bool:
    """Return whether a model folder holds a decoder whose output head is its token embedding; reads no weights."""
    config = read_json(folder / modules_of(folder)[0] / "config.json")
    kind = config.get("model_type")
    return kind in DECODERS and bool(config.get("tie_word_embeddings", kind in _TIED))


def language_loss(encoder: Encoder, texts: Sequence[str]) -> float | None:
    """Return the mean loss of a decoder over the next tokens of ``texts``, in nats; None where it predicts none.

    That is for encoders, for decoders whose attention looks ahead, and where the output head is no copy of the token
    embedding: an embedding model's files hold no other.
    """
    from numembed.models.encoders.encoder import SentenceEncoder

    if not isinstance(encoder, SentenceEncoder) or encoder.spec.loading.causal is False:
        return None
    holder = transformer_of(encoder.model)
    if holder is None or not predicts_tokens(encoder.folder):
        return None
    table = holder.auto_model.get_input_embeddings().weight
    if table.numel() > _LARGEST_TABLE:
        return None
    rows = np.asarray(table.detach().float().cpu().numpy())
    losses = [_losses(encoder.token_vectors(text), rows, encoder.token_ids([text])[0]) for text in texts]
    all_losses = np.concatenate(losses) if losses else np.zeros(0)
    return float(all_losses.mean()) if len(all_losses) and np.isfinite(all_losses).all() else None


def _losses(hidden: NDArray[np.float32], table: NDArray[np.float32], ids: Sequence[int]) -> NDArray[np.float64]:
    """Return the loss (tokens − 1,) of each next token."""
    count = min(len(hidden), len(ids))
    if count < 2:
        return np.zeros(0)
    logits = np.asarray(hidden[: count - 1] @ table.T, dtype=np.float64)
    highest = logits.max(axis=1, keepdims=True)
    totals = np.log(np.exp(logits - highest).sum(axis=1)) + highest[:, 0]
    values: NDArray[np.float64] = totals - logits[np.arange(count - 1), list(ids[1:count])]
    return np.where(np.isnan(values), math.inf, values)
