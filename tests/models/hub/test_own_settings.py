"""What the makers of a hub model have set for every encoding: one small file of its commit, asked for once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from numembed.core.settings import Settings
from numembed.models.catalogue.names import model as named
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.files.settings import OwnSettings
from numembed.models.hub.card import card
from numembed.models.resolve import as_known, folder_of, known_settings, resolve
from numembed.models.spec import HubWeights
from numembed.studies.results import ResultStore
from numembed.studies.stored import pin, previously_pinned
from tests.models.hub.asked import NAME
from tests.servers.hub import FakeHub

SET: dict[str, Any] = {"prompts": {"query": "7: "}, "default_prompt_name": "query", "truncate_dim": 12}
FILE = "config_sentence_transformers.json"


@pytest.fixture
def commit(hub: FakeHub, model: Path) -> str:
    (model / FILE).write_text(json.dumps(SET))
    return hub.add(NAME, model)


def _asked_for_settings(hub: FakeHub) -> int:
    return sum(path.endswith(FILE) for path in hub.paths())


def test_the_prompt_is_known_before_anything_large_is_fetched(hub: FakeHub, commit: str, online: Settings) -> None:
    spec = resolve(named(NAME), online)
    assert spec.weights == HubWeights(NAME, commit) and spec.prompt == "7: "
    assert not [path for path in hub.paths() if "safetensors" in path]
    assert card(NAME, online).own == known_settings(spec, online) == OwnSettings("7: ", 12)
    assert as_known(named(f"{NAME}@{commit}"), online).prompt == "7: "


def test_a_commit_is_asked_once_and_remembered_without_a_network(hub: FakeHub, commit: str, online: Settings) -> None:
    first = resolve(named(f"{NAME}@{commit}"), online)
    assert _asked_for_settings(hub) == 1
    assert resolve(named(f"{NAME}@{commit}"), online) == first and _asked_for_settings(hub) == 1
    assert resolve(named(f"{NAME}@{commit}"), replace(online, offline=True)) == first


def test_a_snapshot_answers_before_the_hub(hub: FakeHub, commit: str, online: Settings) -> None:
    spec = resolve(named(NAME), online)
    vectors = LoadedModel(online).get(spec).encode(["1, 2"])
    assert vectors.shape == (1, 12)
    for note in (online.home / "asked").iterdir():
        note.unlink()
    hub.asked.clear()
    assert resolve(named(f"{NAME}@{commit}"), online).key == spec.key and _asked_for_settings(hub) == 0


def test_a_model_without_such_settings_has_the_key_that_it_had(hub: FakeHub, model: Path, online: Settings) -> None:
    for text in ("{}", "[", json.dumps({"prompts": {"query": "7: "}})):
        (model / FILE).write_text(text)
        commit = hub.add(NAME, model)
        assert resolve(named(f"{NAME}@{commit}"), online) == named(f"{NAME}@{commit}")
    (model / FILE).unlink()
    commit = hub.add(NAME, model)
    spec = resolve(named(NAME), online)
    assert spec.key == named(f"{NAME}@{commit}").key
    folder_of(spec, online)
    hub.asked.clear()
    assert resolve(named(f"{NAME}@{commit}"), replace(online, home=online.home / "new")).prompt == ""


def test_who_cannot_ask_resolves_as_before(hub: FakeHub, commit: str, online: Settings) -> None:
    spec = named(f"{NAME}@{commit}")
    assert resolve(spec, replace(online, offline=True)) == spec
    hub.spoil(NAME, "refuse", status=500)
    assert resolve(spec, online) == spec
    hub.spoil(NAME, "")
    assert resolve(spec, online).prompt == "7: "  # the failure was not taken for an answer


def test_a_commit_that_a_person_names_is_pinned_with_its_prompt(commit: str, online: Settings) -> None:
    spec = named(f"{NAME}@{commit}")
    with ResultStore(online.app_db) as results:
        assert previously_pinned(spec, results) == spec  # as nothing is known
        assert pin(spec, results, online).prompt == "7: "
        assert previously_pinned(spec, results) == pin(spec, results, online)
        off = named(f"{NAME}@{commit} prompt=none")
        assert pin(off, results, online) == previously_pinned(off, results) and pin(off, results, online).prompt == ""
