"""What the makers of a model set for every encoding, on the command line: said before a run, and switched off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import tiny
from tests.cli.calls import SMALL, Call


@pytest.mark.slow
def test_a_run_says_what_the_makers_set_and_two_rows_differ(call: Call, tmp_path: Path) -> None:
    folder = tiny.write_model(tmp_path / "mine")
    settings = {"prompts": {"query": "7: "}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    answer = call("run", "--models", f"'{folder}'", f"{folder} prompt=none", *SMALL, "--json")
    assert answer.code == 0, answer.err
    told = "Its makers put “7: ” before every text"
    assert f"numembed: mine: {told}; add prompt=none to its name to leave it out." in answer.err
    assert f"numembed: mine prompt=none: {told}; it is left out here, as requested." in answer.err
    values = {(row["model"], row["metric"], row["labels"]): row["value"] for row in answer.rows}
    usual, off = (values[name, "davies_bouldin", "families"] for name in ("mine", "mine prompt=none"))
    assert usual != off
