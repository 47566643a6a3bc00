"""Models of the hub without a network, or with half of their files: fast, never wrong, never asked twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from numembed.core.errors import ModelUnavailable
from numembed.core.settings import AllowedCode, Settings
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.hub.snapshots import is_verified
from numembed.models.resolve import folder_of, known_folder, resolve
from numembed.models.spec import HubWeights
from tests.offline import OFFLINE
from tests.servers.hub import FakeHub, closed_port, serve_hub

pytestmark = pytest.mark.slow  # together they take long

COMMIT, OLDER = "1" * 40, "2" * 40


@pytest.fixture
def hub_cache(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache that holds owner/name at COMMIT, the newest when it was fetched."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "models--owner--name"
    shutil.copytree(tiny_model, folder / "snapshots" / COMMIT)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    return folder


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serve_hub() as served:
        yield served


@pytest.fixture
def online(settings: Settings, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of the fake hub; the hub's library would go there too, if it were let."""
    from huggingface_hub import constants

    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(settings.home / "token"))
    return replace(settings, offline=False, hub=hub.address, hub_token="")


def test_an_unknown_id_without_a_network_is_a_sentence_at_once() -> None:
    for reference in ("owner/name", "BAAI/bge-small-en-v1.5"):
        with pytest.raises(ModelUnavailable, match="is not on this machine and this installation works offline"):
            folder_of(resolve(model(reference), OFFLINE), OFFLINE)
        assert known_folder(model(reference).weights, OFFLINE) is None


def test_what_was_fetched_once_is_found_without_a_network(hub_cache: Path, settings: Settings) -> None:
    spec = resolve(model("owner/name"), settings)
    assert spec.weights == HubWeights("owner/name", COMMIT)
    assert folder_of(spec, settings) == hub_cache / "snapshots" / COMMIT
    assert known_folder(HubWeights("owner/name"), settings) == hub_cache / "snapshots" / COMMIT


def test_another_commit_than_the_fetched_one_is_not_taken_for_it(hub_cache: Path, settings: Settings) -> None:
    with pytest.raises(
        ModelUnavailable, match="could not be contacted about owner/name: this installation works offline"
    ):
        folder_of(model(f"owner/name@{OLDER}"), settings)


@pytest.mark.parametrize("torn", ["", "main", "../../../etc", "1" * 39])
def test_a_torn_cache_counts_as_absent(hub_cache: Path, settings: Settings, torn: str) -> None:
    (hub_cache / "refs" / "main").write_text(torn)
    assert known_folder(HubWeights("owner/name"), settings) is None
    with pytest.raises(ModelUnavailable, match="could not be contacted about owner/name"):
        resolve(model("owner/name"), settings)


def test_code_that_the_operator_allows_becomes_part_of_the_model(settings: Settings) -> None:
    allowed = replace(settings, code={"owner/name": AllowedCode("other/code", OLDER, {"x.py": "0" * 64})})
    spec = model(f"owner/name@{COMMIT}")
    assert resolve(spec, allowed).loading.remote_code == f"other/code@{OLDER}"
    assert resolve(spec, allowed).key != resolve(spec, settings).key


LOAD = """
import sys
from numembed.models.catalogue.names import model
from numembed.models.resolve import resolve
from numembed.models.encoders.loaded import LoadedModel
from numembed.core.settings import read_settings
settings = read_settings()
assert not settings.offline
print(LoadedModel(settings).get(resolve(model(sys.argv[1]), settings)).encode(["1, 2"]).shape)
"""


def test_a_process_that_finds_the_model_here_asks_nobody(
    hub: FakeHub, hub_cache: Path, tiny_model: Path, online: Settings
) -> None:
    """A process of its own, because the libraries read the environment once."""
    name = f"owner/name@{hub.add('owner/name', tiny_model)}"
    folder_of(model(name), online)
    hub.asked.clear()
    environ = {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HUB_CACHE": str(hub_cache.parent)}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, name], env=os.environ | environ, capture_output=True, text=True, timeout=240
    )
    assert done.stdout == "(1, 32)\n", done.stderr
    assert hub.paths() == []


