"""How many tokens a model reads, counted with its own tokenizer alone: no torch, milliseconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numembed.models.checkpoints import known_folder
from numembed.models.spec import ModelSpec

_NO_LIMIT = 1_000_000  # tokenizers write 1e30 where they mean "no limit"


@dataclass(frozen=True)
class TokenCount:
    """Tokens of some texts, before any is cut off, and the most that the model reads."""

    counts: tuple[int, ...]
    max_tokens: int | None

    @property
    def truncated(self) -> int:
        """How many texts are longer than the model reads."""
        return sum(count > self.max_tokens for count in self.counts) if self.max_tokens else 0


def count_tokens(spec: ModelSpec, texts: Sequence[str]) -> TokenCount | None:
    """Return the tokens of each text with ``spec``'s prompt; None where its tokenizer is not here or not readable."""
    folder = known_folder(spec.weights)
    if folder is None or not (tokenizer_file := _find(folder, "tokenizer.json")):
        return None
    tokenizer = _tokenizer(tokenizer_file)
    if tokenizer is None:
        return None
    encoded = tokenizer.encode_batch([spec.prompt + text for text in texts])
    return TokenCount(tuple(len(one.ids) for one in encoded), spec.max_tokens or max_tokens(folder))


def max_tokens(folder: Path) -> int | None:
    """Return the most tokens that the model in ``folder`` reads, or None where it says nothing."""
    for file, field in (
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
        ("config.json", "max_position_embeddings"),
    ):
        value = _read(_find(folder, file)).get(field)
        if isinstance(value, int | float) and 0 < value < _NO_LIMIT:
            return int(value)
    return None


def _read(file: Path | None) -> dict[str, Any]:
    try:
        plain = json.loads(file.read_text(encoding="utf-8")) if file else {}
    except ValueError:
        return {}
    return plain if isinstance(plain, dict) else {}


def _find(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / "0_Transformer" / name) if path.is_file()), None)


def _tokenizer(file: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception:  # it raises nothing more precise; running the model will say what is wrong
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
