"""Models of the Hugging Face hub: which commit, what it holds, and its files, verified before they are used.

Files lie in the hub's own cache, as its library would put them there, so other programs find them too. The
library does neither of two things that are done here: it compares no checksum, and a cut download starts anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from numembed.core.errors import ModelUnavailable
from numembed.core.progress import Progress, silent
from numembed.core.settings import AllowedCode, Settings
from numembed.models.files.folders import DIGEST, KEPT, digest_of, is_kept, read_json
from numembed.models.files.settings import SETTINGS_FILE, OwnSettings, own_settings, settings_in
from numembed.models.hub.client import COMMIT, Hub, cache_of, check_name, connected
from numembed.models.hub.download import Meter, fetch_file, files_of, in_plain_words, link


def cached_folder(repo: str, revision: str) -> Path:
    """Return where the snapshot of a commit is or would be in the hub's cache; "" stands for main as it was fetched."""
    commit = revision or _fetched_main(repo)
    return cache_of(repo) / "snapshots" / (commit if COMMIT.fullmatch(commit) else "unknown")


def newest_commit(repo: str, settings: Settings) -> str:
    """Return the commit of the hub's main branch; the one fetched last where the hub does not answer.

    Raises :class:`ModelUnavailable` where neither is known.
    """
    fetched = _fetched_main(repo)
    if settings.offline and fetched:
        return fetched
    try:
        with connected(repo, settings) as hub:
            commit = str(hub.about()["sha"])
    except ModelUnavailable:
        if fetched:
            return fetched
        raise
    if is_verified(repo, commit, settings):
        _note_main(repo, commit)
    return commit


def fetch(repo: str, revision: str, settings: Settings, progress: Progress = silent) -> Path:
    """Return the folder of a commit's files, downloaded and verified where that has not been done.

    ``progress`` counts bytes. What has arrived before it raises, or before the connection breaks, is kept for the
    next try. Raises :class:`ModelUnavailable`.
    """
    folder = cached_folder(repo, revision)
    if is_verified(repo, revision, settings):
        return folder
    _own_name(repo, revision)
    with in_plain_words(repo, settings), connected(repo, settings) as hub:
        about = hub.about()
        newest = str(about["sha"])
        listed = files_of(about if newest == revision else hub.about(revision), repo)
        files = [file for file in listed if is_kept(file.name)]
        meter = Meter(progress, sum(file.size for file in files))
        fetched = [(file, fetch_file(hub, revision, file, folder, meter)) for file in files]
        # all names at once, and last those that make a folder a model: no reader takes a part for the whole
        for file, place in sorted(fetched, key=lambda pair: pair[0].name in ("config.json", "modules.json")):
            link(place, folder / file.name)
        _mark(repo, revision, settings)
        if newest == revision:
            _note_main(repo, revision)
    meter.tell()
    return folder


def is_verified(repo: str, revision: str, settings: Settings) -> bool:
    """Return True when every file of the snapshot was compared with its checksum and has not changed since."""
    try:
        marked = json.loads(_marker(repo, revision, settings).read_text(encoding="utf-8"))
        return bool(marked) and bool(marked == _stamps(cached_folder(repo, revision)))
    except (OSError, ValueError, ModelUnavailable):  # no commit, no mark
        return False


def verify(repo: str, revision: str, settings: Settings) -> None:
    """Compare a snapshot that another program downloaded with its checksums, without the network.

    Raises :class:`ModelUnavailable` for a damaged file, or a missing one where that program kept a list.
    """
    if is_verified(repo, revision, settings):
        return
    folder = cached_folder(repo, revision)
    again = "With a connection to the model hub it is fetched again."
    with in_plain_words(repo, settings):
        stamps, listed = _stamps(folder), _library_listing(repo, folder.name)
        if not stamps or not all((folder / name).is_file() for name in listed):
            raise ModelUnavailable(f"{repo} is only partly on this machine. {again}")
        for name in stamps:
            digest = os.path.basename(os.readlink(folder / name)) if (folder / name).is_symlink() else ""
            if DIGEST.fullmatch(digest) and digest_of(folder / name, digest) != digest:
                raise ModelUnavailable(f"The copy of {repo} on this machine is damaged ({name[:80]}). {again}")
        if listed:  # else a file may be missing that nobody knows of, and with a connection it is fetched
            _mark(repo, revision, settings)


def settings_of(repo: str, revision: str, settings: Settings, *, ask: bool) -> OwnSettings | None:
    """Return what the makers of a model have set for every encoding, from its snapshot or a note of an earlier answer.

    Otherwise the hub is asked for one small file where ``ask`` is true. None where nobody knows.
    """
    folder = cached_folder(repo, revision)
    if (folder / "modules.json").is_file() and (folder / SETTINGS_FILE).is_file():
        return own_settings(folder)
    if is_verified(repo, revision, settings):  # then a file that is not there does not exist
        return OwnSettings()
    if not COMMIT.fullmatch(revision):
        return None
    note = settings.home / "asked" / f"{_own_name(repo, revision)}.json"
    if ask and not note.is_file() and not settings.offline:
        with suppress(ModelUnavailable, OSError), connected(repo, settings) as hub:
            _write(note, json.dumps(_settings_on(hub, revision)))
    return settings_in(read_json(note)) if note.is_file() else None


