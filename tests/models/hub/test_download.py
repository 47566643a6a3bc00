"""Downloads from a hub on loopback: whole, cut, slow, wrong, cancelled, killed; none of this reaches the network."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from numembed.core.errors import Cancelled, ModelUnavailable
from numembed.core.settings import Settings
from numembed.models.hub import client as hub_requests
from numembed.models.hub import download as hub_files
from numembed.models.hub.snapshots import (
    cached_folder,
    fetch,
    is_verified,
    newest_commit,
)
from tests.models.hub.asked import NAME, blobs, kept_files, told_by
from tests.servers.hub import FakeHub, closed_port, sha256
from tests.tiny import write_model

pytestmark = pytest.mark.slow  # together they take long


# what goes well


def test_a_model_arrives_whole_without_pickles_and_without_program_code(
    hub: FakeHub, online: Settings, model: Path, cache: Path
) -> None:
    commit = hub.add(NAME, model)
    assert not is_verified(NAME, commit, online) and not cached_folder(NAME, commit).exists()
    folder = fetch(NAME, newest_commit(NAME, online), online)
    assert (
        folder
        == cached_folder(NAME, commit)
        == cached_folder(NAME, "")
        == (cache / "models--owner--name" / "snapshots" / commit)
    )
    assert kept_files(folder) == kept_files(model) and is_verified(NAME, commit, online)
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
    monkeypatch.setattr(hub_files, "_REPORT_SECONDS", 0.0)
    fetch(NAME, commit, online, lambda *report: seen.append(report))
    total = sum((model / name).stat().st_size for name in kept_files(model))
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
    assert kept_files(fetch(NAME, first, online)) == kept_files(tmp_path / "first")
    assert newest_commit(NAME, online) != first
    with pytest.raises(ModelUnavailable):
        newest_commit(NAME, replace(online, offline=True))  # which one is main was never fetched


# downloads that break


def test_a_download_that_is_cut_once_goes_on_by_itself(hub: FakeHub, online: Settings, large: Path) -> None:
    commit = hub.add(NAME, large)
    hub.spoil(NAME, "cut", times=1)
    assert kept_files(fetch(NAME, commit, online)) == kept_files(large)
    first, second = (one.range for one in hub.asked if one.server == "cdn")
    assert (
        first == ""
        and second.startswith("bytes=")
        and hub.bytes_sent < 1.1 * sum(file.stat().st_size for file in large.rglob("*") if file.is_file()) + 100_000
    )


@pytest.mark.usefixtures("impatient")
def test_a_download_that_is_always_cut_is_kept_and_gone_on_with(
    hub: FakeHub, online: Settings, model: Path, cache: Path
) -> None:
    commit = hub.add(NAME, model)
    hub.spoil(NAME, "cut")
    told = told_by(lambda: fetch(NAME, commit, online))
    assert "The download of owner/name was cut after" in told and "the next try continues from there" in told
    assert not cached_folder(NAME, commit).exists() and not is_verified(NAME, commit, online)
    (part,) = (cache / "models--owner--name" / "blobs").glob("*.incomplete")
    arrived = part.stat().st_size
    assert 0 < arrived < (model / "model.safetensors").stat().st_size
    hub.spoil(NAME, "")
    hub.asked.clear()
    assert kept_files(fetch(NAME, commit, online)) == kept_files(model)
    assert [one.range for one in hub.asked if one.server == "cdn"] == [f"bytes={arrived}-"]
    assert not any(
        path.endswith(f"{commit}/config.json") for path in hub.paths()
    )  # what was whole is not asked for again


@pytest.mark.usefixtures("impatient")
def test_a_server_without_ranges_is_gone_on_with_too(hub: FakeHub, online: Settings, model: Path) -> None:
    commit = hub.add(NAME, model)
    hub.spoil(NAME, "cut")
    told_by(lambda: fetch(NAME, commit, online))
    hub.spoil(NAME, "whole")
    assert kept_files(fetch(NAME, commit, online)) == kept_files(model)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["flip", "header"])
def test_wrong_bytes_are_requested_once_more(
    hub: FakeHub, online: Settings, model: Path, cache: Path, kind: str
) -> None:
    commit, seen = hub.add(NAME, model), []
    hub.spoil(NAME, kind, times=1)
    assert kept_files(fetch(NAME, commit, online, lambda *report: seen.append(report))) == kept_files(model)
    assert seen[-1][0] == seen[-1][1]
    shutil.rmtree(cache)
    hub.spoil(NAME, kind)
    told = told_by(lambda: fetch(NAME, commit, online))
    assert told.startswith("model.safetensors of owner/name arrived damaged twice, and nothing of it was kept.")
    assert not cached_folder(NAME, commit).exists() and sha256(model / "model.safetensors") not in blobs(cache)
    assert not any(name.endswith(".incomplete") for name in blobs(cache))


@pytest.mark.usefixtures("impatient")
def test_half_a_file_that_says_it_is_whole_is_not_taken(hub: FakeHub, online: Settings, model: Path) -> None:
    commit = hub.add(NAME, model)
    hub.spoil(NAME, "short")
    assert "owner/name" in told_by(lambda: fetch(NAME, commit, online))
    assert not cached_folder(NAME, commit).exists()


@pytest.mark.usefixtures("impatient")
def test_silence_in_the_middle_of_a_download_is_a_sentence(hub: FakeHub, online: Settings, model: Path) -> None:
    commit = hub.add(NAME, model)
    hub.spoil(NAME, "hang", where="files")
    assert "was cut after 0.0 of" in told_by(lambda: fetch(NAME, commit, online))


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
    assert any(name.endswith(".incomplete") for name in blobs(cache))
    assert not cached_folder(NAME, commit).exists()
    hub.slow.clear()
    assert kept_files(fetch(NAME, commit, online)) == kept_files(large)
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
    assert kept_files(fetch(NAME, commit, online)) == kept_files(large)
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


def test_many_may_link_the_same_file_at_once(tmp_path: Path) -> None:
    """Each name leads to one of the files all the time, and nothing else is left."""
    name, places = tmp_path / "snapshots" / "a" / "model.safetensors", [tmp_path / "blobs" / one for one in "01"]
    places[0].parent.mkdir()
    for place in places:
        place.write_text(place.name)
    hub_files.link(places[0], name)
    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(hub_files.link, places[number % 2], name) for number in range(400)]
        read = [name.read_text() for _ in range(400)]
    assert all(one.exception() is None for one in done) and set(read) <= {"0", "1"}
    assert name.is_symlink() and list(name.parent.iterdir()) == [name] and sorted(places[0].parent.iterdir()) == places


def _with_small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))  # as a full disk: writing fails halfway


def test_a_full_disk_is_a_sentence(hub: FakeHub, large: Path, cache: Path, home: Path) -> None:
    commit = hub.add(NAME, large)
    done = subprocess.run(
        [sys.executable, "-B", "-c", FETCH],
        env=_environ(hub, cache, home),
        preexec_fn=_with_small_files,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    assert done.stdout.startswith("ModelUnavailable The disk is full: owner/name could not be saved.")
    assert not (cache / "models--owner--name" / "snapshots" / commit).exists() and not done.stderr


def test_a_model_that_cannot_fit_is_a_sentence_before_its_download(hub: FakeHub, online: Settings, model: Path) -> None:
    commit = hub.add(NAME, model)
    hub.repositories[NAME].claimed_bytes["model.safetensors"] = 10**18
    assert "The disk is full: owner/name needs 1,000,000,000.0 GB more and" in told_by(
        lambda: fetch(NAME, commit, online)
    )
    assert hub.paths("cdn") == []


def test_a_folder_that_cannot_be_written_is_a_sentence(
    hub: FakeHub, online: Settings, model: Path, cache: Path
) -> None:
    commit = hub.add(NAME, model)
    cache.write_text("a file where the cache should be")
    assert "The files of owner/name cannot be read or saved here (" in told_by(lambda: fetch(NAME, commit, online))


@pytest.mark.parametrize("name", ["../../outside.json", "/etc/outside.json", "a/../../../outside.json"])
def test_a_list_of_files_that_leads_outside_is_refused(hub: FakeHub, online: Settings, model: Path, name: str) -> None:
    listed = {"rfilename": name, "size": 2, "blobId": "0" * 40}
    commit = hub.add(NAME, model, siblings=[listed])
    assert "list of the files of owner/name cannot be read" in told_by(lambda: fetch(NAME, commit, online))
    assert not cached_folder(NAME, commit).exists()
