"""What every registered merge promises; a new one is tested the moment it is registered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numembed.core.errors import BadChoice
from numembed.core.registry import Entry
from numembed.models.merging.methods import MERGES
from numembed.models.merging.tensors import Merge, checked, ingredients, merged
from tests.models.merging.weight_files import merged_tensors

SHAPES = [(6, 4), (5,), (), (0, 3), (2, 3, 2), (700, 900)]
WAYS = [
    pytest.param(entry.name, space, scope, id=f"{entry.name}-{space}-{scope}")
    for entry in MERGES
    for space in entry.facts["spaces"]
    for scope in entry.facts.get("scopes", ("tensor",))
]
EACH = pytest.mark.parametrize(("method", "space", "scope"), WAYS)
METHODS = pytest.mark.parametrize("entry", [pytest.param(entry, id=entry.name) for entry in MERGES])


def _drawn(seed: int, shape: tuple[int, ...] = (6, 4), dtype: str = "float32") -> np.ndarray:
    drawn = np.asarray(np.random.default_rng(seed).standard_normal(shape), dtype=dtype)
    drawn.setflags(write=False)
    return drawn


def _merge(method: str, space: str, scope: str, **options: float) -> Merge:
    return Merge(method, space, scope, options=tuple(options.items()))


def _count(method: str) -> int:
    low, high = MERGES[method].facts["parts"]
    return min(3, high or 3) if low < 3 else low


def _merged(merge: Merge, parts: list[np.ndarray], base: np.ndarray) -> np.ndarray:
    """Through the whole model's way, so that flat ones see what they see there."""
    models = [{"a": part, "b.weight": part[:1] if part.ndim else part} for part in parts]
    origin = {"a": base, "b.weight": base[:1] if base.ndim else base}
    return merged_tensors(merge, ingredients(models, origin))["a"]


@EACH
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equal_parts_come_out_unchanged(method: str, space: str, scope: str, shape: tuple[int, ...]) -> None:
    count = _count(method)
    neutral: dict[str, float] = MERGES[method].facts.get("neutral", lambda count: {})(count)
    part, base = _drawn(1, shape), _drawn(2, shape)
    result = _merged(_merge(method, space, scope, **neutral), [part] * count, base)
    if method != "wise_ft":  # one part, and not all of it
        ulps = 2 * np.spacing(np.abs(part) + np.abs(base)) if MERGES[method].facts.get("sees") == "values" else 0.0
        assert (np.abs(result - part) <= ulps).all()


@EACH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shape_and_type_are_kept_and_the_same_comes_again(
    method: str, space: str, scope: str, shape: tuple[int, ...], dtype: str, recwarn: pytest.WarningsRecorder
) -> None:
    parts, base = [_drawn(seed, shape, dtype) for seed in range(_count(method))], _drawn(9, shape, dtype)
    once, again = (_merged(_merge(method, space, scope), parts, base) for _ in range(2))
    assert once.shape == shape and once.dtype == dtype
    assert np.isfinite(once).all() and (once == again).all()
    assert not recwarn.list


@EACH
def test_the_ends_of_a_path_are_the_models_themselves(method: str, space: str, scope: str) -> None:
    parts, base = [_drawn(seed) for seed in range(_count(method))], _drawn(9)
    if "t" in {option.name for option in MERGES[method].options}:
        began = base if method == "wise_ft" else parts[0]
        assert (_merged(_merge(method, space, scope, t=0), parts, base) == began).all()
        assert (_merged(_merge(method, space, scope, t=1), parts, base) == parts[-1]).all()


@EACH
@pytest.mark.parametrize("kind", ["all zero", "one zero", "opposite", "equal to the base", "tiny", "huge"])
def test_parts_without_a_direction_have_a_finite_merge(
    method: str, space: str, scope: str, kind: str, recwarn: pytest.WarningsRecorder
) -> None:
    count, base, zero = _count(method), _drawn(9), np.zeros((6, 4), np.float32)
    start = base if space == "task_vectors" else zero
    update = _drawn(1)
    parts = {
        "all zero": [start] * count,
        "one zero": [start, *[start + update] * (count - 1)],
        "opposite": [start + update * (-1) ** number for number in range(count)],
        "equal to the base": [base] * count,
        "tiny": [start + _drawn(seed) * np.float32(1e-30) for seed in range(count)],
        "huge": [start + _drawn(seed) * np.float32(1e30) for seed in range(count)],
    }[kind]
    result = _merged(_merge(method, space, scope), parts, base)
    assert np.isfinite(result).all() and not recwarn.list
    if kind == "all zero" or (kind == "equal to the base" and space == "task_vectors"):
        assert (result == start).all()


