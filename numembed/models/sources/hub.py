"""Models and adapters of the hub: the newest commit, and their folders, fetched and verified."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from numembed.core.errors import ModelUnavailable
from numembed.core.progress import Progress
from numembed.core.settings import Settings
from numembed.models.adapters.fold import read_adapter
from numembed.models.catalogue.names import BUNDLED, facts_of
from numembed.models.files.folders import checked_folder
from numembed.models.files.model_config import read_json
from numembed.models.hub import snapshots as hub
from numembed.models.sources.bundled import bundled_folder, bundled_is_genuine
from numembed.models.spec import HubWeights, ModelSpec


def resolved(weights: HubWeights, spec: ModelSpec, settings: Settings, progress: Progress) -> ModelSpec:
    """Return ``spec`` at a commit, with the program code that the operator has allowed for a model that is no row."""
    if weights.repo in settings.code and not spec.loading.remote_code:
        code = settings.code[weights.repo]
        spec = replace(spec, loading=replace(spec.loading, remote_code=f"{code.repo}@{code.revision}"))
    return replace(spec, weights=resolved_adapter(weights, settings))


def resolved_adapter(weights: HubWeights, settings: Settings) -> HubWeights:
    """Return ``weights`` at the commit that they name, else at the newest."""
    return HubWeights(weights.repo, weights.revision or hub.newest_commit(weights.repo, settings))


def folder(weights: HubWeights, spec: ModelSpec, settings: Settings, progress: Progress) -> Path:
    """Return the folder of a commit; with program code it is one of its own, which holds the allowed files."""
    repo, revision = weights.repo, weights.revision
    if weights == BUNDLED and bundled_is_genuine():
        return bundled_folder()
    if not hub.is_verified(repo, revision, settings):
        if known_folder(weights, settings) is None or not settings.offline:
            _complete(repo, revision, settings, progress)
        else:
            hub.verify(repo, revision, settings)
    result = checked_folder(hub.cached_folder(repo, revision), called=repo)
    return _with_code(result, weights, spec, settings) if spec.loading.remote_code else result


def known_folder(weights: HubWeights, settings: Settings) -> Path | None:
    """Return the folder where it holds a whole model already, else None."""
    if weights == BUNDLED:
        return bundled_folder()
    snapshot = hub.cached_folder(weights.repo, weights.revision)
    return snapshot if _is_complete(snapshot) else None


def adapter_folder(weights: HubWeights, settings: Settings, progress: Progress) -> Path:
    """Return the folder of an adapter, fetched where it is not here; raises ModelUnavailable where it is none."""
    repo, revision = weights.repo, weights.revision
    result = hub.cached_folder(repo, revision)
    if not hub.is_verified(repo, revision, settings):
        if settings.offline and (result / "adapter_config.json").is_file():
            hub.verify(repo, revision, settings)
        else:
            if not hub.card(repo, settings, revision).is_adapter:  # a model could be large
                raise ModelUnavailable(f"{repo} is no LoRA adapter: it has no adapter_config.json.")
            hub.fetch(repo, revision, settings, progress)
    read_adapter(result)
    return result


def _complete(repo: str, revision: str, settings: Settings, progress: Progress) -> None:
    """Fetch what is missing of a snapshot; one that is whole needs no network to be used."""
    try:
        hub.fetch(repo, revision, settings, progress)
    except ModelUnavailable:
        if not _is_complete(hub.cached_folder(repo, revision)):
            raise
        hub.verify(repo, revision, settings)


def _with_code(folder: Path, weights: HubWeights, spec: ModelSpec, settings: Settings) -> Path:
    """Return a folder that holds the model's files and the program code that the operator has allowed for it."""
    facts = facts_of(spec)
    allowed = settings.code.get(facts.repo if facts else weights.repo)
    if allowed is None or f"{allowed.repo}@{allowed.revision}" != spec.loading.remote_code:
        raise ModelUnavailable(
            f"{spec.name} needs program code from {spec.loading.remote_code.partition('@')[0]}, and the operator of "
            f"this installation has not allowed it. For the operator: python -m numembed code {spec.name} prints what "
            "to read and what to add to operator.toml."
        )
    code = hub.fetch_code(allowed, settings)
    # a place of this process's own: two that load the same model must not take files from each other
    prepared = settings.home / "prepared" / f"{weights.repo.replace('/', '--')}@{os.getpid()}"
    for old in prepared.parent.glob("*@*"):
        if old == prepared or not _runs(old.name.rpartition("@")[2]):
            shutil.rmtree(old, ignore_errors=True)
    # another program may have put the model's own code into the cache: of that, nothing was read or allowed
    shutil.copytree(folder, prepared, copy_function=_link, ignore=shutil.ignore_patterns("*.py", "*.pyc", "*.so"))
    for name in allowed.files:
        shutil.copyfile(code / name, prepared / name)
    for file in prepared.rglob("*.json"):
        if "auto_map" in (config := read_json(file)):
            # only the files beside it: another repository would be asked for its main branch, whatever commit is named
            file.unlink()
            file.write_text(json.dumps(config | {"auto_map": _local(config["auto_map"])}), encoding="utf-8")
    return prepared


def _runs(process: str) -> bool:
    """Return True where a process of this number runs, as far as one can tell."""
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def _local(where: Any) -> Any:
    if isinstance(where, dict):
        return {use: _local(one) for use, one in where.items()}
    return [_local(one) for one in where] if isinstance(where, list) else where and str(where).rpartition("--")[2]


def _link(source: str, target: str) -> str:
    os.symlink(os.path.realpath(source), target)
    return target


def _is_complete(folder: Path) -> bool:
    try:
        return bool(checked_folder(folder))
    except (ModelUnavailable, OSError):
        return False
