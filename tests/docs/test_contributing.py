"""The table of what to change to add a member: its paths are there, and its number of files is what it lists."""

from __future__ import annotations

import re

import pytest

from tests.docs.documents import ROOT, read

ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in read("CONTRIBUTING.md").partition("## To add")[2].splitlines()
    if line.startswith("| ") and not line.startswith("| a … ")
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_place_is_there_and_counted(row: tuple[str, ...]) -> None:
    _, what, where, files = row
    assert what
    for path in re.findall(r"`([\w./-]+)`", where):
        assert (ROOT / path).exists(), path
    assert int(files) == len(where.split(";"))
    assert re.sub(r"`[\w./-]+`(?: or |; )?", "", where) == "", "places are paths, joined by 'or' and ';'"


def test_the_table_names_everything_that_can_be_added() -> None:
    kinds = {row[0] for row in ROWS}
    assert kinds >= {
        *("family", "baseline", "merge", "catalogue model", "perturbation", "matching", "metric", "labelling", "map"),
        *("examination", "kind of weights", "kind of job", "stage of progress", "page"),
    }


def test_every_registry_has_a_row() -> None:
    code = [file.read_text(encoding="utf-8") for file in (ROOT / "numembed").rglob("*.py")]
    nouns = {noun for text in code for noun in re.findall(r'\bRegistry\("([\w ]+)"\)', text)}
    assert len(nouns) >= 8
    assert {"map" if noun == "projection" else noun for noun in nouns} <= {row[0] for row in ROWS}
