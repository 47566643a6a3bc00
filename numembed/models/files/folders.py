"""Which files of a model count, what its configuration says, and whether a folder may be read. Reads no weights."""

from __future__ import annotations

import hashlib
import os
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from numembed.core.errors import ModelUnavailable
from numembed.core.settings import Settings
from numembed.models.files.foreign import ADAPTER_FILE, file_sentence, foreign_sentence, unsafe_sentence
from numembed.models.files.kernels import OWN, foreign_kernel
from numembed.models.files.listing import files_of, json_of, told

KEPT = ("*.json", "*.txt", "*.safetensors", "*.model")  # never pickles, never program code
DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_BLOCK_BYTES = 1 << 20


def is_kept(name: str) -> bool:
    """Return True for the files of a repository that are downloaded.

    >>> is_kept("1_Pooling/config.json"), is_kept("pytorch_model.bin"), is_kept("modeling_x.py")
    (True, False, False)
    """
    return any(fnmatchcase(name, pattern) for pattern in KEPT)


def digest_of(file: Path, digest: str, tick: Callable[[], None] = lambda: None) -> str:
    """Return the digest of ``file``, of the same kind as ``digest``."""
    digester = digester_of(digest, file.stat().st_size)
    for block in blocks_of(file):
        digester.update(block)
        tick()
    return str(digester.hexdigest())


