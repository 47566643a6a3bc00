"""How many threads a training takes, and that what ran before in its process does not decide its adapters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from numembed.core.settings import Settings
from numembed.models.adapters.recipe import Recipe
from numembed.models.catalogue.names import model
from numembed.models.training import train
from numembed.models.training.train import train_adapters

pytestmark = pytest.mark.slow
RECIPE = Recipe(steps=2, stages=1, looks=1, batch=8, seeds=(0,))


@pytest.fixture
def two_threads() -> Iterator[None]:
    """As another library may have left them."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("most", "expected"), [(3e9, 1), (0, 2)])
def test_small_steps_take_one_thread_and_large_steps_all(
    settings: Settings,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    two_threads: None,
    most: float,
    expected: int,
) -> None:
    import torch

    seen = set()
    monkeypatch.setattr(train, "_ONE_THREAD_UP_TO", most)
    train_adapters(
        *(model(str(tiny_model)), RECIPE, tmp_path / "place"),
        settings=settings,
        listen=lambda reading: seen.add(torch.get_num_threads()),
    )
    assert seen == {expected} and torch.get_num_threads() == 2


def test_the_number_of_threads_before_does_not_decide_a_small_adapter(
    settings: Settings, tiny_model: Path, tmp_path: Path, two_threads: None
) -> None:
    import torch

    digests = set()
    for threads in (2, 1):
        torch.set_num_threads(threads)
        for one in train_adapters(model(str(tiny_model)), RECIPE, tmp_path / str(threads), settings=settings):
            digests.add(one.weights.digest)
    assert len(digests) == 1


def test_the_recipe_of_the_page_takes_all_threads_for_a_real_model(settings: Settings) -> None:
    from numembed.models.sources import bundled_folder

    assert train._step_work(Recipe(), bundled_folder()) > train._ONE_THREAD_UP_TO
