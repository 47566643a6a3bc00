from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numembed.core.errors import BadChoice, TooLarge
from numembed.merge_experiment.comparisons import MORE, Arms, compare_at_equal_retention, comparisons_of, estimated
from numembed.merge_experiment.experiment import Ladder, LadderResult, is_ladder
from numembed.merge_experiment.paths import KINDS, USUAL, paths_of, possible, values_of, weights_at
from numembed.merge_experiment.results import Arm, TrainedAdapter
from numembed.merge_experiment.text import verdict
from numembed.merge_experiment.weight_geometry import WeightsAtHand
from numembed.models.adapters.fold import AdaptedFolder
from numembed.models.adapters.recipe import Reading, Recipe
from numembed.models.catalogue.names import model
from numembed.models.files.folders import digest_of_folder
from numembed.models.files.tensors import TensorFolder
from numembed.models.merging.angles import angles, updates
from numembed.models.merging.methods import MERGES
from numembed.models.merging.tensors import Merge, gram_of, ingredients, merged_tensors
from numembed.models.resolve import resolve
from numembed.models.spec import LocalWeights, LoraWeights, MergedWeights
from numembed.studies.study import Study
from tests.lora import write_adapter
from tests.merge_experiment.bases import RECIPE, made_path, noisy_path, small_ladder
from tests.merge_experiment.made import made_ladder, made_result
from tests.offline import OFFLINE

LINES = ("linear", "stages_linear")  # what arcs are held against
LONG = (0.95, 0.9, 0.8, 0.7)


# --- the value


def test_a_ladder_comes_back_from_its_json(tiny_model: Path) -> None:
    for asked in (Ladder(), small_ladder(tiny_model), small_ladder(tiny_model, seed=7, distance="cosine", points=5)):
        again = Ladder.from_json(asked.to_json())
        assert again == asked and again.key == asked.key and is_ladder(asked.to_json())


def test_what_matters_changes_the_key(tiny_model: Path) -> None:
    asked = small_ladder(tiny_model)
    others = [
        replace(asked, points=5), replace(asked, seed=1), replace(asked, distance="cosine"),
        replace(asked, paths=("lora",)), replace(asked, recipe=replace(asked.recipe, steps=5)), Ladder(),
    ]  # fmt: skip
    assert len({one.key for one in (asked, *others)}) == 7


def test_the_usual_ladder_sweeps_every_ingredient_in_eleven_steps_or_more() -> None:
    asked = Ladder()
    assert set(asked.paths) == set(USUAL)
    swept = [path for path in asked.drawn if path.sweeps]
    assert all(len(path.values) >= 11 and {0.5, 1.0} <= set(path.values) for path in swept)
    assert {path.ingredients for path in swept if path.name == "lora"} == {
        ((seed, Recipe().steps),) for seed in (0, 1, 2)
    }
    assert all(path.values[-1] == 1.5 for path in swept if path.name == "lora")
    assert len({path.id for path in asked.drawn}) == len(asked.drawn) and asked.arms == sum(
        len(path.values) for path in asked.drawn
    )


def test_every_row_has_its_control_and_its_merge() -> None:
    for row in KINDS.values():
        assert not row.control or row.control in KINDS
        assert not row.method or row.method in MERGES.names
    norm = {row.name for row in KINDS.values() if row.kind == "norm_matched"}
    held = {(row.name, row.control) for row in KINDS.values()} | set(MORE)
    merges = [row for row in KINDS.values() if row.method and row.name not in norm and row.name not in LINES]
    assert all(row.control for row in merges), "each merge is held against a control"
    for row in merges:
        if row.kind in ("slerp", "karcher"):  # what keeps the length is held against a line that keeps it too
            (stretched,) = {b for a, b in held if a == row.name and b in norm}
            control = KINDS[stretched]
            assert (control.of, control.sweeps, control.space) == (row.of, row.sweeps, row.space)
            assert stretched in USUAL


@pytest.mark.parametrize(
    ("arc", "line", "plain"),
    [
        ("slerp", "norm_matched_weights", "linear"), ("slerp_base", "norm_matched_base", "linear"),
        ("karcher", "soup_norm_weights", "soup"),
    ],
)  # fmt: skip
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