@pytest.mark.usefixtures("hub_cache")
def test_without_a_network_a_verified_model_loads_at_once(hub: FakeHub, tiny_model: Path, online: Settings) -> None:
    commit = hub.add("owner/name", tiny_model)
    right = LoadedModel(online).get(resolve(model("owner/name"), online)).encode(["1, 2"])
    hub.asked.clear()
    for unconnected in (replace(online, hub=closed_port()), replace(online, offline=True)):
        for name in ("owner/name", f"owner/name@{commit}"):
            began = time.monotonic()
            spec = resolve(model(name), unconnected)
            encoder = LoadedModel(unconnected).get(spec)
            assert time.monotonic() - began < 20  # the libraries' own patience is 23 to 350 seconds
            assert spec.weights == HubWeights("owner/name", commit) and (encoder.encode(["1, 2"]) == right).all()
    assert hub.paths() == []


def _as_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


def _as_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _empty(folder: Path) -> None:
    for file in sorted(folder.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    (folder / "README.md").write_text("nothing yet")


@pytest.mark.usefixtures("hub_cache")
@pytest.mark.parametrize("change", [_as_adapter, _as_pickle, _empty])
def test_what_is_wrong_with_a_hub_model_is_reported_with_its_name(
    hub: FakeHub, tiny_model: Path, tmp_path: Path, online: Settings, change: Callable[[Path], None]
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "served"))
    change(folder)
    commit = hub.add("other/name", folder)
    with pytest.raises(ModelUnavailable, match="other/name") as caught:
        folder_of(model(f"other/name@{commit}"), online)
    assert commit[:7] not in str(caught.value) and str(tmp_path) not in str(caught.value)


@pytest.mark.usefixtures("hub_cache")
def test_without_a_network_an_absent_model_is_a_sentence_at_once(online: Settings) -> None:
    began = time.monotonic()
    for name in ("other/name", f"other/name@{COMMIT}"):
        with pytest.raises(ModelUnavailable, match="is not on this machine and the model hub cannot be reached"):
            folder_of(resolve(model(name), replace(online, hub=closed_port())), replace(online, hub=closed_port()))
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("lost", ["1_Pooling", "1_Pooling/config.json", "tokenizer.json", "model.safetensors"])
def test_half_a_snapshot_is_never_loaded_and_is_completed_once_there_is_a_connection(
    hub: FakeHub, hub_cache: Path, tiny_model: Path, online: Settings, lost: str
) -> None:
    name = f"owner/name@{(commit := hub.add('owner/name', tiny_model))}"
    snapshot = shutil.copytree(tiny_model, hub_cache / "snapshots" / commit)
    shutil.rmtree(snapshot / lost) if (snapshot / lost).is_dir() else (snapshot / lost).unlink()
    for unconnected in (replace(online, offline=True), replace(online, hub=closed_port())):
        with pytest.raises(ModelUnavailable):
            LoadedModel(unconnected).get(model(name))
    assert not is_verified("owner/name", commit, online) and hub.paths() == []
    assert LoadedModel(online).get(model(name)).encode(["1, 2"]).shape == (1, 32)
    assert is_verified("owner/name", commit, online)


def test_a_snapshot_without_its_list_of_modules_does_not_pass_for_a_whole_one(
    hub: FakeHub, hub_cache: Path, tiny_model: Path, online: Settings
) -> None:
    name = f"owner/name@{(commit := hub.add('owner/name', tiny_model))}"
    snapshot = shutil.copytree(tiny_model, hub_cache / "snapshots" / commit)
    (snapshot / "modules.json").unlink()
    check = LoadedModel(replace(online, offline=True)).get(model(name)).check
    assert not check.ok and "Its folder does not say how token vectors become one vector" in check.sentence
    assert LoadedModel(online).get(model(name)).check.ok
