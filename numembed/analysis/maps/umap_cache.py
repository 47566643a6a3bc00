"""UMAP's compiled code kept on disk: the first map of a process costs a second instead of ten.

umap and pynndescent ask numba to compile most functions without a cache, and some with one beside their source. While
they are imported, numba's ``njit`` gets ``cache=True`` as its default; what numba cannot keep anywhere, as in a
read-only installation, is compiled in memory.
A torn file of that cache would end the process, so every file has a checksum and goes where it fails.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xxhash

_CHECKSUMS = "checksums.json"
_kept: dict[Path, dict[str, int]] = {}  # when each folder had changed when this process last wrote its checksums


@contextlib.contextmanager
def compiled_umap(cache_folder: Path | None) -> Iterator[None]:
    """Import umap with its compiled code kept in ``cache_folder``; write down afterwards what the block compiled."""
    if "umap" not in sys.modules:
        with _compiling(None if cache_folder is None else _ready(cache_folder)):
            import umap  # noqa: F401
    yield
    keep_compiled(cache_folder)


def keep_compiled(cache_folder: Path | None) -> None:
    """Write down the checksums of what was compiled since; without them the next process compiles again."""
    if cache_folder is None or not (folder := _versioned(cache_folder)).is_dir():
        return
    with contextlib.suppress(OSError):  # a full disk, or another process has just removed a file
        changed = _changed_at(folder)
        if _kept.get(folder) == changed:  # the usual case, after every map
            return
        checksums = {path.relative_to(folder).as_posix(): _checksum(path) for path in _files(folder)}
        if checksums != _checksums(folder):
            written = folder / f"{_CHECKSUMS}.{os.getpid()}"
            written.write_text(json.dumps(checksums))
            written.replace(folder / _CHECKSUMS)
        # as it was before: what another process adds meanwhile, below, is seen next time
        _kept[folder] = changed | {str(folder): os.stat(folder).st_mtime_ns}


def _changed_at(folder: Path) -> dict[str, int]:
    """Return when a file was last added to or replaced in each folder, in ns."""
    return {place: os.stat(place).st_mtime_ns for place, _, _ in os.walk(folder)}


def _ready(cache_folder: Path) -> Path | None:
    """Return the folder for these versions with only sound files in it, or None where it cannot be written."""
    folder = _versioned(cache_folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        known = _checksums(folder)
        for path in _files(folder):
            if known.get(path.relative_to(folder).as_posix()) != _checksum(path):
                path.unlink(missing_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _versioned(cache_folder: Path) -> Path:
    """numba notices a changed function, but not that another file's function, compiled into it, has changed.

    It keeps code by the path of its source: each environment has a folder, so that none reads all others' code.
    """
    return cache_folder / _versions()


@functools.cache
def _versions() -> str:
    libraries = ("umap-learn", "pynndescent", "numba")
    versions = "-".join(f"{name}-{importlib.metadata.version(name)}" for name in libraries)
    installed = str(importlib.metadata.distribution("umap-learn").locate_file(""))
    return f"{versions}-{xxhash.xxh32_hexdigest(installed.encode())}"


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*.nb[ci]") if path.is_file())


def _checksums(folder: Path) -> dict[str, str]:
    try:
        recorded = json.loads((folder / _CHECKSUMS).read_text())
    except (OSError, ValueError):
        return {}
    return recorded if isinstance(recorded, dict) else {}


def _checksum(path: Path) -> str:
    return xxhash.xxh3_128_hexdigest(path.read_bytes())


@contextlib.contextmanager
def _compiling(folder: Path | None) -> Iterator[None]:
    """Let numba keep in ``folder`` what the block's imports compile; what cannot be kept is compiled in memory."""
    if "numba" not in sys.modules:  # a map has one thread by its seed; numba's pool would change how many torch takes
        os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    import numba
    from numba.core import config

    plain = {name: getattr(numba, name) for name in ("njit", "vectorize")}
    if folder is not None:
        vars(config)["CACHE_DIR"] = str(folder)  # stays: compilation happens at the first call, not at import
    numba.njit = _tolerant(plain["njit"], {} if folder is None else {"cache": True})
    numba.vectorize = _tolerant(plain["vectorize"], {})
    try:
        yield
    finally:
        for name, decorator in plain.items():
            setattr(numba, name, decorator)


def _tolerant(plain: Any, defaults: dict[str, Any]) -> Any:
    """Return a decorator of numba's with other defaults that needs no cache."""

    def decorator(*functions: Any, **options: Any) -> Any:
        options = defaults | options
        if functions and callable(functions[0]):
            return _compile(plain, functions[0], options)
        return lambda function: _compile(plain, function, options, signature=functions)

    return decorator


def _compile(plain: Any, function: Any, options: dict[str, Any], signature: tuple[Any, ...] = ()) -> Any:
    try:
        return plain(*signature, **options)(function)
    except RuntimeError:  # "cannot cache function": made at run time without a file, or no folder can be written to
        return plain(*signature, **(options | {"cache": False}))(function)