def test_paths_that_need_more_seeds_or_stages_are_left_out_or_refused() -> None:
    alone = replace(RECIPE, seeds=(3,), stages=1)
    assert set(possible(alone)) == {"base", "lora", "slerp_base", "norm_matched_base"}
    assert Ladder(recipe=alone).paths == ("base", "lora", "slerp_base", "norm_matched_base")
    with pytest.raises(BadChoice, match="needs more seeds or stages"):
        Ladder(recipe=alone, paths=("slerp",))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"points": 2}, "3 to 41 points"), ({"points": 11.0}, "points"), ({"seed": -1}, "seed"),
        ({"distance": "taxi"}, "distance is one of"), ({"paths": ("nowhere",)}, "no path 'nowhere'"),
        ({"base": model("last_digits")}, "cannot be adapted"),
        ({"base": model("all-MiniLM-L6-v2 weights=random")}, "cannot be adapted"),
    ],
)  # fmt: skip
def test_what_cannot_be_climbed_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(BadChoice, match=told):
        Ladder(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"ladder": []}', '{"ladder": {"points": "x"}}', '{"ladder": {"a": 1}}'),
        *('{"ladder": {"base": 3}}', '{"ladder": {"recipe": {}}}', '{"ladder": {"paths": 1}}'),
    ],
)
def test_what_is_no_ladder_is_a_sentence(text: str) -> None:
    with pytest.raises(BadChoice):
        Ladder.from_json(text)


def test_a_ladder_and_a_study_are_told_apart() -> None:
    with pytest.raises(BadChoice, match="no entry 'ladder'"):
        Study.from_json(Ladder().to_json())
    with pytest.raises(TooLarge):
        Ladder.from_json(" " * 20_001)


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


def test_at_the_ends_of_a_path_stands_the_part_itself(adapters: dict[tuple[int, int], LocalWeights]) -> None:
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


def test_every_merge_is_as_resolving_would_write_it(
    tiny_model: Path, adapters: dict[tuple[int, int], LocalWeights]
) -> None:
    base = resolve(model(str(tiny_model)), OFFLINE)
    for path in paths_of(tuple(KINDS), RECIPE, 3):
        for at in path.values:
            spec = replace(base, weights=weights_at(path, at, base.weights, adapters))
            assert spec.resolved and resolve(spec, OFFLINE).key == spec.key, (path.id, at)


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


# --- what is said


def _line(low: float, high: float, path: str = "a") -> tuple[Arm, ...]:
    own = np.linspace(0, 0.1, 24)
    return noisy_path(path, tuple(np.linspace(high, low, 5)), own)


def test_paths_that_have_little_retention_in_common_say_so() -> None:
    narrow = compare_at_equal_retention(
        [_line(0.8, 0.82)], [_line(0.8, 0.95)], split="paper", names=("slerp_task", "linear")
    )
    assert narrow.sentence.endswith(
        " They retain equally much on a small part of their ways (0.80 to 0.82 and 0.80 to 0.95) only, on average from "
        "0.800 to 0.820: it says little. They start and end at the same two models, near which that is."
    )
    wide = compare_at_equal_retention(
        [_line(0.8, 0.9)], [_line(0.8, 0.95)], split="paper", names=("slerp_task", "linear")
    )
    single = compare_at_equal_retention(
        [_line(0.9, 0.9)[:1]], [_line(0.8, 0.95)], split="paper", names=("karcher", "soup")
    )
    assert all("small part" not in one.sentence for one in (wide, single))
    others = compare_at_equal_retention([_line(0.8, 0.82)], [_line(0.8, 0.95)], split="paper", names=("soup", "lora"))
    assert "small part" in others.sentence and "same two models" not in others.sentence


def test_two_single_models_are_compared_where_they_retain_equally_much() -> None:
    one, near, off = (noisy_path("a", (kept,), np.linspace(0, 0.1, 24)) for kept in (0.9, 0.9004, 0.902))
    found = compare_at_equal_retention([one], [near], split="paper", names=("karcher", "soup_norm_weights"))
    assert found.difference == pytest.approx(0.0004) and found.retention == pytest.approx((0.9002, 0.9002))
    assert "never retain equally much" in compare_at_equal_retention([one], [off], split="paper").sentence


