"""Merges in memory: mergekit's values, the properties of SLERP, what is tied or missing, and angles between weights."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from numembed.core.errors import BadChoice, Cancelled, ModelUnavailable, UnknownName
from numembed.models.files.architectures import architecture_of
from numembed.models.merging.angles import angles, by_layer, straightness, together, updates
from numembed.models.merging.methods import MERGES, dare, slerp, ties
from numembed.models.merging.tensors import Merge, checked, flat, gram_of, grams_of, ingredients, merged, merger
from tests.models.merging.weight_files import merged_tensors

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "merges.json").read_text(encoding="utf-8"))
LARGEST_DIFFERENCE = 2e-6
VECTORS = arrays(np.float32, 8, elements=st.floats(-4, 4, width=32))
SHARES = st.floats(0, 1)


def _one(merge: Merge, *parts: Any, base: Any = None) -> np.ndarray:
    tensors = [np.asarray(part, dtype=np.float32) for part in parts]
    origin = None if base is None else np.asarray(base, dtype=np.float32)
    return merged(checked(merge, parts=len(parts), has_base=origin is not None), tensors, origin)


def _slerp(one: Any, other: Any, t: float, fallback: float = 1.0, **more: Any) -> np.ndarray:
    return _one(Merge("slerp", options=(("t", t), ("fallback", fallback)), **more), one, other)


def _model(seed: int, **more: np.ndarray) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    names = {"embed_tokens.weight": (10, 4), "layers.0.mlp.weight": (4, 4), "layers.1.mlp.weight": (4, 4), "norm": (4,)}
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in names.items()} | more


@pytest.mark.parametrize("value", GOLDEN["values"], ids=lambda value: f"{value['mergekit']}-{value['inputs']}")
def test_what_mergekit_gave(value: dict[str, Any]) -> None:
    ours = value["ours"]
    merge = Merge(
        ours["method"], ours["space"], weights=tuple(ours["weights"]), options=tuple(map(tuple, ours["options"]))
    )
    parts = GOLDEN["inputs"][value["inputs"]][: ours["parts"]]
    found = _one(merge, *parts, base=GOLDEN["inputs"]["base"])
    np.testing.assert_allclose(found.reshape(-1), value["value"], rtol=0, atol=LARGEST_DIFFERENCE)


def test_the_reference_values_hold_every_method_that_both_have() -> None:
    assert {value["ours"]["method"] for value in GOLDEN["values"]} >= {
        *("slerp", "linear", "soup", "karcher", "task_arithmetic", "ties", "dare", "model_stock")
    }
    assert len(GOLDEN["values"]) >= 50


@pytest.mark.slow
@given(VECTORS, VECTORS, SHARES)
def test_slerp_there_is_slerp_back(one: np.ndarray, other: np.ndarray, t: float) -> None:
    np.testing.assert_allclose(_slerp(one, other, t), _slerp(other, one, 1 - t), atol=2e-5)


@given(VECTORS, VECTORS, st.sampled_from(["slerp", "linear", "norm_matched"]))
def test_a_path_begins_and_ends_at_its_models(one: np.ndarray, other: np.ndarray, method: str) -> None:
    for t, end in ((0.0, one), (1.0, other)):
        assert (_one(Merge(method, options=(("t", t),)), one, other) == end).all()


@given(VECTORS, SHARES)
def test_slerp_of_a_model_with_itself_is_that_model(one: np.ndarray, t: float) -> None:
    assert (_slerp(one, one, t) == one).all()


@given(VECTORS, VECTORS, SHARES)
def test_slerp_of_equally_long_vectors_keeps_their_length_and_turns_evenly(
    one: np.ndarray, other: np.ndarray, t: float
) -> None:
    lengths = [float(np.linalg.norm(vector.astype(np.float64))) for vector in (one, other)]
    if min(lengths) < 0.1:
        return
    first, second = (vector.astype(np.float64) / length for vector, length in zip((one, other), lengths, strict=True))
    angle = math.acos(np.clip(first @ second, -1, 1))
    if not 0.01 < angle < 3.1:
        return
    shares = slerp(gram_of([first, second]), t=t, fallback=1.0)
    between = shares @ np.stack([first, second])
    assert np.linalg.norm(between) == pytest.approx(1, abs=1e-9)
    assert math.acos(np.clip(first @ between, -1, 1)) == pytest.approx(t * angle, abs=1e-6)


@settings(max_examples=50)
@given(st.lists(VECTORS, min_size=2, max_size=4), st.sampled_from(["karcher", "soup", "norm_matched_soup"]))
def test_a_mean_lies_among_its_models_and_is_no_longer_than_the_longest(parts: list[np.ndarray], method: str) -> None:
    longest = max(float(np.linalg.norm(part.astype(np.float64))) for part in parts)
    assert np.linalg.norm(_one(Merge(method), *parts).astype(np.float64)) <= longest * (1 + 1e-5) + 1e-30


def test_opposite_models_have_no_shortest_arc_so_the_straight_line_is_taken() -> None:
    for fallback in (0.9995, 1.0):
        assert (_slerp([1, 2], [-1, -2], 0.25, fallback) == [0.5, 1]).all()
    assert (_one(Merge("karcher"), [1, 2], [-1, -2]) == 0).all()
    assert (_one(Merge("norm_matched"), [1, 2], [-1, -2]) == 0).all()


def test_a_zero_vector_has_no_direction_so_the_straight_line_is_taken() -> None:
    assert (_slerp([0, 0], [2, 4], 0.25) == [0.5, 1]).all()
    np.testing.assert_allclose(_one(Merge("karcher"), [0, 0], [2, 4]), [1, 2], rtol=1e-6)


def test_near_parallel_models_take_the_line_as_in_mergekit_and_the_arc_where_it_is_requested() -> None:
    one, other = np.array([1, 0.0]), np.array([math.cos(0.02), math.sin(0.02)])  # cosine .9998
    line = 0.5 * (one.astype(np.float32) + other.astype(np.float32))
    assert (_slerp(one, other, 0.5, fallback=0.9995) == line).all()
    assert np.linalg.norm(_slerp(one, other, 0.5).astype(np.float64)) == pytest.approx(1, abs=1e-7)
    assert np.linalg.norm(line.astype(np.float64)) < 1 - 4e-5


def test_at_equal_lengths_and_the_middle_slerp_is_the_norm_matched_line() -> None:
    one, other = [3, 4, 0], [0, 3, 4]
    arc, line = _slerp(one, other, 0.5), _one(Merge("norm_matched"), one, other)
    np.testing.assert_allclose(arc, line, rtol=1e-6)


def test_task_vectors_have_their_own_angle_and_a_flat_merge_one_for_the_whole_model() -> None:
    base, one, other = (_model(seed) for seed in (0, 1, 2))
    sides = ingredients([one, other], base)
    per_tensor, whole = (merged_tensors(Merge("slerp", "task_vectors", scope), sides) for scope in ("tensor", "flat"))
    deltas = [np.concatenate([(part[name] - base[name]).ravel() for name in base]) for part in (one, other)]
    expected = _slerp(*deltas, 0.5)
    found = np.concatenate([(whole[name] - base[name]).ravel() for name in base])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not np.allclose(per_tensor["norm"], whole["norm"])


def test_a_sweep_with_kept_angles_gives_the_same_as_one_without() -> None:
    base, one, other = (_model(seed) for seed in (0, 1, 2))
    sides = ingredients([one, other], base)
    grams = grams_of(sides, "task_vectors")
    for scope in ("tensor", "flat"):
        for t in (0.0, 0.3, 1.0):
            merge = Merge("slerp", "task_vectors", scope, options=(("t", t),))
            with_grams, without = merged_tensors(merge, sides, grams=grams), merged_tensors(merge, sides)
            assert all((with_grams[name] == without[name]).all() for name in base)
    assert flat(grams).shape == (2, 2)


def test_stages_are_mixed_in_their_order_and_two_of_them_are_slerp() -> None:
    stages = [_model(seed)["norm"] for seed in range(3)]
    step = _slerp(stages[0], stages[1], 0.3)
    chain = _one(Merge("multi_stage", options=(("t", 0.3), ("fallback", 1.0))), *stages)
    np.testing.assert_allclose(chain, _slerp(step, stages[2], 0.3), atol=1e-6)
    np.testing.assert_allclose(_one(Merge("multi_stage", options=(("t", 0.3), ("fallback", 1.0))), *stages[:2]), step)


def test_soup_with_base_and_wise_ft_are_between_the_base_and_the_models() -> None:
    assert (_one(Merge("wise_ft", options=(("t", 0.25),)), [4.0], base=[0.0]) == 1).all()
    assert (_one(Merge("soup_with_base"), [4.0], [8.0], base=[0.0]) == 4).all()  # of three, one is the base
    assert (_one(Merge("soup_with_base", weights=(1, 0)), [4.0], [8.0], base=[1.0]) == 3).all()
    assert (_one(Merge("task_arithmetic", options=(("scale", 1.5),)), [4.0], [8.0], base=[2.0]) == 14).all()


def test_ties_lets_the_larger_side_win_and_keeps_the_largest() -> None:
    deltas = [np.array([3.0, -1.0, 0.1]), np.array([-1.0, -2.0, 0.2])]
    weights = np.array([0.5, 0.5])
    np.testing.assert_allclose(ties(deltas, weights=weights, name="", density=1.0), [3, -1.5, 0.15])
    np.testing.assert_allclose(ties(deltas, weights=weights, name="", density=0.4), [3, -2, 0])


def test_dare_keeps_the_expected_share_and_sum_and_depends_on_seed_name_and_part() -> None:
    delta = np.ones(100_000, dtype=np.float32)

    def drawn(seed: int, name: str, parts: int = 1) -> np.ndarray:
        return dare([delta] * parts, weights=np.ones(parts) / parts, name=name, density=0.25, seed=seed)

    one = drawn(0, "a")
    assert set(np.unique(one)) == {0.0, 4.0} and one.mean() == pytest.approx(1, abs=0.03)
    assert (one == drawn(0, "a")).all() and (one != drawn(1, "a")).any() and (one != drawn(0, "b")).any()
    assert set(np.unique(drawn(0, "a", 2))) == {0.0, 2.0, 4.0}


def test_model_stock_goes_to_the_soup_for_equal_updates_and_stays_at_the_base_for_opposite_ones() -> None:
    assert (_one(Merge("model_stock"), [3.0, 1.0], [3.0, 1.0], base=[1.0, 1.0]) == [3, 1]).all()
    assert (_one(Merge("model_stock"), [3.0, 1.0], [-1.0, 1.0], base=[1.0, 1.0]) == 1).all()


def test_a_small_update_is_not_lost_on_the_way() -> None:
    base = np.full(1_000, 1.0, dtype=np.float32)
    parts = [base + np.float32(2**-22), base]  # twice the spacing of float32 there
    assert (_one(Merge("soup"), *parts) == np.float32(1 + 2**-23)).all()
    assert (
        _one(Merge("task_arithmetic", options=(("scale", 0.5),)), *parts, base=base) == np.float32(1 + 2**-23)
    ).all()


def test_nan_is_refused_with_the_tensor_in_which_it_is() -> None:
    bad = _model(0) | {"norm": np.array([1, np.nan, 1, 1], np.float32)}
    for method in ("soup", "slerp", "ties"):
        with pytest.raises(ModelUnavailable, match="merge of 'norm' is not finite"):
            merged_tensors(Merge(method), ingredients([_model(1), bad], _model(2)))


def test_missing_tensors_and_other_shapes_are_refused_by_name() -> None:
    lacking = {name: tensor for name, tensor in _model(1).items() if name != "norm"}
    for parts, lacks in (([_model(0), lacking], "model 2"), ([lacking, _model(0)], "model 1")):
        with pytest.raises(BadChoice, match=f"{lacks} lacks 1 of the tensors of model .*'norm'"):
            ingredients(parts)
    with pytest.raises(BadChoice, match="the base lacks 1"):
        ingredients([_model(0)], lacking)
    with pytest.raises(BadChoice, match="'norm' is 4 and 3"):
        ingredients([_model(0), _model(1, norm=np.ones(3, np.float32))])


def test_tables_of_whole_numbers_may_be_missing() -> None:
    ids = np.arange(4)
    given = ingredients([_model(0, position_ids=ids), _model(1)])
    assert (merged_tensors(Merge("soup"), given)["position_ids"] == ids).all()
    assert "position_ids" not in merged_tensors(Merge("soup"), ingredients([_model(1), _model(0, position_ids=ids)]))


class _Llama(dict[str, np.ndarray]):
    architecture = architecture_of({"model_type": "llama"})


def test_names_with_and_without_the_architecture_in_front_are_the_same() -> None:
    bare, named = _Llama(_model(0)), _Llama({f"model.{name}": tensor for name, tensor in _model(1).items()})
    plain = merged_tensors(Merge("soup"), ingredients([_model(0), _model(1)]))
    for found in (
        merged_tensors(Merge("soup"), ingredients([bare, named])),
        merged_tensors(Merge("soup"), ingredients([named, bare])),
    ):
        assert all((found.get(name, found.get(f"model.{name}")) == plain[name]).all() for name in plain)


@pytest.mark.parametrize("method", ["slerp", "ties", "dare"])
def test_a_tied_head_follows_its_embedding_whoever_has_it(method: str) -> None:
    def tied(seed: int) -> dict[str, np.ndarray]:
        return _model(seed, **{"lm_head.weight": _model(seed)["embed_tokens.weight"].copy()})

    base = _model(9)
    for parts in ([tied(0), tied(1)], [tied(0), _model(1)], [_model(0), tied(1)]):
        found = merged_tensors(Merge(method), ingredients(parts, base))
        assert ("lm_head.weight" in found) is ("lm_head.weight" in parts[0])
        head = found.get("lm_head.weight", found["embed_tokens.weight"])
        assert (head == found["embed_tokens.weight"]).all()


def test_a_head_of_its_own_is_merged_where_all_have_it_and_else_kept_from_the_first() -> None:
    own = [_model(seed, **{"lm_head.weight": _model(seed + 50)["embed_tokens.weight"]}) for seed in (0, 1)]
    found = merged_tensors(Merge("soup"), ingredients(own))
    assert (found["lm_head.weight"] != found["embed_tokens.weight"]).any()
    kept = merged_tensors(Merge("soup"), ingredients([own[0], _model(1)]))
    assert (kept["lm_head.weight"] == own[0]["lm_head.weight"]).all()
    assert (kept["norm"] == found["norm"]).all()
    assert "lm_head.weight" not in merged_tensors(Merge("soup"), ingredients([_model(1), own[0]]))


def test_a_merge_can_be_watched_and_stopped() -> None:
    seen: list[tuple[int, int, str]] = []
    sides = ingredients([_model(0), _model(1)])
    merger(Merge("slerp", scope="flat"), sides, progress=lambda *told: seen.append(told))
    assert seen == [(done, 4, "angles") for done in range(4)]

    def stop(done: int, total: int, note: str) -> None:
        if done == 2:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        merger(Merge("slerp", scope="flat"), sides, progress=stop)


def test_unknown_methods_spaces_and_scopes_are_reported() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'slerp'"):
        checked(Merge("slrp"), parts=2, has_base=False)
    with pytest.raises(BadChoice, match="Soup takes the space weights"):
        checked(Merge("soup", "task_vectors"), parts=2, has_base=True)
    with pytest.raises(BadChoice, match="TIES takes the scope tensor"):
        checked(Merge("ties", scope="flat"), parts=2, has_base=True)
    with pytest.raises(BadChoice, match="exactly 2 models, got 3; use a soup"):
        checked(Merge("slerp"), parts=3, has_base=True)
    assert checked(Merge("slerp"), parts=2, has_base=False) == Merge(
        "slerp", "weights", options=(("t", 0.5), ("fallback", 0.9995))
    )
    assert len(MERGES) >= 13


# --- angles


def test_angles_of_weights_and_of_task_vectors() -> None:
    base = {"a": np.array([10.0, 0]), "b": np.array([0.0, 5])}
    one, other = ({"a": base["a"] + delta, "b": base["b"]} for delta in (np.array([1.0, 0]), np.array([0.0, 1])))
    weights, tasks = angles(one, other), angles(one, other, base)
    assert weights[0].degrees == pytest.approx(math.degrees(math.atan2(1, 10)))
    assert weights[1].degrees == 0
    assert tasks[0].degrees == pytest.approx(90) and math.isnan(tasks[1].degrees)
    assert together(tasks).degrees == pytest.approx(90) and together(tasks).size == 4


def test_how_straight_slerp_was() -> None:
    one = {"a": np.array([1.0, 0]), "b": np.array([1.0, 0, 0])}
    other = {"a": np.array([0.0, 1]), "b": np.array([1.0, 0.001, 0])}
    found = straightness(one, other)
    assert found.fell_back == 3 / 5
    assert found.largest == pytest.approx(math.sqrt(0.5) - 0.5)
    assert found.length == pytest.approx(1 - math.sqrt(0.5)) and found.of_step == pytest.approx(0.2071, abs=1e-3)
    assert straightness(one, other, fallback=1).fell_back == 0
    base = {name: np.zeros_like(tensor) for name, tensor in one.items()}
    assert straightness(one, other, base) == found
    assert straightness(one, one).of_step == 0 and straightness(one, one).fell_back == 1


def test_updates_by_tensor_and_by_layer() -> None:
    base = {"embed.weight": np.ones(4), "encoder.layer.0.a": np.ones(4), "encoder.layer.0.b": np.ones(4)}
    part = {name: tensor + number for number, (name, tensor) in enumerate(base.items())}
    found = updates(part, base)
    assert [(one.name, one.change, one.base) for one in found] == list(zip(base, (0, 2, 4), (2, 2, 2), strict=True))
    layers = by_layer(found)
    assert [one.name for one in layers] == ["embedding", "layer 0"]
    assert layers[1].change == pytest.approx(math.sqrt(20)) and layers[1].relative == pytest.approx(math.sqrt(20 / 8))
