"""LoRA adapters: trained, saved in stages, gone on from, and what is refused."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numembed.core.errors import (
    BadChoice,
    Cancelled,
    ModelUnavailable,
    NumembedError,
    StoreFull,
    TooLarge,
    TrainingFailed,
)
from numembed.core.settings import Settings
from numembed.models.adapters.checks import check_adapter
from numembed.models.adapters.recipe import Reading, Recipe
from numembed.models.adapters.saved import SavedAdapter, reserved_place, saved_adapter
from numembed.models.catalogue.names import BUNDLED, model
from numembed.models.files.folders import digest_of_folder
from numembed.models.files.publish import is_whole
from numembed.models.loading.loader import load
from numembed.models.losses import contrastive_loss
from numembed.models.sources import bundled_folder
from numembed.models.spec import HubWeights, LocalWeights, LoraWeights, ModelSpec
from numembed.models.training.lora import AdaptedModel, targets_in
from numembed.models.training.train import check_room, memory_needed, train_adapters
from numembed.sequences.splits import split_called, training_batch
from tests import architectures, tiny
from tests.lora import fold_folder, run_away

RECIPE = Recipe(steps=6, stages=3, looks=1, batch=12, seeds=(0, 1))
TEXTS = ["1, 2, 3", "2, 4, 6, 8, 10", "The bakery opens before sunrise."]

Trainer = Callable[..., tuple[SavedAdapter, ...]]


@pytest.fixture
def train(settings: Settings, tiny_model: Path, tmp_path: Path) -> Trainer:
    """Train on the tiny model, in a folder of the test's own."""

    def start(recipe: Recipe = RECIPE, *, base: Path = tiny_model, place: str = "run", **more: Any) -> Any:
        return train_adapters(model(str(base)), recipe, tmp_path / place, settings=settings, **more)

    return start


@pytest.mark.slow
def test_equal_seeds_give_equal_adapters_and_others_others(train: Trainer) -> None:
    one, again = train(place="one"), train(place="again")
    digests = [adapter.weights.digest for adapter in one]
    assert digests == [adapter.weights.digest for adapter in again]
    assert len(set(digests)) == 6 and [(a.seed, a.step) for a in one] == [(s, t) for s in (0, 1) for t in (2, 4, 6)]
    for adapter in one:
        assert is_whole(adapter.folder) and adapter.weights.digest == digest_of_folder(adapter.folder)
        assert saved_adapter(adapter.folder) == adapter
        assert Recipe.from_dict(_read(adapter)["training"] | {"seeds": [0, 1]}) == RECIPE


@pytest.mark.slow
def test_everything_is_reported_while_it_runs(train: Trainer) -> None:
    told: list[tuple[int, int, str]] = []
    heard: list[Reading] = []
    adapters = train(progress=lambda *one: told.append(one), listen=heard.append)
    steps = [done for done, total, note in told if note == "train" and total == 12]
    assert steps == sorted(steps) and set(steps) == set(range(13))
    assert [(one.seed, one.step) for one in heard] == [(seed, step) for seed in (0, 1) for step in range(7)]
    assert [one.step for one in heard if one.silhouette is not None] == [0, 2, 4, 6] * 2
    assert heard[0].silhouette == heard[7].silhouette and heard[0].loss is None and heard[1].loss > 0
    assert adapters[-1].readings == tuple(heard[7:]) and adapters[-1].silhouette == heard[-1].silhouette


@pytest.mark.slow
def test_a_stopped_training_goes_on_and_ends_bit_for_bit_the_same(train: Trainer) -> None:
    through = train(place="through")
    stops = iter((3, 5, 9))  # in the second stage, again in it, and in the second seed
    stop = next(stops)

    def progress(done: int, total: int, note: str) -> None:
        if note == "train" and done == stop:
            raise Cancelled("stopped")

    begun = []
    for stop in (3, 5, 9, -1):
        heard: list[Reading] = []
        try:
            again = train(place="stopped", progress=progress, listen=heard.append)
        except Cancelled:
            assert stop >= 0
        begun.append((heard[0].seed, heard[0].step))
    assert begun == [(0, 0), (0, 3), (0, 5), (1, 3)]
    assert [adapter.weights.digest for adapter in again] == [adapter.weights.digest for adapter in through]
    assert not list((through[0].folder.parents[1] / ".resume").rglob("*.safetensors"))


@pytest.mark.slow
def test_what_is_there_is_not_trained_again(train: Trainer) -> None:
    first, heard = train(), []
    assert train(listen=heard.append) == first and heard == []
    assert train(replace(RECIPE, seeds=(1,)), listen=heard.append) == first[3:] and heard == []


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_damaged_stage_is_trained_again(train: Trainer, stage: int) -> None:
    first = train()
    (first[stage].folder / "adapter_model.safetensors").write_bytes(b"torn")
    assert train() == first
    shutil.rmtree(first[stage].folder)
    assert train() == first


