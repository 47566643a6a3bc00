"""One file of a hub model on its way to the hub's cache: resumed where it was cut, verified before it has a name."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from numembed.core.errors import ModelUnavailable
from numembed.core.places import is_disk_full
from numembed.core.progress import Progress
from numembed.core.settings import Settings
from numembed.models.files.folders import DIGEST, blocks_of, digest_of, digester_of
from numembed.models.hub.client import Hub, Interrupted, Refused, Unreachable

_PAUSES_SECONDS = (0.2, 1.0, 2.0)  # before a broken connection is tried again
_ENOUGH_BYTES = 65_536  # after which a broken connection counts as a new trouble
_REPORT_SECONDS = 0.2  # between two reports of progress


@dataclass(frozen=True)
class HubFile:
    """A file at a commit. ``digest`` is the sha256 of a large file, git's sha1 of a small one."""

    name: str
    size: int
    digest: str


def files_of(about: dict[str, Any], repo: str) -> list[HubFile]:
    """Return the files that the hub lists, none of which may lie outside a folder."""
    files = []
    for listed in about["siblings"]:
        try:
            large = listed.get("lfs") or {}
            size, digest = int(large.get("size", listed["size"])), str(large.get("sha256", listed["blobId"]))
            path = PurePosixPath(listed["rfilename"])
            outside = path.is_absolute() or ".." in path.parts or "\\" in str(path)
            if outside or not DIGEST.fullmatch(digest) or size < 0:
                raise ValueError
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ModelUnavailable(f"The model hub's list of the files of {repo} cannot be read.") from None
        files.append(HubFile(path.as_posix(), size, digest))
    return files


class Meter:
    """Counts the bytes that are here and reports them now and then."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done, self._reported_at = progress, total, 0, -_REPORT_SECONDS

    def add(self, size: int) -> None:
        """Count ``size`` bytes more."""
        self._done += size
        self.tick()

    def tick(self) -> None:
        """Report where that is due; raises Cancelled where somebody has stopped it."""
        if time.monotonic() - self._reported_at >= _REPORT_SECONDS:
            self.tell()

    def tell(self) -> None:
        """Report now."""
        self._reported_at = time.monotonic()
        self._progress(self._done, self._total, "download")


def fetch_file(hub: Hub, revision: str, file: HubFile, snapshot: Path, meter: Meter) -> Path:
    """Return where the right bytes of ``file`` are, downloaded where they are nowhere in the cache of ``snapshot``.

    Raises :class:`ModelUnavailable`; then what has arrived waits for the next try, except damaged bytes.
    """
    blob = snapshot.parent.parent / "blobs" / file.digest
    if here := _first_genuine((snapshot / file.name, blob), file, meter):
        return here
    blob.parent.mkdir(parents=True, exist_ok=True)
    with _locked(blob, meter):
        if here := _first_genuine((blob,), file, meter):  # brought by another process meanwhile
            return here
        part = blob.with_name(f"{file.digest}.incomplete")  # the name that older versions of the library go on from
        for _ in range(2):
            _check_space(hub.repo, part, file)
            if _download(hub, revision, file, part, meter) == file.digest:
                os.replace(part, blob)
                return blob
            part.unlink()
            meter.add(-file.size)
    raise ModelUnavailable(
        f"{file.name[:80]} of {hub.repo} arrived damaged twice, and nothing of it was kept. Try again later, or from "
        "another network."
    )


def link(place: Path, name: Path) -> None:
    """Make ``name`` lead to the file at ``place``, as the hub's library does; others may do the same meanwhile."""
    if place == name:
        return
    name.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".link-") as beside:
        made = Path(beside) / name.name
        try:
            os.symlink(os.path.relpath(place, name.parent), made)
        except OSError:  # Windows allows symbolic links to few
            os.link(place, made)
        os.replace(made, name)


@contextmanager
def in_plain_words(repo: str, settings: Settings) -> Iterator[None]:
    """Turn what the file system refuses into a sentence: ModelUnavailable."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise ModelUnavailable(
                f"The disk is full: {repo} could not be saved. What has arrived is kept; make room and try again, or "
                "set HF_HOME to a folder on another disk."
            ) from None
        why = settings.redact(f"{error.strerror}: {error.filename}")
        raise ModelUnavailable(f"The files of {repo} cannot be read or saved here ({why}).") from None


def _first_genuine(places: tuple[Path, ...], file: HubFile, meter: Meter) -> Path | None:
    for place in places:
        right_size = place.is_file() and place.stat().st_size == file.size
        if right_size and digest_of(place, file.digest, meter.tick) == file.digest:
            meter.add(file.size)
            return place
    return None


def _download(hub: Hub, revision: str, file: HubFile, part: Path, meter: Meter) -> str:
    """Return the digest of ``part`` once it has the size of ``file``; goes on from what is there."""
    if part.exists() and part.stat().st_size > file.size:
        part.unlink()
    with part.open("ab") as out:
        digester = digester_of(file.digest, file.size)
        for block in blocks_of(part):
            digester.update(block)
            meter.tick()
        size, failures = out.tell(), 0
        meter.add(size)
        while size < file.size:
            before, trouble = size, None
            try:
                for chunk in hub.file(revision, file.name, start=size, tick=meter.tick):
                    wanted = chunk[: file.size - size]
                    out.write(wanted)
                    digester.update(wanted)
                    size += len(wanted)
                    meter.add(len(wanted))
            except Interrupted:
                pass
            except Unreachable:
                raise ModelUnavailable(_cut(hub.repo, file, size)) from None
            except Refused as error:
                if error.status == 416:  # the hub has less than it listed
                    return ""
                if error.status < 500:
                    raise
                trouble = error
            failures = 0 if size - before >= _ENOUGH_BYTES else failures + 1
            if size < file.size:
                if failures > len(_PAUSES_SECONDS):
                    raise trouble or ModelUnavailable(_cut(hub.repo, file, size))
                _pause(_PAUSES_SECONDS[max(0, failures - 1)], meter)
        out.flush()
        os.fsync(out.fileno())
    return str(digester.hexdigest())


def _pause(seconds: float, meter: Meter) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        meter.tick()
        time.sleep(0.05)


def _cut(repo: str, file: HubFile, size: int) -> str:
    share = f"{size / 1e6:,.1f} of {file.size / 1e6:,.1f} MB of {file.name[:80]}"
    kept = "The part that arrived is kept, and the next try continues from there."
    return f"The download of {repo} was cut after {share}. {kept}"


def _check_space(repo: str, part: Path, file: HubFile) -> None:
    free = shutil.disk_usage(part.parent).free
    missing = file.size - (part.stat().st_size if part.exists() else 0)
    if missing > free:
        raise ModelUnavailable(
            f"The disk is full: {repo} needs {missing / 1e9:,.1f} GB more and {free / 1e9:,.1f} GB are free. "
            "Make room, or set HF_HOME to a folder on another disk."
        )


@contextmanager
def _locked(blob: Path, meter: Meter) -> Iterator[None]:
    """Hold the lock that the hub's library would take for this file; a cancel is noticed while waiting."""
    from filelock import FileLock, Timeout

    cache = blob.parent.parent
    lock = cache.parent / ".locks" / cache.name / f"{blob.name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(FileLock(lock, timeout=0.5, mode=0o664))
                break
            except Timeout:
                meter.tick()
            except NotImplementedError:  # a file system without locks: at worst the checksum finds two writers
                break
        yield
