"""Adapters that are refused in a sentence, and adapters of the hub."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numembed.core.errors import BadChoice, ModelUnavailable
from numembed.core.settings import Settings
from numembed.models.catalogue.names import model, reference_of
from numembed.models.encoders import encoder as encoders
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.resolve import resolve
from numembed.models.sources import bundled_folder
from numembed.models.spec import HubWeights, LoraWeights
from tests.lora import write_adapter
from tests.models.adapters.adapted import TEXTS, adapted_spec, encoded
from tests.offline import OFFLINE
from tests.servers.hub import serve_hub


@pytest.mark.slow
def test_an_adapter_of_another_base_is_one_sentence_before_any_weight_is_read(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "load", lambda *_, **__: pytest.fail("weights were read"))
    wide = write_adapter(tmp_path / "wide", bundled_folder())
    with pytest.raises(BadChoice, match="made for another base") as told:
        LoadedModel(OFFLINE).get(adapted_spec(tiny_model, wide))
    assert len(str(told.value)) < 300
    for config, words in (
        ({"r": 4_096}, "rank from 1 to 256"),
        ({"new_trick": {"on": True}}, "'new_trick', which is not known"),
        ({"auto_mapping": "os"}, "asks to import program code"),
    ):
        with pytest.raises(BadChoice, match=words):
            LoadedModel(OFFLINE).get(
                adapted_spec(tiny_model, write_adapter(tmp_path / words[:4], tiny_model, config=config))
            )
    other = write_adapter(tmp_path / "other", bundled_folder(), config={"base_model_name_or_path": "owner/another"})
    with pytest.raises(BadChoice, match="made for owner/another, not for sentence-transformers/all-MiniLM-L6-v2"):
        LoadedModel(OFFLINE).get(resolve(model(f'all-MiniLM-L6-v2 adapter="{other}"'), OFFLINE))
    dora = write_adapter(tmp_path / "dora", tiny_model, config={"use_dora": True})
    with pytest.raises(BadChoice, match="more than plain LoRA"):
        LoadedModel(OFFLINE).get(adapted_spec(tiny_model, dora))


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors", ""])
def test_a_folder_without_an_adapter_is_one_sentence(missing: str, tiny_model: Path, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter", tiny_model)
    if missing:
        (folder / missing).unlink()
    with pytest.raises(ModelUnavailable, match="is not a LoRA adapter" if missing else "There is no folder"):
        adapted_spec(tiny_model, folder if missing else tmp_path / "nowhere")


@pytest.mark.slow
def test_an_adapter_is_read_only_where_models_may_be_read(tiny_model: Path, adapter: Path, tmp_path: Path) -> None:
    closed = replace(OFFLINE, folders=(tiny_model.parent,))
    with pytest.raises(ModelUnavailable, match="not below a folder that models may be read from"):
        adapted_spec(tiny_model, adapter, settings=closed)
    with pytest.raises(ModelUnavailable, match="not below a folder"):
        LoadedModel(closed).get(adapted_spec(tiny_model, adapter))
    linked = tiny_model.parent / "linked"
    linked.mkdir()
    for file in adapter.iterdir():
        os.symlink(file, linked / file.name)
    with pytest.raises(ModelUnavailable, match="is a link to a place outside"):
        adapted_spec(tiny_model, linked, settings=closed)


def test_an_adapter_alone_is_reported_how_to_be_attached(adapter: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"is a LoRA adapter: a small change to a model.*adapter="):
        resolve(model(str(adapter)), OFFLINE)


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
    assert np.array_equal(found, encoded(adapted_spec(tiny_model, adapter)))
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
        with pytest.raises(ModelUnavailable, match="is not a LoRA adapter"):
            LoadedModel(online).get(resolve(model(f"{tiny_model} adapter=owner/name"), online))
        assert not any(path.endswith(".safetensors") for path in hub.paths())
