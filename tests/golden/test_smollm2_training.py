"""LoRA on a real language model by its usual recipe: what it gains, keeps, records, and takes of memory."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from numembed.analysis.metrics import silhouette
from numembed.core.settings import Settings, read_settings
from numembed.merge_experiment.measures import retention
from numembed.models.adapters.peft_files import RECIPE
from numembed.models.adapters.saved import SavedAdapter, adapters_in
from numembed.models.builtin.models import usual_recipe
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.loading.devices import has_bfloat16
from numembed.models.resolve import folder_of, resolve
from numembed.models.training.train import memory_needed
from numembed.paper.protocol import paper_study
from numembed.sequences.splits import sentences
from tests.packaged import put, real_model

pytestmark = pytest.mark.slow
_CHILD = """
import json, resource, sys
from dataclasses import replace
from pathlib import Path
import torch
from numembed.core.settings import read_settings
from numembed.models.builtin.models import usual_recipe
from numembed.models.catalogue.names import model
from numembed.models.resolve import folder_of, resolve
from numembed.models.training.lora import AdaptedModel
from numembed.models.training.train import train_adapters
from numembed.sequences.splits import apart_at, training_batch

settings, base = read_settings(), model("smollm2")
recipe = replace(usual_recipe(base), seeds=(0,), stages=1, looks=1)
train_adapters(base, recipe, Path(sys.argv[1]), settings=settings)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
spec = resolve(base, settings)
wide = AdaptedModel(spec, replace(recipe, numbers="float32"), folder_of(spec, settings), "cpu")
wide.begin(0, None, 0)
wide.model.train(False)
apart = apart_at(1, recipe.steps, recipe.apart)
batch = training_batch(recipe.split, size=recipe.batch, seed=0, step=1, pairs=False, apart=apart)
with torch.no_grad():
    loss = wide._loss(wide._vectors(batch.texts), batch.labels)
print(json.dumps({"peak": peak, "float32": float(loss)}))
"""


@dataclass(frozen=True)
class Trained:
    """One seed of the usual recipe, trained in a process of its own."""

    settings: Settings
    adapter: SavedAdapter
    peak: int  # bytes of memory that the process held at most
    float32: float  # loss of the first step in float32


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    home = tmp_path_factory.mktemp("smollm2_training")
    put(real_model(), home)
    settings = read_settings({"NUMEMBED_HOME": str(home), "NUMEMBED_DEVICE": "cpu", "HF_HUB_OFFLINE": "1"})
    with pytest.MonkeyPatch.context() as environment:
        for name, value in (("NUMEMBED_HOME", str(home)), ("NUMEMBED_DEVICE", "cpu"), ("HF_HUB_OFFLINE", "1")):
            environment.setenv(name, value)
        command = [sys.executable, "-c", _CHILD, str(home / "own")]
        done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    recipe = usual_recipe(model("smollm2")).settled(bfloat16=has_bfloat16("cpu"))
    (adapter,) = adapters_in(home / "own", recipe)
    return Trained(settings, adapter, told["peak"], told["float32"])


def test_one_seed_separates_the_papers_families_and_keeps_the_base(trained: Trained) -> None:
    loaded, spoken = LoadedModel(trained.settings), list(sentences().texts)
    base = loaded.get(resolve(model("smollm2 dtype=bfloat16"), trained.settings)).encode(spoken)
    named = f"smollm2 dtype=bfloat16 adapter={trained.adapter.weights.path}"
    adapted, study = loaded.get(resolve(model(named), trained.settings)), paper_study("smollm2").sequences
    assert silhouette(adapted.encode(list(study.texts)), study.labels) >= 0.2, "the base has 0.04"
    assert 0.8 <= retention(adapted.encode(spoken), base).spearman < 1


def test_the_recipe_is_settled_to_what_the_processor_has_units_for_and_says_so(trained: Trained) -> None:
    units = has_bfloat16("cpu")
    recorded = json.loads((trained.adapter.folder / RECIPE).read_text(encoding="utf-8"))["training"]
    assert usual_recipe(model("smollm2")).numbers == "auto"
    assert recorded.get("numbers", "float32") == ("bfloat16" if units else "float32")
    first = next(one.loss for one in trained.adapter.readings if one.step == 1)
    assert first == pytest.approx(trained.float32, rel=0.01 if units else 1e-6)
    assert (first != trained.float32) == units, "bfloat16 rounds, so that the losses are not the same"


def test_memory_needed_is_a_bound_that_is_not_far_off(trained: Trained) -> None:
    spec = resolve(model("smollm2"), trained.settings)
    needed = memory_needed(usual_recipe(spec), folder_of(spec, trained.settings))
    assert trained.peak <= needed <= 2 * trained.peak
