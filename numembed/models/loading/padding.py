"""The token that fills up shorter texts of a batch, also where a tokenizer names none that its model knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_NAMED = ("eos_token", "sep_token", "bos_token", "cls_token", "unk_token")  # the end-of-text token first


def token_rows(model: Any) -> int | None:
    """Return how many tokens a SentenceTransformer has vectors for; None where it does not say."""
    first = model[0]
    if hasattr(first, "auto_model"):
        try:
            table = first.auto_model.get_input_embeddings()
        except (NotImplementedError, AttributeError):  # it has no single table
            return None
    else:
        table = getattr(first, "embedding", None)
    weight = getattr(table, "weight", None)
    return int(weight.shape[0]) if weight is not None else None


def exceeded_rows(model: Any) -> int | None:
    """Return how many tokens a model has vectors for, where its tokenizer has more; None where all is well."""
    rows = token_rows(model)
    return rows if rows is not None and tokens_of(model.tokenizer) > rows else None


def tokens_of(tokenizer: Any) -> int:
    """Return how many tokens a tokenizer can give; a static model's is the bare Rust one."""
    return len(tokenizer) if hasattr(tokenizer, "__len__") else int(tokenizer.get_vocab_size())


def ensure_padding(model: Any) -> None:
    """Let the tokenizer of a SentenceTransformer fill up texts with a token that its model has a vector for.

    The attention mask keeps such tokens out of attention and pooling, so any token will do. They follow the text:
    before it they would move its positions where those are numbered from the left.
    """
    tokenizer, rows = model.tokenizer, token_rows(model)
    if not hasattr(tokenizer, "pad_token_id"):
        return
    if _fits(tokenizer.pad_token_id, rows):
        return
    for token in _candidates(model, tokenizer):
        if token is not None and _fits(tokenizer.convert_tokens_to_ids(token), rows):
            tokenizer.pad_token, tokenizer.padding_side = token, "right"
            return


def _candidates(model: Any, tokenizer: Any) -> Iterator[str | None]:
    config = getattr(model[0].auto_model, "config", None)
    if _fits(own := getattr(config, "pad_token_id", None), tokens_of(tokenizer)):
        yield tokenizer.convert_ids_to_tokens(own)  # what the model itself takes for padding
    yield from (getattr(tokenizer, name, None) for name in _NAMED)
    yield tokenizer.convert_ids_to_tokens(0)


def _fits(number: Any, rows: int | None) -> bool:
    return isinstance(number, int) and number >= 0 and (rows is None or number < rows)
