"""A merge in memory is the model that would be saved, and a sweep over its arms loads the base once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numembed.core.errors import BadChoice, Cancelled, UnknownName
from numembed.core.serialization import canonical_json
from numembed.core.settings import Settings
from numembed.models.adapters.fold import AdaptedFolder
from numembed.models.catalogue.names import facts_of, model, random_init, reference_of
from numembed.models.embedding import embed
from numembed.models.encoders import encoder as encoders
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.merging.folders import merge_folders
from numembed.models.merging.methods import MERGES
from numembed.models.merging.tensors import Merge
from numembed.models.resolve import folder_of, known_folder, resolve
from numembed.models.spec import (
    BaselineWeights,
    HubWeights,
    LocalWeights,
    LoraWeights,
    MergedWeights,
    ModelSpec,
    Weights,
)
from numembed.sequences.sets import make_sequences
from numembed.storage.vectors import VectorStore
from numembed.studies.study import Study
from tests import tiny
from tests.lora import write_adapter
from tests.offline import OFFLINE

TEXTS = ["1, 2, 3", "2, 4, 6, 8, 10, 12", "7", "1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89"]
ARMS = [
    (entry.name, space, scope)
    for entry in MERGES
    for space in entry.facts["spaces"]
    for scope in entry.facts.get("scopes", ("tensor",))
]


@pytest.fixture(scope="module")
def adapters(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three adapters of the tiny model, which do not all change the same tensors."""
    place = tmp_path_factory.mktemp("adapters")
    targets = (("query", "value"), ("query", "value"), ("value", "output.dense", "word_embeddings"))
    return [write_adapter(place / str(n), tiny_model, seed=n, targets=kind) for n, kind in enumerate(targets)]


def _local(folder: Path) -> Weights:
    return resolve(model(str(folder)), OFFLINE).weights


def _adapted(base: Path, adapter: Path, scale: float = 1.0) -> Weights:
    return resolve(model(f'{base} adapter="{adapter}" scale={scale}'), OFFLINE).weights


def _merged(method: str, parts: list[Weights], base: Weights | None = None, **more: Any) -> ModelSpec:
    return resolve(ModelSpec("merge", MergedWeights(method, tuple(parts), base, **more)), OFFLINE)


