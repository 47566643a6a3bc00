"""A home folder of an earlier version opens in this one, and the same numbers come out of it.

``tests/fixtures/record.py`` recorded what the commands printed and the folder that they left. Names, fields and numbers
have to stay; sentences may be worded anew.
"""

from __future__ import annotations

import json
import math
import sqlite3
import tarfile
from pathlib import Path
from typing import Any

import pytest

from numembed.cli import main
from numembed.storage.vectors import VectorStore
from tests.fixtures.record import COMMANDS, FOLDER

TOLERANCE = 1e-6
PROSE = {  # fields that hold words for people
    *("sentence", "verdict", "chance", "help", "meaning", "note", "warning", "question", "test", "detail", "title"),
    *("arm", "name", "group", "variant", "over", "unit", "word"),
}
LATER_CLAIMS = (  # of the paper, tested since
    *("qwen_large", "qwen_small", "small_models", "tsne_distinct", "tsne_elongated", "scaling", "stable"),
    "higher_order",
)
LAYOUTS = ("tsne", "umap")  # iterative maps amplify the last bits in which processors differ


def differences(old: Any, new: Any, place: str = "") -> list[str]:
    """Return what of ``old`` is missing or different in ``new``: fields, names, and numbers beyond the tolerance."""
    match old, new:
        case dict(), dict():
            known = [field for field in old if field in new and not (field in PROSE and isinstance(old[field], str))]
            missing = [f"{place}.{field} is missing" for field in old if field not in new]
            return missing + [
                found for field in known for found in differences(old[field], new[field], f"{place}.{field}")
            ]
        case list(), list() if len(old) == len(new):
            pairs = enumerate(zip(old, new, strict=True))
            return [found for at, (one, other) in pairs for found in differences(one, other, f"{place}[{at}]")]
        case ((int() | float()), (int() | float())) if type(old) is not bool and type(new) is not bool:
            close = math.isclose(old, new, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
            return [] if close else [f"{place}: {old} became {new}"]
    return [] if old == new else [f"{place}: {str(old)[:80]!r} became {str(new)[:80]!r}"]


def printed(name: str, capsys: pytest.CaptureFixture[str]) -> list[Any]:
    """Return the JSON lines that the command prints now."""
    assert main([*COMMANDS[name], "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [row for row in rows if row.get("part") != "claim" or row["name"] not in LATER_CLAIMS]


def recorded(name: str, processor: str = "") -> list[Any]:
    """Return the JSON lines that the earlier version printed."""
    text = (FOLDER / processor / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def processors(name: str) -> tuple[str, ...]:
    """Return on which processors the earlier version was recorded.

    Without AVX-512 the library adds in another order, and k-means takes the other of two clusterings that are nearly as
    good: the same version gives other numbers there.
    """
    return ("", *(file.parent.name for file in FOLDER.glob(f"*/{name}.jsonl")))


def count(database: Path, table: str) -> int:
    """Return how many rows a table holds."""
    with sqlite3.connect(database) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.fixture
def old_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the earlier version; encoding a text anew fails the test."""
    with tarfile.open(FOLDER / "home.tar.xz") as archive:
        archive.extractall(home.parent, filter="data")

    def refuse(self: VectorStore, *arguments: object) -> None:
        raise AssertionError("texts were encoded although their vectors are stored")

    monkeypatch.setattr(VectorStore, "add", refuse)
    return home


@pytest.mark.parametrize("name", COMMANDS)
def test_an_old_home_is_served_as_it_is(name: str, old_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vectors, works = count(old_home / "cache.db", "vectors"), count(old_home / "app.db", "works")
    assert differences(recorded(name), printed(name, capsys)) == []
    assert (count(old_home / "cache.db", "vectors"), count(old_home / "app.db", "works")) == (vectors, works)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "paper"])  # it prints what earlier runs left
def test_results_are_computed_again_from_old_vectors(
    name: str, old_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without its results, the old home gives the same numbers: this is what a change of result keys costs."""
    with sqlite3.connect(old_home / "app.db") as connection:
        connection.execute("DELETE FROM results WHERE key NOT LIKE 'pinned:%' AND key NOT LIKE 'check:%'")
    new = printed(name, capsys)
    found = {}
    for processor in processors(name):
        old = recorded(name, processor)
        if name == "maps":
            old, new = ([row for row in rows if row.get("method") not in LAYOUTS] for rows in (old, new))
        assert len(old) > 0
        found[processor] = differences(old, new)
    assert [] in found.values(), found


def test_a_difference_is_found() -> None:
    row = {"model": "m", "value": 0.5, "note": "few", "rows": [1, None]}
    assert differences(row, row | {"value": 0.5 + 1e-8, "note": "too few", "more": 1}) == []
    assert differences(row, row | {"value": 0.6}) == [".value: 0.5 became 0.6"]
    assert differences(row, {name: row[name] for name in ("model", "value", "note")}) == [".rows is missing"]
    assert differences(row, row | {"rows": [1, 0]}) == [".rows[1]: 'None' became '0'"]
    assert differences(row, row | {"model": "n"}) == [".model: 'm' became 'n'"]
