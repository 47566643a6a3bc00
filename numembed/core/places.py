"""Folders and disks that cannot be written to, and where libraries keep files of their own."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room on the disk, in a quota, or in the largest file


def is_disk_full(error: Exception) -> bool:
    """Return True where the system refused to write for lack of room."""
    return isinstance(error, OSError) and error.errno in FULL


def is_writable(folder: Path) -> bool:
    """Return True where this user can write to ``folder``, or make it."""
    there = next((one for one in (folder, *folder.parents) if os.path.lexists(one)), Path())
    return there.is_dir() and os.access(there, os.W_OK)


def library_places(home: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that let libraries write below ``home``; none where the user's own cache can be written to.

    A container's user may have none. They must be set before a library is imported. Models from the hub are then kept
    in ``home`` too.
    """
    cache = Path(environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    places = {} if cache.is_absolute() and is_writable(cache) else {"XDG_CACHE_HOME": str(home / "cache")}
    if not Path(os.path.expanduser("~")).is_absolute():  # as Streamlit's own settings need it
        places["HOME"] = str(home)
    return places
