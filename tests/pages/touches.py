"""Every touch of a folder by this process: opened, listed or asked for, by whatever thread."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

_AUDITED = ("open", "os.listdir", "os.scandir", "os.chdir")
_ASKED = ("stat", "lstat", "access", "readlink")  # which no audit tells
_folders: list[str] = []  # the folder that is watched, while one is
_touches: list[str] = []


@contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """Give the touches of the folder within the block, one text each; whoever touches it gets a PermissionError.

    A page that opened a pipe would wait for ever.
    """
    _audit()
    _touches.clear()
    with patch.multiple(os, **{name: _noting(name, getattr(os, name)) for name in _ASKED}):
        _folders[:] = [str(folder)]
        try:
            yield _touches
        finally:
            _folders.clear()


@cache
def _audit() -> None:
    sys.addaudithook(lambda event, arguments: _note(event, arguments[0]) if event in _AUDITED and arguments else None)


def _noting(name: str, touch: Callable[..., Any]) -> Callable[..., Any]:
    def touched(path: Any, *arguments: Any, **named: Any) -> Any:
        _note(name, path)
        return touch(path, *arguments, **named)

    return touched


def _note(event: str, path: Any) -> None:
    text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
    if any(text.startswith(folder) for folder in _folders):
        _touches.append(f"{event} {text}")
        raise PermissionError(text)