def _settings_on(hub: Hub, revision: str) -> dict[str, Any]:
    names = {file.name for file in files_of(hub.about(revision), hub.repo)}
    if not {"modules.json", SETTINGS_FILE} <= names:
        return {}
    try:
        config = json.loads(hub.small_file(revision, SETTINGS_FILE))
    except (ValueError, RecursionError):  # loading it will say so
        return {}
    return config if isinstance(config, dict) else {}


def fetch_code(allowed: AllowedCode, settings: Settings) -> Path:
    """Return a folder that holds exactly the program files that the operator has allowed.

    Raises :class:`ModelUnavailable` where one differs from the operator's record; then nothing is kept.
    """
    folder = settings.home / "code" / _own_name(allowed.repo, allowed.revision)
    if _holds(folder, allowed):
        return folder
    with in_plain_words(allowed.repo, settings), connected(allowed.repo, settings) as hub:
        contents = {name: hub.small_file(allowed.revision, name) for name in allowed.files}
        for name, content in contents.items():
            if hashlib.sha256(content).hexdigest() != allowed.files[name]:
                raise ModelUnavailable(
                    f"{name} of {allowed.repo} is not the program code that the operator has read and allowed, so it "
                    "is not run. The operator can read it again and change operator.toml."
                )
        _publish(folder, contents)
    return folder


def code_digests(code_repo: str, revision: str, settings: Settings) -> dict[str, str]:
    """Return the sha256 of every program file of a commit, by name."""
    with connected(code_repo, settings) as hub:
        about = hub.about(revision)
        names = sorted(file.name for file in files_of(about, code_repo) if file.name.endswith(".py"))
        return {name: hashlib.sha256(hub.small_file(about["sha"], name)).hexdigest() for name in names}


def _fetched_main(repo: str) -> str:
    """Return the commit that main had when it was last fetched here, or ""."""
    try:
        commit = (cache_of(repo) / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
    return commit if COMMIT.fullmatch(commit) and (cache_of(repo) / "snapshots" / commit).is_dir() else ""


def _note_main(repo: str, commit: str) -> None:
    if _fetched_main(repo) != commit:
        with suppress(OSError):  # a cache that others keep may be read-only
            _write(cache_of(repo) / "refs" / "main", commit)


def _stamps(folder: Path) -> dict[str, list[int]]:
    """Return size and time of change of every file that is kept, by name: enough to see that one was replaced."""
    stamps = {}
    for file in sorted(file for pattern in KEPT for file in folder.rglob(pattern) if not file.is_dir()):
        stat = file.stat()
        stamps[file.relative_to(folder).as_posix()] = [stat.st_size, stat.st_mtime_ns]
    return stamps


def _own_name(repo: str, revision: str) -> str:
    """Return the name that a commit of a repository has among our own files."""
    check_name(repo)
    if not COMMIT.fullmatch(revision):
        raise ModelUnavailable(f"{repo} has no such commit. Leave the part after @ out to take the newest.")
    return f"{repo.replace('/', '--')}@{revision}"


def _marker(repo: str, revision: str, settings: Settings) -> Path:
    return settings.home / "checked" / f"{_own_name(repo, revision)}.json"


def _mark(repo: str, revision: str, settings: Settings) -> None:
    _write(_marker(repo, revision, settings), json.dumps(_stamps(cached_folder(repo, revision))))


def _library_listing(repo: str, revision: str) -> list[str]:
    """Return which files the hub's library would keep of a snapshot, as it noted when it downloaded, or nothing."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        return [file.path for file in get_cached_repo_tree(repo, revision=revision) if is_kept(file.path)]
    except CachedRepoTreeNotFoundError:
        return []


def _holds(folder: Path, allowed: AllowedCode) -> bool:
    files = [file for file in folder.rglob("*") if not file.is_dir()]
    return sorted(file.relative_to(folder).as_posix() for file in files) == sorted(allowed.files) and all(
        hashlib.sha256(file.read_bytes()).hexdigest() == allowed.files[file.name] for file in files
    )


def _publish(folder: Path, contents: dict[str, bytes]) -> None:
    """Put a folder of files in place at once, instead of what may be there."""
    fresh = folder.with_name(f".tmp-{uuid.uuid4().hex}")
    fresh.mkdir(parents=True)
    for name, content in contents.items():
        (fresh / name).write_bytes(content)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        os.replace(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".tmp-{uuid.uuid4().hex}")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, file)
