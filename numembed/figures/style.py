"""What all figures have in common: colours, symbols, themes, the options of the chart library."""

from __future__ import annotations

import re
import unicodedata

PLOTLY_CONFIG = {"displaylogo": False, "showSendToCloud": False}

# Okabe and Ito's colours, told apart by colour-blind people, without their yellow, which white swallows
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6BB1", "#7F7F7F")
SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "x", "star", "triangle-down")
SYMBOLS_3D = ("circle", "square", "diamond", "cross", "circle-open", "x", "diamond-open", "square-open")
THEMES = {
    "light": {"text": "#31333F", "line": "#E6E9EF"},
    "dark": {"text": "#FAFAFA", "line": "#3A3F4B"},
}
CLEAR = "rgba(0,0,0,0)"  # the page's own ground shows through


def plotly_text(text: str, *, most: int = 80) -> str:
    """Return user text so that Plotly shows it as it stands: no links, no markup, no templates, no MathJax.

    >>> plotly_text('<a href="https://x.y">odd</a> $x$ %{y}')
    '&lt;a href="https://x.y"&gt;odd&lt;/a&gt; ＄x＄ %\u200a{y}'
    """
    plain = "".join(" " if c in "\n\t" else c for c in text if c in "\n\t" or unicodedata.category(c)[0] != "C")
    short = plain if len(plain) <= most else plain[: most - 1] + "…"
    escaped = short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("$", "＄")
    return re.sub(r"%(?=\{)", "%\u200a", escaped)