def test_paths_whose_partner_could_not_be_scored_are_left_out_and_no_other_takes_its_place() -> None:
    found = made_result(made_ladder(paths=("linear", "slerp")))
    whole = next(one for one in comparisons_of(found) if one.split == "paper" and one.a == "slerp")
    lacking = replace(found, arms=tuple(arm for arm in found.arms if arm.path != "linear-0-1"))
    without = tuple(arm for arm in lacking.arms if arm.path != "slerp-0-1")
    kept = next(one for one in comparisons_of(lacking) if one.split == "paper" and one.a == "slerp")
    both = next(
        one for one in comparisons_of(replace(lacking, arms=without)) if one.split == "paper" and one.a == "slerp"
    )
    assert (kept.difference, kept.retention, kept.over) == (both.difference, both.retention, both.over)
    assert whole.over.startswith("3 pairs of seeds") and kept.over == "24 sequences"


def test_a_path_held_against_itself_differs_by_nothing() -> None:
    path = made_path("slerp", LONG, (0.2, 0.5, 1, 1.5))
    found = compare_at_equal_retention([path] * 3, [path] * 3, split="paper", names=("slerp", "linear"))
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1) and not found.distinguishable
    assert found.sentence == (
        "On the paper's 24 sequences, at equal retention, SLERP and Linear differ by less than 0.001: no difference "
        "seen."
    )


def test_paths_are_compared_at_equal_retention_and_not_at_equal_t() -> None:
    slow = made_path("a", (1.0, 0.95, 0.9, 0.85, 0.8), (0, 0.25, 0.5, 0.75, 1.0))
    quick = made_path("b", (1.0, 0.9, 0.8, 0.7, 0.6), (0, 0.5, 1.0, 1.5, 2.0))  # the same trade, twice as far at each t
    found = compare_at_equal_retention([slow], [quick], split="paper")
    assert abs(found.difference) < 0.01 and not found.distinguishable
    assert 0.8 < found.retention[0] < found.retention[1] < 1.0


def test_a_better_path_is_told_and_which_one_it_is() -> None:
    better, worse = made_path("a", LONG, (1, 2, 3, 4)), made_path("b", LONG, (0.1, 0.2, 0.3, 0.4))
    for names, paths in ((("slerp", "linear"), (better, worse)), (("linear", "slerp"), (worse, better))):
        found = compare_at_equal_retention([paths[0]], [paths[1]], split="paper", names=names)
        assert found.distinguishable and (found.difference > 0) == (names[0] == "slerp")
        assert "SLERP separates better than Linear by" in found.sentence and "other seeds may differ" in found.sentence


def test_paths_that_never_retain_equally_much_are_not_compared() -> None:
    high, low = made_path("a", (0.99, 0.95), (1, 2)), made_path("b", (0.6, 0.5), (1, 2))
    found = compare_at_equal_retention([high], [low], split="paper", names=("karcher", "soup"))
    assert math.isnan(found.difference) and not found.distinguishable
    assert "cannot be held against each other" in found.sentence and "0.95 to 0.99 and 0.50 to 0.60" in found.sentence


def test_a_single_arm_is_held_against_a_path_at_its_own_retention() -> None:
    path, arm = made_path("a", LONG, (0.5, 1, 1.5, 2)), made_path("b", (0.85,), (1.25,))
    found = compare_at_equal_retention([arm], [path], split="paper")
    assert found.retention == (0.85, 0.85) and abs(found.difference) < 0.02


@pytest.mark.slow
def test_noise_is_seldom_taken_for_a_difference() -> None:
    """Two paths of the same models but for noise of their own, three seeds each, many times over."""
    said = 0
    for number in range(60):
        sides = [
            [made_path("a", LONG, (0.4, 0.5, 0.6, 0.7), seed=1_000 * number + 10 * side + one, noise=0.5, shared=number)
             for one in range(3)]
            for side in (0, 1)
        ]  # fmt: skip
        said += compare_at_equal_retention(*sides, split="paper", names=("slerp", "linear")).distinguishable
    assert said <= 4


def _false_alarms(
    sides: Callable[[np.random.Generator], tuple[list[Arms], list[Arms]]], names: tuple[str, str]
) -> float:
    """Return how often a difference is seen between two sides that only chance tells apart."""
    rng, rounds = np.random.default_rng(5), 400
    found = [compare_at_equal_retention(*sides(rng), split="paper", names=names) for _ in range(rounds)]
    return sum(one.p <= 0.05 for one in found) / rounds


