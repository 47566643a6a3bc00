"""A model with a LoRA adapter is an ordinary model: loaded, checked, stored and run like any other."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numembed.core.errors import NonFiniteVectors
from numembed.core.serialization import canonical_json
from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.models.encoders import encoder as encoders
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.encoders.tokens import count_tokens
from numembed.models.resolve import resolve
from numembed.models.sources import bundled_folder
from numembed.runs.study_run import Outcome, run
from numembed.storage.vectors import VectorStore
from numembed.studies.results import ResultStore
from numembed.studies.stored import stored_results
from numembed.studies.study import Study
from tests import tiny
from tests.lora import fold_folder, write_adapter
from tests.models.adapters.adapted import TEXTS, adapted_spec, encoded
from tests.offline import OFFLINE

ROOT = Path(__file__).parents[3]


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
    found = encoded(resolve(model(f'{reference} adapter="{made}"'), OFFLINE))
    assert np.abs(found - expected).max() <= 1e-5 < 1e-2 < np.abs(found - plain).max()


@pytest.mark.slow
def test_strength_nought_is_the_base_and_one_is_the_folded_folder(
    tiny_model: Path, adapter: Path, tmp_path: Path
) -> None:
    fold_folder(tiny_model, adapter, tmp_path / "folded")
    base, folded = (encoded(resolve(model(str(folder)), OFFLINE)) for folder in (tiny_model, tmp_path / "folded"))
    found = {scale: encoded(adapted_spec(tiny_model, adapter, scale)) for scale in (0, 0.5, 1)}
    assert np.abs(found[0] - base).max() <= 1e-6 and np.abs(found[1] - folded).max() <= 1e-6
    assert min(np.abs(found[0.5] - other).max() for other in (base, folded)) > 1e-3


@pytest.mark.slow
def test_each_kin_in_turn_has_its_own_vectors_and_the_base_is_loaded_once(
    tiny_model: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_adapter(tmp_path / "other", tiny_model, seed=1, targets=("key", "intermediate.dense"))
    specs = [
        resolve(model(str(tiny_model)), OFFLINE),
        adapted_spec(tiny_model, adapter),
        adapted_spec(tiny_model, other, 0.3),
    ]
    alone, calls, load = [encoded(spec) for spec in specs], [], encoders.load
    monkeypatch.setattr(encoders, "load", lambda *given, **named: calls.append(given) or load(*given, **named))
    loaded = LoadedModel(OFFLINE)
    held = [loaded.get(spec) for spec in specs]
    for number in (1, 0, 2, 1, 2, 0):
        assert np.array_equal(encoded(specs[number], loaded), alone[number])
    for encoder, expected in zip(held, alone, strict=True):  # also those that somebody kept
        assert np.array_equal(encoder.encode(TEXTS), expected)
    prompted = replace(specs[1], prompt="9: ")
    assert np.array_equal(encoded(prompted, loaded), encoded(prompted))
    assert len(calls) == 2  # and the fresh one of the last line


@pytest.mark.slow
def test_an_adapter_that_gives_no_numbers_spoils_nothing_that_comes_after(tiny_model: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    broken = write_adapter(tmp_path / "broken", tiny_model)
    tensors = load_file(broken / "adapter_model.safetensors")
    save_file({name: tensor * np.nan for name, tensor in tensors.items()}, broken / "adapter_model.safetensors")
    loaded, plain = LoadedModel(OFFLINE), resolve(model(str(tiny_model)), OFFLINE)
    before = encoded(plain, loaded)
    with pytest.raises(NonFiniteVectors):
        loaded.get(adapted_spec(tiny_model, broken))
    assert np.array_equal(encoded(plain, loaded), before)


@pytest.mark.slow
def test_the_check_says_what_was_changed_and_what_half_precision_lost(tiny_model: Path, adapter: Path) -> None:
    spec, loaded = adapted_spec(tiny_model, adapter), LoadedModel(OFFLINE)
    fresh = loaded.get(spec).check
    assert fresh.ok and "Its adapter changes 8 of 37 weight tensors." in fresh.sentence
    plain = loaded.get(resolve(model(str(tiny_model)), OFFLINE)).check
    alone = LoadedModel(OFFLINE).get(resolve(model(str(tiny_model)), OFFLINE)).check
    assert plain.findings == alone.findings[:-1] and alone.findings[-1].name == "reference"  # of what was read itself
    assert "Its attention was checked when its base was loaded." in loaded.get(spec).check.sentence
    names = {finding.name for finding in loaded.get(spec).check.findings}
    assert names | {"reference"} == {one.name for one in fresh.findings}
    half = LoadedModel(OFFLINE).get(replace(spec, dtype="bfloat16")).check
    share = re.search(r"Rounding to bfloat16 loses (\d+)% of the change; dtype=float32 keeps it", half.sentence)
    assert share is not None and 0 < int(share[1]) < 20


@pytest.mark.slow
def test_an_adapter_of_the_pooler_alone_is_reported_to_change_nothing(tiny_model: Path, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    made = write_adapter(tmp_path / "pooler", tiny_model, config={"target_modules": ["pooler.dense"]})
    name = "base_model.model.pooler.dense.lora_"
    save_file(
        {f"{name}{one}.weight": np.ones((1, 32) if one == "A" else (32, 1), np.float32) for one in "AB"},
        made / "adapter_model.safetensors",
    )
    check = LoadedModel(OFFLINE).get(adapted_spec(tiny_model, made)).check
    assert not check.ok and "changes no weights that affect a vector" in check.sentence


def test_an_encoder_never_takes_the_base_for_the_adapted_model(tiny_model: Path, adapter: Path) -> None:
    with pytest.raises(ValueError, match="without what changes its weights"):
        SentenceEncoder(adapted_spec(tiny_model, adapter), tiny_model, device="cpu")


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
    assert (
        len(
            {
                canonical_json({str(kind): value for kind, value in scores.items()})
                for scores in outcome.references.random_weights.values()
            }
        )
        == 1
    )  # the base's twin
    assert set(outcome.references.random_weights) == {spec.name for spec in study.models}
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
def test_a_run_looks_at_the_adapter_again_also_on_a_catalogue_base(settings: Settings, tmp_path: Path) -> None:
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