@pytest.mark.slow
def test_another_recipe_or_base_does_not_go_on_from_it(train: Trainer, tmp_path: Path) -> None:
    train()
    with pytest.raises(BadChoice, match="holds another training"):
        train(replace(RECIPE, rank=4))
    with pytest.raises(BadChoice, match="holds another training"):
        train(base=tiny.write_model(tmp_path / "other", seed=1))


@pytest.mark.slow
def test_numbers_that_run_away_stop_it_and_the_last_good_stage_stays(train: Trainer, tmp_path: Path) -> None:
    wild = replace(RECIPE, learning_rate=1e3, warmup=0, falling=False, steps=4, stages=2)  # the fourth loss is NaN
    told = r"at step [34] of seed 0.*The stage after step 2 is kept.*The same happened to seed 1\.$"
    with pytest.raises(TrainingFailed, match=told):
        train(wild)
    (folder,) = (tmp_path / "run" / "seed-0").iterdir()
    kept = saved_adapter(folder)
    assert is_whole(folder) and kept.step == 2 and math.isfinite(kept.silhouette or math.nan)


@pytest.mark.slow
def test_a_seed_that_runs_away_keeps_no_other_from_its_end(train: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = train(place="plain")
    run_away(monkeypatch, seed=0, step=3)
    with pytest.raises(TrainingFailed, match=r"at step 3 of seed 0.*The other seeds finished training"):
        train(place="run")
    monkeypatch.undo()
    heard: list[Reading] = []
    again = train(place="run", listen=heard.append)
    assert [one.weights.digest for one in again] == [one.weights.digest for one in plain]
    assert [(one.seed, one.step) for one in heard] == [(0, step) for step in range(3, 7)]


@pytest.mark.slow
def test_a_training_waits_for_another_one_of_the_same_folder(train: Trainer, tmp_path: Path) -> None:
    told: list[str] = []
    with ExitStack() as other:
        other.enter_context(reserved_place(tmp_path / "run"))

        def progress(done: int, total: int, note: str) -> None:
            if told.count("waiting") == 2:
                other.close()
            told.append(note)

        assert train(replace(RECIPE, steps=1, stages=1, seeds=(0,)), progress=progress)
    waited = told.index("waiting")
    assert told[waited : waited + 3] == ["waiting"] * 3 and "train" in told[waited + 3 :]
    with reserved_place(tmp_path / "run"), pytest.raises(Cancelled):
        train(replace(RECIPE, steps=1, stages=1, seeds=(0,)), progress=_cancel_while_waiting)


def _cancel_while_waiting(done: int, total: int, note: str) -> None:
    if note == "waiting":
        raise Cancelled("Stopped.")


def test_a_broken_base_saves_nothing(train: Trainer, nan_model: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="Nothing of this seed was saved"):
        train(base=nan_model)
    assert not list((tmp_path / "run").rglob("*.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("changed", [{}, {"loss": "in_batch"}, {"embeddings": True}, {"targets": ("query", "value")}])
def test_an_adapter_read_by_peft_is_the_one_that_is_folded(
    train: Trainer, tiny_model: Path, tmp_path: Path, changed: dict[str, Any]
) -> None:
    from peft import PeftModel

    adapter = train(replace(RECIPE, stages=1, seeds=(0,), learning_rate=0.01, **changed))[0]
    base, _ = load(model(str(tiny_model)), tiny_model)
    plain = base.encode(TEXTS)
    check_adapter(adapter.folder, tiny_model)
    fold_folder(tiny_model, adapter.folder, tmp_path / "folded")
    folded = load(model(str(tmp_path / "folded")), tmp_path / "folded")[0].encode(TEXTS)
    base[0].model = PeftModel.from_pretrained(base[0].model, str(adapter.folder))
    np.testing.assert_allclose(base.encode(TEXTS), folded, atol=2e-6)
    assert np.abs(folded - plain).max() > 1e-3
    names = " ".join(_factors(adapter))
    assert "pooler" not in names and ("embeddings" in names) == bool(changed.get("embeddings"))
    assert ("key" in names) == ("targets" not in changed)


def test_the_contrastive_loss_is_the_formula() -> None:
    import torch

    random = np.random.default_rng(0)
    rows, labels = random.standard_normal((9, 5)), np.array([0, 1, 2, 0, 1, 2, 0, 1, 1])
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    losses = []
    for i in range(9):
        others = [j for j in range(9) if j != i]
        below = sum(math.exp(unit[i] @ unit[j] / 0.1) for j in others)
        shares = [math.log(math.exp(unit[i] @ unit[j] / 0.1) / below) for j in others if labels[j] == labels[i]]
        losses.append(-sum(shares) / len(shares))
    found = contrastive_loss(torch.tensor(rows), torch.tensor(labels), 0.1)
    assert float(found) == pytest.approx(sum(losses) / 9, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("bert-mean", {"query", "key", "value", "dense"}),
        ("qwen3-causal-lasttoken", {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
        ("mistral-bidir-mean", {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
        ("modernbert-cls", {"Wqkv", "Wo", "Wi"}),
    ],
)
def test_targets_are_the_linear_layers_of_the_encoder(name: str, ends: set[str]) -> None:
    transformer = architectures.in_memory(architectures.ARCHITECTURES[name])
    found = targets_in(transformer, RECIPE)
    assert {target.rpartition(".")[2] for target in found} == ends
    reached = [path for path, _ in transformer.named_modules() if any(path.endswith(f".{one}") for one in found)]
    assert len(reached) == len(found) * 2 and not any("pooler" in path or "embed" in path for path in reached)
    with pytest.raises(BadChoice, match=f"no linear layer called 'nothing'.*{sorted(ends)[0]}"):
        targets_in(transformer, replace(RECIPE, targets=("nothing",)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen3-causal-lasttoken", "modernbert-cls", "xlm-roberta", "llama-bidir-mean"])
def test_other_architectures_learn_too(train: Trainer, tmp_path: Path, name: str) -> None:
    folder = architectures.build(name, tmp_path / name)
    adapter = train(replace(RECIPE, steps=2, stages=1, seeds=(0,)), base=folder)[0]
    check_adapter(adapter.folder, folder)
    changed = fold_folder(folder, adapter.folder, tmp_path / "folded")
    assert changed.update > 0


@pytest.mark.parametrize("name", ["bert-mean", "qwen3-causal-lasttoken"])
def test_what_a_graphics_card_saves_in_memory_changes_no_step(tmp_path: Path, name: str) -> None:
    folder = architectures.build(name, tmp_path / name)
    batch, steps = training_batch(RECIPE.split, size=8, seed=0, step=1), []
    for saving in (False, True):
        adapted = AdaptedModel(model(str(folder)), RECIPE, folder, "cpu")
        adapted.begin(0, None, 0)
        if saving:
            adapted.save_memory()
            assert any(part.training for part in adapted.model.modules())
        losses = [adapted.step(batch, step) for step in (1, 2, 3)]
        steps.append((losses, adapted.snapshot()))
    assert steps[0][0] == pytest.approx(steps[1][0], abs=1e-4) and steps[0][0][0] != steps[0][0][2]
    for factor, values in steps[0][1].factors.items():
        np.testing.assert_allclose(values, steps[1][1].factors[factor], atol=1e-4)


def test_what_cannot_be_adapted_is_refused(settings: Settings, train: Trainer, tmp_path: Path) -> None:
    with pytest.raises(BadChoice, match="weights are not on this machine"):
        train_adapters(model("last_digits"), RECIPE, tmp_path, settings=settings)
    adapted = ModelSpec("adapted", LoraWeights(LocalWeights("/base"), LocalWeights("/adapter")))
    with pytest.raises(BadChoice, match="Save it as a model folder first"):
        train_adapters(adapted, RECIPE, tmp_path, settings=settings)
    with pytest.raises(BadChoice, match="only a table of token vectors"):
        train(base=tiny.write_static_model(tmp_path / "static"))


@pytest.mark.parametrize(
    "changed",
    [
        {"rank": 0},
        {"rank": 257},
        {"stages": 7},
        {"seeds": ()},
        {"seeds": (-1,)},
        {"loss": "other"},
        {"alpha": 0.0},
        {"learning_rate": math.nan},
        {"batch": 3},
        {"steps": True},
        {"apart": (1.0, 2.0)},
        {"apart": (2.0,)},
        {"apart": (2.0, math.nan)},
    ],
)
def test_a_recipe_is_always_valid(changed: dict[str, Any]) -> None:
    with pytest.raises(NumembedError):
        replace(RECIPE, **changed)


@pytest.mark.parametrize("apart", [(1.5, 6.0), None])
def test_a_recipe_comes_back_from_its_file(apart: tuple[float, float] | None) -> None:
    recipe = replace(RECIPE, apart=apart)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_too_little_memory_or_disk_is_said_before_anything_is_loaded(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = memory_needed(RECIPE, tiny_model)
    large = replace(RECIPE, batch=4_096, split=replace(RECIPE.split, longest=800))
    assert 0.5e9 < usual < 0.6e9 < memory_needed(large, tiny_model)
    with pytest.raises(TooLarge, match=r"needs about [\d.]+ GB of memory and [\d.]+ GB are free"):
        check_room(large, tiny_model, tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10**9, 10**9, 1_000))
    with pytest.raises(StoreFull, match=r"take [\d.]+ GB of disk"):
        check_room(RECIPE, tiny_model, tmp_path / "not" / "there" / "yet")


@pytest.mark.slow
def test_an_adapter_of_another_base_is_distinguished_from_the_headers(
    train: Trainer, tiny_model: Path, tmp_path: Path
) -> None:
    adapter = train(replace(RECIPE, steps=1, stages=1, looks=1, seeds=(0,)))[0].folder
    other = shutil.copytree(tiny_model, tmp_path / "other")
    weights = other / "model.safetensors"
    head = weights.read_bytes()[:-100_000]  # all names and shapes, not all numbers
    for old, new, told in (
        (b"encoder.layer.1.", b"encoder.layer.7.", "this one has no 'encoder.layer.1"),
        (b'"shape":[64,32]', b'"shape":[32,64]', "is 64×32 and 32×64 there and here"),
    ):
        assert old in head
        weights.write_bytes(head.replace(old, new) + bytes(100_000))
        with pytest.raises(BadChoice, match=f"made for another base: .*{told}|{told}"):
            check_adapter(adapter, other)
    with pytest.raises(ModelUnavailable, match="not a LoRA adapter"):
        check_adapter(tiny_model, tiny_model)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings_of_it", "told"),
    [
        ({"peft_type": "LOHA"}, "only LoRA adapters"),
        ({"peft_type": None}, "only LoRA adapters"),
        ({"auto_mapping": {"base_model_class": "x", "parent_library": "os.path"}}, "asks to import program code"),
        ({"auto_mapping": {"base_model_class": "system", "parent_library": "os"}}, "asks to import program code"),
        ({"auto_mapping": "os"}, "asks to import program code"),
        ({"megatron_core": "evil.module"}, "asks to import program code"),
        ({"r": 4_096}, "rank from 1 to 256"),
        ({"r": "8"}, "rank from 1 to 256"),
        ({"new_trick": {"on": True}}, "'new_trick', which is not known"),
        ({"target_modules": ["query", "nowhere"]}, "factors for 'encoder.layer.0.attention.output.dense', which its"),
        ({"base_model_name_or_path": "owner/another-model"}, "made for owner/another-model, not for owner/tiny"),
    ],
)
def test_hostile_settings_are_refused_in_a_sentence(
    train: Trainer, tiny_model: Path, settings_of_it: dict[str, Any], told: str
) -> None:
    adapter = train(replace(RECIPE, steps=1, stages=1, looks=1, seeds=(0,)))[0].folder
    file = adapter / "adapter_config.json"
    plain = json.loads(file.read_text())
    harmless = {
        "auto_mapping": {"base_model_class": "BertModel", "parent_library": "transformers.models.bert.modeling_bert"},
        "megatron_core": "megatron.core",
        "loftq_config": {},
        "of_a_later_version": None,
        "base_model_name_or_path": "mirror/Tiny",
    }
    file.write_text(json.dumps(plain | harmless))
    check_adapter(adapter, tiny_model, weights=HubWeights("owner/tiny", "c" * 40))
    file.write_text(json.dumps(plain | settings_of_it))
    with pytest.raises(BadChoice, match=told):
        check_adapter(adapter, tiny_model, weights=HubWeights("owner/tiny", "c" * 40))


@pytest.mark.slow
def test_a_short_training_of_the_bundled_model_separates_reserved_windows(settings: Settings, tmp_path: Path) -> None:
    split = replace(split_called("paper"), longest=12)
    recipe = Recipe(
        split, batch=12, steps=40, stages=1, looks=1, seeds=(0,), learning_rate=2e-3, warmup=5, falling=False
    )
    (adapter,) = train_adapters(model("all-MiniLM-L6-v2"), recipe, tmp_path / "run", settings=settings)
    assert adapter.readings[0].silhouette == pytest.approx(0.104, abs=0.002)  # the base, as it was measured before
    assert adapter.silhouette is not None and adapter.silhouette > 0.3  # 0.48 where this was written
    check_adapter(adapter.folder, bundled_folder(), weights=BUNDLED)


def _read(adapter: SavedAdapter) -> dict[str, Any]:
    return json.loads((adapter.folder / "recipe.json").read_text())


def _factors(adapter: SavedAdapter) -> list[str]:
    from safetensors.numpy import load_file

    return list(load_file(adapter.folder / "adapter_model.safetensors"))
