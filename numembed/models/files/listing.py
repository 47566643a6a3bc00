"""What lies in a folder that a visitor named, looked at with limits: it may be a whole disk, a pipe or a dead drive."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from numembed.core.errors import ModelUnavailable

MOST_FILES = 10_000  # a model has some dozens
MOST_JSON_BYTES = 4_000_000  # the longest settings of a known tokenizer have 1.2 MB
_MOST_DEPTH = 40


def files_of(folder: Path, *, called: str = "") -> tuple[Path, ...]:
    """Return all files and folders below ``folder``, those of linked folders not among them.

    Raises ModelUnavailable, at once, where there are too many, or where one is a pipe, a socket or a device, because
    reading it may never end, or where settings are too long.
    """
    name = repr(called or folder.name)[:100]
    found: list[Path] = []
    for entry in _entries(folder, 0):
        found.append(Path(entry.path))
        if len(found) > MOST_FILES:
            raise ModelUnavailable(
                f"The folder of {name} holds more than {MOST_FILES:,} files, which is no model. Name the folder of the "
                "model itself."
            )
        _refuse_strange(entry, name)
    return tuple(found)


def told(path: Path) -> str:
    """Return a path as sentences show it: the home of numembed's own user as ~, which visitors need not know.

    >>> told(Path.home() / "models" / "one"), told(Path("/models/one"))
    ('~/models/one', '/models/one')
    """
    with contextlib.suppress(RuntimeError, ValueError):  # no home, or elsewhere
        return str("~" / path.relative_to(Path.home()))
    return str(path)


def files_in(folder: Path) -> list[Path]:
    """Return what lies directly in ``folder``, of very much only the first that the disk names."""
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in islice(entries, MOST_FILES))


def json_of(file: Path | None) -> Any:
    """Return what the JSON in a file says; None where there is none, or not in a regular file of usual size."""
    try:
        if file is None or not file.is_file() or file.stat().st_size > MOST_JSON_BYTES:
            return None
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _entries(folder: Path, depth: int) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                yield entry
                if depth < _MOST_DEPTH and entry.is_dir(follow_symlinks=False):
                    yield from _entries(Path(entry.path), depth + 1)
    except OSError as error:
        if depth == 0:
            raise ModelUnavailable(f"The folder {folder.name[:80]!r} cannot be read ({error.strerror}).") from None


def _refuse_strange(entry: os.DirEntry[str], name: str) -> None:
    settings = entry.name.endswith(".json") and _is_read(entry.name)
    if entry.is_dir(follow_symlinks=False) or (entry.is_file(follow_symlinks=False) and not settings):
        return  # which the list says already
    try:
        facts = entry.stat()
    except OSError:  # a link to nowhere
        return
    what = f"{entry.name[:80]!r} of {name}"
    if not stat.S_ISREG(facts.st_mode) and not stat.S_ISDIR(facts.st_mode):
        raise ModelUnavailable(f"{what} is no file but a pipe, a socket or a device, which is not read. Remove it.")
    if settings and facts.st_size > MOST_JSON_BYTES:
        raise ModelUnavailable(
            f"{what} has {facts.st_size / 1e6:,.0f} MB, and settings are read up to {MOST_JSON_BYTES / 1e6:g} MB. "
            "Shorten it, or choose another model."
        )


def _is_read(name: str) -> bool:
    """Return whether settings are read from a file; a tokenizer is read by the library alone, and may be long."""
    return name == "modules.json" or name.endswith(("config.json", ".index.json"))
