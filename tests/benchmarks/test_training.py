"""What is measured of a training ends where it should, on a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.training import steps_alone
from numembed.models.adapters.recipe import Recipe
from tests import tiny


@pytest.mark.slow
def test_the_steps_of_a_training_are_measured_without_its_validation(tmp_path: Path) -> None:
    base = tiny.write_model(tmp_path / "models" / "base")
    recipe = Recipe(steps=2, stages=1, looks=1, seeds=(0,), batch=8)
    assert steps_alone(recipe, tmp_path, str(base)) > 0
