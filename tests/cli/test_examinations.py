"""Every number of a page is in the command line and in the export."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from numembed.core.serialization import as_plain
from numembed.core.settings import Settings
from numembed.examinations.clusters.compute import stored_explanation
from numembed.sequences.leakage import leakage
from numembed.studies.results import ResultStore
from numembed.studies.stored import stored_examination
from numembed.studies.study import Study
from tests.cli.calls import SMALL, Call

PLACES = {"nearest", "neighbours", "order", "tree", "twin"}  # numbers of rows or families: the command line names them
PAGES = {"explain": "grouping", "probe": "probes", "stress": "stress", "maps": "maps", "land": "landing"}


def _numbers(value: Any) -> Iterator[float]:
    """Every number of nested JSON values, but for places in lists."""
    if isinstance(value, dict):
        value = [one for name, one in value.items() if name not in PLACES]
    if isinstance(value, list):
        for one in value:
            yield from _numbers(one)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


@pytest.mark.slow
@pytest.mark.parametrize("verb", PAGES)
def test_every_number_of_a_page_is_in_the_command_line_and_in_the_export(
    call: Call, settings: Settings, tmp_path: Path, verb: str
) -> None:
    query = ("2, 4, 6",) if verb == "land" else ()
    asked = (verb, *query, "--models", "last_digits", "--families", "even", "odd", "primes", "--length", "20")
    plain = call(*asked)
    assert plain.code == 0 and plain.out.startswith("Last digits (seed 0). ") and plain.err == ""
    answer = call(*asked, "--json", "--out", str(tmp_path))
    first, *rows = answer.rows
    assert first["sentence"] and first["sentence"] in plain.out
    assert all(row["model"] == "Last digits" and row["seed"] == 0 and row["designs"] == 0 for row in rows)
    written = json.loads((tmp_path / "answers.json").read_text(encoding="utf-8"))
    study, (kept,) = Study.from_dict(written["study"]), written["answers"]
    assert kept["sentence"] == first["sentence"] and study.seed == 0
    with ResultStore(settings.app_db) as results:
        stored = stored_examination(study, study.models[0], PAGES[verb], results)
        explanation = stored_explanation(study, study.models[0], results)
    assert stored and kept["found"] == stored
    shown = [stored]
    if verb == "explain":
        assert explanation is not None and kept["explanation"] == as_plain(explanation)
        shown.append(as_plain(explanation))
    numbers = set(_numbers(shown))
    assert len(numbers) > 3 and numbers - set(_numbers(rows)) == set()


def test_what_the_sequences_give_away_is_reported_and_written(call: Call, tmp_path: Path) -> None:
    asked = ("sequences", "--families", "even", "odd", "squares", "--length", 30, "--seed", 3)
    first, *rows = call(*asked, "--json", "--out", tmp_path).rows
    study = Study.from_json((tmp_path / "study.json").read_text())
    found = leakage(study.sequences, token_counts=[0] * len(study.sequences), seed=3)
    assert study.families == ("even", "odd", "squares") and found.sentences[0] in first["sentence"]
    assert all(row["seed"] == 3 and row["design"].startswith("even, odd, squares") for row in rows)
    by_part = {part: [row for row in rows if row["part"] == part] for part in ("family", "shared", "clue")}
    assert [row["numbers"] for row in by_part["family"]] == found.shared.diagonal().tolist()
    assert [row["repeated"] for row in by_part["family"]] == found.repeated.tolist()
    assert [row["numbers"] for row in by_part["shared"]] == [found.shared[at] for at in ((0, 1), (0, 2), (1, 2))]
    for row, clue in zip(by_part["clue"][:2], found.clues[:2], strict=True):
        assert (row["named"], row["tried"], row["guessing"], row["p"], row["overlap"]) == (
            clue.named,
            clue.tried,
            clue.guessing,
            clue.p,
            clue.overlap,
        )
        assert row["values"] == clue.values.tolist()
    assert by_part["clue"][2]["name"] == "tokens" and min(by_part["clue"][2]["values"]) > 30
    assert (tmp_path / "leakage.csv").read_text().count("\n") == len(rows) + 1
    plain = call(*asked)
    assert plain.code == 0 and first["sentence"] in plain.out and "guessing" in plain.out


@pytest.mark.slow
def test_a_text_of_ones_own_lands_somewhere(call: Call) -> None:
    answer = call("land", "2, 4, 6, 8", "--models", "last_digits", "digit_counts", *SMALL, "--json")
    told = [row for row in answer.rows if "sentence" not in row]
    assert [row["model"] for row in told] == ["Last digits", "Digits"] and all(row["family"] for row in told)


@pytest.mark.slow
def test_matched_families_are_requested_by_name(call: Call) -> None:
    small = ("run", "--models", "string_length", "--families", "even", "cubes", "--per-family", "2", "--length", "8")
    plain, matched = call(*small, "--json"), call(*small, "--match", "length", "--json")
    assert matched.code == 0 and plain.rows[0]["value"] != matched.rows[0]["value"]
    assert call(*small, "--match", "colour").code == 2
