"""Paths of a merging experiment: their controls, their weights, and the geometry of these."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numembed.merge_experiment.comparisons import MORE
from numembed.merge_experiment.experiment import MergeExperiment
from numembed.merge_experiment.paths import KINDS, USUAL, paths_of, values_of, weights_at
from numembed.merge_experiment.weight_geometry import WeightsAtHand
from numembed.models.adapters.fold import AdaptedFolder
from numembed.models.adapters.recipe import Recipe
from numembed.models.catalogue.names import model
from numembed.models.files.folders import digest_of_folder
from numembed.models.files.tensors import TensorFolder
from numembed.models.merging.angles import angles, updates
from numembed.models.merging.methods import MERGES
from numembed.models.merging.tensors import Merge, gram_of, ingredients
from numembed.models.resolve import resolve
from numembed.models.spec import LocalWeights, LoraWeights, MergedWeights
from tests.lora import write_adapter
from tests.merge_experiment.bases import RECIPE
from tests.models.merging.weight_files import merged_tensors
from tests.offline import OFFLINE

LINES = ("linear", "stages_linear")  # controls of arcs


def test_the_usual_experiment_sweeps_every_ingredient_in_eleven_steps_or_more() -> None:
    asked = MergeExperiment()
    assert set(asked.paths) == set(USUAL)
    swept = [path for path in asked.drawn if path.sweeps]
    assert all(len(path.values) >= 11 and {0.5, 1.0} <= set(path.values) for path in swept)
    assert {path.ingredients for path in swept if path.name == "lora"} == {
        ((seed, Recipe().steps),) for seed in (0, 1, 2)
    }
    assert all(path.values[-1] == 1.5 for path in swept if path.name == "lora")
    assert len({path.id for path in asked.drawn}) == len(asked.drawn) and asked.candidates == sum(
        len(path.values) for path in asked.drawn
    )


def test_every_row_has_its_control_and_its_merge() -> None:
    for row in KINDS.values():
        assert not row.control or row.control in KINDS
        assert not row.method or row.method in MERGES.names
    norm = {row.name for row in KINDS.values() if row.kind == "norm_matched"}
    held = {(row.name, row.control) for row in KINDS.values()} | set(MORE)
    merges = [row for row in KINDS.values() if row.method and row.name not in norm and row.name not in LINES]
    assert all(row.control for row in merges), "each merge is compared with a control"
    for row in merges:
        if row.kind in ("slerp", "karcher"):  # what keeps the length is compared with a line that keeps it too
            (stretched,) = {b for a, b in held if a == row.name and b in norm}
            control = KINDS[stretched]
            assert (control.of, control.sweeps, control.space) == (row.of, row.sweeps, row.space)
            assert stretched in USUAL


@pytest.mark.parametrize(
    ("arc", "line", "plain"),
    [
        ("slerp", "norm_matched_weights", "linear"),
        ("slerp_base", "norm_matched_base", "linear"),
        ("karcher", "soup_norm_weights", "soup"),
    ],
)
def test_controls_in_the_weights_are_as_long_as_the_arc(arc: str, line: str, plain: str) -> None:
    """Between models that stand far apart the plain line is shorter; the control leaves the arc nothing but its way."""
    gram = np.array([[1.0, 0.4], [0.4, 1.0]])  # 66 degrees

    def length(method: str) -> float:
        given = {"weights": np.array([0.5, 0.5])} if MERGES[method].facts.get("weighted") else {"t": 0.5}
        shares = MERGES[method].function(gram, **given)
        return math.sqrt(float(shares @ gram @ shares))

    assert length(KINDS[line].method) == pytest.approx(length(KINDS[arc].method), rel=1e-6)
    assert length(plain) < 0.9 * length(KINDS[line].method)
    assert KINDS[line].space == "weights" and (arc, line) in MORE


# --- paths and weights


@pytest.fixture(scope="module")
def adapters(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], LocalWeights]:
    place = tmp_path_factory.mktemp("adapters")
    found = {}
    for seed in RECIPE.seeds:
        for step in RECIPE.saved_steps:
            folder = write_adapter(place / f"{seed}-{step}", tiny_model, seed=10 * seed + step)
            found[seed, step] = LocalWeights(str(folder), digest_of_folder(folder))
    return found


def test_values_are_rounded_and_hold_their_middle() -> None:
    assert values_of("t", 11)[5] == 0.5 and len(values_of("t", 12)) == 13
    assert len(values_of("scale", 11)) == 13 and values_of("scale", 11, end=2.0)[-1] == 2.0


def test_the_ends_of_a_path_are_the_parts_themselves(adapters: dict[tuple[int, int], LocalWeights]) -> None:
    base = LocalWeights("/base", "b")
    for path in paths_of(tuple(KINDS), RECIPE, 3):
        first, last = path.values[0], path.values[-1]
        found = weights_at(path, first, base, adapters), weights_at(path, last, base, adapters)
        parts = [LoraWeights(base, adapters[one]) for one in path.ingredients]
        match KINDS[path.name].of, path.sweeps:
            case _, "scale":
                assert found[0] == base
            case "seed", "t":
                assert found == (base, parts[0])
            case _, "t":
                assert found == (parts[0], parts[-1])


@pytest.mark.slow
def test_every_merge_is_as_resolving_would_write_it(
    tiny_model: Path, adapters: dict[tuple[int, int], LocalWeights]
) -> None:
    base = resolve(model(str(tiny_model)), OFFLINE)
    for path in paths_of(tuple(KINDS), RECIPE, 3):
        for at in path.values:
            spec = replace(base, weights=weights_at(path, at, base.weights, adapters))
            assert spec.resolved and resolve(spec, OFFLINE).key == spec.key, (path.id, at)


@pytest.mark.slow
def test_lengths_of_updates_are_those_of_the_merges_themselves(
    tiny_model: Path, adapters: dict[tuple[int, int], LocalWeights]
) -> None:
    base, at_hand = TensorFolder(tiny_model), WeightsAtHand(tiny_model, adapters)
    origin = LocalWeights(str(tiny_model), "b")

    def opened(weights: object) -> object:
        if isinstance(weights, LoraWeights):
            return AdaptedFolder(tiny_model, Path(weights.adapter.path), weights.scale)  # type: ignore[union-attr]
        return base

    for path in paths_of(tuple(KINDS), RECIPE, 3):
        for at in path.values:
            weights = weights_at(path, at, origin, adapters)
            made = opened(weights)
            if isinstance(weights, MergedWeights):
                asked = Merge(weights.method, weights.space, weights.scope, weights.weights, weights.options)  # type: ignore[arg-type]
                task = base if weights.base is not None else None
                made = merged_tensors(asked, ingredients([opened(part) for part in weights.parts], task))  # type: ignore[misc]
            wanted = math.sqrt(sum(float(gram_of([made[name]], base[name])[0, 0]) for name in base))  # type: ignore[index]
            assert at_hand.update(weights) == pytest.approx(wanted, rel=1e-3, abs=1e-5), (path.id, at)
    assert at_hand.length == pytest.approx(math.sqrt(sum(float((base[name] ** 2).sum()) for name in base)), rel=1e-6)


def test_angles_and_layers_are_those_of_the_models(
    tiny_model: Path, adapters: dict[tuple[int, int], LocalWeights]
) -> None:
    base, at_hand = TensorFolder(tiny_model), WeightsAtHand(tiny_model, adapters)
    one, other = (AdaptedFolder(tiny_model, Path(adapters[seed, 4].path)) for seed in (0, 1))
    for found, wanted in (
        (at_hand.to_base((0, 4)), angles(base, one)),
        (at_hand.between((0, 4), (1, 4), "weights"), angles(one, other)),
        (at_hand.between((0, 4), (1, 4), "task_vectors"), angles(one, other, base)),
    ):
        known = {angle.name: angle.cosine for angle in wanted}
        assert {angle.name for angle in found.angles} == set(one.changed)
        assert all(angle.cosine == pytest.approx(known[angle.name], abs=1e-5) for angle in found.angles)
        parallel = sum(angle.size for angle in found.angles if abs(known[angle.name]) > 0.9995)
        assert found.parallel == pytest.approx(parallel / sum(angle.size for angle in found.angles))
    layers = {layer.name: layer.change for layer in at_hand.layers((0, 4))}
    changed = [update for update in updates(one, base) if update.change]
    assert list(layers) == ["layer 0", "layer 1"]
    assert sum(value**2 for value in layers.values()) == pytest.approx(sum(one.change**2 for one in changed), rel=1e-4)


def test_steps_of_the_recipe_reach_the_paths() -> None:
    recipe = Recipe(seeds=(5,), steps=100, stages=2)
    (path,) = paths_of(("multi_stage",), recipe, 3)
    assert path.ingredients == ((5, 50), (5, 100)) and path.parts == ("seed 5, step 50", "seed 5, step 100")