def _encode(spec: ModelSpec, loaded: LoadedModel | None = None) -> encoders.Matrix:
    return (loaded or LoadedModel(OFFLINE)).get(spec).encode(TEXTS)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the models for which a folder was loaded."""
    calls, load = [], encoders.load
    monkeypatch.setattr(encoders, "load", lambda spec, *a, **n: calls.append(spec.name) or load(spec, *a, **n))
    return calls


# ---- vectors ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("method", "space", "scope"), ARMS, ids=map("-".join, ARMS))
def test_vectors_are_those_of_the_folder_that_would_be_saved(
    method: str, space: Any, scope: Any, tiny_model: Path, adapters: list[Path], tmp_path: Path
) -> None:
    low, high = MERGES[method].facts["parts"]
    count = high or max(low, 3)
    merge = Merge(method, space, scope)
    base = tiny_model if space == "task_vectors" else None
    parts = [AdaptedFolder(tiny_model, adapter, 0.9) for adapter in adapters[:count]]
    merge_folders(merge, parts, tmp_path / "saved", base=base)
    weights = [_adapted(tiny_model, adapter, 0.9) for adapter in adapters[:count]]
    spec = _merged(method, weights, _local(tiny_model) if base else None, space=space, scope=scope)
    expected, found = _encode(resolve(model(str(tmp_path / "saved")), OFFLINE)), _encode(spec)
    assert np.abs(found - expected).max() <= 1e-6
    if method != "model_stock":  # updates that have little in common leave it near the base
        assert np.abs(found - _encode(resolve(model(str(tiny_model)), OFFLINE))).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["tensor", "flat"])
@pytest.mark.parametrize("space", ["weights", "task_vectors"])
def test_whole_models_are_merged_as_adapters_are(space: Any, scope: Any, tiny_model: Path, tmp_path: Path) -> None:
    others = [tiny.write_model(tmp_path / name, seed=seed) for seed, name in enumerate("AB", start=1)]
    base = tiny_model if space == "task_vectors" else None
    options = (("t", 0.3),)
    merge_folders(Merge("slerp", space, scope, options=options), others, tmp_path / "saved", base=base)
    weights = [_local(folder) for folder in others]
    spec = _merged("slerp", weights, _local(tiny_model) if base else None, space=space, scope=scope, options=options)
    assert np.abs(_encode(spec) - _encode(resolve(model(str(tmp_path / "saved")), OFFLINE))).max() <= 1e-6
    assert folder_of(spec, OFFLINE) == known_folder(spec.weights, OFFLINE) == others[0]


# ---- sweeps -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_sweep_loads_the_base_once_and_every_candidate_is_what_it_is_alone(
    tiny_model: Path, adapters: list[Path], loads: list[str]
) -> None:
    base, parts = _local(tiny_model), [_adapted(tiny_model, adapter) for adapter in adapters]
    steps = [
        *(_merged("slerp", parts[:2], base, space="task_vectors", options=(("t", step / 4),)) for step in range(5)),
        _merged("slerp", parts[:2], scope="flat", options=(("t", 0.5),)),  # it changes every tensor
        _merged("soup", parts),
        _merged("karcher", parts[1:], base, space="task_vectors"),
        *(resolve(model(f'{tiny_model} adapter="{adapters[2]}" scale={scale}'), OFFLINE) for scale in (0.5, 1)),
        resolve(model(str(tiny_model)), OFFLINE),
        _merged("ties", parts, base),
    ]
    loaded = LoadedModel(OFFLINE)
    swept = [_encode(spec, loaded) for spec in steps]
    assert len(loads) == 1
    for spec, found in zip(reversed(steps), reversed(swept), strict=True):
        assert np.array_equal(found, _encode(spec)), spec
    ends = [_encode(ModelSpec("end", part)) for part in parts[:2]]
    assert np.array_equal(swept[0], ends[0]) and np.abs(swept[4] - ends[1]).max() <= 1e-6


@pytest.mark.slow
def test_angles_are_measured_once_for_all_candidates(
    tiny_model: Path, adapters: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from numembed.models.encoders import weight_swap as adapted

    measured, grams_of = [], adapted.grams_of
    monkeypatch.setattr(adapted, "grams_of", lambda *a, **n: measured.append(a) or grams_of(*a, **n))
    base, parts = _local(tiny_model), [_adapted(tiny_model, adapter) for adapter in adapters[:2]]
    loaded = LoadedModel(OFFLINE)
    for method in ("slerp", "norm_matched"):
        for t in (0.2, 0.5, 0.8):
            loaded.get(_merged(method, parts, base, space="task_vectors", options=(("t", t),)))
    assert len(measured) == 1
    loaded.get(_merged("soup", parts))
    assert len(measured) == 1
    loaded.get(_merged("slerp", parts))
    assert len(measured) == 2


@pytest.mark.slow
def test_a_merge_that_is_cancelled_half_way_leaves_no_half_model(
    tiny_model: Path, adapters: list[Path], loads: list[str]
) -> None:
    loaded, plain = LoadedModel(OFFLINE), resolve(model(str(tiny_model)), OFFLINE)
    spec = _merged("soup", [_adapted(tiny_model, adapter) for adapter in adapters])
    before = _encode(plain, loaded)

    def cancel(done: int, total: int, note: str) -> None:
        if done == 3:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        loaded.get(spec, cancel)
    assert np.array_equal(_encode(plain, loaded), before)
    with pytest.raises(Cancelled):
        loaded.get(spec, cancel)
    assert np.array_equal(_encode(spec, loaded), _encode(spec)) and len(loads) == 2


@pytest.mark.slow
def test_vectors_of_a_merge_are_stored_under_its_own_key(
    tiny_model: Path, adapters: list[Path], settings: Settings, loads: list[str]
) -> None:
    spec = _merged("soup", [_adapted(tiny_model, adapter) for adapter in adapters])
    sequences = make_sequences(("even", "odd"), per_family=2, length=8)
    with VectorStore(settings.cache_db) as store:
        first = embed(spec, sequences, store=store, loaded=LoadedModel(OFFLINE))
        again = embed(replace(spec, name="another"), sequences, store=store, loaded=LoadedModel(OFFLINE))
        plain = embed(resolve(model(str(tiny_model)), OFFLINE), sequences, store=store, loaded=LoadedModel(OFFLINE))
    assert np.array_equal(first.matrix, again.matrix) and again.work is None and len(loads) == 2
    assert np.abs(first.matrix - plain.matrix).max() > 1e-3


@pytest.mark.slow
def test_the_check_tells_of_the_merge(tiny_model: Path, adapters: list[Path]) -> None:
    check = LoadedModel(OFFLINE).get(_merged("soup", [_adapted(tiny_model, one) for one in adapters])).check
    assert check.ok and "Its merge changes 9 of 37 weight tensors." in check.sentence


# ---- key --------------------------------------------------------------------------------------------------------

ONE, TWO = (LoraWeights(HubWeights("o/n", "0" * 40), LocalWeights(f"/{pin}", pin * 64)) for pin in "ab")
BASE = HubWeights("o/n", "0" * 40)
MERGE = MergedWeights("slerp", (ONE, TWO), BASE, "task_vectors", "tensor", (), (("fallback", 0.9), ("t", 0.5)))
CHANGES: dict[str, dict[str, Any]] = {
    "method": {"method": "norm_matched"},
    "order": {"parts": (TWO, ONE)},
    "a part": {"parts": (ONE, BASE)},
    "a part's scale": {"parts": (ONE, replace(TWO, scale=0.5))},
    "base": {"base": HubWeights("o/n", "1" * 40)},
    "no base": {"base": None},
    "space": {"space": "weights"},
    "scope": {"scope": "flat"},
    "weights": {"weights": (1, 2)},
    "an option": {"options": (("fallback", 0.9), ("t", 0.6))},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_all_that_decides_a_merge_is_in_its_key(change: dict[str, Any]) -> None:
    other = ModelSpec("m", replace(MERGE, **change))
    assert other.resolved and other.key != ModelSpec("m", MERGE).key
    assert ModelSpec.from_dict(json.loads(canonical_json(other.as_dict()))) == other


def test_places_and_ways_of_writing_are_not_in_its_key() -> None:
    moved = replace(ONE, adapter=LocalWeights("/elsewhere", "a" * 64))
    written = replace(MERGE, parts=[moved, TWO], options=[("t", 0.5), ("fallback", 0.9)])
    assert ModelSpec("m", written).key == ModelSpec("m", MERGE).key and hash(written)


@pytest.mark.parametrize(
    "other",
    [
        lambda base, parts: MergedWeights("slerp", parts, space="weights"),
        lambda base, parts: MergedWeights("slerp", parts, options=(("t", 0.5),)),
        lambda base, parts: MergedWeights("slerp", parts, base),  # of no use in this space
    ],
)
def test_what_is_left_open_is_filled_in_before_there_is_a_key(
    other: Callable[..., MergedWeights], tiny_model: Path, adapters: list[Path]
) -> None:
    parts = tuple(_adapted(tiny_model, adapter) for adapter in adapters[:2])
    spec = resolve(ModelSpec("m", other(_local(tiny_model), parts)), OFFLINE)
    assert spec.key == _merged("slerp", list(parts)).key == resolve(spec, OFFLINE).key


def test_only_the_proportions_of_weights_count(tiny_model: Path, adapters: list[Path]) -> None:
    parts = [_adapted(tiny_model, adapter) for adapter in adapters]
    keys = {
        _merged("soup", parts, weights=weights).key for weights in ((), (1, 1, 1), (2.0, 2.0, 2.0), (0.1, 0.1, 0.1))
    }
    assert len(keys) == 1
    other = _merged("soup", parts, weights=(1, 2, 4))
    assert other.key not in keys and resolve(other, OFFLINE).key == other.key


def test_unpinned_parts_have_no_key(tiny_model: Path) -> None:
    spec = ModelSpec("m", MergedWeights("soup", (_local(tiny_model), LocalWeights(str(tiny_model)))))
    assert not spec.resolved and resolve(spec, OFFLINE).resolved
    with pytest.raises(ValueError, match="no key before"):
        _ = spec.key


# ---- names and refusals -----------------------------------------------------------------------------------------


def test_a_merge_in_memory_is_no_part_of_a_study() -> None:
    with pytest.raises(BadChoice, match=r"merge in memory, which a study or a link cannot name\. Save it as a folder"):
        Study(("even", "odd"), (ModelSpec("my soup", MERGE),))
    with pytest.raises(BadChoice, match="my soup is a merge in memory"):
        reference_of(ModelSpec("my soup", MERGE))


def test_facts_and_untrained_model_are_its_bases() -> None:
    bundled = model("all-MiniLM-L6-v2")
    merged = ModelSpec("my soup", MergedWeights("soup", (LoraWeights(bundled.weights, ONE.adapter), bundled.weights)))  # type: ignore[arg-type]
    assert facts_of(merged) == facts_of(bundled) and random_init(merged) == random_init(bundled)


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        (MergedWeights("no_such", (BASE, BASE)), UnknownName, "No merge is called"),
        (MergedWeights("slerp", (BASE,) * 3), BadChoice, "merges exactly 2 models, got 3"),
        (MergedWeights("slerp", ()), BadChoice, "merges exactly 2 models, got 0"),
        (MergedWeights("slerp", (BASE, BASE), space="task_vectors"), BadChoice, "needs the base"),
        (MergedWeights("slerp", (BASE, BASE), options=(("t", 1.5),)), BadChoice, "t takes a number from 0 to 1"),
        (MergedWeights("soup", (BASE, BASE), options=(("t", 1),)), BadChoice, "has no option 't'"),
    ],
)
def test_what_cannot_be_merged_is_reported_when_it_is_pinned(weights: Weights, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        resolve(ModelSpec("m", weights), OFFLINE)


@pytest.mark.slow
def test_parts_that_do_not_fit_are_reported_before_any_weight_is_read(
    tiny_model: Path, adapters: list[Path], tmp_path: Path, loads: list[str]
) -> None:
    inner = MergedWeights("soup", (_local(tiny_model), _adapted(tiny_model, adapters[0])))
    other = _local(tiny.write_model(tmp_path / "other", tokenizer=tiny.unigram()))
    for part, words in (
        (other, "different"),
        (BaselineWeights("last_digits"), "models with files"),
        (resolve(ModelSpec("m", inner), OFFLINE).weights, "Save a merge as a folder"),
    ):
        with pytest.raises(BadChoice, match=words):
            LoadedModel(OFFLINE).get(_merged("soup", [_local(tiny_model), part]))
    assert not loads