def digester_of(digest: str, size: int) -> Any:
    """Return what computes a digest of the kind of ``digest`` over ``size`` bytes: sha256, or git's sha1."""
    return hashlib.sha256() if len(digest) == 64 else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def blocks_of(file: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, block by block."""
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            yield block


PICKLED = (".bin", ".pt", ".pt2", ".pth", ".ckpt", ".pkl")


def read_json(file: Path | None) -> dict[str, Any]:
    """Return the JSON object in ``file``; {} where there is none, or it is no regular file of usual size."""
    value = json_of(file)
    return value if isinstance(value, dict) else {}


MOST_HEADER_BYTES = 100_000_000  # what the safetensors format allows
_MOST_MODULES = 100
OWN_MODULES = "sentence_transformers."


def checked_folder(folder: Path, *, called: str = "") -> Path:
    """Return ``folder`` where it is a whole model; raises ModelUnavailable, which says what is wrong with it.

    ``called`` is what people call a model of the hub, whose folder has a commit for a name.
    """
    name = called or folder.name
    if os.path.isfile(folder):
        raise ModelUnavailable(file_sentence(folder))
    if not os.path.isdir(folder):  # pathlib's own raises where the name is too long or the way there is closed
        there_is_no = f"{called} has no files" if called else f"There is no folder {told(folder)[:120]!r}"
        raise ModelUnavailable(f"{there_is_no} on this machine.")
    if (folder / ADAPTER_FILE).is_file():
        raise ModelUnavailable(_adapter_sentence(folder, called))
    if not any(os.path.lexists(folder / name) for name in ("modules.json", "config.json")):
        raise ModelUnavailable(foreign_sentence(folder, name, None) or _no_model(name))
    files_of(folder, called=called)
    if other := foreign_sentence(folder, name, read_json(folder / "config.json").get("model_type")):
        raise ModelUnavailable(other)
    if not (folder / "modules.json").is_file() and not (folder / "config.json").is_file():
        raise ModelUnavailable(_no_model(name))
    if len(_modules(folder)) > _MOST_MODULES:
        raise ModelUnavailable(f"The model {name!r} lists more than {_MOST_MODULES} modules. Choose another model.")
    if foreign := _foreign_names(folder):
        raise ModelUnavailable(
            f"The model {name!r} requires program code of its own ({foreign[0][:60]!r}), which is not run here. "
            "Choose a model that uses only the library's own modules."
        )
    if kernel := next(filter(None, (foreign_kernel(json_of(file)) for file in folder.rglob("*config.json"))), ""):
        raise ModelUnavailable(
            f"The model {name!r} asks for {kernel}: program code from elsewhere, which is not run here. Allowed are "
            f"{', '.join(OWN[:3])} and installed flash attention; take the entry out of its config.json."
        )
    for module in _modules(folder):
        part, no_files = folder / str(module.get("path", "")), str(module["type"]).endswith("Normalize")
        if not _lies_in(part, folder) or not (os.path.isdir(part) or no_files):
            raise ModelUnavailable(f"The model {name!r} is incomplete: its part {part.name[:60]!r} is missing.")
        if os.path.isfile(part / ADAPTER_FILE):
            raise ModelUnavailable(_adapter_sentence(part, called))
    files = _files_of_parts(folder)
    if missing := _missing_shards(files):
        raise ModelUnavailable(
            f"The model {name!r} is incomplete: of its weight files {len(missing)} are missing, the first is "
            f"{missing[0].name[:80]!r}. Download or save it again."
        )
    weights = {file.parent for file in files if file.suffix == ".safetensors"}
    if not weights or {file.parent for file in files if file.suffix in PICKLED} - weights:
        raise ModelUnavailable(unsafe_sentence(folder, files, name, somewhere=bool(weights)))
    for file in files:
        if file.suffix == ".safetensors":
            _check_header(file, name)
    return folder


def allowed_folder(folder: Path, settings: Settings) -> Path:
    """Return ``folder`` where it and all its files lie below the folders that the operator allows."""
    roots = settings.folders
    if not roots:
        return folder
    if not _lies_in(folder, *roots):
        raise ModelUnavailable(
            f"The folder {folder.name[:80]!r} is not below a folder that models may be read from. "
            "Move the model there, or let the operator name its place in NUMEMBED_MODEL_FOLDERS."
        )
    is_model = any(os.path.lexists(folder / name) for name in ("modules.json", "config.json", ADAPTER_FILE))
    for file in files_of(folder) if is_model and os.path.isdir(folder) else ():  # any other folder may be a whole disk
        if file.is_symlink() and not _lies_in(file, *roots):
            raise ModelUnavailable(
                f"{file.name[:80]!r} in the folder {folder.name[:80]!r} is a link to a place outside the folders that "
                "models may be read from. Copy the file itself to that folder."
            )
    return folder


def digest_of_folder(folder: Path) -> str:
    """Return the sha256 of the names and contents of all files that count, wherever the folder lies."""
    try:
        files = sorted({file for pattern in KEPT for file in folder.rglob(pattern) if file.is_file()})
        listed = [f"{file.relative_to(folder).as_posix()} {sha256_of(file)}" for file in files]
    except OSError as error:
        raise ModelUnavailable(f"The model {folder.name!r} cannot be read ({error.strerror}).") from error
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def sha256_of(file: Path) -> str:
    """Return the sha256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _lies_in(path: Path, *folders: Path) -> bool:
    try:
        real = Path(os.path.realpath(path))
    except ValueError:  # a name that no file can have
        return False
    return any(real.is_relative_to(os.path.realpath(folder)) for folder in folders)


def _no_model(name: str) -> str:
    return (
        f"{name!r} is not a SentenceTransformer model: it has neither modules.json nor config.json. "
        "Choose a folder that has one of them."
    )


def _adapter_sentence(folder: Path, called: str) -> str:
    base = read_json(folder / ADAPTER_FILE).get("base_model_name_or_path")
    known = f" It changes {base[:80]!r}." if isinstance(base, str) and base else ""
    return (
        f"{called or folder.name!r} is a LoRA adapter: a small change to a model, not a model.{known} Attach it to "
        f"that model: its name, then adapter={called or ' and this folder'}."
    )


def kinds_of(folder: Path) -> Iterator[str]:
    """Yield the kinds of the modules that ``folder`` lists, the first one first."""
    return (str(module.get("type")) for module in _modules(folder))


def _files_of_parts(folder: Path) -> list[Path]:
    """Return the files that loading may read: those beside the lists, and all in the folders of modules.

    Other folders, an adapter's or another program's, are never opened.
    """
    parts = {folder / str(module.get("path", "")) for module in _modules(folder)}
    parts |= {
        file.parent / str(part)
        for file in folder.rglob("*config.json")
        if isinstance(chosen := read_json(file).get("types"), dict)
        for part in chosen
    }
    below = {file for part in parts - {folder} if _lies_in(part, folder) for file in part.rglob("*")}
    files = below | set(folder.glob("*"))
    return sorted(file for file in files if file.suffix == ".safetensors" or not file.is_dir())  # one may be no file


def _modules(folder: Path) -> list[dict[str, Any]]:
    modules = json_of(folder / "modules.json")  # without it config.json is judged; a broken one fails to load
    return [module for module in modules if isinstance(module, dict)] if isinstance(modules, list) else []


def _foreign_names(folder: Path) -> list[str]:
    """Return what a library would import by its name though it is neither its own nor torch's."""
    configs = [read_json(file) for file in folder.rglob("*config.json")]
    routers = [config["types"] for config in configs if isinstance(config.get("types"), dict)]
    kinds = [str(module.get("type")) for module in _modules(folder)]
    kinds += [str(kind) for router in routers for kind in router.values()]
    functions = [str(config.get("activation_function")) for config in configs]  # "gelu" is looked up, not imported
    return [kind for kind in kinds if not kind.startswith(OWN_MODULES)] + [
        name for name in functions if "." in name and not name.startswith("torch.")
    ]


def _check_header(file: Path, name: str) -> None:
    """Refuse weights whose header cannot be right, before a library tries to make room for them."""
    size, header = file.stat().st_size if file.is_file() else 0, 0
    if size > 8:
        with file.open("rb") as opened:
            header = struct.unpack("<Q", opened.read(8))[0]
    if not 0 < header <= min(size - 8, MOST_HEADER_BYTES):
        raise ModelUnavailable(f"The weight file {file.name[:80]!r} of {name!r} is damaged. Download or save it again.")


def _missing_shards(files: Sequence[Path]) -> list[Path]:
    """Return the weight files that an index names and that are not there: a download was cut."""
    named: set[Path] = set()
    for index in (file for file in files if file.name.endswith(".safetensors.index.json")):
        listed = read_json(index).get("weight_map")
        named |= {index.parent / str(shard) for shard in listed.values()} if isinstance(listed, dict) else set()
    return sorted(shard for shard in named if not os.path.isfile(shard))
