"""docs/benchmarks.md: the rows of the benchmarks that ran are replaced, all other rows stay."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Figure

REPORT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
LIBRARIES = ("numpy", "scikit-learn", "torch", "transformers", "streamlit")

Row = tuple[str, ...]  # cells; the first one is the benchmark's name


@dataclass(frozen=True)
class Ran:
    """A benchmark that ran: what it compares, and its figures."""

    name: str
    about: str
    figures: tuple[Figure, ...]

    @property
    def rows(self) -> list[Row]:
        """Its rows of the table of figures."""
        return [
            (self.name, one.name, f"{one.value:,.4g}", one.sign_and_goal, "reached" if one.reached else "**missed**")
            for one in self.figures
        ]


def write_report(file: Path, ran: Sequence[Ran], order: Sequence[str]) -> None:
    """Replace the rows of the benchmarks that measured something in both tables of ``file``; ``order`` sorts them."""
    measured = [one for one in ran if one.figures]
    where = (datetime.date.today().isoformat(), machine(), versions())
    runs = [(one.name, one.about, f"`python -m benchmarks {one.name}`", *where) for one in measured]
    text = file.read_text(encoding="utf-8")
    text = replaced(text, "figures", {one.name: one.rows for one in measured}, order)
    text = replaced(text, "runs", {row[0]: [row] for row in runs}, order)
    file.write_text(text, encoding="utf-8")


def replaced(text: str, table: str, rows: Mapping[str, Sequence[Row]], order: Sequence[str]) -> str:
    """Return ``text`` with new rows for some benchmarks in the table between its markers; the others' rows stay.

    >>> text = "<!-- t -->\\n| name | x |\\n|---|---|\\n| `a` | 1 |\\n| `b` | 2 |\\n<!-- end of t -->"
    >>> print(replaced(text, "t", {"a": [("a", "3")]}, ["b", "a"]))
    <!-- t -->
    | name | x |
    |---|---|
    | `b` | 2 |
    | `a` | 3 |
    <!-- end of t -->
    """
    before, head, rest = text.partition(f"<!-- {table} -->\n")
    body, tail, after = rest.partition(f"<!-- end of {table} -->")
    if not head or not tail:
        raise SystemExit(f"The markers of the table {table!r} are missing; restore them and run again.")
    title, line, *lines = body.splitlines()
    kept = [one for one in lines if _name(one) not in rows]
    new = [_line(row) for name in rows for row in rows[name]]
    places = {name: place for place, name in enumerate(order)}
    ordered = sorted([*kept, *new], key=lambda one: places.get(_name(one), len(places)))
    return before + head + "\n".join([title, line, *ordered]) + "\n" + tail + after


def machine() -> str:
    """Return what the figures were measured on: cores, processor and system."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    parts = [f"{os.cpu_count()} cores, {next(named, platform.processor() or platform.machine())}, {platform.system()}"]
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)


def versions() -> str:
    """Return the versions of Python and of the libraries that decide how quick the program is."""
    return ", ".join([f"Python {platform.python_version()}", *map(_version, LIBRARIES)])


def _version(library: str) -> str:
    return f"{library} {importlib.metadata.version(library)}"


def _line(row: Row) -> str:
    return _joined((f"`{row[0]}`", *(cell.replace("|", "\\|") for cell in row[1:])))


def _joined(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _name(line: str) -> str:
    return line.split("|")[1].strip().strip("`")
