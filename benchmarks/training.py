"""Training LoRA adapters on the bundled model: our step beside a bare torch loop, and what a default run gains."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Figure, cpu_seconds
from numembed.analysis.metrics import silhouette
from numembed.core.errors import Cancelled
from numembed.core.settings import read_settings
from numembed.models.adapters.checks import attached
from numembed.models.adapters.recipe import Reading, Recipe
from numembed.models.adapters.saved import SavedAdapter
from numembed.models.catalogue.names import model
from numembed.models.loading.loader import load
from numembed.models.merging.folders import FOLD, merge_folders
from numembed.models.sources import bundled_folder
from numembed.models.training.train import train_adapters
from numembed.sequences.splits import apart_at, split_called, training_batch

BASE = "all-MiniLM-L6-v2"
STEPS, ROUNDS = 8, 3


def steps() -> list[Figure]:
    """A training step with its progress and its readings, beside a bare torch loop over the same batches: CPU."""
    recipe = Recipe(steps=STEPS, stages=1, looks=1, seeds=(0,))
    bare, theirs, ours = _bare_loop(recipe), [], []
    bare()
    for _ in range(ROUNDS):
        theirs.append(cpu_seconds(bare))
        with tempfile.TemporaryDirectory() as place:
            ours.append(steps_alone(recipe, Path(place)))
    one, other = float(np.median(theirs)), float(np.median(ours))
    print(f"{STEPS} steps of {recipe.batch} sequences: bare {one:.2f} s, ours {other:.2f} s of CPU")
    return [Figure("training step", other / one, 1.2, at_most=True)]


def adapters() -> list[Figure]:
    """The default run on the bundled model, three seeds in two stages, with either split: what it takes and gains."""
    figures = []
    for name, judged in (("others", "later"), ("paper", "reserved")):
        recipe = replace(Recipe(), split=split_called(name))
        with tempfile.TemporaryDirectory() as place:
            saved: Any = None

            def work(recipe: Recipe = recipe, place: str = place) -> None:
                nonlocal saved
                saved = train_adapters(model(BASE), recipe, Path(place), settings=_settings(place))

            seconds = cpu_seconds(work)
            text = ", ".join(f"seed {one.seed} step {one.step}: {one.silhouette:.3f}" for one in saved)
            print(f"{name}: {seconds:.0f} s of CPU; reserved windows {saved[0].readings[0].silhouette:.3f}; {text}")
            ended = [_silhouettes(one, recipe, Path(place)) for one in saved if one.step == recipe.steps]
        means = {kind: float(np.mean([one[kind] for one in ended])) for kind in ended[0]}
        print(f"  after the last stage: {', '.join(f'{kind} {value:.3f}' for kind, value in means.items())}")
        figures += [
            Figure(f"training on {name}, CPU seconds", seconds, 280, at_most=True),
            Figure(f"training on {name}, silhouette of {judged!r}, mean of the seeds", means[judged], 0.4),
        ]
    return figures


def _silhouettes(adapter: SavedAdapter, recipe: Recipe, place: Path) -> dict[str, float]:
    """Return what an adapter scores on every evaluation of its split, folded into the bundled model."""
    base, out = bundled_folder(), place / f"folded-{adapter.seed}"
    folded = merge_folders(FOLD, [attached(base, adapter.folder)], out, base=base).folder
    loaded, _ = load(model(str(folded)), folded)
    return {
        kind: float(silhouette(loaded.encode(list(windows.texts), batch_size=8), windows.labels))
        for kind, windows in recipe.split.evaluations.items()
    }


def steps_alone(recipe: Recipe, place: Path, base: str = BASE) -> float:
    """Return the CPU seconds from the first reading of the base to the last step, without its validation."""
    clock: list[float] = []

    def progress(done: int, total: int, note: str) -> None:
        if note == "train":
            clock.append(time.process_time())

    def listen(reading: Reading) -> None:
        if reading.step == recipe.steps:
            raise _Enough

    try:
        train_adapters(
            model(base),
            replace(recipe, steps=recipe.steps + 1),
            place,
            settings=_settings(str(place)),
            progress=progress,
            listen=listen,
        )
    except _Enough:
        return time.process_time() - clock[0]
    raise AssertionError("the training has not come so far")


class _Enough(Cancelled):  # anything else would count as a seed that failed
    """What was to be measured is over."""


def _settings(home: str) -> Any:
    return read_settings({**os.environ, "NUMEMBED_HOME": home, "NUMEMBED_DEVICE": "cpu"})


def _bare_loop(recipe: Recipe) -> Any:
    """Return what trains on the same batches with nothing around it."""
    import torch
    from peft import LoraConfig, inject_adapter_in_model
    from sentence_transformers import SentenceTransformer

    plain = SentenceTransformer(str(bundled_folder()), device="cpu").eval().requires_grad_(False)
    names = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]
    config = LoraConfig(r=recipe.rank, lora_alpha=16, target_modules=names)
    transformer: Any = plain[0]
    inject_adapter_in_model(config, transformer.auto_model)
    factors = [weight for name, weight in plain.named_parameters() if "lora_" in name]
    batches = [
        training_batch(
            recipe.split, size=recipe.batch, seed=0, step=step, apart=apart_at(step, recipe.steps, recipe.apart)
        )
        for step in range(1, recipe.steps + 1)
    ]

    def loop() -> None:
        optimiser = torch.optim.AdamW(factors, lr=1e-4)
        for batch in batches:
            labels = torch.tensor(batch.labels)
            unit = torch.nn.functional.normalize(plain(plain.preprocess(list(batch.texts)))["sentence_embedding"])
            itself = torch.eye(len(labels), dtype=torch.bool)
            likeness = (unit @ unit.T / recipe.temperature).masked_fill(itself, -1e9)
            share = likeness - likeness.logsumexp(1, keepdim=True)
            same = (labels[:, None] == labels) & ~itself
            loss = -((share * same).sum(1) / same.sum(1)).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()

    return loop
