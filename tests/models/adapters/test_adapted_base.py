"""Whether an adapter says which model it was trained on, in the check of the model that it is attached to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from numembed.core.errors import BadChoice
from numembed.models.catalogue.names import model
from numembed.models.encoders.interface import ModelCheck
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.files.folders import digest_of_folder
from numembed.models.resolve import resolve
from numembed.models.sources import bundled_folder
from numembed.models.spec import MergedWeights, ModelSpec
from tests.lora import write_adapter
from tests.models.adapters.adapted import adapted_spec
from tests.offline import OFFLINE

BUNDLED = "sentence-transformers/all-MiniLM-L6-v2"
TOLD = "The adapter does not say which model it was trained on in a way that can be verified: its names and shapes fit"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    """The models of these tests, each base loaded once."""
    return LoadedModel(OFFLINE)


def _told(check: ModelCheck) -> bool:
    found = [finding for finding in check.findings if finding.sentence.startswith(TOLD)]
    assert check.ok and all(finding.ok is None for finding in found) and len(found) < 2
    return bool(found)


def _bundled(loaded: LoadedModel, folder: Path, settings: dict[str, Any]) -> ModelCheck:
    made = write_adapter(folder, bundled_folder(), size=0.01, config=settings)
    return loaded.get(resolve(model(f'all-MiniLM-L6-v2 adapter="{made}"'), OFFLINE)).check


@pytest.mark.parametrize("named", [BUNDLED, "a-mirror/all-minilm-l6-v2"])
def test_a_base_that_the_adapter_names_is_verified(loaded: LoadedModel, named: str, tmp_path: Path) -> None:
    assert not _told(_bundled(loaded, tmp_path / "adapter", {"base_model_name_or_path": named}))


@pytest.mark.parametrize("named", [None, "", "/home/someone/base", "./base", "C:\\base", "all-MiniLM-L6-v2", 7])
def test_a_base_that_the_adapter_does_not_name_is_reported(loaded: LoadedModel, named: Any, tmp_path: Path) -> None:
    assert _told(_bundled(loaded, tmp_path / "adapter", {"base_model_name_or_path": named}))


def test_a_base_that_contradicts_the_name_is_refused(loaded: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(BadChoice, match="made for owner/another, not for"):
        _bundled(loaded, tmp_path / "adapter", {"base_model_name_or_path": "owner/another"})


def test_the_folder_of_a_base_is_verified_by_the_digest_of_its_files_alone(
    loaded: LoadedModel, tiny_model: Path, tmp_path: Path
) -> None:
    named = write_adapter(tmp_path / "named", tiny_model, config={"base_model_name_or_path": str(tiny_model)})
    assert _told(loaded.get(adapted_spec(tiny_model, named)).check)
    owned = write_adapter(tmp_path / "owned", tiny_model, config={"base_model_name_or_path": "owner/tiny"})
    assert _told(loaded.get(adapted_spec(tiny_model, owned)).check)
    recipe = {"base": {"name": "tiny", "weights": {"digest": digest_of_folder(tiny_model)}}}
    (named / "recipe.json").write_text(json.dumps(recipe))
    assert not _told(loaded.get(adapted_spec(tiny_model, named)).check)
    recipe["base"]["weights"] = {"digest": "0" * 64}  # type: ignore[index]
    (named / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(BadChoice, match="whose files differ"):
        loaded.get(adapted_spec(tiny_model, named))


def test_it_is_told_of_each_model_in_turn_and_of_a_merge_of_such_adapters(
    loaded: LoadedModel, tiny_model: Path, tmp_path: Path
) -> None:
    plain, silent = resolve(model(str(tiny_model)), OFFLINE), write_adapter(tmp_path / "silent", tiny_model, seed=1)
    recipe = {"base": {"name": "tiny", "weights": {"digest": digest_of_folder(tiny_model)}}}
    known = write_adapter(tmp_path / "known", tiny_model)
    (known / "recipe.json").write_text(json.dumps(recipe))
    of_known, of_silent = (adapted_spec(tiny_model, one) for one in (known, silent))
    for spec, told in ((plain, False), (of_silent, True), (of_known, False), (of_silent, True), (plain, False)):
        assert _told(loaded.get(spec).check) is told
    for parts, told in (((of_known, of_silent), True), ((of_known, of_known), False)):
        merged = MergedWeights("soup", tuple(one.weights for one in parts))  # type: ignore[arg-type]
        assert _told(loaded.get(ModelSpec("merged", merged)).check) is told
