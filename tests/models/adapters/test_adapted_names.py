"""A model with a LoRA adapter: its key, its reference, and what is known of it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numembed.core.errors import BadChoice, ModelUnavailable
from numembed.core.serialization import canonical_json
from numembed.core.settings import Settings
from numembed.models.catalogue.names import facts_of, model, prompts_of, random_init, reference_of
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.encoders.memory import parameters_of
from numembed.models.resolve import folder_of, known_folder
from numembed.models.sources import bundled_folder
from numembed.models.spec import BaselineWeights, HubWeights, Loading, LocalWeights, LoraWeights, ModelSpec, Weights
from numembed.studies.cost import cost_of
from numembed.studies.results import ResultStore
from tests.lora import write_adapter
from tests.models.adapters.adapted import adapted_spec, encoded
from tests.offline import OFFLINE

PLAIN = LoraWeights(HubWeights("owner/name", "0" * 40), LocalWeights("/adapters/one", "a" * 64), 0.5)


# ---- key --------------------------------------------------------------------------------------------------------


CHANGES = {
    "repository": {"base": HubWeights("owner/other", "0" * 40)},
    "commit": {"base": HubWeights("owner/name", "1" * 40)},
    "a folder": {"base": LocalWeights("/any", "0" * 40)},
    "files of the adapter": {"adapter": LocalWeights("/adapters/one", "b" * 64)},
    "an adapter on the hub": {"adapter": HubWeights("owner/adapter", "a" * 40)},
    "scale": {"scale": 0.25},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_base_adapter_or_scale_is_another_key(change: dict[str, Any]) -> None:
    assert ModelSpec("m", replace(PLAIN, **change)).key != ModelSpec("m", PLAIN).key


def test_places_names_and_ways_of_writing_a_number_are_no_part_of_the_key() -> None:
    moved = replace(PLAIN, adapter=LocalWeights("/elsewhere", "a" * 64))
    assert ModelSpec("m", PLAIN).key == ModelSpec("another", moved).key != ModelSpec("m", PLAIN.base).key
    keys = {ModelSpec("m", replace(PLAIN, scale=scale)).key for scale in (1, 1.0, np.float64(1))}
    assert len(keys | {ModelSpec("m", replace(PLAIN, scale=scale)).key for scale in (0, -0.0)}) == 2


pins = st.text("0123456789abcdef", min_size=1, max_size=40)
files = st.builds(HubWeights, st.text(max_size=9), pins) | st.builds(LocalWeights, st.text(max_size=9), pins)
adapted = st.builds(LoraWeights, files, files, st.floats(0, 2))


@pytest.mark.slow
@given(one=adapted, other=adapted)
def test_keys_are_equal_exactly_where_contents_and_scale_are(one: LoraWeights, other: LoraWeights) -> None:
    def matters(weights: LoraWeights) -> Any:
        each = [(type(part), {**vars(part), "path": ""}) for part in (weights.base, weights.adapter)]
        return each, weights.scale

    assert (ModelSpec("m", one).key == ModelSpec("m", other).key) is (matters(one) == matters(other))
    spec = ModelSpec("m", one, prompt="a")
    assert spec.resolved and ModelSpec.from_dict(json.loads(canonical_json(spec.as_dict()))) == spec


@pytest.mark.parametrize("loose", [{"base": HubWeights("owner/name")}, {"adapter": LocalWeights("/adapters/one")}])
def test_there_is_no_key_before_base_and_adapter_are_pinned(loose: dict[str, Any]) -> None:
    spec = ModelSpec("m", replace(PLAIN, **loose))
    assert not spec.resolved
    with pytest.raises(ValueError, match="no key before"):
        _ = spec.key


@pytest.mark.parametrize("scale", [-0.1, 2.5, float("nan"), float("inf")])
def test_no_other_scale_is_a_scale(scale: float) -> None:
    with pytest.raises(BadChoice, match="scale is a number from 0 to 2"):
        replace(PLAIN, scale=scale)


@pytest.mark.slow
def test_changed_files_are_another_key_and_are_not_taken_for_the_old_ones(tiny_model: Path, tmp_path: Path) -> None:
    made = write_adapter(tmp_path / "adapter", tiny_model)
    before = adapted_spec(tiny_model, made)
    moved = adapted_spec(tiny_model, Path(shutil.copytree(made, tmp_path / "copy")))
    write_adapter(made, tiny_model, seed=1)
    after = adapted_spec(tiny_model, made)
    assert before.key == moved.key != after.key
    with pytest.raises(ModelUnavailable, match="'adapter' has changed since it was chosen"):
        LoadedModel(OFFLINE).get(before)
    assert np.abs(encoded(moved) - encoded(after)).max() > 1e-3
    (made / "adapter_config.json").write_text((made / "adapter_config.json").read_text().replace("8", "9"))
    assert adapted_spec(tiny_model, made).key != after.key


# ---- reference --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "name", "written"),
    [
        ("all-MiniLM-L6-v2 adapter=/a/seed-0/step-60", "all-MiniLM-L6-v2 adapter=seed-0/step-60", ""),
        (
            "all-MiniLM-L6-v2 scale=0.80 adapter=/a/b",
            "all-MiniLM-L6-v2 adapter=a/b scale=0.8",
            "all-MiniLM-L6-v2 adapter=/a/b scale=0.8",
        ),
        ('all-MiniLM-L6-v2 adapter="/a/b" scale=1', "all-MiniLM-L6-v2 adapter=a/b", "all-MiniLM-L6-v2 adapter=/a/b"),
        (
            '/m/my model adapter="/with \\"quotes\\" and/blanks here" dim=8',
            'my model adapter="with \\"quotes\\" and/blanks here" dim=8',
            "",
        ),
        (
            "Qwen3-Embedding-0.6B adapter=owner/lora@" + "a" * 40 + " prompt=query",
            "Qwen3-Embedding-0.6B adapter=owner/lora prompt=query",
            "",
        ),
        ("owner/name adapter=/a scale=0", "owner/name adapter=a scale=0", ""),
        ("owner/name@" + "0" * 40 + " adapter=/a/b scale=0.30000000000000004", "", ""),
    ],
)
def test_a_reference_comes_back(reference: str, name: str, written: str) -> None:
    made = model(reference)
    assert isinstance(made.weights, LoraWeights)
    assert reference_of(made) == (written or reference) and model(reference_of(made)) == made
    assert not name or made.name == name


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("all-MiniLM-L6-v2 adapter=adapters/one/two", "'adapters/one/two' is not an adapter. Give its Hugging Face id"),
        ("all-MiniLM-L6-v2 adapter=seed-0", "'seed-0' is not an adapter"),
        ("all-MiniLM-L6-v2 scale=0.5", "also name the adapter"),
        ("all-MiniLM-L6-v2 adapter=/a scale=much", "scale is a number from 0 to 2, got 'much'"),
        ("all-MiniLM-L6-v2 adapter=/a scale=3", "scale is a number from 0 to 2, got 3.0"),
        ("all-MiniLM-L6-v2 adapter=/a scale=nan", "scale is a number from 0 to 2, got nan"),
        ('all-MiniLM-L6-v2 adapter="/a\\u0000b"', "no control characters"),
        ('all-MiniLM-L6-v2 adapter="/a\\bc"', "no control characters"),
        ('all-MiniLM-L6-v2 adapter="/a\\x"', "cannot be read"),
        ("all-MiniLM-L6-v2 adapter=/a adapter=/b", "given twice"),
        ("all-MiniLM-L6-v2 adapter=/a weights=random", "leave the adapter or weights=random out"),
        ("last_digits adapter=/a", "is a baseline and takes no options such as adapter"),
        ("endpoint:lab adapter=/a", "adapter is decided by its server"),
    ],
)
def test_what_is_no_adapter_is_reported_in_a_sentence(reference: str, words: str) -> None:
    with pytest.raises(BadChoice, match=re.escape(words)):
        model(reference)


def test_what_is_known_of_the_base_is_known_of_the_adapted_model(settings: Settings) -> None:
    plain, made = model("Qwen3-Embedding-0.6B"), model("Qwen3-Embedding-0.6B adapter=/a/b")
    assert facts_of(made) == facts_of(plain) is not None and prompts_of(made) == prompts_of(plain)
    assert made.loading == plain.loading and parameters_of(made, None) == parameters_of(plain, None)
    bundled = model("all-MiniLM-L6-v2 adapter=/a/b")
    assert folder_of(bundled, OFFLINE) == known_folder(bundled.weights, OFFLINE) == bundled_folder()
    with ResultStore(settings.app_db) as results:
        assert cost_of(bundled, characters=100, settings=settings, results=results).download_bytes == 0


@pytest.mark.parametrize("reference", ["all-MiniLM-L6-v2", "/models/one", 'owner/name prompt="a: " dim=8'])
def test_its_untrained_model_is_its_bases(reference: str) -> None:
    base, _, rest = reference.partition(" ")
    twin = random_init(model(f"{base} adapter=/a/b scale=0.5 {rest}"))
    assert twin == random_init(model(reference)) is not None


@pytest.mark.parametrize("weights", [BaselineWeights("last_digits"), PLAIN])
def test_learnt_and_random_weights_do_not_go_together(weights: Weights) -> None:
    if isinstance(weights, BaselineWeights):
        ModelSpec("m", weights, loading=Loading(random_seed=0))
    else:
        with pytest.raises(BadChoice, match="has learnt weights"):
            ModelSpec("m", weights, loading=Loading(random_seed=0))
