"""A model with a LoRA adapter is an ordinary model: named, pinned, loaded, checked, stored and run like any other."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numembed.core.errors import BadChoice, ModelUnavailable, NonFiniteVectors
from numembed.core.serialization import canonical_json
from numembed.core.settings import Settings
from numembed.models.catalogue.names import facts_of, model, prompts_of, random_twin, reference_of
from numembed.models.encoders import encoder as encoders
from numembed.models.encoders.encoder import LoadedModel, SentenceEncoder
from numembed.models.encoders.tokens import count_tokens
from numembed.models.merging.folders import fold_folder
from numembed.models.resolve import bundled_folder, folder_of, known_folder, resolve
from numembed.models.spec import BaselineWeights, HubWeights, Loading, LocalWeights, LoraWeights, ModelSpec, Weights
from numembed.runs.study_run import Outcome, run
from numembed.storage.vectors import VectorStore
from numembed.studies.cost import cost_of, parameters_of
from numembed.studies.results import ResultStore
from numembed.studies.stored import stored_results
from numembed.studies.study import Study
from tests import tiny
from tests.lora import write_adapter
from tests.offline import OFFLINE
from tests.servers.hub import serve_hub

ROOT = Path(__file__).parents[3]
TEXTS = ["1, 2, 3", "2, 4, 6, 8, 10, 12", "7", "1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89"]
PLAIN = LoraWeights(HubWeights("owner/name", "0" * 40), LocalWeights("/adapters/one", "a" * 64), 0.5)


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the tiny model."""
    return write_adapter(tmp_path_factory.mktemp("adapters") / "seed-0", tiny_model)


def _spec(base: Path, adapter: Path, scale: float = 1.0, settings: Settings = OFFLINE) -> ModelSpec:
    return resolve(model(f'{base} adapter="{adapter}" scale={scale}'), settings)


def _encode(spec: ModelSpec, loaded: LoadedModel | None = None) -> encoders.Matrix:
    return (loaded or LoadedModel(OFFLINE)).get(spec).encode(TEXTS)


