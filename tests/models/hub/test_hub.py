"""The model hub in all its moods, played by a real server on loopback; none of this reaches the network."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numembed.core.errors import Cancelled, ModelUnavailable
from numembed.core.settings import AllowedCode, Settings
from numembed.models.hub import client as hub_requests
from numembed.models.hub import download as hub_files
from numembed.models.hub.snapshots import (  # fmt: skip
    cached_folder,
    card,
    code_digests,
    fetch,
    fetch_code,
    is_verified,
    newest_commit,
    verify,
)
from tests.servers.hub import FakeHub, closed_port, serve_hub, sha256
from tests.tiny import write_model

pytestmark = pytest.mark.slow  # together they take long

NAME = "owner/name"
TOKEN, STRANGER = "hf_AAAAbbbbCCCCddddEEEE1111", "hf_ZZZZyyyyXXXXwwwwVVVV2222"
PATIENCE = 10.0  # seconds; the library's own would be 30 to 350


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serve_hub() as served:
        yield served


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's library, which nobody is logged in to."""
    from huggingface_hub import constants

    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    return tmp_path / "cache"


@pytest.fixture
def online(settings: Settings, hub: FakeHub, cache: Path) -> Settings:
    return replace(settings, offline=False, hub=hub.address, hub_token="")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_requests, "ANSWER_SECONDS", 0.6)
    monkeypatch.setattr(hub_requests, "SILENCE_SECONDS", 0.6)
    monkeypatch.setattr(hub_files, "_PAUSES_SECONDS", (0.02, 0.02, 0.02))


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A model's folder that a test may change, with what a repository has beside it."""
    folder = shutil.copytree(tiny_model, tmp_path / "served")
    (folder / "README.md").write_text("# a model")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (folder / "modeling_x.py").write_text("raise SystemExit")
    return folder


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A model whose weights take a while."""
    from safetensors.numpy import save_file

    folder = write_model(tmp_path / "large")
    table = np.random.default_rng(0).standard_normal((1_000, 256)).astype(np.float32)
    save_file({"table": table}, folder / "model.safetensors")
    return folder


def _told(ask: Callable[[], object]) -> str:
    """Return the sentence of a failure, which must come soon and must hold no token anywhere."""
    began = time.monotonic()
    with pytest.raises(ModelUnavailable) as failure:
        ask()
    assert time.monotonic() - began < PATIENCE
    everything = "".join(traceback.format_exception(failure.value))
    assert TOKEN not in everything and STRANGER not in everything
    assert "\n" not in str(failure.value)
    return str(failure.value)


def _kept_files(folder: Path) -> dict[str, str]:
    return {file.relative_to(folder).as_posix(): sha256(file) for pattern in ("*.json", "*.safetensors")
            for file in folder.rglob(pattern)}  # fmt: skip


def _found(cache: Path) -> list[str]:
    return sorted(file.name for file in (cache / "models--owner--name" / "blobs").glob("*"))


# what goes well


def test_a_model_arrives_whole_without_pickles_and_without_program_code(
    hub: FakeHub, online: Settings, model: Path, cache: Path
) -> None:
    commit = hub.add(NAME, model)
    assert not is_verified(NAME, commit, online) and not cached_folder(NAME, commit).exists()
    folder = fetch(NAME, newest_commit(NAME, online), online)
    assert folder == cached_folder(NAME, commit) == cached_folder(NAME, "") == (
        cache / "models--owner--name" / "snapshots" / commit
    )  # fmt: skip
    assert _kept_files(folder) == _kept_files(model) and is_verified(NAME, commit, online)
    assert not list(folder.rglob("*.bin")) and not list(folder.rglob("*.py")) and not list(folder.rglob("*.md"))
    assert not any("resolve/main" in path or ".bin" in path or ".py" in path for path in hub.paths())


def test_what_was_fetched_needs_no_request(hub: FakeHub, online: Settings, model: Path) -> None:
    commit = hub.add(NAME, model)
    folder = fetch(NAME, commit, online)
    hub.asked.clear()
    assert fetch(NAME, commit, online) == folder
    assert fetch(NAME, commit, replace(online, offline=True)) == folder
    assert hub.paths() == []


def test_the_hubs_library_finds_what_was_fetched_here(hub: FakeHub, online: Settings, model: Path) -> None:
    from huggingface_hub import scan_cache_dir, snapshot_download

    commit = hub.add(NAME, model)
    folder = fetch(NAME, commit, online)
    assert snapshot_download(NAME, revision=commit, local_files_only=True) == str(folder)
    assert snapshot_download(NAME, local_files_only=True) == str(folder)  # main is noted too
    scanned = scan_cache_dir(cached_folder(NAME, commit).parents[2])
    assert not scanned.warnings and [repo.repo_id for repo in scanned.repos] == [NAME]


def test_progress_counts_bytes_up_to_the_total(
    hub: FakeHub, online: Settings, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, seen = hub.add(NAME, model), []
    monkeypatch.setattr(hub_files, "_TOLD_SECONDS", 0.0)
    fetch(NAME, commit, online, lambda *report: seen.append(report))
    total = sum((model / name).stat().st_size for name in _kept_files(model))
    assert seen[-1] == (total, total, "download") and len(seen) > 3
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)


def test_the_newest_commit_is_the_hubs_and_without_it_the_one_fetched_last(
    hub: FakeHub, online: Settings, model: Path, tiny_model: Path
) -> None:
    older = hub.add(NAME, tiny_model)
    fetch(NAME, newest_commit(NAME, online), online)
    newer = hub.add(NAME, model)
    nowhere, offline = replace(online, hub=closed_port()), replace(online, offline=True)
    assert newest_commit(NAME, online) == newer
    assert newest_commit(NAME, nowhere) == newest_commit(NAME, offline) == older  # the newer one is not here
    fetch(NAME, newer, online)
    assert newest_commit(NAME, nowhere) == newest_commit(NAME, offline) == newer
    fetch(NAME, older, online)
    assert newest_commit(NAME, offline) == newer


def test_an_older_commit_can_be_fetched_beside_the_newest(
    hub: FakeHub, online: Settings, model: Path, tiny_model: Path, tmp_path: Path
) -> None:
    first = hub.add(NAME, shutil.copytree(tiny_model, tmp_path / "first"))
    hub.add(NAME, write_model(tmp_path / "second", seed=7))
    assert _kept_files(fetch(NAME, first, online)) == _kept_files(tmp_path / "first")
    assert newest_commit(NAME, online) != first
    with pytest.raises(ModelUnavailable):
        newest_commit(NAME, replace(online, offline=True))  # which one is main was never fetched


# what the hub answers


def test_each_refusal_has_its_sentence(hub: FakeHub, online: Settings, model: Path) -> None:
    commit = hub.add(NAME, model)
    asks = (lambda: newest_commit(NAME, online), lambda: fetch(NAME, commit, online), lambda: card(NAME, online))
    for status, headers, sentence in (
        (
            429,
            {"Retry-After": "40"},
            "error 429 for owner/name: too many requests came from here. Try again in 40 seconds",
        ),
        (429, {"RateLimit": '"api";r=0;t=250'}, "Try again in 5 minutes."),
        (429, {}, "Try again in some minutes."),
        (500, {}, "The model hub answered with error 500 for owner/name. Try again later."),
        (503, {}, "The model hub answered with error 503 for owner/name. Try again later."),
        (418, {}, "The model hub answered with error 418"),
    ):
        hub.spoil(NAME, "refuse", status=status, headers=headers)
        for ask in asks:
            assert sentence in _told(ask)
    for ask in (lambda: newest_commit("owner/gone", online), lambda: card("owner/gone", online),
                lambda: fetch("owner/gone", commit, online)):  # fmt: skip
        assert _told(ask) == "The model hub has no public model called owner/gone. Check the spelling: owner/name."


@pytest.mark.parametrize("revision", ["0" * 40, "main", "../../../etc", "1" * 39, "", "\x00"])
def test_a_commit_that_is_none_is_a_sentence(hub: FakeHub, online: Settings, model: Path, revision: str) -> None:
    hub.add(NAME, model)
    assert "owner/name has no such commit. Leave the part after @ out" in _told(lambda: fetch(NAME, revision, online))
    assert not is_verified(NAME, revision, online)
    assert cached_folder(NAME, revision).parent.name == "snapshots"


@pytest.mark.parametrize(
    "name",
    ["../etc", "a/b/c", "owner/na me", "оwner/name", "owner/..", "a--b/c", "-x/y", "a/b\n", "a/" + "b" * 300, ""],
)
def test_a_name_that_is_none_is_a_sentence_and_asks_nobody(hub: FakeHub, online: Settings, name: str) -> None:
    for ask in (lambda: newest_commit(name, online), lambda: card(name, online), lambda: fetch(name, "1" * 40, online)):
        assert "is no name of a model on the hub. A name reads owner/name." in _told(ask)
    assert hub.paths() == []


def test_a_gated_model_says_how_to_be_admitted(hub: FakeHub, online: Settings, model: Path) -> None:
    commit = hub.add(NAME, model, gated=True)
    hub.tokens |= {TOKEN, STRANGER}
    hub.repositories[NAME].admitted.add(TOKEN)
    told = _told(lambda: fetch(NAME, commit, online))
    assert told.startswith("owner/name is open only to people whom its owner has admitted. Accept its licence on "
                           "huggingface.co/owner/name, create a read token")  # fmt: skip
    assert "set HF_TOKEN" in told
    told = _told(lambda: fetch(NAME, commit, replace(online, hub_token=STRANGER)))
    assert "the account of this installation's token is not among them" in told
    assert not cached_folder(NAME, commit).exists()
    assert fetch(NAME, commit, replace(online, hub_token=TOKEN)).is_dir()


def test_a_token_that_the_hub_does_not_know_is_a_sentence(hub: FakeHub, online: Settings, model: Path) -> None:
    commit = hub.add(NAME, model)
    unknown, torn = replace(online, hub_token=TOKEN), replace(online, hub_token=f"{TOKEN}\u2019")
    assert "does not accept the token" in _told(lambda: newest_commit(NAME, unknown))
    assert "does not accept the token" in _told(lambda: fetch(NAME, commit, unknown))
    assert "does not accept the token" in _told(lambda: card(NAME, unknown))
    assert "HF_TOKEN holds signs" in _told(lambda: fetch(NAME, commit, torn))


def test_the_token_goes_to_the_hub_and_nowhere_else(hub: FakeHub, online: Settings, model: Path) -> None:
    hub.tokens.add(TOKEN)
    fetch(NAME, hub.add(NAME, model), replace(online, hub_token=TOKEN))
    told = {one.server: one.authorization for one in hub.asked}
    assert told == {"hub": f"Bearer {TOKEN}", "cdn": ""}


def test_the_librarys_login_is_not_told_to_another_hub(
    hub: FakeHub, online: Settings, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    hub.tokens.add(TOKEN)
    hub.add(NAME, model)
    newest_commit(NAME, online)
    assert [one.authorization for one in hub.asked] == [""]
    monkeypatch.setattr(hub_requests, "HUB", hub.address)  # as if it were huggingface.co
    newest_commit(NAME, online)
    assert hub.asked[-1].authorization == f"Bearer {TOKEN}"


# no hub


def test_no_network_is_a_sentence_at_once(online: Settings) -> None:
    nowhere = replace(online, hub=closed_port(), hub_token=TOKEN)
    code = AllowedCode(NAME, "1" * 40, {"x.py": "0" * 64})
    for ask in (lambda: newest_commit(NAME, nowhere), lambda: fetch(NAME, "1" * 40, nowhere),
                lambda: card(NAME, nowhere), lambda: fetch_code(code, nowhere)):  # fmt: skip
        assert "owner/name is not on this machine and the model hub cannot be reached. Choose all-MiniLM" in _told(ask)


@pytest.mark.parametrize("address", ["nonsense", "http://[", "ftp://127.0.0.1", "http://no-such-host.invalid"])
def test_an_address_that_is_no_hub_is_a_sentence(online: Settings, address: str) -> None:
    assert "the model hub" in _told(lambda: newest_commit(NAME, replace(online, hub=address)))


def test_offline_asks_nobody(hub: FakeHub, online: Settings, model: Path) -> None:
    commit, offline = hub.add(NAME, model), replace(online, offline=True)
    for ask in (
        lambda: newest_commit(NAME, offline),
        lambda: fetch(NAME, commit, offline),
        lambda: card(NAME, offline),
    ):
        assert "is not on this machine and this installation works offline" in _told(ask)
    assert hub.paths() == []


def test_a_model_that_is_here_is_not_said_to_be_missing(hub: FakeHub, online: Settings, model: Path) -> None:
    fetch(NAME, hub.add(NAME, model), online)
    told = _told(lambda: card(NAME, replace(online, offline=True)))
    assert told.startswith("The model hub could not be asked about owner/name: this installation works offline.")


def test_a_hotels_login_page_is_no_hub(hub: FakeHub, online: Settings, model: Path) -> None:
    commit = hub.add(NAME, model)
    hub.spoil(NAME, "login")
    for ask in (lambda: newest_commit(NAME, online), lambda: fetch(NAME, commit, online)):
        assert "is no model hub's answer. Check HF_ENDPOINT" in _told(ask)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["hang", "drip"])
def test_a_slow_hub_is_a_sentence(hub: FakeHub, online: Settings, model: Path, kind: str) -> None:
    commit = hub.add(NAME, model)
    hub.spoil(NAME, kind, where="api")
    for ask in (lambda: newest_commit(NAME, online), lambda: fetch(NAME, commit, online), lambda: card(NAME, online)):
        assert "the model hub does not answer within 1 seconds" in _told(ask)


def test_a_slow_hub_is_a_sentence_within_ten_seconds_as_installed(hub: FakeHub, online: Settings, model: Path) -> None:
    commit = hub.add(NAME, model)
    hub.spoil(NAME, "hang", where="api")
    _told(lambda: newest_commit(NAME, online))
    hub.spoil(NAME, "hang", where="files")
    assert "What has arrived is kept" in _told(lambda: fetch(NAME, commit, online))


def test_a_hub_that_fails_while_a_model_arrives_is_a_sentence_within_ten_seconds_as_installed(
    hub: FakeHub, online: Settings, model: Path
) -> None:
    commit = hub.add(NAME, model)
    hub.spoil(NAME, "refuse", status=503, where="files")
    assert "error 503" in _told(lambda: fetch(NAME, commit, online))
    hub.spoil(NAME, "cut")
    assert "was cut after" in _told(lambda: fetch(NAME, commit, online))


# downloads that break


def test_a_download_that_is_cut_once_goes_on_by_itself(hub: FakeHub, online: Settings, large: Path) -> None:
    commit = hub.add(NAME, large)
    hub.spoil(NAME, "cut", times=1)
    assert _kept_files(fetch(NAME, commit, online)) == _kept_files(large)
    first, second = (one.range for one in hub.asked if one.server == "cdn")
    assert first == "" and second.startswith("bytes=") and hub.bytes_sent < 1.1 * sum(
        file.stat().st_size for file in large.rglob("*") if file.is_file()
    ) + 100_000  # fmt: skip


@pytest.mark.usefixtures("impatient")
def test_a_download_that_is_always_cut_is_kept_and_gone_on_with(
    hub: FakeHub, online: Settings, model: Path, cache: Path
) -> None:
    commit = hub.add(NAME, model)
    hub.spoil(NAME, "cut")
    told = _told(lambda: fetch(NAME, commit, online))
    assert "The download of owner/name was cut after" in told and "the next try goes on from there" in told
    assert not cached_folder(NAME, commit).exists() and not is_verified(NAME, commit, online)
    (part,) = (cache / "models--owner--name" / "blobs").glob("*.incomplete")
    arrived = part.stat().st_size
    assert 0 < arrived < (model / "model.safetensors").stat().st_size
    hub.spoil(NAME, "")
    hub.asked.clear()
    assert _kept_files(fetch(NAME, commit, online)) == _kept_files(model)
    assert [one.range for one in hub.asked if one.server == "cdn"] == [f"bytes={arrived}-"]
    assert not any(
        path.endswith(f"{commit}/config.json") for path in hub.paths()
    )  # what was whole is not asked for again


@pytest.mark.usefixtures("impatient")
def test_a_server_without_ranges_is_gone_on_with_too(hub: FakeHub, online: Settings, model: Path) -> None:
    commit = hub.add(NAME, model)
    hub.spoil(NAME, "cut")
    _told(lambda: fetch(NAME, commit, online))
    hub.spoil(NAME, "whole")
    assert _kept_files(fetch(NAME, commit, online)) == _kept_files(model)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["flip", "header"])
def test_wrong_bytes_are_asked_for_once_more(
    hub: FakeHub, online: Settings, model: Path, cache: Path, kind: str
) -> None:
    commit, seen = hub.add(NAME, model), []
    hub.spoil(NAME, kind, times=1)
    assert _kept_files(fetch(NAME, commit, online, lambda *report: seen.append(report))) == _kept_files(model)
    assert seen[-1][0] == seen[-1][1]
    shutil.rmtree(cache)
    hub.spoil(NAME, kind)
    told = _told(lambda: fetch(NAME, commit, online))
    assert told.startswith("model.safetensors of owner/name arrived damaged twice, and nothing of it was kept.")
    assert not cached_folder(NAME, commit).exists() and sha256(model / "model.safetensors") not in _found(cache)
    assert not any(name.endswith(".incomplete") for name in _found(cache))


@pytest.mark.usefixtures("impatient")
def test_half_a_file_that_says_it_is_whole_is_not_taken(hub: FakeHub, online: Settings, model: Path) -> None:
    commit = hub.add(NAME, model)
    hub.spoil(NAME, "short")
    assert "owner/name" in _told(lambda: fetch(NAME, commit, online))
    assert not cached_folder(NAME, commit).exists()


@pytest.mark.usefixtures("impatient")
def test_silence_in_the_middle_of_a_download_is_a_sentence(hub: FakeHub, online: Settings, model: Path) -> None:
    commit = hub.add(NAME, model)
    hub.spoil(NAME, "hang", where="files")
    assert "was cut after 0.0 of" in _told(lambda: fetch(NAME, commit, online))


def test_a_cancel_stops_soon_and_what_arrived_is_kept(hub: FakeHub, online: Settings, large: Path, cache: Path) -> None:
    commit = hub.add(NAME, large)
    hub.slow.set()

    def stop_at_a_tenth(done: int, total: int, note: str) -> None:
        if done > total // 10:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        fetch(NAME, commit, online, stop_at_a_tenth)
    sent = hub.bytes_sent
    assert sent < (large / "model.safetensors").stat().st_size / 2
    assert any(name.endswith(".incomplete") for name in _found(cache))
    assert not cached_folder(NAME, commit).exists()
    hub.slow.clear()
    assert _kept_files(fetch(NAME, commit, online)) == _kept_files(large)
    assert [one.range for one in hub.asked if one.server == "cdn"][-1].startswith("bytes=")


def test_a_cancel_is_noticed_while_the_hub_says_nothing(hub: FakeHub, online: Settings, model: Path) -> None:
    commit = hub.add(NAME, model)
    hub.spoil(NAME, "hang", where="files")
    asked = []

    def stop(done: int, total: int, note: str) -> None:
        asked.append(done)
        if len(asked) > 3:
            raise Cancelled("Stopped.")

    began = time.monotonic()
    with pytest.raises(Cancelled):
        fetch(NAME, commit, online, stop)
    assert time.monotonic() - began < hub_requests.SILENCE_SECONDS / 2


FETCH = """
import sys
from numembed.models.hub.snapshots import fetch, newest_commit
from numembed.core.settings import read_settings
settings = read_settings()
try:
    print(fetch("owner/name", newest_commit("owner/name", settings), settings))
