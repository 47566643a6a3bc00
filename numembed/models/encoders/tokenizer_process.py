"""Texts split by one tokenizer.json. Also a program of its own: the question on standard input, the answer on output.

It imports nothing of this package: an unlisted model's tokenizer runs in a fresh process, which starts at once.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

_NUMBER = re.compile(r"-?[0-9]+")
_DIGIT = re.compile(r"[0-9]")


def answer(question: dict[str, Any]) -> dict[str, Any] | None:
    """Return the fields of a TokenCount; None for a file that is no tokenizer.

    The question: ``file``, ``prompt``, ``texts``, ``max_tokens``; ``added`` tokens that the file does not add itself,
    ``pieces_of`` how many texts.
    """
    tokenizer = _tokenizer(question["file"])
    if tokenizer is None:
        return None
    prompt, limit = question["prompt"], question["max_tokens"]
    encoded = tokenizer.encode_batch([prompt + text for text in question["texts"]])
    counts, numbers, read, with_digits, digits = [], [], [], 0, 0
    for text, one in zip(question["texts"], encoded, strict=True):
        special = sum(one.special_tokens_mask)
        missing = max(0, question.get("added", 0) - special)
        ends = [end - len(prompt) for _, end in one.offsets]
        content = [place for place, mark in enumerate(one.special_tokens_mask) if not mark]
        counts.append(len(one.ids) + missing)
        number_ends = [match.end() for match in _NUMBER.finditer(text)]
        kept = len(content) if limit is None else max(0, limit - special - missing)
        reach = len(text) if kept >= len(content) else ends[content[kept - 1]] if kept else 0
        numbers.append(len(number_ends))
        read.append(sum(end <= reach for end in number_ends))
        holding = [
            len(_DIGIT.findall(text[max(0, start - len(prompt)) : max(0, end - len(prompt))]))
            for (start, end) in one.offsets
        ]
        with_digits += sum(count > 0 for count in holding)
        digits += sum(holding)
    shown = list(zip(question["texts"], encoded, strict=True))[: question.get("pieces_of", 0)]
    return {
        "counts": counts,
        "max_tokens": limit,
        "numbers": numbers,
        "numbers_read": read,
        "digits_per_token": digits / with_digits if with_digits else 0.0,
        "tokens_per_number": with_digits / sum(numbers) if sum(numbers) else 0.0,
        "pieces": [_pieces(prompt + text, one) for text, one in shown],
    }


def _pieces(text: str, one: Any) -> list[str]:
    marks = zip(one.offsets, one.tokens, one.special_tokens_mask, strict=True)
    return [token if special else text[start:end] or token for (start, end), token, special in marks]


def _tokenizer(file: str) -> Any:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(file)
    except Exception:  # it raises nothing more precise; running the model will say what is wrong
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


if __name__ == "__main__":
    sys.stdout.write(json.dumps(answer(json.load(sys.stdin))))
