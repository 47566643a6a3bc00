"""A sortable table with selectable rows, as real HTML: readable by screen readers, phones and tests.

Streamlit's own data frame draws on a canvas and brings pandas and pyarrow into the web process
(85 MB); this one needs neither. Cells are set as text, never as markup.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from numembed.core.wording import LEAST_P, decimal, p_value, span
from ui.shared.frame import callback

_ASSETS = Path(__file__).parent / "table_files"


@dataclass(frozen=True)
class Column:
    """A column: ``kind`` is "text", "line" (never broken), "phrase" (a few words a line), "wide", "number", "interval"
    (a number on a line with its chance band) or "pieces" (a JSON list of the tokens of a text)."""

    title: str
    help: str = ""
    kind: str = "text"
    group: str = ""
    digits: int = 2
    better: str = ""  # "high" or "low": the best number is set in bold


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table; ``sort`` orders the column, None goes last."""

    text: str
    sort: float | str | None = None
    note: str = ""  # why there is no number, or more about it
    low: float | None = None  # chance band of an interval
    high: float | None = None
    baseline: float | None = None  # the best one's score: a tick
    random_weights: float | None = None  # score of the same architecture before training: a ring


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    *,
    key: str,
    label: str,
    selected: Sequence[int] = (),
    on_select: Callable[[], None] | None = None,
    muted: Sequence[int] = (),
    height: int | None = None,
) -> tuple[int, ...]:
    """Draw a table and return the numbers of the selected rows, in their order in ``rows``.

    ``muted`` rows are set apart (baselines). Without ``on_select`` rows cannot be selected.
    """
    data = {
        "label": label,
        "columns": json.dumps(columns, default=vars),
        "rows": json.dumps(rows, default=vars),
        "selected": json.dumps(sorted(selected)),
        "muted": json.dumps(list(muted)),
        "selectable": on_select is not None,
        "height": height or 0,
    }
    first = {"selected": {"rows": list(selected)}}
    chosen: Any = _component()(
        key=key, data=data, default=first, on_selected_change=callback(on_select or (lambda: None))
    )
    return _rows(chosen)


def selected_rows(key: str) -> tuple[int, ...]:
    """Return the numbers of the rows that were just selected in the table of that key, inside its ``on_select``."""
    return _rows(st.session_state[key])


def _rows(state: Any) -> tuple[int, ...]:
    return tuple(int(row) for row in (state.selected or {}).get("rows", ()))


def number(value: float | None, digits: int = 2, *, note: str = "") -> Cell:
    """Return a cell for a number; None and NaN become a dash that tells its note."""
    return Cell(decimal(value, digits), _sortable(value), note)


def p_cell(value: float | None, note: str = "") -> Cell:
    """Return a cell for a p value, with as many digits as the others of its column; a very small one has none."""
    known = _sortable(value)
    return Cell(p_value(value) if known is not None and known < LEAST_P else decimal(value, 3), known, note)


def interval_cell(
    low: float | None, high: float | None, note: str = "", *, digits: int = 2, sign: bool = False
) -> Cell:
    """Return a cell for a range, sorted by its middle."""
    sentence = span(low, high, digits, sign=sign)
    return Cell(sentence, None if low is None or high is None else _sortable((low + high) / 2), note)


def _sortable(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    html, css, js = ((_ASSETS / f"table.{part}").read_text(encoding="utf-8") for part in ("html", "css", "js"))
    return st.components.v2.component("numembed_table", html=html, css=css, js=js)