except Exception as told:
    print(type(told).__name__, told)
print([name for name in ("torch", "transformers", "sentence_transformers") if name in sys.modules])
"""


def _environ(hub: FakeHub, cache: Path, home: Path) -> dict[str, str]:
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith("HF_") and "proxy" not in name.lower()
    }
    return clean | {"HF_ENDPOINT": hub.address, "HF_HUB_CACHE": str(cache), "NUMEMBED_HOME": str(home)}


def test_a_process_that_is_killed_leaves_no_half_model(
    hub: FakeHub, online: Settings, large: Path, cache: Path, home: Path
) -> None:
    commit = hub.add(NAME, large)
    hub.slow.set()
    running = subprocess.Popen([sys.executable, "-c", FETCH], env=_environ(hub, cache, home))
    until = time.monotonic() + 60
    while hub.bytes_sent < 200_000 and time.monotonic() < until:
        time.sleep(0.02)
    running.kill()
    running.wait()
    assert not cached_folder(NAME, commit).exists() and not is_verified(NAME, commit, online)
    hub.slow.clear()
    assert _kept_files(fetch(NAME, commit, online)) == _kept_files(large)
    assert [one.range for one in hub.asked if one.server == "cdn"][-1].startswith("bytes=")


def test_two_processes_that_want_the_same_model_fetch_it_once(
    hub: FakeHub, large: Path, cache: Path, home: Path
) -> None:
    hub.add(NAME, large)
    hub.slow.set()
    command, environ = [sys.executable, "-c", FETCH], _environ(hub, cache, home)
    both = [subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [one.communicate(timeout=240)[0] for one in both]
    assert told[0] == told[1] and "snapshots" in told[0] and told[0].splitlines()[1] == "[]"
    assert len(hub.paths("cdn")) == 1


def _with_small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))  # as a full disk: writing fails halfway


def test_a_full_disk_is_a_sentence(hub: FakeHub, large: Path, cache: Path, home: Path) -> None:
    commit = hub.add(NAME, large)
    done = subprocess.run(
        [sys.executable, "-B", "-c", FETCH], env=_environ(hub, cache, home), preexec_fn=_with_small_files,
        capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("ModelUnavailable The disk is full: owner/name could not be saved.")
    assert not (cache / "models--owner--name" / "snapshots" / commit).exists() and not done.stderr


def test_a_model_that_cannot_fit_is_a_sentence_before_its_download(hub: FakeHub, online: Settings, model: Path) -> None:
    commit = hub.add(NAME, model)
    hub.repositories[NAME].claimed_bytes["model.safetensors"] = 10**18
    assert "The disk is full: owner/name needs 1,000,000,000.0 GB more and" in _told(
        lambda: fetch(NAME, commit, online)
    )
    assert hub.paths("cdn") == []


def test_a_folder_that_cannot_be_written_is_a_sentence(
    hub: FakeHub, online: Settings, model: Path, cache: Path
) -> None:
    commit = hub.add(NAME, model)
    cache.write_text("a file where the cache should be")
    assert "The files of owner/name cannot be read or saved here (" in _told(lambda: fetch(NAME, commit, online))


@pytest.mark.parametrize("name", ["../../outside.json", "/etc/outside.json", "a/../../../outside.json"])
def test_a_list_of_files_that_leads_outside_is_refused(hub: FakeHub, online: Settings, model: Path, name: str) -> None:
    listed = {"rfilename": name, "size": 2, "blobId": "0" * 40}
    commit = hub.add(NAME, model, siblings=[listed])
    assert "list of the files of owner/name cannot be read" in _told(lambda: fetch(NAME, commit, online))
    assert not cached_folder(NAME, commit).exists()


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
    told = _told(lambda: verify(NAME, commit, replace(online, offline=True)))
    assert told.startswith("The copy of owner/name on this machine is damaged (model.safetensors). With a connection")
    assert not is_verified(NAME, commit, online)
    hub.spoil(NAME, "")
    assert _kept_files(fetch(NAME, commit, online)) == _kept_files(model)
    assert is_verified(NAME, commit, online)


@pytest.mark.parametrize("lost", ["model.safetensors", "sentence_bert_config.json", "1_Pooling/config.json"])
def test_a_half_copy_of_the_library_is_completed(
    hub: FakeHub, online: Settings, model: Path, library: Callable[[str], Path], lost: str
) -> None:
    commit = hub.add(NAME, model)
    folder = library(commit)
    (folder / lost).resolve().unlink()
    (folder / lost).unlink()
    assert "owner/name is only partly on this machine" in _told(lambda: verify(NAME, commit, online))
    hub.asked.clear()
    assert _kept_files(fetch(NAME, commit, online)) == _kept_files(model)
    assert len([path for path in hub.paths("hub") if "/resolve/" in path]) == 1


def test_nothing_is_no_verified_copy(online: Settings) -> None:
    assert "only partly on this machine" in _told(lambda: verify(NAME, "1" * 40, online))


@pytest.mark.parametrize("change", ["replaced", "removed", "added", "marker"])
def test_what_changes_after_it_was_verified_is_verified_anew(
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
    told = _told(lambda: fetch_code(allowed, online))
    assert told.startswith("modeling_x.py of owner/code is not the program code that the operator has read and allowed")
    assert not list(online.home.rglob("*.py"))


@pytest.mark.parametrize("change", ["edited", "added", "removed"])
def test_code_that_was_changed_on_this_machine_is_fetched_anew(
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
    assert "offline" in _told(lambda: fetch_code(allowed, replace(online, offline=True)))
    assert {file.name: sha256(file) for file in fetch_code(allowed, online).rglob("*.*")} == allowed.files


# the card


def test_the_card_tells_the_facts_before_anything_large_is_downloaded(
    hub: FakeHub, online: Settings, model: Path
) -> None:
    commit = hub.add(NAME, model, licence="apache-2.0", safetensors={"parameters": {"F32": 1234}, "total": 1234})
    told = card(NAME, online)
    assert (told.repo, told.revision, told.licence, told.gated) == (NAME, commit, "apache-2.0", False)
    assert told.download_bytes == sum((model / name).stat().st_size for name in _kept_files(model))
    assert (told.parameters, told.architecture, told.library) == (1234, "BertModel", "sentence-transformers")
    assert (told.dimension, told.max_tokens) == (32, 256) and "sentence-similarity" in told.tags
    assert told.has_safe_weights and not (told.needs_code or told.is_adapter)
    assert hub.paths("cdn") == [] and not any("resolve/main" in path for path in hub.paths())
    assert not cached_folder(NAME, commit).parent.exists()


def _change(file: Path, **facts: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))


def test_the_card_sees_what_cannot_be_used(hub: FakeHub, online: Settings, model: Path, tmp_path: Path) -> None:
    pickled = shutil.copytree(model, tmp_path / "pickled")
    (pickled / "model.safetensors").unlink()
    mapped = shutil.copytree(model, tmp_path / "mapped")
    _change(mapped / "config.json", auto_map={"AutoModel": "other/code--modeling_x.XModel"})
    module = shutil.copytree(model, tmp_path / "module")
    (module / "modules.json").write_text('[{"idx": 0, "path": "", "type": "custom_st.Transformer"}]')
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    bare = shutil.copytree(pickled, tmp_path / "bare", ignore=shutil.ignore_patterns("*.bin"))
    for made in (pickled, mapped, module, adapter, bare):
        hub.add(f"owner/{Path(made).name}", Path(made))
    assert not card("owner/pickled", online).has_safe_weights and not card("owner/bare", online).has_safe_weights
    assert card("owner/mapped", online).needs_code and card("owner/module", online).needs_code
    assert card("owner/adapter", online).is_adapter and card("owner/adapter", online).dimension is None


def test_the_card_of_a_gated_model_tells_what_is_public(hub: FakeHub, online: Settings, model: Path) -> None:
    hub.add(NAME, model, gated=True, config={"architectures": ["GatedModel"]})
    told = card(NAME, online)
    assert told.gated and told.architecture == "GatedModel" and told.download_bytes > 0


def test_the_last_dense_module_decides_the_dimension(hub: FakeHub, online: Settings, model: Path) -> None:
    modules = json.loads((model / "modules.json").read_text())
    modules.insert(2, {"idx": 2, "path": "2_Dense", "type": "sentence_transformers.models.Dense"})
    (model / "modules.json").write_text(json.dumps(modules))
    (model / "2_Dense").mkdir()
    (model / "2_Dense" / "config.json").write_text('{"in_features": 32, "out_features": 768}')
    hub.add(NAME, model)
    assert card(NAME, online).dimension == 768


@pytest.mark.parametrize(
    "nonsense", ["[]", "null", '{"hidden_size": "x", "architectures": 3}', "{", "[" * 100_000, "\xff"]
)
def test_nonsense_in_a_config_leaves_facts_out(hub: FakeHub, online: Settings, model: Path, nonsense: str) -> None:
    for name in ("config.json", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json"):
        (model / name).write_text(nonsense, encoding="latin-1")
    hub.add(NAME, model, cardData=None, tags="no list", library_name=7)
    told = card(NAME, online)
    assert (told.dimension, told.max_tokens, told.architecture, told.licence) == (None, None, "", "")


def test_a_config_that_is_too_long_is_a_sentence(hub: FakeHub, online: Settings, model: Path) -> None:
    (model / "config.json").write_text(" " * 1_100_000)
    hub.add(NAME, model)
    assert "longer than 1 MB" in _told(lambda: card(NAME, online))
