"""The table of stages: each has one constant, one name and other words, and is used somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from numembed.core import progress
from numembed.core.progress import STAGES, Stage

ROOT = Path(__file__).parents[2]
CONSTANTS = {name: value for name, value in vars(progress).items() if isinstance(value, Stage)}
OTHERWISE = {"RANDOM_INIT": "twin", "LOOKING": "look"}  # names that stored progress has held from the beginning


def test_every_stage_has_one_constant_that_is_called_as_it_is() -> None:
    text = Path(progress.__file__).read_text(encoding="utf-8")
    assigned = re.findall(r"^(\w+) = _stage\(\"(\w+)\"", text, re.MULTILINE)
    assert len(assigned) == text.count("= _stage(") == len(dict(assigned)) == len(STAGES), "one is made twice"
    assert dict(assigned) == {constant: stage.name for constant, stage in CONSTANTS.items()}
    assert dict(assigned) == {constant: OTHERWISE.get(constant, constant.lower()) for constant in CONSTANTS}
    assert all(STAGES[name] is CONSTANTS[constant] for constant, name in assigned)


@pytest.mark.parametrize("constant", sorted(CONSTANTS))
def test_every_stage_is_reported_somewhere(constant: str) -> None:
    """As its constant, or by its name in a call of a progress."""
    own = Path(progress.__file__)
    name = CONSTANTS[constant].name
    used = re.compile(rf"(?<![\w\"]){constant}(?![\w\"])|(progress|report)[\w.]*\([^\n]*\"{name}\"")
    files = (file for top in ("numembed", "ui") for file in (ROOT / top).rglob("*.py") if file != own)
    assert any(used.search(file.read_text(encoding="utf-8")) for file in files)
