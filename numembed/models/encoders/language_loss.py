"""How well a language model still predicts the next token, by the library's own class around the loaded weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from numembed.models.encoders.checks import direction_of
from numembed.models.encoders.failures import text_failures
from numembed.models.loading.loader import described_faults, transformer_of

if TYPE_CHECKING:
    from numembed.models.encoders.encoder import SentenceEncoder
    from numembed.models.encoders.interface import Encoder

_log = logging.getLogger(__name__)
_LARGEST_TABLE = 64_000_000  # numbers; larger ones would take as long as the candidate itself


def predicts_tokens(encoder: Encoder) -> bool:
    """Return whether :func:`language_loss` has a value for this model, whatever the texts."""
    return _language_model(encoder) is not None


def language_loss(encoder: Encoder, texts: Sequence[str]) -> float | None:
    """Return the mean loss of a decoder over the next tokens of ``texts``, in nats; None where it predicts none.

    That is for encoders, for decoders whose attention looks ahead, and where the output head has weights of its own:
    an embedding model's files hold none. Raises AcceleratorLost, ModelUnavailable where memory does not suffice,
    TextFailed.
    """
    whole = _language_model(encoder)
    if whole is None:
        return None
    own = cast("SentenceEncoder", encoder)
    own.put_in_place()
    with described_faults(own.spec), text_failures(own.spec, texts):
        losses = [_losses(_logits(whole, ids), ids) for ids in own.token_ids(texts)]
    all_losses = np.concatenate(losses) if losses else np.zeros(0)
    return float(all_losses.mean()) if len(all_losses) and np.isfinite(all_losses).all() else None


def _language_model(encoder: Encoder) -> Any:
    """Return the library's language model around the loaded weights; None where it predicts no tokens."""
    from numembed.models.encoders.encoder import SentenceEncoder

    if not isinstance(encoder, SentenceEncoder) or encoder.spec.loading.causal is False:
        return None
    holder = transformer_of(encoder.model)
    if holder is None or holder.auto_model.get_input_embeddings().weight.numel() > _LARGEST_TABLE:
        return None
    try:
        whole = _with_head(holder.auto_model)
    except Exception:  # whatever a class says to settings that fit it without a head only
        _log.info("no language model of %s", encoder.spec.name, exc_info=True)
        return None
    return whole if whole is not None and direction_of(encoder) == "causal" else None


def _with_head(base: Any) -> Any:
    """Return the library's language model around loaded weights; None where its head needs weights of its own."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    if type(base.config) not in MODEL_FOR_CAUSAL_LM_MAPPING or getattr(base.config, "is_decoder", None) is False:
        return None
    library: Any = AutoModelForCausalLM
    with torch.device("meta"):
        whole = library.from_config(base.config).eval()
    if type(whole.base_model) is not type(base):
        return None
    setattr(whole, whole.base_model_prefix, base)
    whole.tie_weights()
    return None if any(tensor.is_meta for tensor in (*whole.parameters(), *whole.buffers())) else whole


def _logits(whole: Any, ids: Sequence[int]) -> NDArray[np.float64]:
    """Return the logits (tokens, vocabulary) of one text."""
    import torch

    with torch.no_grad():
        logits = whole(input_ids=torch.tensor([list(ids)], device=whole.device), use_cache=False).logits[0]
    return np.asarray(logits.float().cpu().numpy(), dtype=np.float64)


def _losses(logits: NDArray[np.float64], ids: Sequence[int]) -> NDArray[np.float64]:
    """Return the loss (tokens − 1,) of each next token."""
    if len(ids) < 2:
        return np.zeros(0)
    logits = logits[:-1]
    highest = logits.max(axis=1, keepdims=True)
    totals = np.log(np.exp(logits - highest).sum(axis=1)) + highest[:, 0]
    values: NDArray[np.float64] = totals - logits[np.arange(len(ids) - 1), list(ids[1:])]
    return np.where(np.isnan(values), math.inf, values)
