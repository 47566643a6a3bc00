"""The same architecture before any training: what a model's scores are held against."""

from __future__ import annotations

from typing import Any

_MARK = "_is_hf_initialized"  # what transformers leaves alone when it draws weights; taken off, all are drawn


def draw_weights(model: Any, seed: int) -> tuple[str, ...]:
    """Replace all that a SentenceTransformer in memory has learnt by what its architecture begins with, in place.

    Transformers draw as their own classes say, layers behind them as torch does; a table of token vectors gets normal
    numbers of its own scale. Everything is emptied before it is drawn, so that nothing learnt can stay: returned are
    the names of what nobody has drawn, (), where all went well. On a processor the numbers depend on the seed alone.
    """
    import torch
    from transformers import PreTrainedModel

    if packed := tuple(name for name, weight in model.named_parameters() if not weight.is_floating_point()):
        return packed
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        tables = [part.embedding.weight for part in model.modules() if type(part).__name__ == "StaticEmbedding"]
        scales = [float(table.float().std()) for table in tables]
        _empty(model)
        for table, scale in zip(tables, scales, strict=True):
            table.normal_(0, scale)
        for part in model.modules():
            if isinstance(part, PreTrainedModel):
                part.initialize_weights()  # type: ignore[no-untyped-call]
        for part in model.modules():
            if hasattr(part, "reset_parameters") and any(map(_is_empty, part.parameters(recurse=False))):
                part.reset_parameters()
        return tuple(name for name, tensor in model.state_dict().items() if _is_empty(tensor))


def _empty(model: Any) -> None:
    """Fill with NaN what a file of weights would hold of ``model``; tables of positions are computed and stay."""
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.fill_(float("nan"))
    for marked in (*model.modules(), *model.parameters(), *model.buffers()):
        if hasattr(marked, _MARK):
            delattr(marked, _MARK)


def _is_empty(tensor: Any) -> bool:
    return bool(tensor.is_floating_point() and tensor.sum().isnan())
