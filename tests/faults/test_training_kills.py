"""Training is killed again and again: nothing that is there is torn, and what goes on ends with the same adapters."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from numembed.core.settings import Settings
from numembed.models.adapters.recipe import Recipe
from numembed.models.catalogue.names import model
from numembed.models.files.publish import is_whole
from numembed.models.spec import ModelSpec
from numembed.models.training.train import train_adapters
from tests.children import killed, killed_writing, started

pytestmark = pytest.mark.slow
STEPS = 6
RECIPE = Recipe(steps=STEPS, stages=STEPS, looks=1, batch=8, seeds=(0, 1))  # every step ends with saving


def test_kills_in_training_and_in_saving_leave_no_torn_adapter_and_it_goes_on(
    settings: Settings, tiny_model: Path, tmp_path: Path
) -> None:
    place, base = tmp_path / "killed", model(str(tiny_model))
    through = train_adapters(base, RECIPE, tmp_path / "through", settings=settings)
    draw, kept, drafts = random.Random(0), [0], []

    def look() -> None:
        folders = list(place.glob("seed-*/step-*"))
        assert all(is_whole(folder) for folder in folders), "an adapter that looks finished is torn"
        kept.append(len(folders))

    for step in (1, 6, 9, 14, 18, 22, 26, 60):
        assert killed_writing(step, place, _train, settings, base, place), "it ended by itself, before it was killed"
        drafts.append(any(path.is_dir() for path in place.rglob(".tmp-*")))
        look()
    assert sum(drafts) >= 4 and 0 < kept[-1] < len(through), f"too few kills fell into saving: {drafts}, {kept}"
    for _ in range(2):
        _killed_after_saving(settings, base, place, later=draw.uniform(0, 0.01))
        look()
    assert kept == sorted(kept), "what was saved is lost"
    ended = train_adapters(base, RECIPE, place, settings=settings)
    assert [one.weights.digest for one in ended] == [one.weights.digest for one in through]
    assert not [path for path in place.rglob(".tmp-*") if path.is_dir()]


def _killed_after_saving(settings: Settings, base: ModelSpec, place: Path, *, later: float) -> None:
    """Train in a process of its own; kill it some time after it has saved a stage, wherever it is then."""
    before = len(list(place.glob("seed-*/step-*")))
    child = started(_train, settings, base, place)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(place.glob("seed-*/step-*"))) == before:
        time.sleep(0.0002)
    time.sleep(later)
    killed(child)


def _train(settings: Settings, base: ModelSpec, place: Path) -> None:
    train_adapters(base, RECIPE, place, settings=settings)
