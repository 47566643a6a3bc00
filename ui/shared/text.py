"""User text as Streamlit's Markdown shows it."""

from __future__ import annotations

import re
import unicodedata


def md_text(text: str, *, most: int = 600) -> str:
    """Return user text so that Markdown shows it as it stands: no links, images, maths, icons or colours.

    Streamlit turns addresses into links even behind backslashes, so their dots and colons are held apart
    by a character of no width.

    >>> md_text("![x](http://a.b) *c*")
    '\\\\!\\\\[x\\\\]\\\\(http:\\u2060//a\\u2060.b\\\\) \\\\*c\\\\*'
    """
    plain = "".join(" " if c in "\n\r\t" else c for c in text if c in "\n\r\t" or unicodedata.category(c)[0] != "C")
    short = plain if len(plain) <= most else plain[: most - 1] + "…"
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|<>~$&^])", r"\\\1", short)
    escaped = re.sub(r":(?=\S)", ":\u2060", escaped)  # also icons, colours and http://
    return re.sub(r"(?<=\w)([.@])(?=[^\W\d])", "\u2060\\1", escaped)
