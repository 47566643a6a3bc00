"""The outline of a folder that somebody named: its settings, its tokenizer and the shapes of its weights.

The folder may lie on a drive that does not answer. Pages therefore read its outline, and never the folder: a run, or a
request to look into it, keeps that below numembed's home.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from numembed.core.errors import ModelUnavailable
from numembed.core.settings import Settings
from numembed.models.files.folders import is_kept, read_json
from numembed.models.files.foreign import ADAPTER_FILE
from numembed.models.files.listing import files_of
from numembed.models.files.tensors import read_header

_FACTS = "outline.json"  # in an outline
_MOST_OUTLINES = 50
_MOST_FILES = 200  # of one outline: a model has some dozens
_MOST_BYTES = 60_000_000  # of them together; the longest known tokenizer has 33 MB


class NotLookedAt(ModelUnavailable):
    """A folder of which there is no outline, in a process that does not look into it."""


@dataclass(frozen=True)
class Outline:
    """What was found in a folder; its files lie in ``place`` as they do there, without the weights."""

    place: Path
    digest: str  # of the folder's files that count
    size_bytes: int  # of these
    looked_at: float  # seconds since 1970


def outline_of(folder: Path, settings: Settings, *, adapter: bool = False) -> Outline:
    """Return the newest outline of a model's folder or of an ``adapter``'s; raises NotLookedAt where there is none."""
    for place in _places(folder, settings)[:1]:
        facts, kind = read_json(place / _FACTS), (place / ADAPTER_FILE).is_file()
        if facts and kind is adapter:
            return Outline(place, facts["digest"], facts["bytes"], _changed(place))
    raise NotLookedAt(f"The folder {folder.name[:80]!r} has not been looked at yet. No page opens it; a run does.")


def keep_outline(folder: Path, digest: str, settings: Settings) -> None:
    """Keep the outline of a folder that was checked and has this ``digest``, in place of an older one.

    Raises OSError where the home folder cannot hold it.
    """
    place = _root(settings) / f"{_name(folder)}-{digest[:16]}"
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".") as draft:
            size_bytes = _write(folder, Path(draft, "outline"))
            Path(draft, "outline", _FACTS).write_text(json.dumps({"digest": digest, "bytes": size_bytes}))
            os.replace(Path(draft, "outline"), place)
    os.utime(place / _FACTS)
    _remove(_places(folder, settings)[1:])
    _remove(_newest_first(_root(settings).glob("*-*"))[_MOST_OUTLINES:])


def drop_outline(folder: Path, settings: Settings) -> None:
    """Forget what was found in a folder."""
    _remove(_places(folder, settings))


def _write(folder: Path, outline: Path) -> int:
    """Copy what is read of a folder besides its weights; return the bytes of its files that count."""
    outline.mkdir()
    size_bytes, room, copied = 0, _MOST_BYTES, 0
    for file in (file for file in files_of(folder) if is_kept(file.name) and file.is_file()):
        size_bytes += (size := file.stat().st_size)
        if file.suffix not in (".json", ".safetensors") or copied == _MOST_FILES:
            continue
        content = _shapes(file) if file.suffix == ".safetensors" else file.read_bytes() if size <= room else b""
        if 0 < len(content) <= room:
            copy = outline / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
            room, copied = room - len(content), copied + 1
    return size_bytes


def _shapes(file: Path) -> bytes:
    """Return a file of weights with their names and shapes alone, of no type and without a byte of data."""
    try:
        stored = read_header(file)
    except ModelUnavailable:  # running it says what is wrong
        return b""
    header = {name: {"dtype": "", "shape": one.shape, "data_offsets": (0, 0)} for name, one in stored.items()}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


def _root(settings: Settings) -> Path:
    return settings.home / "looked"


def _name(folder: Path) -> str:
    return hashlib.sha256(os.fsencode(os.path.normpath(folder))).hexdigest()[:32]


def _places(folder: Path, settings: Settings) -> list[Path]:
    return _newest_first(_root(settings).glob(f"{_name(folder)}-*"))


def _remove(places: Iterable[Path]) -> None:
    for place in places:
        shutil.rmtree(place, ignore_errors=True)


def _newest_first(places: Iterable[Path]) -> list[Path]:
    return sorted(places, key=_changed, reverse=True)


def _changed(place: Path) -> float:
    try:
        return (place / _FACTS).stat().st_mtime
    except OSError:  # it is being removed
        return 0.0