# ---- vectors ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("base", ["tiny", "bundled"])
def test_vectors_are_those_of_pefts_own_model(base: str, tiny_model: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from sentence_transformers import SentenceTransformer

    folder = tiny_model if base == "tiny" else bundled_folder()
    made = write_adapter(tmp_path / "adapter", folder, size=0.05)
    theirs, plain = SentenceTransformer(str(folder)), SentenceTransformer(str(folder)).encode(TEXTS)
    PeftModel.from_pretrained(theirs[0].auto_model, str(made))
    expected = theirs.encode(TEXTS)
    reference = str(folder) if base == "tiny" else "all-MiniLM-L6-v2"
    found = _encode(resolve(model(f'{reference} adapter="{made}"'), OFFLINE))
    assert np.abs(found - expected).max() <= 1e-5 < 1e-2 < np.abs(found - plain).max()


@pytest.mark.slow
def test_strength_nought_is_the_base_and_one_is_the_folded_folder(
    tiny_model: Path, adapter: Path, tmp_path: Path
) -> None:
    fold_folder(tiny_model, adapter, tmp_path / "folded")
    base, folded = (_encode(resolve(model(str(folder)), OFFLINE)) for folder in (tiny_model, tmp_path / "folded"))
    found = {scale: _encode(_spec(tiny_model, adapter, scale)) for scale in (0, 0.5, 1)}
    assert np.abs(found[0] - base).max() <= 1e-6 and np.abs(found[1] - folded).max() <= 1e-6
    assert min(np.abs(found[0.5] - other).max() for other in (base, folded)) > 1e-3


@pytest.mark.slow
def test_each_kin_in_turn_has_its_own_vectors_and_the_base_is_loaded_once(
    tiny_model: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_adapter(tmp_path / "other", tiny_model, seed=1, targets=("key", "intermediate.dense"))
    specs = [resolve(model(str(tiny_model)), OFFLINE), _spec(tiny_model, adapter), _spec(tiny_model, other, 0.3)]
    alone, calls, load = [_encode(spec) for spec in specs], [], encoders.load
    monkeypatch.setattr(encoders, "load", lambda *given, **named: calls.append(given) or load(*given, **named))
    loaded = LoadedModel(OFFLINE)
    held = [loaded.get(spec) for spec in specs]
    for number in (1, 0, 2, 1, 2, 0):
        assert np.array_equal(_encode(specs[number], loaded), alone[number])
    for encoder, expected in zip(held, alone, strict=True):  # also those that somebody kept
        assert np.array_equal(encoder.encode(TEXTS), expected)
    prompted = replace(specs[1], prompt="9: ")
    assert np.array_equal(_encode(prompted, loaded), _encode(prompted))
    assert len(calls) == 2  # and the fresh one of the last line


@pytest.mark.slow
def test_an_adapter_that_gives_no_numbers_spoils_nothing_that_comes_after(tiny_model: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    broken = write_adapter(tmp_path / "broken", tiny_model)
    tensors = load_file(broken / "adapter_model.safetensors")
    save_file({name: tensor * np.nan for name, tensor in tensors.items()}, broken / "adapter_model.safetensors")
    loaded, plain = LoadedModel(OFFLINE), resolve(model(str(tiny_model)), OFFLINE)
    before = _encode(plain, loaded)
    with pytest.raises(NonFiniteVectors):
        loaded.get(_spec(tiny_model, broken))
    assert np.array_equal(_encode(plain, loaded), before)


@pytest.mark.slow
def test_the_check_says_what_was_changed_and_what_half_precision_lost(tiny_model: Path, adapter: Path) -> None:
    spec, loaded = _spec(tiny_model, adapter), LoadedModel(OFFLINE)
    fresh = loaded.get(spec).check
    assert fresh.ok and "Its adapter changes 8 of 37 weight tensors." in fresh.sentence
    plain = loaded.get(resolve(model(str(tiny_model)), OFFLINE)).check
    assert plain == LoadedModel(OFFLINE).get(resolve(model(str(tiny_model)), OFFLINE)).check
    assert "How it reads was looked at when its base was loaded." in loaded.get(spec).check.sentence
    assert {finding.name for finding in loaded.get(spec).check.findings} == {one.name for one in fresh.findings}
    half = LoadedModel(OFFLINE).get(replace(spec, dtype="bfloat16")).check
    share = re.search(r"bfloat16 rounds (\d+)% of that change away; dtype=float32 keeps it", half.sentence)
    assert share is not None and 0 < int(share[1]) < 20


def test_an_adapter_of_the_pooler_alone_is_told_to_change_nothing(tiny_model: Path, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    made = write_adapter(tmp_path / "pooler", tiny_model, config={"target_modules": ["pooler.dense"]})
    name = "base_model.model.pooler.dense.lora_"
    save_file({f"{name}{one}.weight": np.ones((1, 32) if one == "A" else (32, 1), np.float32) for one in "AB"},
              made / "adapter_model.safetensors")  # fmt: skip
    check = LoadedModel(OFFLINE).get(_spec(tiny_model, made)).check
    assert not check.ok and "changes nothing that a vector passes through" in check.sentence


def test_an_encoder_never_takes_the_base_for_the_adapted_model(tiny_model: Path, adapter: Path) -> None:
    with pytest.raises(ValueError, match="without what changes its weights"):
        SentenceEncoder(_spec(tiny_model, adapter), tiny_model, device="cpu")


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
    before = _spec(tiny_model, made)
    moved = _spec(tiny_model, Path(shutil.copytree(made, tmp_path / "copy")))
    write_adapter(made, tiny_model, seed=1)
    after = _spec(tiny_model, made)
    assert before.key == moved.key != after.key
    with pytest.raises(ModelUnavailable, match="'adapter' has changed since it was chosen"):
        LoadedModel(OFFLINE).get(before)
    assert np.abs(_encode(moved) - _encode(after)).max() > 1e-3
    (made / "adapter_config.json").write_text((made / "adapter_config.json").read_text().replace("8", "9"))
    assert _spec(tiny_model, made).key != after.key


# ---- reference --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "name", "written"),
    [
        ("all-MiniLM-L6-v2 adapter=/a/seed-0/step-60", "all-MiniLM-L6-v2 adapter=seed-0/step-60", ""),
        ("all-MiniLM-L6-v2 scale=0.80 adapter=/a/b", "all-MiniLM-L6-v2 adapter=a/b scale=0.8",
         "all-MiniLM-L6-v2 adapter=/a/b scale=0.8"),
        ('all-MiniLM-L6-v2 adapter="/a/b" scale=1', "all-MiniLM-L6-v2 adapter=a/b", "all-MiniLM-L6-v2 adapter=/a/b"),
        ('/m/my model adapter="/with \\"quotes\\" and/blanks here" dim=8',
         'my model adapter="with \\"quotes\\" and/blanks here" dim=8', ""),
        ("Qwen3-Embedding-0.6B adapter=owner/lora@" + "a" * 40 + " prompt=query",
         "Qwen3-Embedding-0.6B adapter=owner/lora prompt=query", ""),
        ("owner/name adapter=/a scale=0", "owner/name adapter=a scale=0", ""),
        ("owner/name@" + "0" * 40 + " adapter=/a/b scale=0.30000000000000004", "", ""),
    ],
)  # fmt: skip
def test_a_reference_comes_back(reference: str, name: str, written: str) -> None:
    made = model(reference)
    assert isinstance(made.weights, LoraWeights)
    assert reference_of(made) == (written or reference) and model(reference_of(made)) == made
    assert not name or made.name == name


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("all-MiniLM-L6-v2 adapter=adapters/one/two", "'adapters/one/two' is no adapter. Give its folder"),
        ("all-MiniLM-L6-v2 adapter=seed-0", "'seed-0' is no adapter"),
        ("all-MiniLM-L6-v2 scale=0.5", "name the adapter before it"),
        ("all-MiniLM-L6-v2 adapter=/a scale=much", "scale is a number from 0 to 2, got 'much'"),
        ("all-MiniLM-L6-v2 adapter=/a scale=3", "scale is a number from 0 to 2, got 3.0"),
        ("all-MiniLM-L6-v2 adapter=/a scale=nan", "scale is a number from 0 to 2, got nan"),
        ('all-MiniLM-L6-v2 adapter="/a\\u0000b"', "no control characters"),
        ('all-MiniLM-L6-v2 adapter="/a\\bc"', "no control characters"),
        ('all-MiniLM-L6-v2 adapter="/a\\x"', "cannot be read"),
        ("all-MiniLM-L6-v2 adapter=/a adapter=/b", "stands twice"),
        ("all-MiniLM-L6-v2 adapter=/a weights=random", "leave the adapter or weights=random out"),
        ("last_digits adapter=/a", "is a baseline and takes no options such as adapter"),
        ("endpoint:lab adapter=/a", "adapter is decided by its server"),
    ],
)
def test_what_is_no_adapter_is_told_in_a_sentence(reference: str, words: str) -> None:
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
def test_its_twin_is_its_bases_twin(reference: str) -> None:
    base, _, rest = reference.partition(" ")
    twin = random_twin(model(f"{base} adapter=/a/b scale=0.5 {rest}"))
    assert twin == random_twin(model(reference)) is not None


# ---- refusals ---------------------------------------------------------------------------------------------------


def test_an_adapter_of_another_base_is_one_sentence_before_any_weight_is_read(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "load", lambda *_, **__: pytest.fail("weights were read"))
    wide = write_adapter(tmp_path / "wide", bundled_folder())
    with pytest.raises(BadChoice, match="made for another base") as told:
        LoadedModel(OFFLINE).get(_spec(tiny_model, wide))
    assert len(str(told.value)) < 300
    for config, words in (
        ({"r": 4_096}, "rank from 1 to 256"),
        ({"new_trick": {"on": True}}, "'new_trick', which is not known"),
        ({"auto_mapping": "os"}, "names program code"),
    ):
        with pytest.raises(BadChoice, match=words):
            LoadedModel(OFFLINE).get(_spec(tiny_model, write_adapter(tmp_path / words[:4], tiny_model, config=config)))
    other = write_adapter(tmp_path / "other", bundled_folder(), config={"base_model_name_or_path": "owner/another"})
    with pytest.raises(BadChoice, match="made for owner/another, not for sentence-transformers/all-MiniLM-L6-v2"):
        LoadedModel(OFFLINE).get(resolve(model(f'all-MiniLM-L6-v2 adapter="{other}"'), OFFLINE))
    dora = write_adapter(tmp_path / "dora", tiny_model, config={"use_dora": True})
    with pytest.raises(BadChoice, match="more than plain LoRA"):
        LoadedModel(OFFLINE).get(_spec(tiny_model, dora))


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors", ""])
def test_a_folder_without_an_adapter_is_one_sentence(missing: str, tiny_model: Path, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter", tiny_model)
    if missing:
        (folder / missing).unlink()
    with pytest.raises(ModelUnavailable, match="is no LoRA adapter" if missing else "There is no folder"):
        _spec(tiny_model, folder if missing else tmp_path / "nowhere")


def test_an_adapter_is_read_only_where_models_may_be_read(tiny_model: Path, adapter: Path, tmp_path: Path) -> None:
    closed = replace(OFFLINE, folders=(tiny_model.parent,))
    with pytest.raises(ModelUnavailable, match="not below a folder that models may be read from"):
        _spec(tiny_model, adapter, settings=closed)
    with pytest.raises(ModelUnavailable, match="not below a folder"):
        LoadedModel(closed).get(_spec(tiny_model, adapter))
    linked = tiny_model.parent / "linked"
    linked.mkdir()
    for file in adapter.iterdir():
        os.symlink(file, linked / file.name)
    with pytest.raises(ModelUnavailable, match="is a link to a place outside"):
        _spec(tiny_model, linked, settings=closed)


def test_an_adapter_alone_is_told_how_to_be_attached(adapter: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"is a LoRA adapter: a small change to a model.*adapter="):
        resolve(model(str(adapter)), OFFLINE)


@pytest.mark.parametrize("weights", [BaselineWeights("last_digits"), PLAIN])
def test_learnt_and_random_weights_do_not_go_together(weights: Weights) -> None:
    if isinstance(weights, BaselineWeights):
        ModelSpec("m", weights, loading=Loading(random_seed=0))
    else:
        with pytest.raises(BadChoice, match="has learnt weights"):
            ModelSpec("m", weights, loading=Loading(random_seed=0))


@pytest.mark.slow
def test_an_adapter_of_the_hub_is_fetched_pinned_and_then_needs_no_hub(
    settings: Settings, tiny_model: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    (served := Path(shutil.copytree(adapter, tmp_path / "served")) / "adapter_model.bin").write_bytes(b"\x80\x04.")
    with serve_hub() as hub:
        commit = hub.add("owner/lora", served.parent)
        online = replace(settings, offline=False, hub=hub.address, hub_token="")
        spec = resolve(model(f"{tiny_model} adapter=owner/lora"), online)
        assert isinstance(spec.weights, LoraWeights) and spec.weights.adapter == HubWeights("owner/lora", commit)
        found = LoadedModel(online).get(spec).encode(TEXTS)
        assert not any(path.endswith(".bin") for path in hub.paths())
    assert np.array_equal(found, _encode(_spec(tiny_model, adapter)))
    offline = replace(online, offline=True)
    assert resolve(model(reference_of(spec)), offline).key == spec.key
    assert np.array_equal(LoadedModel(offline).get(spec).encode(TEXTS), found)


@pytest.mark.slow
def test_a_model_of_the_hub_is_no_adapter(
    settings: Settings, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with serve_hub() as hub:
        hub.add("owner/name", tiny_model)
        online = replace(settings, offline=False, hub=hub.address, hub_token="")
        with pytest.raises(ModelUnavailable, match="is no LoRA adapter"):
            LoadedModel(online).get(resolve(model(f"{tiny_model} adapter=owner/name"), online))
        assert not any(path.endswith(".safetensors") for path in hub.paths())


# ---- a whole run ------------------------------------------------------------------------------------------------


def _run(study: Study, settings: Settings) -> Outcome:
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        return run(study, vectors=vectors, results=results, loaded=LoadedModel(settings), settings=settings)


@pytest.mark.slow
def test_a_study_of_an_adapted_model_runs_is_stored_and_is_linked(
    settings: Settings, adapter: Path, tmp_path: Path
) -> None:
    base = tiny.write_model(tmp_path / "base")
    own = Path(shutil.copytree(adapter, tmp_path / "with blanks"))
    names = (str(base), f'{base} adapter="{own}"', f'{base} adapter="{own}" scale=0.5')
    study = Study(("even", "odd", "primes"), tuple(map(model, names)), per_family=2, length=8)
    assert Study.from_json(study.to_json()) == study
    outcome = _run(study, settings)
    assert not outcome.errors and len(outcome.results) == 3
    plain, whole, half = (result.scores[0].value for result in outcome.results)
    assert len({plain, whole, half}) == 3
    assert outcome.results[1].check is not None and "Its adapter changes" in outcome.results[1].check.sentence
    assert len({canonical_json(dict(scores)) for scores in outcome.floors.twins.values()}) == 1  # the base's twin
    assert set(outcome.floors.twins) == {spec.name for spec in study.models}
    counted = count_tokens(study.models[1], TEXTS, settings)
    assert counted is not None and counted == count_tokens(study.models[0], TEXTS, settings)

    shutil.rmtree(base)  # everything is in the store now
    tool = "import sys; from numembed.studies.study import Study; from numembed.studies.stored import stored_results; "
    tool += "from numembed.studies.results import ResultStore; "
    tool += "from numembed.core.settings import read_settings; study = Study.from_json(sys.stdin.read()); "
    tool += "found = stored_results(study, ResultStore(read_settings().app_db)); "
    tool += "print([result.scores[0].value for result in found], 'torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", tool], input=study.to_json(), cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert done.stdout.strip() == f"{[plain, whole, half]} False"


@pytest.mark.slow
def test_a_run_looks_at_the_adapter_anew_also_on_a_catalogue_base(settings: Settings, tmp_path: Path) -> None:
    made = write_adapter(tmp_path / "adapter", bundled_folder(), size=0.05)
    study = Study(("even", "odd"), (model(f'all-MiniLM-L6-v2 adapter="{made}"'),), per_family=2, length=8)
    first = _run(study, settings)
    write_adapter(made, bundled_folder(), seed=1, size=0.05)
    second = _run(study, settings)
    assert not first.errors and not second.errors
    assert first.results[0].model.key != second.results[0].model.key
    assert first.results[0].scores[0].value != second.results[0].scores[0].value
    with ResultStore(settings.app_db) as results:
        (shown,) = stored_results(study, results)
    assert shown is not None and shown.scores[0].value == second.results[0].scores[0].value


def test_a_mismatch_in_a_study_is_that_models_sentence(settings: Settings, tiny_model: Path, tmp_path: Path) -> None:
    wide = write_adapter(tmp_path / "wide", bundled_folder())
    study = Study(("even", "odd"), (model(f'{tiny_model} adapter="{wide}"'),), per_family=2, length=8)
    outcome = _run(study, settings)
    assert list(outcome.errors) == [study.models[0].name] and "another base" in next(iter(outcome.errors.values()))
