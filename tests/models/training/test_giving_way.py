"""A training that gives way to a short run goes on at the very step where it was."""

from __future__ import annotations

import pytest

from numembed.core.errors import Paused
from numembed.models.adapters.recipe import Reading
from tests.models.training.test_training import Trainer, train

__all__ = ["train"]


@pytest.mark.slow
def test_a_training_that_gave_way_goes_on_at_that_very_step(train: Trainer) -> None:
    through, steps = train(place="through"), []
    for pause in (1, 1, 3, 10, -1):

        def progress(done: int, total: int, note: str, pause: int = pause) -> None:
            if note == "train" and done == pause:
                raise Paused("model")

        heard: list[Reading] = []
        try:
            again = train(place="paused", progress=progress, listen=heard.append)
        except Paused:
            assert pause >= 0
        steps += [(one.seed, one.step) for one in heard]
    assert steps == [(seed, step) for seed in (0, 1) for step in range(7)], "no step was computed twice"
    assert [adapter.weights.digest for adapter in again] == [adapter.weights.digest for adapter in through]
    assert [adapter.readings for adapter in again] == [adapter.readings for adapter in through]
    assert not list((again[0].folder.parents[1] / ".resume").rglob("*.safetensors"))
