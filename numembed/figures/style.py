"""What all figures have in common: colours, symbols, themes, the options of the chart library."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

PLOTLY_CONFIG = {"displaylogo": False, "showSendToCloud": False}

# Okabe and Ito's colours, told apart by colour-blind people, without their yellow, which white swallows
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6BB1", "#7F7F7F")
SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "x", "star", "triangle-down")
# of families and other groups of points: all that 2-D and 3-D have in common but "x", which in 3-D few fonts have
SIGNS = ("circle", "square", "diamond", "cross", "circle-open", "diamond-open", "square-open")
_EDGES = {"#E69F00": "#A87400", "#56B4E9": "#2A7FB0"}  # the light colours need one on white
THEMES = {
    "light": {"text": "#31333F", "line": "#E6E9EF"},
    "dark": {"text": "#FAFAFA", "line": "#3A3F4B"},
}
SHADES = {  # of a heat map, from none to all
    "light": [[0, "#FFFFFF"], [1, "#0B62A4"]],
    "dark": [[0, "#161A23"], [1, "#5CB3F0"]],
}
CLEAR = "rgba(0,0,0,0)"  # the page's own ground shows through
GREY = "#9AA0A6"  # of chance, and of what is no more than that
SIGNAL = PALETTE[4]
_GROUNDS = {"light": "#FFFFFF", "dark": "#171614"}  # the page's own


def edge(marks: dict[str, Any], theme: str) -> dict[str, Any]:
    """Return a trace to draw under thin ``marks``: their edge in the page's colour, so that they are seen on a bar."""
    marker = {"symbol": "line-ns", "size": marks["marker"]["size"] + 2, "line": {"width": 6, "color": _GROUNDS[theme]}}
    return marks | {"marker": marker, "showlegend": False, "hoverinfo": "skip"}


def figure_layout(theme: str, height: int, **changes: Any) -> dict[str, Any]:
    """Return what all figures have in common: ground, font, margins, legend, what hovering and dragging do.

    >>> figure_layout("dark", 300, showlegend=False)["font"]["color"]
    '#FAFAFA'
    """
    text = THEMES[theme]["text"]
    common = {
        "template": "none",
        "height": height,
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "margin": {"l": 10, "r": 16, "t": 16, "b": 10},
        "font": {"color": text, "size": 13, "family": "Source Sans, Source Sans Pro, sans-serif"},
        "colorway": list(PALETTE),
        "legend": legend(-0.16),
        "hoverlabel": {"align": "left"},
        "modebar": {"bgcolor": CLEAR, "color": text},
        "dragmode": False,
        "uirevision": "keep",
    }
    return common | changes


def legend(y: float, **changes: Any) -> dict[str, Any]:
    """Return a legend in a line, below ``y`` (0 is the lower edge of the plot, 1 the upper one)."""
    return {"orientation": "h", "x": 0, "y": y, "yanchor": "top", "itemsizing": "constant"} | changes


def value_axis(theme: str, title: str = "", **changes: Any) -> dict[str, Any]:
    """Return an axis for numbers, with its grid and the line at 0 in the theme's colours."""
    return {
        "title": {"text": title, "font": {"size": 13}, "standoff": 8},
        "automargin": True,
        "gridcolor": THEMES[theme]["line"],
        "zerolinecolor": GREY,
        "fixedrange": True,
    } | changes


def name_axis(**changes: Any) -> dict[str, Any]:
    """Return an axis for names: no grid, no marks, as much room as they need."""
    return {"automargin": True, "ticks": "", "showgrid": False, "zeroline": False, "fixedrange": True} | changes


def bare_axis(**changes: Any) -> dict[str, Any]:
    """Return an axis of a map, which means nothing by itself: no numbers, no grid."""
    return {"showticklabels": False, "showgrid": False, "zeroline": False, "ticks": "", "title": {"text": ""}} | changes


def framed_axis(theme: str, **changes: Any) -> dict[str, Any]:
    """Return an axis of a map inside a thin frame."""
    return bare_axis(showline=True, mirror=True, linecolor=THEMES[theme]["line"], **changes)


def sign(color: str, number: int, size: Any) -> dict[str, Any]:
    """Return the marker of a group's points: its sign is the same in 2-D and 3-D, and seen in both themes."""
    symbol, edge = SIGNS[number], _EDGES.get(color, color)
    is_open = symbol.endswith("-open")  # its line takes the colour of the marker, not that of its line
    line = {"width": 2 if is_open else int(edge != color), "color": edge}
    return {"color": edge if is_open else color, "symbol": symbol, "size": size, "line": line}


def note(text: str, theme: str, **place: Any) -> dict[str, Any]:
    """Return words written into a figure, at ``place`` as Plotly's annotations are placed."""
    return {"text": text, "showarrow": False, "font": {"size": 12, "color": THEMES[theme]["text"]}} | place


def plotly_text(text: str, *, most: int = 80) -> str:
    """Return user text so that Plotly shows it as it stands: no links, no markup, no templates, no MathJax.

    >>> plotly_text('<a href="https://x.y">odd</a> $x$ %{y}')
    '&lt;a href="https://x.y"&gt;odd&lt;/a&gt; ＄x＄ %\u200a{y}'
    """
    plain = "".join(" " if c in "\n\t" else c for c in text if c in "\n\t" or unicodedata.category(c)[0] != "C")
    short = plain if len(plain) <= most else plain[: most - 1] + "…"
    escaped = short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("$", "＄")
    return re.sub(r"%(?=\{)", "%\u200a", escaped)
