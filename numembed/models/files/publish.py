"""Model folders that are whole or not there: written beside their place, listed with their digests, then renamed."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from numembed.core.errors import BadChoice, StoreFull
from numembed.core.gains import gained
from numembed.core.places import is_disk_full
from numembed.models.files.folders import sha256_of

MANIFEST = "SHA256SUMS"  # the last file of a folder; ``sha256sum -c SHA256SUMS`` checks it too


@contextmanager
def published(place: Path, digests: dict[str, str] | None = None) -> Iterator[Path]:
    """Give an empty folder beside ``place`` to write into; at the end of the block it becomes ``place``, whole.

    A process that dies or fails inside leaves nothing at ``place``; what a dead one left beside it, the next sweeps.
    ``digests`` may hold sha256 sums that are known already, by the file's path inside the folder. Raises BadChoice
    where ``place`` exists, cannot be written or is being written by another process, StoreFull where the disk is full.
    """
    from filelock import FileLock, Timeout

    place = place.absolute()
    draft = place.with_name(f".tmp-{place.name}")
    lock = FileLock(draft.with_name(f"{draft.name}.lock"))
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with lock.acquire(timeout=0):
            if os.path.lexists(place):
                raise BadChoice(f"{place.name[:80]!r} exists already. Choose another name.")
            shutil.rmtree(draft, ignore_errors=True)  # its writer is dead: this process holds the lock
            draft.mkdir()
            try:
                yield draft
                _seal(draft, digests or {})
                os.rename(draft, place)
                _sync(place.parent)
                gained()
            finally:
                shutil.rmtree(draft, ignore_errors=True)
                os.unlink(lock.lock_file)
    except Timeout:
        raise BadChoice(f"{place.name[:80]!r} is being written by another process. Wait until it ends.") from None
    except OSError as error:
        if not is_disk_full(error):
            raise BadChoice(f"{place.name[:80]!r} cannot be saved ({error.strerror}). Name another folder.") from error
        raise StoreFull(
            f"The disk is full: {place.name[:80]!r} could not be saved, and nothing of it was kept. Make room and try "
            "again."
        ) from None


@contextmanager
def held_lock(file: Path, waiting: Callable[[], None], *, seconds: float) -> Iterator[None]:
    """Keep other processes from the same block; ``waiting`` is called while one is in it, and may raise."""
    from filelock import FileLock, Timeout

    lock, timeout = FileLock(file), 0.0
    while not lock.is_locked:
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            waiting()
            timeout = seconds
    try:
        yield
    finally:
        lock.release()


def is_whole(folder: Path) -> bool:
    """Return True when ``folder`` was published: every file of its manifest is there with its digest."""
    try:
        listed = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
        sums = [re.fullmatch(r"([0-9a-f]{64})  (.+)", line) for line in listed]
        return all(match and sha256_of(folder / match[2]) == match[1] for match in sums)
    except OSError:
        return False


def _seal(folder: Path, digests: dict[str, str]) -> None:
    """Write the manifest of everything in ``folder``, once everything is on the disk."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    lines = []
    for file in files:
        name = file.relative_to(folder).as_posix()
        if name not in digests:
            _sync(file)
        lines.append(f"{digests.get(name) or sha256_of(file)}  {name}\n")
    for inner in {file.parent for file in files}:
        _sync(inner)
    (folder / MANIFEST).write_text("".join(lines), encoding="utf-8")
    _sync(folder / MANIFEST)
    _sync(folder)


def _sync(path: Path) -> None:
    """Put a file, or the names in a folder, on the disk."""
    if os.name == "nt" and path.is_dir():  # Windows cannot, and need not
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
