"""What a model's configuration files say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_AFTER_PADDING = ("roberta", "camembert", "mpnet", "xmod", "longformer")  # their positions begin behind the padding's
_UNUSED_PARTS = (  # heads that an embedding never passes through
    *("pooler", "lm_head", "cls.", "classifier", "score.", "qa_outputs", "mlm_head", "generator", "predictions"),
    *("position_ids", "rotary_emb", "vision", "audio", "multi_modal"),
)


def read_json(file: Path | None) -> dict[str, Any]:
    """Return the JSON object in ``file``; {} where there is none."""
    try:
        result = json.loads(file.read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return result if isinstance(result, dict) else {}


def positions_of(config: dict[str, Any]) -> int | None:
    """Return how many tokens a transformer with this config.json has places for; None where it does not say.

    >>> positions_of({"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1})
    512
    """
    positions = config.get("max_position_embeddings")
    if type(positions) is not int or positions <= 0:
        return None
    if any(kind in str(config.get("model_type")) for kind in _AFTER_PADDING):
        positions -= (config.get("pad_token_id") or 0) + 1
    return positions


def is_used(name: str) -> bool:
    """Return False for weights that an embedding never passes through: poolers, output heads, tables of positions."""
    return not any(part in name for part in _UNUSED_PARTS)
