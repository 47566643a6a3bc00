"""Training is killed again and again: nothing that is there is torn, and what goes on ends with the same adapters."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from numembed.core.settings import Settings
from numembed.models.adapters.recipe import Recipe
from numembed.models.catalogue.names import model
from numembed.models.files.publish import is_whole
from numembed.models.spec import ModelSpec
from numembed.models.training.train import train_adapters
from tests.children import killed, started

pytestmark = pytest.mark.slow
STEPS = 6
RECIPE = Recipe(steps=STEPS, stages=STEPS, looks=1, batch=8, seeds=(0, 1))  # every step ends with saving
KILLS = 6


def test_kills_in_training_and_in_saving_leave_no_torn_adapter_and_it_goes_on(
    settings: Settings, tiny_model: Path, tmp_path: Path
) -> None:
    place, base = tmp_path / "killed", model(str(tiny_model))
    through = train_adapters(base, RECIPE, tmp_path / "through", settings=settings)
    draw, kept, drafts = random.Random(0), [0], 0
    for kill in range(KILLS):
        _killed(settings, base, place, in_saving=kill % 2 == 0, later=draw.uniform(0, 0.01))
        folders = list(place.glob("seed-*/step-*"))
        assert all(is_whole(folder) for folder in folders), "an adapter that looks finished is torn"
        drafts += any(path.is_dir() for path in place.rglob(".tmp-*"))
        kept.append(len(folders))
    assert kept == sorted(kept) and 0 < kept[-1] < len(through), "what was saved is lost, or no kill came in time"
    assert drafts, "no kill fell into saving: this test has shown nothing about it"
    ended = train_adapters(base, RECIPE, place, settings=settings)
    assert [one.weights.digest for one in ended] == [one.weights.digest for one in through]
    assert not [path for path in place.rglob(".tmp-*") if path.is_dir()]


def _killed(settings: Settings, base: ModelSpec, place: Path, *, in_saving: bool, later: float) -> None:
    """Train in a process of its own; kill it while it saves, or once it has saved one."""
    before = len(list(place.glob("seed-*/step-*")))
    child = started(_train, settings, base, place)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if list(place.glob("seed-*/.tmp-*/*")) if in_saving else len(list(place.glob("seed-*/step-*"))) > before:
            break
        time.sleep(0.0002)
    time.sleep(later)
    killed(child)
    assert child.exitcode == -signal.SIGKILL, "it ended by itself, before it was killed"


def _train(settings: Settings, base: ModelSpec, place: Path) -> None:
    train_adapters(base, RECIPE, place, settings=settings)