@pytest.mark.parametrize("of_seeds", [0.0, 0.1, 0.2, 0.4, 2.0])
def test_seeds_and_sequences_together_raise_few_false_alarms(of_seeds: float) -> None:
    """Each side has an effect of each seed (as large as the mean over sequences is unsure at 0.2) and sequence."""

    def sides(rng: np.random.Generator) -> tuple[list[Arms], list[Arms]]:
        made = []
        for _ in range(2):
            own = rng.standard_normal(24)  # the same sequences for every seed
            made.append([noisy_path("a", LONG, own, seed=of_seeds * rng.standard_normal()) for _ in range(3)])
        return made[0], made[1]

    assert _false_alarms(sides, ("slerp_base", "lora")) <= 0.06


def test_a_path_that_turns_back_is_not_favoured() -> None:
    """It comes by every level twice, and each of its arms has noise of its own: the better one would win by chance."""

    rng, apart = np.random.default_rng(6), []
    for _ in range(200):
        there = noisy_path("a", (0.9, 0.85, 0.8, 0.85, 0.9), rng.standard_normal((5, 24)))
        line = noisy_path("b", (0.9, 0.8), rng.standard_normal((2, 24)))
        apart.append(compare_at_equal_retention([there], [line], split="paper").difference)
    assert abs(np.mean(apart)) < 3 * np.std(apart) / math.sqrt(len(apart))


def test_one_partner_for_all_seeds_says_nothing_of_other_seeds() -> None:
    own = np.linspace(0, 0.3, 24)
    seeds = [noisy_path("lora", LONG, own, seed=one) for one in (0.0, 0.2, 0.4)]
    alike = [noisy_path("lora", LONG, own, seed=0.2)] * 3
    soup = [noisy_path("soup", LONG, own[::-1])]
    found, same = (
        compare_at_equal_retention(soup, one, split="paper", names=("soup", "lora")) for one in (seeds, alike)
    )
    assert found.over == same.over == "24 sequences" and "other seeds may differ" in found.sentence
    assert (found.low, found.high, found.p) == pytest.approx((same.low, same.high, same.p)), (
        "their spread is not an error"
    )
    assert compare_at_equal_retention(seeds, alike, split="paper").over == "3 seeds and 24 sequences"


def test_where_a_path_comes_by_twice_the_mean_counts() -> None:
    own = np.zeros((3, 24)) + np.array([[0.0], [0.1], [0.4]])
    turning, line = noisy_path("a", (0.8, 0.9, 0.8), own), noisy_path("b", (0.8, 0.8), own[:1])
    found = compare_at_equal_retention([turning], [line], split="paper")
    assert found.difference == pytest.approx(0.2)


def test_the_interval_holds_the_errors_of_seeds_and_sequences_together() -> None:
    quiet = [np.full(24, 0.1) + 1e-3 * np.arange(24)] * 3
    gaps = [0.0, 0.1, 0.2]
    sequences = estimated([0.1] * 3, quiet)
    seeds = estimated(gaps, [np.full(24, 0.1)] * 3)
    both, pairs, shared = (
        estimated(gaps, quiet, pairs=of == "pairs", seeds=of != "shared") for of in ("", "pairs", "shared")
    )
    assert _wide(both) == pytest.approx(math.hypot(_wide(sequences), _wide(seeds))) and both[3] > seeds[3]
    assert _wide(pairs) == pytest.approx(math.hypot(_wide(sequences), 2 * _wide(seeds)))
    assert shared == pytest.approx(sequences)
    assert estimated(gaps, quiet, bend=0.01)[2] == pytest.approx(both[2] + 0.01)
    assert all(map(math.isnan, estimated([], [])))


def test_p_is_where_the_interval_would_end_at_nothing() -> None:
    from scipy.special import stdtr

    left_out = np.linspace(0.09, 0.11, 24)
    mean, low, high, p = estimated([0.1], [left_out])
    error = 23 * left_out.std(ddof=1) / math.sqrt(24)
    assert p == pytest.approx(2 * stdtr(23, -mean / error)) and (p <= 0.05) == (low > 0 or high < 0)
    assert estimated([0.1], [np.full(24, 0.1)], bend=0.2)[3] == 1


def _wide(found: tuple[float, float, float, float]) -> float:
    return (found[2] - found[1]) / 2


