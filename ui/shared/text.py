"""User text in pages, and the sentences that more than one page says."""

from __future__ import annotations

import re
import time
import unicodedata

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


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


def duration(seconds: float | None) -> str:
    """Return seconds as people say them.

    >>> duration(0.4), duration(75), duration(120), duration(3600), duration(None)
    ('under 1 s', '1 min 15 s', '2 min', '1 h', '–')
    """
    if seconds is None:
        return "–"
    if seconds < 1:
        return "under 1 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    parts = ((whole // 3600, "h"), (whole % 3600 // 60, "min"), (whole % 60 if whole < 3600 else 0, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def about(seconds: float) -> str:
    """Return an estimate as people say it, no finer than it can be.

    >>> about(0.4), about(75), about(1701)
    ('under 1 s', 'about 1 min 15 s', 'about 28 min')
    """
    if seconds < 1:
        return duration(seconds)
    return f"about {round(seconds / 60)} min" if 600 <= seconds < 3600 else f"about {duration(seconds)}"


def size(size_bytes: float) -> str:
    """Return bytes as people say them.

    >>> size(1500), size(3_200_000)
    ('2 kB', '3.2 MB')
    """
    if size_bytes < 1_000_000:
        return f"{max(1, round(size_bytes / 1000)) if size_bytes else 0} kB"
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes < 1e9 else f"{size_bytes / 1e9:.1f} GB"


def small(value: float) -> str:
    """Return a number that may be very small, with two digits that count.

    >>> small(0.31), small(0.0000112), small(0)
    ('0.31', '1.1 × 10⁻⁵', '0')
    """
    digits, _, power = f"{value:.2g}".partition("e")
    return f"{digits} × 10{str(int(power)).translate(_RAISED)}" if power else digits


def moment(seconds: float | None) -> str:
    """Return a time of day and date, or a dash."""
    return time.strftime("%d %b %Y, %H:%M", time.localtime(seconds)) if seconds else "–"


def plural(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun.

    >>> plural(1, "sequence"), plural(1200, "sequence"), plural(2, "family", "families")
    ('1 sequence', '1,200 sequences', '2 families')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
