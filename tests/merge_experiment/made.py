"""A merging experiment with made-up numbers, for tests of pages and figures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment
from numembed.merge_experiment.paths import KINDS, Path, Trained, weights_at
from numembed.merge_experiment.results import (
    Candidate,
    Comparison,
    Dominance,
    Frame,
    LayerUpdate,
    Retention,
    Separation,
    ShiftShare,
    Straight,
    TensorAngle,
    TrainedAdapter,
)
from numembed.models.adapters.recipe import Reading, Recipe
from numembed.models.spec import LocalWeights, ModelSpec

STRETCH = {"slerp_task": 1.35, "norm_matched": 1.34, "soup_norm": 1.3, "karcher_task": 1.31, "task_arithmetic": 2.2}
SENTENCE = "At equal retention, SLERP and linear differ by +0.003 (−0.017 to +0.023): no difference is seen."


def made_experiment(*, seeds: Sequence[int] = (0, 1, 2), points: int = 7, **choices: object) -> MergeExperiment:
    """Return the experiment whose result :func:`made_result` makes up."""
    return MergeExperiment(recipe=Recipe(seeds=tuple(seeds)), points=points, **choices)  # type: ignore[arg-type]


def made_result(
    experiment: MergeExperiment | None = None,
    *,
    complete: bool = True,
    paths: int | None = None,
    base: ModelSpec | None = None,
    adapters: Mapping[Trained, LocalWeights] | None = None,
) -> ExperimentResult:
    """Return made-up results of the first ``paths`` paths; ``base`` and ``adapters`` may be real ones."""
    asked = experiment or made_experiment()
    origin, there = base or asked.base, adapters or _nowhere(asked)
    random = np.random.default_rng(1)
    drawn = asked.drawn[:paths]
    families = {
        name: tuple(item.family for item in found.items) for name, found in asked.recipe.split.evaluations.items()
    }
    seeds = asked.recipe.seeds
    return ExperimentResult(
        experiment=asked,
        base=origin,
        adapters=tuple(_adapter(asked, *trained, there[trained]) for trained in there),
        candidates=tuple(_candidate(asked, path, at, random, origin, there) for path in drawn for at in path.values),
        straight=_straight(seeds, random) if complete else (),
        dominance=tuple(_dominance(seed, random) for seed in seeds) if complete else (),
        maps=tuple(_frames(asked, drawn, families)) if complete else (),
        families=families,
        comparisons=_comparisons(asked) if complete else (),
        sentences=(SENTENCE, "Training gained separability and cost retention.") if complete else (),
        complete=complete,
    )


def _nowhere(experiment: MergeExperiment) -> dict[Trained, LocalWeights]:
    return {
        (seed, step): LocalWeights(f"/adapters/seed-{seed}/step-{step:05d}", "0" * 64)
        for seed in experiment.recipe.seeds
        for step in experiment.recipe.saved_steps
    }


def _candidate(
    experiment: MergeExperiment,
    path: Path,
    at: float,
    random: np.random.Generator,
    base: ModelSpec,
    adapters: Mapping[Trained, LocalWeights],
) -> Candidate:
    seed = path.ingredients[0][0] if path.ingredients else 0
    weights = weights_at(path, at, base.weights, adapters)
    dose = _dose(path, at)
    spec = replace(base, name=f"{path.title} {at:g}", weights=weights)
    kept = 1 - 0.17 * dose**1.7 - 0.02 * seed * dose
    return Candidate(
        path=path.id,
        title=path.title if not path.sweeps else f"{path.title}, {path.sweeps} {at:g}",
        at=at,
        model=spec,
        splits={name: _separation(dose, seed, place, random) for place, name in enumerate(experiment.splits)},
        retention=Retention(
            kept,
            1 - 0.2 * dose**1.5,
            0.42 - 0.06 * dose,
            None,
            kept - 0.05 * dose,
            min(1.0, kept + 0.04 * dose),
            0.85 - 0.1 * dose,
        ),
        update=4.1 * dose,
        update_relative=0.014 * dose,
    )


def _dose(path: Path, at: float) -> float:
    """Return how much of an adapter one place of a path stands for."""
    if path.name == "base":
        return 0.0
    if path.sweeps == "scale":
        return at * (0.72 if path.name == "soup" else STRETCH.get(path.name, 0.8 if path.name != "lora" else 1.0))
    if KINDS[path.name].of == "seed":
        return at
    if path.sweeps == "t":
        middle = STRETCH.get(path.name, 1.0) * 0.74
        return 1 - (1 - middle) * 4 * at * (1 - at)
    return 0.72 * STRETCH.get(path.name, 0.6 if path.name == "model_stock" else 1.0)


def _separation(dose: float, seed: int, place: int, random: np.random.Generator) -> Separation:
    silhouette = -0.09 + (0.5 - 0.1 * place) * (1 - math.exp(-1.3 * dose)) + 0.015 * seed * dose
    without = silhouette + 0.01 * random.standard_normal(24)
    return Separation(
        silhouette=silhouette,
        davies_bouldin=3.1 - dose,
        silhouette_kmeans=0.23 + 0.1 * dose,
        davies_bouldin_kmeans=1.2,
        ari=0.3 * dose - 0.09,
        accuracy=min(1.0, 0.3 + 0.4 * dose),
        p=0.2,
        p_within=0.05,
        z=1.6,
        chance=-0.11,
        low=silhouette - 0.07,
        high=silhouette + 0.07,
        without=tuple(without.tolist()),
    )


def _adapter(experiment: MergeExperiment, seed: int, step: int, weights: LocalWeights) -> TrainedAdapter:
    readings = [Reading(seed, 0, None, 0.10)]
    readings += [
        Reading(
            seed,
            at,
            3 * math.exp(-at / 60) + 0.1 * seed,
            0.10 + 0.4 * at / 120 if at in experiment.recipe.looked_steps else None,
        )
        for at in range(1, step + 1)
    ]
    return TrainedAdapter(seed, step, weights.path, weights.digest, tuple(readings))


def _straight(seeds: Sequence[int], random: np.random.Generator) -> tuple[Straight, ...]:
    pairs = [f"base and seed {seed}" for seed in seeds]
    pairs += [f"seed {one} and seed {other}" for one, other in itertools.pairwise(seeds)]
    found = []
    for between in pairs:
        near = 1 - np.abs(random.normal(2e-4, 1e-4, 36))
        found.append(_one_straight(between, "weights", [*near.tolist(), math.nan], 6e-4, 0.004))
        if not between.startswith("base"):
            across = random.normal(0.06, 0.05, 36)
            found.append(_one_straight(between, "task_vectors", [*across.tolist(), math.nan], 0.02, 0.31))
    return tuple(found)


def _one_straight(between: str, space: str, cosines: list[float], weight: float, vector: float) -> Straight:
    angles = tuple(TensorAngle(f"encoder.layer.{i}.dense.weight", 1_000, cosine) for i, cosine in enumerate(cosines))
    parallel = sum(1 for one in cosines if abs(one) > 0.9995) / len(cosines)
    return Straight(between, space, angles, float(np.nanmean(cosines)), parallel, weight, weight * 8, vector)


def _dominance(seed: int, random: np.random.Generator) -> Dominance:
    layers = [
        LayerUpdate(name, 30.0, 0.3 + 0.08 * i + 0.02 * seed)
        for i, name in enumerate(["embedding", *(f"layer {n}" for n in range(6))])
    ]
    shifts = tuple(
        ShiftShare(scale, 0.4 * scale, tuple(min(1.0, share + 0.1 * scale) for share in (0.45, 0.6, 0.7, 0.78, 0.88)))
        for scale in (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
    )
    return Dominance(seed, tuple(layers), shifts)


def _frames(experiment: MergeExperiment, drawn: Sequence[Path], families: dict[str, tuple[str, ...]]) -> list[Frame]:
    frames = []
    for split, names in families.items():
        kinds = list(dict.fromkeys(names))
        start = np.random.default_rng(3).standard_normal((len(names), 2))
        ends = np.array([(math.cos(kinds.index(name)), math.sin(kinds.index(name))) for name in names]) * 2
        for path in drawn:
            for at in path.values:
                dose = _dose(path, at)
                points = start + dose * (ends - 0.6 * start)
                frames.append(
                    Frame(path.id, at, f"{path.title} {at:g}", split, 0.4 * dose, tuple(map(tuple, points.tolist())))
                )
    return frames


def _comparisons(experiment: MergeExperiment) -> tuple[Comparison, ...]:
    pairs = [(name, row.control) for name, row in KINDS.items() if name in experiment.paths and row.control]
    found = []
    for split in experiment.splits:
        for place, (a, b) in enumerate(pairs):
            middle = 0.003 if a == "slerp" else 0.02 * (place - 4)
            wide = 0.02 + 0.01 * (place % 3)
            known = a != "model_stock"
            found.append(
                Comparison(
                    a,
                    b,
                    split,
                    (0.8, 0.85, 0.9) if known else (),
                    middle if known else math.nan,
                    middle - wide if known else math.nan,
                    middle + wide if known else math.nan,
                    0.4,
                    1.0,
                    "3 seeds and 24 sequences",
                    SENTENCE if a == "slerp" else f"{KINDS[a].title} and {KINDS[b].title} differ by {middle:.3f}.",
                )
            )
    return tuple(found)
