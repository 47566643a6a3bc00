"""The tokenizer of the models that are made here: a number is read in groups of three digits, from its end.

"12345" is the two tokens "12" and "▁345": a group that begins a number and a group inside one are distinguished, so a
number's last digits are the same token however long it is, and the usual separator ", " needs no token of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

PAD, UNKNOWN, FIRST, LAST = "[PAD]", "[UNK]", "[CLS]", "[EOS]"
SPECIAL = (PAD, UNKNOWN, FIRST, LAST)
INNER = "▁"  # before a group that does not begin its number
SEPARATOR = ", "  # needs no token: a group that begins a number shows where it begins

_INSIDE = r"(?<=[0-9])(?=(?:[0-9]{3})++(?![0-9]))"  # where a later group begins; a zero-width place
_PIECE = rf"{INNER}[0-9]{{3}}|[0-9]{{1,3}}|[\s\S]"


def vocabulary() -> dict[str, int]:
    """Return the number of each token: the special ones, printable characters, first groups, inner groups.

    >>> [vocabulary()[token] for token in ("[PAD]", "7", "007", "▁007")]
    [0, 96, 206, 1206]
    """
    characters = [chr(code) for code in range(32, 127) if not chr(code).isdigit()]
    firsts = [f"{number:0{width}}" for width in (1, 2, 3) for number in range(10**width)]
    inner = [f"{INNER}{number:03}" for number in range(1000)]
    return {token: number for number, token in enumerate((*SPECIAL, *characters, *firsts, *inner))}


def write_tokenizer(folder: Path, *, ends: Literal["first", "last"], max_tokens: int) -> None:
    """Write the tokenizer's files into ``folder``; every text gets the token [CLS] before it, or [EOS] behind it."""
    (folder / "tokenizer.json").write_text(_tokenizer(ends).to_str(pretty=False), encoding="utf-8")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_tokens,
        "padding_side": "right",
        "pad_token": PAD,
        "unk_token": UNKNOWN,
        "cls_token": FIRST,
        "eos_token": LAST,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def _tokenizer(ends: Literal["first", "last"]) -> Any:
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    known = vocabulary()
    made = Tokenizer(models.WordLevel(known, unk_token=UNKNOWN))
    made.normalizer = normalizers.Sequence(
        [normalizers.Replace(INNER, "\N{REPLACEMENT CHARACTER}"), normalizers.Replace(Regex(_INSIDE), INNER)]
    )
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(SEPARATOR, "removed"), pre_tokenizers.Split(Regex(_PIECE), "isolated")]
    )
    mark = FIRST if ends == "first" else LAST
    written = f"{mark} $A" if ends == "first" else f"$A {mark}"
    made.post_processor = processors.TemplateProcessing(single=written, special_tokens=[(mark, known[mark])])
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return made