@EACH
def test_the_order_of_the_parts_matters_only_where_there_is_a_path_or_chance(
    method: str, space: str, scope: str
) -> None:
    parts, base = [_drawn(seed) for seed in range(_count(method))], _drawn(9)
    options = {option.name for option in MERGES[method].options}
    if not options & {"t", "seed"}:
        one, other = (_merged(_merge(method, space, scope), order, base) for order in (parts, parts[::-1]))
        np.testing.assert_allclose(one, other, atol=1e-6)


@EACH
def test_whole_numbers_and_truth_values_are_kept_from_the_first(method: str, space: str, scope: str) -> None:
    count = _count(method)
    for dtype in (np.int64, bool):
        parts = [{"x": _drawn(seed), "ids": (np.arange(4) * (seed + 1)).astype(dtype)} for seed in range(count)]
        result = merged_tensors(_merge(method, space, scope), ingredients(parts, parts[-1]))
        assert result["ids"].dtype == dtype and (result["ids"] == parts[0]["ids"]).all()


@METHODS
def test_too_few_and_too_many_models_and_a_missing_base_are_refused_in_one_sentence(entry: Entry[Any]) -> None:
    low, high = entry.facts["parts"]
    for count in (low - 1, *([high + 1] if high else [])):
        with pytest.raises(BadChoice, match=f"{entry.title} merges .* got {count}"):
            checked(Merge(entry.name), parts=count, has_base=True)
    if "task_vectors" in entry.facts["spaces"]:
        with pytest.raises(BadChoice, match="needs the base"):
            checked(Merge(entry.name, "task_vectors"), parts=low, has_base=False)


@METHODS
def test_options_outside_their_range_and_unknown_ones_are_refused(entry: Entry[Any]) -> None:
    low = entry.facts["parts"][0]
    for option in entry.options:
        assert option.range is not None, "every option has its slider"
        for value in (option.range.low - 1, option.range.high + 1, float("nan")):
            with pytest.raises(BadChoice, match=option.name):
                checked(Merge(entry.name, options=((option.name, value),)), parts=low, has_base=True)
    with pytest.raises(BadChoice, match="no option 'wetness'"):
        checked(Merge(entry.name, options=(("wetness", 1.0),)), parts=low, has_base=True)


@METHODS
def test_weights_are_taken_where_they_mean_something(entry: Entry[Any]) -> None:
    count = _count(entry.name)
    parts, base = [_drawn(seed) for seed in range(count)], _drawn(9)
    if not entry.facts.get("weighted"):
        with pytest.raises(BadChoice, match="takes no weights"):
            checked(Merge(entry.name, weights=(1.0,) * count), parts=count, has_base=True)
        return
    for wrong in ((1.0,) * (count + 1), (0.0,) * count, (-1.0, *(2.0,) * (count - 1)), (float("nan"),) * count):
        with pytest.raises(BadChoice, match="one weight of 0 or more"):
            checked(Merge(entry.name, weights=wrong), parts=count, has_base=True)
    neutral = tuple(entry.facts.get("neutral", lambda count: {})(1).items())
    only_first = checked(
        Merge(entry.name, weights=(2.0, *(0.0,) * (count - 1)), options=neutral), parts=count, has_base=True
    )
    np.testing.assert_allclose(merged(only_first, parts, base), parts[0], atol=1e-6)


@METHODS
def test_the_title_the_help_and_the_reference_are_given(entry: Entry[Any]) -> None:
    assert entry.title and entry.summary.endswith(".")
    assert entry.facts["reference"]
    assert entry.facts.get("sees", "gram") in ("gram", "nothing", "values")
