"""What stands on standard output: aligned tables or one JSON object a line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]


def print_rows(rows: Sequence[Row], options: argparse.Namespace) -> int:
    """Print rows as the call asks; return exit code 0."""
    if options.json:
        print_lines(rows)
    else:
        print_table(rows)
    return 0


def print_lines(rows: Sequence[Row]) -> None:
    """Print one JSON object a line."""
    for row in rows:
        sys.stdout.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")


def print_table(rows: Sequence[Row]) -> None:
    """Print an aligned table."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    shown = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *shown, strict=True)]
    for line in [columns, *shown] if rows else []:
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n")


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list | tuple):  # --json prints them
        return f"{len(value)} values" if value else "–"
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return text if len(text) <= 90 else text[:89] + "…"