def _result(tiny_model: Path) -> LadderResult:
    asked = small_ladder(tiny_model, paths=("lora", "soup"))
    kept, apart = (1.0, 0.9, 0.8, 0.7, 0.6), (0.2, 0.6, 1.0, 1.2, 1.3)
    rows = {
        path.id: made_path(path.id, kept[: len(path.values)], apart[: len(path.values)])
        for path in asked.drawn
        if path.name != "base"
    }
    base = [replace(arm, path="base") for arm in made_path("base", (1.0,), (0.2,))]
    placed = {path.id: path.values for path in asked.drawn}
    arms = [replace(arm, at=at) for name, row in rows.items() for arm, at in zip(row, placed[name], strict=True)]
    arms = [replace(arm, splits=dict.fromkeys(asked.splits, arm.splits["paper"])) for arm in (*base, *arms)]
    readings = (Reading(0, 0, None, 0.1), Reading(0, 4, 2.0, 0.2))
    return LadderResult(
        asked, {"name": "tiny"}, (TrainedAdapter(0, 4, "/a", "d", readings),), tuple(arms), training=readings
    )  # fmt: skip


def test_what_was_found_comes_back_from_its_json(tiny_model: Path) -> None:
    found = _result(tiny_model)
    found = replace(found, comparisons=comparisons_of(found))
    text = json.dumps(found.as_json(), allow_nan=False)
    again = LadderResult.from_json(json.loads(text))
    assert again.as_json() == found.as_json() and again.ladder == found.ladder and again.adapters == found.adapters
    assert [arm.at for arm in again.path("lora-0")] == [0, 0.5, 1, 1.5] and len(again.of("lora")) == 2
    assert math.isnan(again.arms[0].splits["paper"].p) and again.training == found.training


def test_the_verdict_speaks_of_the_gain_with_its_interval(tiny_model: Path) -> None:
    found = _result(tiny_model)
    trade, *held = verdict(replace(found, comparisons=comparisons_of(found)))
    assert trade.startswith("Adapting raised the silhouette of the paper's 24 sequences (by 0.") and "2 seeds" in trade
    assert len(held) == 1 and "Soup and LoRA differ" in held[0]
    nothing = replace(found, arms=tuple(replace(arm, splits=found.arms[0].splits) for arm in found.arms))
    assert "did not surely change" in verdict(nothing)[0]
    assert verdict(replace(found, arms=())) == ()
    decoder = replace(
        found,
        arms=tuple(
            replace(arm, retention=replace(arm.retention, lm_loss=1.5 if arm.path == "base" else 3.0))
            for arm in found.arms
        ),
    )
    assert "language model" not in " ".join(verdict(found))
    assert verdict(decoder)[1] == (
        "As a language model the base is worse with these adapters: its loss on the next token of new families' texts "
        "went from 1.50 to 3.00 nats, 3.00 to 3.00 over the seeds; other seeds may differ."
    )


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ((3.0,), "is worse with this adapter: "),
        ((1.0, 1.2), "is better with these adapters: "),
        ((1.0, 3.0), "is not surely changed by these adapters: "),
        ((2.9, 3.0, 3.1), "the adapted base is worse (by 1.50 ± 0.25 nats over 3 seeds, on these texts): "),
        ((1.51, 1.6, 3.0), "is not surely changed (by 0.54 ± 2.08 nats over 3 seeds, on these texts): "),
    ],
)
def test_a_decoders_loss_is_told_with_its_interval_or_for_its_adapters(losses: tuple[float, ...], told: str) -> None:
    found = made_result(made_ladder(seeds=range(len(losses)), paths=("lora",)))
    at = {f"lora-{seed}": loss for seed, loss in enumerate(losses)} | {"base": 1.5}
    arms = (replace(arm, retention=replace(arm.retention, lm_loss=at[arm.path])) for arm in found.arms)
    (said,) = (one for one in verdict(replace(found, arms=tuple(arms))) if one.startswith("As a language model"))
    assert told in said and said.endswith("; other seeds may differ.") == (len(losses) < 3)


def test_steps_of_the_recipe_reach_the_paths() -> None:
    recipe = Recipe(seeds=(5,), steps=100, stages=2)
    (path,) = paths_of(("multi_stage",), recipe, 3)
    assert path.ingredients == ((5, 50), (5, 100)) and path.parts == ("seed 5, step 50", "seed 5, step 100")
