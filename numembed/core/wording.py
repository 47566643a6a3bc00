"""How numbers, p values, counts and lists are written in sentences, tables and figures."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence

from numembed.core.errors import BadChoice

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
LEAST_P = 0.001  # a smaller p is not written out


def decimal(value: float | None, digits: int = 2) -> str:
    """Return a number with a real minus sign and no minus before zero; a dash for None and NaN.

    >>> decimal(-0.109), decimal(-0.001), decimal(0.1234, 3), decimal(None), decimal(math.nan)
    ('−0.11', '0.00', '0.123', '–', '–')
    """
    return "–" if _unknown(value) else f"{value:z.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 2) -> str:
    """Return a number with its sign, as a difference is written; a dash for None and NaN.

    >>> signed(0.271), signed(-0.109), signed(-0.0001, 3), signed(None)
    ('+0.27', '−0.11', '+0.000', '–')
    """
    return "–" if _unknown(value) else f"{value:+z.{digits}f}".replace("-", "−")


def span(low: float | None, high: float | None, digits: int = 2, *, sign: bool = False) -> str:
    """Return the range between two numbers, with ``sign`` that of a difference; a dash where an end is unknown.

    >>> span(-0.1, 0.25), span(-0.1, 0.25, 3, sign=True), span(0.1, math.nan)
    ('−0.10 to 0.25', '−0.100 to +0.250', '–')
    """
    written = signed if sign else decimal
    return "–" if _unknown(low) or _unknown(high) else f"{written(low, digits)} to {written(high, digits)}"


def percent(share: float | None, digits: int = 0) -> str:
    """Return a share as a percentage; a dash for None and NaN.

    >>> percent(5 / 24), percent(0.004), percent(0.0), percent(0.1234, 1), percent(math.nan)
    ('21%', 'under 1%', '0%', '12.3%', '–')
    """
    if share is None or math.isnan(share):
        return "–"
    return "under 1%" if not digits and 0 < share < 0.005 else f"{share:.{digits}%}".replace("-", "−")


def p_value(p: float | None) -> str:
    """Return a p value with as many digits as it deserves; a dash for None and NaN.

    >>> p_value(0.0004), p_value(0.0123), p_value(0.312), p_value(None)
    ('< 0.001', '0.012', '0.31', '–')
    """
    if p is None or math.isnan(p):
        return "–"
    return f"< {LEAST_P}" if p < LEAST_P else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def p_text(p: float | None) -> str:
    """Return a p value as it is given in a sentence.

    >>> p_text(0.0004), p_text(0.312)
    ('p < 0.001', 'p 0.31')
    """
    return f"p {p_value(p)}"


def small(value: float) -> str:
    """Return a number that may be very small, with two digits that count.

    >>> small(0.31), small(0.0000112), small(0)
    ('0.31', '1.1 × 10⁻⁵', '0')
    """
    digits, _, power = f"{value:.2g}".partition("e")
    return f"{digits} × 10{str(int(power)).translate(_RAISED)}" if power else digits


def plural(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun.

    >>> plural(1, "sequence"), plural(1200, "sequence"), plural(2, "family", "families")
    ('1 sequence', '1,200 sequences', '2 families')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listed(parts: Sequence[str], word: str = "and") -> str:
    """Return parts as an enumeration.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"], "or"), listed([])
    ('a', 'a and b', 'a, b or c', '')
    """
    return f" {word} ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def would_have_seen(what: str) -> str:
    """Return the sentence on the smallest difference that a test finds in four cases of five.

    >>> would_have_seen("a difference of about 0.04")
    'This design would have seen a difference of about 0.04 (80% power).'
    """
    return f"This design would have seen {what} (80% power)."


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


def parse_size(text: str) -> int:
    """Return the bytes of a size as people write it; raises BadChoice for what is none.

    >>> parse_size("5GB"), parse_size("1.5 mb"), parse_size("300")
    (5000000000, 1500000, 300)
    """
    found = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,6})?)\s*([kmgt]?)b?\s*", text, re.ASCII | re.IGNORECASE)
    if found is None:
        raise BadChoice(f"{text[:40]!r} is no size. Write a number and kB, MB, GB or TB, such as 5GB.")
    power: int = 3 * " kmgt".index(found[2].lower() or " ")
    return round(float(found[1]) * 10.0**power)


def moment(seconds: float | None) -> str:
    """Return a time of day and date, or a dash."""
    return time.strftime("%d %b %Y, %H:%M", time.localtime(seconds)) if seconds else "–"


def _unknown(value: float | None) -> bool:
    return value is None or math.isnan(value)
