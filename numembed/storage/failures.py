"""The sentences on what SQLite or the disk refuses."""

from __future__ import annotations

import os
from pathlib import Path

from numembed.core.errors import NumembedError, StoreFull, StoreReadOnly, StoreUnreadable
from numembed.core.places import is_disk_full, is_writable
from numembed.storage.damage import in_use, is_busy

_NO_ROOM = {"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_SHMSIZE"}
_FULL_SENTENCE = "The disk is full. What was stored before is safe; make room and run again."
_READ_ONLY = "readonly"
_ONLY_READ = (
    "Nothing can be stored here: numembed's folder can only be read. What is stored is shown. To run something, make "
    "the folder writable, or set NUMEMBED_HOME to another one."
)


def sentence_of(error: Exception, path: Path) -> NumembedError:
    """Return the sentence on an error of SQLite or of the disk."""
    if isinstance(error, NumembedError):
        return error
    if is_full(error):
        return StoreFull(_FULL_SENTENCE)
    if is_read_only(error):
        return StoreReadOnly(_ONLY_READ)
    if is_busy(error):
        return StoreUnreadable(in_use(path))
    return StoreUnreadable(_sentence(path, error))


def is_read_only(error: Exception) -> bool:
    """Return True when SQLite takes the file for one that can only be read."""
    return _READ_ONLY in str(error)


def is_full(error: Exception) -> bool:
    """Return True when the error of SQLite or of the system says that there is no room on the disk."""
    return is_disk_full(error) or getattr(error, "sqlite_errorname", None) in _NO_ROOM or "full" in str(error)


def require_writable(path: Path) -> None:
    """Raise StoreReadOnly where nothing could be stored in the file, before anything is computed for it."""
    if not can_be_written(path):
        raise StoreReadOnly(_ONLY_READ)


def can_be_written(path: Path) -> bool:
    """Return True where this process may write to a file of the store and make others next to it."""
    return is_writable(path.parent) and (not path.exists() or os.access(path, os.W_OK))


def _sentence(path: Path, error: Exception) -> str:
    return (
        f"{path.name} in {path.parent} cannot be opened ({error}). "
        "Check that the folder can be written to, or set NUMEMBED_HOME to another one."
    )
