"""Texts from outside: what no file, page or tokenizer can take is refused where it comes in."""

from __future__ import annotations

from numembed.core.errors import BadChoice


def whole_text(what: str, text: str) -> str:
    r"""Return ``text``; raise BadChoice where it holds half a character, as an escape such as \ud800 makes one."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = ascii(text[error.start])
        raise BadChoice(f"{what} contains {half}, which is half a character. Write the whole character.") from None
    return text
