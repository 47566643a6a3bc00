"""What a folder asks for in every encoding: done as the library does it, part of the key, told, and switched off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numembed.core.arrays import Matrix
from numembed.models.catalogue.defaults import is_settled
from numembed.models.catalogue.names import model, reference_of
from numembed.models.embedding import reduced
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.files.settings import own_settings
from numembed.models.resolve import as_known, makers_sentences, resolve
from numembed.models.spec import HubWeights, LocalWeights, MergedWeights, ModelSpec
from tests import tiny
from tests.lora import write_adapter
from tests.offline import OFFLINE

TEXTS = ["2, 3, 5, 7, 11", "1, 1, 2, 3, 5, 8, 13", "4, 6, 8, 9, 10, 12, 14, 15"]
QUERY = {"prompts": {"query": "7: ", "document": ""}, "default_prompt_name": "query"}
CUT = {"truncate_dim": 12}
OF_OTHER_KIND = {"model_type": "CrossEncoder"}


def _set(folder: Path, **settings: Any) -> Path:
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"similarity_fn_name": "cosine"} | settings))
    return folder


def _resolved(folder: Path, options: str = "") -> ModelSpec:
    return resolve(model(f"{folder}{options}"), OFFLINE)


def _ours(spec: ModelSpec) -> Matrix:
    """Return the vectors as a run makes them, with what our own dim= does to them."""
    return reduced(LoadedModel(OFFLINE).get(spec).encode(TEXTS), dimensions=spec.dimensions)


def _librarys(folder: Path, **options: Any) -> Matrix:
    from sentence_transformers import SentenceTransformer

    return np.asarray(SentenceTransformer(str(folder), device="cpu").encode(TEXTS, **options), dtype=np.float32)


def _unit(matrix: Matrix) -> Matrix:
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.write_model(tmp_path / "mine")


@pytest.mark.parametrize(
    ("settings", "prompt", "width"),
    [
        (QUERY, "7: ", 32),
        (CUT, "", 12),
        (QUERY | CUT, "7: ", 12),
        (QUERY | {"default_prompt_name": None}, "", 32),
        (QUERY | {"default_prompt_name": "document"}, "", 32),  # it is empty
        ({"default_prompt_name": "document"}, "", 32),  # the library's own empty one
        ({"truncate_dim": 100}, "", 32),
        (QUERY | CUT | OF_OTHER_KIND, "", 32),
    ],
    ids=["prompt", "cut", "both", "no default", "empty default", "unlisted", "wider than it is", "another kind"],
)
def test_a_model_is_encoded_as_the_library_does_by_itself(
    folder: Path, settings: dict[str, Any], prompt: str, width: int
) -> None:
    spec = _resolved(_set(folder, **settings))
    assert spec.prompt == prompt and spec.name == "mine"
    encoder = LoadedModel(OFFLINE).get(spec)
    ours, theirs = encoder.encode(TEXTS), _librarys(folder)
    assert ours.shape == theirs.shape == (3, width)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    told = [one.sentence for one in encoder.check.findings if one.name in ("prompt", "dimensions kept")]
    assert bool(prompt) == any("“7: ” before every text" in sentence for sentence in told)
    assert (width < 32) == any("first 12 of 32 dimensions" in sentence for sentence in told)
    if not settings.get("model_type"):
        assert encoder.check.ok, encoder.check.sentence


@pytest.mark.parametrize(
    ("options", "of_library"),
    [
        (' prompt="3; "', {"prompt": "3; "}),
        (" prompt=none", {"prompt": ""}),
        (' prompt=""', {"prompt": ""}),
        (" dim=all", {"truncate_dim": 32}),
        (" prompt=none dim=all", {"prompt": "", "truncate_dim": 32}),
        (' prompt="3; " dim=all', {"prompt": "3; ", "truncate_dim": 32}),
    ],
)
def test_what_is_written_goes_before_what_the_makers_set(
    folder: Path, options: str, of_library: dict[str, Any]
) -> None:
    usual, spec = _resolved(_set(folder, **QUERY, **CUT)), _resolved(folder, options)
    np.testing.assert_allclose(_ours(spec), _librarys(folder, **of_library), atol=1e-5)
    assert spec.key != usual.key and spec.name != usual.name
    assert resolve(spec, OFFLINE) == spec  # it stays switched off however often it is looked at
    assert model(reference_of(model(f"{folder}{options}"))) == model(f"{folder}{options}")
    assert ModelSpec.from_dict(spec.as_dict()) == spec


def test_our_own_shortening_comes_after_the_makers(folder: Path) -> None:
    spec = _resolved(_set(folder, **QUERY, **CUT), " dim=8")
    np.testing.assert_allclose(_ours(spec), _unit(_librarys(folder)[:, :8]), atol=1e-5)
    assert spec.stored.key == _resolved(folder).key and spec.key != spec.stored.key
    whole = _resolved(folder, " dim=all")
    assert whole.stored.name == "mine dim=all"  # they are other vectors, and not a part of the same


@pytest.mark.parametrize("options", [" prompt=none", " dim=all", ' prompt=""'])
def test_switching_off_what_is_not_there_is_the_same_model(folder: Path, options: str) -> None:
    assert _resolved(folder, options).key == _resolved(folder).key


def test_the_check_tells_what_was_switched_off(folder: Path) -> None:
    encoder = LoadedModel(OFFLINE).get(_resolved(_set(folder, **QUERY, **CUT), " prompt=none dim=all"))
    told = {one.name: (one.ok, one.sentence) for one in encoder.check.findings}
    assert told["prompt"] == (None, "Its makers put “7: ” before every text; it is left out here, as requested.")
    assert told["dimensions kept"][0] is None and "all are kept here, as requested" in told["dimensions kept"][1]
    assert told["unit length"][0] is True
    other = LoadedModel(OFFLINE).get(_resolved(folder, ' prompt="3; "'))
    assert any("another prompt was requested here" in one.sentence for one in other.check.findings)


def test_a_model_in_memory_changes_its_prompt_and_nothing_else(folder: Path) -> None:
    loaded, usual = LoadedModel(OFFLINE), _resolved(_set(folder, **QUERY))
    first = loaded.get(usual)
    second = loaded.get(_resolved(folder, " prompt=none"))
    assert isinstance(first, SentenceEncoder) and isinstance(second, SentenceEncoder) and second.model is first.model
    np.testing.assert_allclose(second.encode(TEXTS), _librarys(folder, prompt=""), atol=1e-5)


def test_adapted_and_merged_models_have_the_prompt_of_what_they_are_made_of(folder: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", _set(folder, **QUERY))
    assert _resolved(folder, f" adapter={adapter}").prompt == "7: "
    assert _resolved(folder, f" adapter={adapter} prompt=none").loading.unprompted
    other = tiny.write_model(tmp_path / "other", seed=1)
    parts = (LocalWeights(str(folder)), LocalWeights(str(other)))
    assert resolve(ModelSpec("m", MergedWeights("linear", parts)), OFFLINE).prompt == "7: "
    assert resolve(ModelSpec("m", MergedWeights("linear", parts[::-1])), OFFLINE).prompt == ""


def test_a_folder_without_a_list_of_modules_asks_for_nothing(folder: Path) -> None:
    (_set(folder, **QUERY, **CUT) / "modules.json").unlink()
    spec = _resolved(folder, " pooling=mean")
    assert spec.prompt == "" and own_settings(folder) == own_settings(folder.parent)
    np.testing.assert_allclose(_ours(spec), _librarys(folder), atol=1e-5)  # the library looks for them as little


@pytest.mark.parametrize("nonsense", ["[]", "{", '{"prompts": [], "default_prompt_name": 3, "truncate_dim": true}'])
def test_nonsense_among_the_settings_sets_nothing(folder: Path, nonsense: str) -> None:
    (folder / "config_sentence_transformers.json").write_text(nonsense)
    assert _resolved(folder).prompt == "" and makers_sentences(_resolved(folder), OFFLINE) == []


def test_what_a_page_says_before_a_run_is_what_the_run_does(folder: Path) -> None:
    named = model(str(_set(folder, **QUERY, **CUT)))
    assert as_known(named, OFFLINE).prompt == resolve(named, OFFLINE).prompt == "7: "
    assert makers_sentences(named, OFFLINE) == [
        "Its makers put “7: ” before every text; add prompt=none to its name to leave it out.",
        "Its makers keep the first 12 of 32 dimensions; add dim=all to its name to keep all.",
    ]
    assert makers_sentences(model("last_digits"), OFFLINE) == makers_sentences(model("endpoint:lab"), OFFLINE) == []


def test_a_catalogue_model_keeps_its_recipe_and_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from numembed.models import resolve as resolving
    from numembed.models import sources

    monkeypatch.setattr(sources, "bundled_folder", lambda: _set(folder, **QUERY))
    spec = model("all-MiniLM-L6-v2")
    assert resolve(spec, OFFLINE) == as_known(spec, OFFLINE) == spec and is_settled(spec)
    (told,) = resolving.makers_sentences(spec, OFFLINE)
    assert told == "Its makers put “7: ” before every text; the catalogue's recipe leaves it out, as the paper does."


def test_what_a_commit_asks_for_is_looked_up_and_a_merge_is_not() -> None:
    commit = HubWeights("owner/name", "1" * 40)
    assert not is_settled(ModelSpec("m", commit)) and is_settled(ModelSpec("m", commit, prompt="x"))
    assert is_settled(ModelSpec("m", MergedWeights("linear", (commit, commit))))
