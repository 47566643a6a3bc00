"""Copies on this machine: what other programs downloaded, what was changed since, and allowed program code."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from numembed.core.settings import AllowedCode, Settings
from numembed.models.hub.snapshots import (
    cached_folder,
    code_digests,
    fetch,
    fetch_code,
    is_verified,
    verify,
)
from tests.models.hub.asked import NAME, kept_files, told_by
from tests.servers.hub import FakeHub, sha256

pytestmark = pytest.mark.slow  # together they take long


# what other programs downloaded


@pytest.fixture
def library(hub: FakeHub, online: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Download with the hub's own library, as another program would."""
    from huggingface_hub import constants, snapshot_download

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def download(commit: str) -> Path:
        return Path(snapshot_download(NAME, revision=commit, endpoint=hub.address, token=False))

    return download


def test_a_good_copy_of_the_library_is_verified_without_the_network(
    hub: FakeHub, online: Settings, model: Path, library: Callable[[str], Path]
) -> None:
    commit = hub.add(NAME, model)
    assert library(commit) == cached_folder(NAME, commit) and not is_verified(NAME, commit, online)
    hub.asked.clear()
    verify(NAME, commit, replace(online, offline=True))
    assert is_verified(NAME, commit, online) and fetch(NAME, commit, online) == cached_folder(NAME, commit)
    assert hub.paths() == []


def test_a_flipped_byte_that_the_library_takes_is_found_and_fetched_again(
    hub: FakeHub, online: Settings, model: Path, library: Callable[[str], Path]
) -> None:
    commit = hub.add(NAME, model)
    hub.spoil(NAME, "flip")
    folder = library(commit)
    assert sha256(folder / "model.safetensors") != sha256(model / "model.safetensors")  # not a word about it
    told = told_by(lambda: verify(NAME, commit, replace(online, offline=True)))
    assert told.startswith("The copy of owner/name on this machine is damaged (model.safetensors). With a connection")
    assert not is_verified(NAME, commit, online)
    hub.spoil(NAME, "")
    assert kept_files(fetch(NAME, commit, online)) == kept_files(model)
    assert is_verified(NAME, commit, online)


@pytest.mark.parametrize("lost", ["model.safetensors", "sentence_bert_config.json", "1_Pooling/config.json"])
def test_a_half_copy_of_the_library_is_completed(
    hub: FakeHub, online: Settings, model: Path, library: Callable[[str], Path], lost: str
) -> None:
    commit = hub.add(NAME, model)
    folder = library(commit)
    (folder / lost).resolve().unlink()
    (folder / lost).unlink()
    assert "owner/name is only partly on this machine" in told_by(lambda: verify(NAME, commit, online))
    hub.asked.clear()
    assert kept_files(fetch(NAME, commit, online)) == kept_files(model)
    assert len([path for path in hub.paths("hub") if "/resolve/" in path]) == 1


def test_nothing_is_no_verified_copy(online: Settings) -> None:
    assert "only partly on this machine" in told_by(lambda: verify(NAME, "1" * 40, online))


@pytest.mark.parametrize("change", ["replaced", "removed", "added", "marker"])
def test_what_changes_after_it_was_verified_is_verified_again(
    hub: FakeHub, online: Settings, model: Path, change: str
) -> None:
    commit = hub.add(NAME, model)
    folder = fetch(NAME, commit, online)
    match change:
        case "replaced":
            blob = (folder / "model.safetensors").resolve()
            content = bytearray(blob.read_bytes())
            content[-1] ^= 1
            blob.write_bytes(content)
        case "removed":
            (folder / "modules.json").unlink()
        case "added":
            (folder / "extra.safetensors").write_bytes(b"")
        case "marker":
            next((online.home / "checked").glob("*.json")).write_text("{")
    assert not is_verified(NAME, commit, online)


# program code


def _allowed(hub: FakeHub, folder: Path) -> AllowedCode:
    commit = hub.add("owner/code", folder)
    return AllowedCode("owner/code", commit, {file.name: sha256(file) for file in folder.glob("*.py")})


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "modeling_x.py").write_text("X = 1\n")
    (folder / "configuration_x.py").write_text("Y = 2\n")
    (folder / "README.md").write_text("# code")
    return folder


def test_the_operator_is_shown_the_digest_of_every_program_file(hub: FakeHub, online: Settings, code: Path) -> None:
    allowed = _allowed(hub, code)
    assert code_digests("owner/code", allowed.revision, online) == allowed.files
    assert allowed.files["modeling_x.py"] == hashlib.sha256(b"X = 1\n").hexdigest()


def test_allowed_code_arrives_alone_and_is_fetched_once(hub: FakeHub, online: Settings, code: Path) -> None:
    allowed = _allowed(hub, code)
    folder = fetch_code(allowed, online)
    assert sorted(file.name for file in folder.iterdir()) == ["configuration_x.py", "modeling_x.py"]
    assert folder.parent == online.home / "code" and not any("main" in path for path in hub.paths())
    hub.asked.clear()
    assert fetch_code(allowed, replace(online, offline=True)) == folder and hub.paths() == []


def test_code_that_the_operator_has_not_read_is_refused_and_not_kept(
    hub: FakeHub, online: Settings, code: Path
) -> None:
    allowed = _allowed(hub, code)
    (code / "modeling_x.py").write_text("X = 2\n")  # behind the same commit
    told = told_by(lambda: fetch_code(allowed, online))
    assert told.startswith("modeling_x.py of owner/code is not the program code that the operator has read and allowed")
    assert not list(online.home.rglob("*.py"))


@pytest.mark.parametrize("change", ["edited", "added", "removed"])
def test_code_that_was_changed_on_this_machine_is_fetched_again(
    hub: FakeHub, online: Settings, code: Path, change: str
) -> None:
    allowed = _allowed(hub, code)
    folder = fetch_code(allowed, online)
    match change:
        case "edited":
            (folder / "modeling_x.py").write_text("import os\n")
        case "added":
            (folder / "__pycache__").mkdir()
            (folder / "__pycache__" / "modeling_x.cpython-311.pyc").write_bytes(b"")
        case "removed":
            (folder / "modeling_x.py").unlink()
    assert "offline" in told_by(lambda: fetch_code(allowed, replace(online, offline=True)))
    assert {file.name: sha256(file) for file in fetch_code(allowed, online).rglob("*.*")} == allowed.files
