"""Constructed robustness: named models whose vectors keep their families under a change, or lose them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from numembed.analysis.inference.intervals import leave_one_out
from numembed.analysis.metrics import silhouette
from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment
from numembed.merge_experiment.robustness import plan
from numembed.merge_experiment.robustness.comparisons import Measured, changes_of, differences_of
from numembed.merge_experiment.robustness.results import NamedModel, Robustness, Variant
from numembed.merge_experiment.robustness.text import sentences_of
from numembed.sequences.perturbations.trials import Trial
from tests.merge_experiment.made import made_result

LABELS = np.repeat(np.arange(6), 4)
VARIANTS = (
    Variant("separator", {"to": "space"}, "text"),
    Variant("separator", {"to": "and"}, "text"),
    Variant("number_words", {}, "text"),
    Variant("last_digit_removed", {}, "digits"),
    Variant("order_reversed", {}, "order"),
    Variant("first_term", {"start": 500}, "place"),
    Variant("corrupted", {"share": 0.5}, "data"),
    Variant("prompt", {"prompt": "query: "}, "model"),
)
ROWS = (
    ("base", None),
    *(("lora", seed) for seed in range(3)),
    ("soup", None),
    *(("slerp_base", seed) for seed in range(3)),
    *(("straight_line", seed) for seed in range(3)),
)
Keeps = Mapping[tuple[str, str], float]  # row and kind: how far families lie apart after the change; 2 before it


def measured(keeps: Keeps, *, world: int = 0, noise: float = 0.3) -> tuple[Measured, ...]:
    """Return the named models on 24 sequences: what these have in common is shared by all models, noise is not."""
    shared = np.random.default_rng((world, 1))
    centres = shared.standard_normal((6, 8))[LABELS]
    texts = shared.standard_normal((1 + len(VARIANTS), 24, 8))  # the plain ones, then each variant
    found = []
    for number, (row, seed) in enumerate(ROWS):
        own = np.random.default_rng((world, 2, number)).standard_normal(texts.shape) * noise
        apart = [2.0, *(keeps.get((row, one.group), 2.0) for one in VARIANTS)]
        matrices = (texts + own + np.array(apart)[:, None, None] * centres).astype(np.float32)
        values = [silhouette(one, LABELS) for one in matrices]
        without = [leave_one_out(one, LABELS) for one in matrices]
        found.append(Measured(row, seed, values[0], without[0], np.array(values[1:]), np.array(without[1:])))
    return tuple(found)


def robustness_from(models: Sequence[Measured], *, p: Mapping[str, float] | None = None) -> Robustness:
    """Return what these models show, with a p value against shuffled families for some rows."""
    named = tuple(
        NamedModel(
            one.row, f"{one.row} {one.seed}", one.row, 1.0, 0.9, one.before, tuple(one.after.tolist()),
            (p or {}).get(one.row, 0.001),
        )
        for one in models
    )  # fmt: skip
    found = Robustness("paper", VARIANTS, named, changes_of(models, VARIANTS), differences_of(models, VARIANTS))
    return replace(found, sentences=sentences_of(found))


def with_robustness(keeps: Keeps | None = None, result: ExperimentResult | None = None) -> ExperimentResult:
    """Return a made-up finished experiment with constructed robustness."""
    return replace(result or made_result(MergeExperiment()), robustness=robustness_from(measured(keeps or {})))


def fewer_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only one form of one change of each kind be tried: all of them take a minute on a tiny model."""
    every = plan.trials
    monkeypatch.setattr(plan, "trials", lambda plain, seed: _first_of_each(every(plain, seed=seed)))


def _first_of_each(tried: Sequence[Trial]) -> tuple[Trial, ...]:
    asked = [one.perturbation for one in VARIANTS]
    firsts = {one.name: one for one in reversed(tried) if one.name in asked}
    return tuple(one for one in tried if one is firsts.get(one.name))
