"""Ladders, adapters and merges from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from numembed.merge_experiment.experiment import ExperimentResult
from tests.cli.calls import Call

pytestmark = pytest.mark.slow


# --- kills and the command line


_FAMILIES = ("multiples", "lucky", "happy")
_OPTIONS = ("--steps", "4", "--seeds", "0", "1", "--rank", "2", "--points", "3", "--families", *_FAMILIES)


def test_the_command_line_runs_prints_and_writes(call: Call, tmp_path: Path, tiny_model: Path) -> None:
    options = (*_OPTIONS, "--base", tiny_model, "--paths", "linear", "slerp")
    answer = call("ladder", *options, "--out", tmp_path / "out")
    assert answer.code == 0 and answer.err == ""
    assert (
        "redrawn" not in answer.out
        and "Linear, seeds 0 and 1, t = 0.5" in answer.out
        and "SLERP and Linear differ by" in answer.out
    )
    again = call("ladder", "--ladder", tmp_path / "out" / "ladder.json", "--json")
    candidates = [row for row in again.rows if "arm" in row]
    assert len(candidates) == 1 + 2 * 3 and candidates[0]["spearman"] == pytest.approx(1)
    assert any("verdict" in row for row in again.rows) and any("comparison" in row for row in again.rows)
    redrawn = call("ladder", *options, "--designs", 3)
    assert "On 3 redrawn choices of windows" in redrawn.out and "Over 3 redrawn choices of windows" in redrawn.out
    listed = [row["redrawn"] for row in call("ladder", *options, "--designs", 3, "--json").rows if "redrawn" in row]
    assert [one["name"] for one in listed] == ["base", "linear", "slerp"] and listed[0]["low"] < listed[0]["mean"]
    lines = (tmp_path / "out" / "arms.csv").read_text().splitlines()
    assert len(lines) == 1 + len(candidates) and lines[0].startswith(
        "path,arm,at,spearman,spearman low,spearman high,cka"
    )
    everything = json.loads((tmp_path / "out" / "found.json").read_text())
    assert ExperimentResult.from_json(everything).complete
    listed = call("runs", "--json").rows
    assert [row["state"] for row in listed] == ["done"] * 4 and "ladder" in listed[0]["study"]


def test_the_command_line_adapts_folds_and_merges(call: Call, tmp_path: Path, tiny_model: Path) -> None:
    place = tmp_path / "adapters"
    options = ("--steps", "4", "--seeds", "0", "1", "--rank", "2", "--families", *_FAMILIES, "--base", tiny_model)
    trained = call("adapt", *options, "--out", place, "--json").rows
    assert [(row["seed"], row["step"]) for row in trained] == [(0, 2), (0, 4), (1, 2), (1, 4)]
    first, second = trained[1]["folder"], trained[3]["folder"]
    folded = call(
        "merge", "fold", "--parts", first, "--base", tiny_model, "--scale", 0.5, "--out", tmp_path / "folded", "--json"
    )
    space = ("--space", "task_vectors", "--t", 0.25)
    merged = call(
        "merge", "slerp", "--parts", first, second, "--base", tiny_model, *space, "--out", tmp_path / "merged", "--json"
    )
    for answer, name in ((folded, "folded"), (merged, "merged")):
        assert answer.code == 0 and answer.rows[0]["update"] > 0 and answer.rows[0]["lost"] == 0
        assert (tmp_path / name / "modules.json").is_file()
        assert (tmp_path / name / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("merge", "fold", "--parts", "a", "--out", "new"), "give --base"),
        (("merge", "slerp", "--parts", "ADAPTER", "ADAPTER", "--out", "new"), "is an adapter"),
        (("merge", "slerp", "--parts", "MODEL", "--out", "new"), "merges exactly 2 models, got 1"),
        (("merge", "slerp", "--parts", "MODEL", "MODEL", "--out", "MODEL"), "exists already"),
        (("merge", "ties", "--parts", "MODEL", "MODEL", "--out", "new"), "needs the base"),
        (("adapt", "--base", "MODEL", "--families", "even", "odd", "--training", "paper"), "not both"),
        (("adapt", "--base", "MODEL", "--families", "even", "triangular"), "leaks"),
        (("adapt", "--base", "last_digits"), "cannot be"),
        (("ladder", "--base", "MODEL", "--points", "1"), "3 to 41"),
        (("ladder", "--ladder", "/no/such/file"), "no saved experiment"),
        (("ladder", "--base", "MODEL", "--seeds", "0", "--paths", "slerp"), "needs more seeds"),
    ],
)
def test_a_wrong_call_is_one_sentence(
    call: Call, tmp_path: Path, tiny_model: Path, arguments: tuple[str, ...], told: str
) -> None:
    from tests.lora import write_adapter

    adapter = write_adapter(tmp_path / "adapter", tiny_model)
    places = {"MODEL": str(tiny_model), "ADAPTER": str(adapter), "new": str(tmp_path / "new")}
    answer = call(*(places.get(one, one) for one in arguments))
    assert answer.code == 1 and told in answer.err and answer.err.startswith("numembed: "), answer.err
    assert not (tmp_path / "new").exists()
