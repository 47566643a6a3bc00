"""The outline of a folder that somebody named: its settings, its tokenizer and the shapes of its weights.

The folder may lie on a drive that does not answer. Pages therefore read its outline, and never the folder: a run, or a
request to look into it, keeps that below numembed's home.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import struct
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from numembed.core.errors import ModelUnavailable
from numembed.core.settings import Settings
from numembed.models.files.folders import is_kept, read_json
from numembed.models.files.foreign import ADAPTER_FILE
from numembed.models.files.listing import files_of
from numembed.models.files.tensors import read_header

_FACTS = "outline.json"  # the last file of an outline
_MOST_OUTLINES = 50
_MOST_FILES = 200  # of one outline: a model has some dozens
_MOST_BYTES = 60_000_000  # of them together; the longest known tokenizer has 33 MB


@dataclass(frozen=True)
class Outline:
    """What was found in a folder; its files lie in ``place`` as they do there, without the weights."""

    place: Path  # another one after every look
    digest: str  # of the folder's files that count
    size_bytes: int  # of these
    looked_at: float  # seconds since 1970


def outline_of(folder: Path, settings: Settings, *, adapter: bool = False) -> Outline:
    """Return the outline of a model's folder, or of an ``adapter``'s; raises ModelUnavailable where there is none."""
    for file in _place(folder, settings).glob(f"*/{_FACTS}"):
        if (facts := read_json(file)) and (file.parent / ADAPTER_FILE).is_file() is adapter:
            return Outline(file.parent, facts["digest"], facts["bytes"], facts["at"])
    raise ModelUnavailable(
        f"What is in the folder {folder.name[:80]!r} is not known: no run has looked into it, or numembed's home has "
        "no room for what it found. Run it, or make room."
    )


def keep_outline(folder: Path, digest: str, settings: Settings) -> None:
    """Keep the outline of a checked folder of this ``digest`` in place of an older one, where the home has room."""
    place = _place(folder, settings)
    with contextlib.suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)
        before, new = list(place.iterdir()), Path(tempfile.mkdtemp(dir=place))
        facts = {"digest": digest, "bytes": _write(folder, new), "at": time.time()}
        (new / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
        newest = sorted(place.parent.iterdir(), key=os.path.getmtime, reverse=True)
        for old in (*before, *newest[_MOST_OUTLINES:]):
            shutil.rmtree(old, ignore_errors=True)


def _place(folder: Path, settings: Settings) -> Path:
    return settings.home / "looked" / hashlib.sha256(os.fsencode(os.path.normpath(folder))).hexdigest()[:32]


def _write(folder: Path, outline: Path) -> int:
    """Copy what is read of a folder besides its weights; return the bytes of its files that count."""
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
