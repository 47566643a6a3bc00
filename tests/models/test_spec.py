from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from numembed.core.serialization import canonical_json
from numembed.models import spec as spec_module
from numembed.models.spec import BaselineWeights, HubWeights, Loading, LocalWeights, ModelSpec

text = st.text(max_size=12)
pin = st.text("0123456789abcdef", min_size=1, max_size=40)
weights = st.one_of(
    st.builds(HubWeights, text, pin),
    st.builds(LocalWeights, text, pin),
    st.builds(BaselineWeights, text, st.integers(1, 5)),
)
specs = st.builds(
    ModelSpec,
    name=text,
    weights=weights,
    prompt=text,
    max_tokens=st.none() | st.integers(1, 40_000),
    dtype=st.sampled_from(["float32", "bfloat16", "float16"]),
)


def _what_matters(spec: ModelSpec) -> tuple[Any, ...]:
    plain = vars(spec.weights) | {"kind": type(spec.weights)}
    plain.pop("path", None)
    return (tuple(sorted(map(repr, plain.items()))), spec.prompt, spec.max_tokens, spec.dtype)


@given(one=specs, other=specs)
def test_keys_are_equal_exactly_where_all_that_matters_is(one: ModelSpec, other: ModelSpec) -> None:
    assert (one.key == other.key) is (_what_matters(one) == _what_matters(other))


@given(spec=specs, data=st.data())
def test_the_key_changes_with_each_field_that_matters(spec: ModelSpec, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(["weights", "prompt", "max_tokens", "dtype"]))
    other = replace(spec, **{field: getattr(data.draw(specs), field)})
    assume(_what_matters(spec) != _what_matters(other))
    assert spec.key != other.key


@given(spec=specs, name=text, path=text)
def test_name_and_path_do_not_matter(spec: ModelSpec, name: str, path: str) -> None:
    moved = replace(spec.weights, path=path) if isinstance(spec.weights, LocalWeights) else spec.weights
    assert replace(spec, name=name, weights=moved).key == spec.key


@given(spec=specs)
def test_a_spec_comes_back_from_its_description(spec: ModelSpec) -> None:
    assert ModelSpec.from_dict(json.loads(canonical_json(spec.as_dict()))) == spec


def test_kinds_of_weights_with_equal_words_have_different_keys() -> None:
    assert ModelSpec("m", HubWeights("a", "b")).key != ModelSpec("m", LocalWeights("a", "b")).key


def test_random_weights_are_another_model_and_no_seed_leaves_no_trace() -> None:
    spec = ModelSpec("m", HubWeights("owner/name", "0" * 40), loading=Loading(add_eos=True))
    drawn = [replace(spec, loading=Loading(add_eos=True, random_seed=seed)) for seed in (0, 1)]
    assert len({spec.key, *(one.key for one in drawn)}) == 3
    assert spec.as_dict()["loading"] == {"add_eos": True}
    assert drawn[0].as_dict()["loading"] == {"add_eos": True, "random_seed": 0}
    assert [ModelSpec.from_dict(json.loads(canonical_json(one.as_dict()))) for one in drawn] == drawn


def test_fields_at_their_default_leave_no_trace() -> None:
    plain = ModelSpec("m", BaselineWeights("last_digits")).as_dict()
    assert plain == {"name": "m", "weights": {"kind": "BaselineWeights", "name": "last_digits", "version": 1}}


def test_a_key_is_forty_or_more_hex_digits_and_repeats() -> None:
    spec = ModelSpec("m", HubWeights("owner/name", "0" * 40))
    assert len(spec.key) == 64 and int(spec.key, 16) and spec.key == replace(spec).key


@pytest.mark.parametrize("loose", [HubWeights("owner/name"), LocalWeights("/models/one")])
def test_there_is_no_key_before_the_weights_are_pinned(loose: HubWeights | LocalWeights) -> None:
    spec = ModelSpec("m", loose)
    assert not spec.resolved
    with pytest.raises(ValueError, match="no key before"):
        _ = spec.key


def test_another_minor_version_of_the_libraries_is_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModelSpec("m", HubWeights("owner/name", "0" * 40))
    before = spec.key
    monkeypatch.setattr(spec_module, "vector_versions", lambda: {"transformers": "6.0", "sentence-transformers": "6.2"})
    assert spec.key != before


def test_only_hubs_and_folders_are_no_baselines() -> None:
    assert ModelSpec("m", BaselineWeights("last_digits")).is_baseline
    assert not ModelSpec("m", HubWeights("a/b")).is_baseline
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json(float("nan"))
