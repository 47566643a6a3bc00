"""A disk that is full or can only be read, and files that go, under a running app: sentences, nothing lost, and on.

``python -m benchmarks.faults_disk WHAT FOLDER MODEL`` carries out one of CASES in a folder, and prints what went wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.faults_places import Place, kill, wait_until
from benchmarks.faults_runs import results_of
from benchmarks.page import ROOT
from benchmarks.visitor import Visitor
from numembed.core.errors import LIGHT, MODEL
from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.runs.job import Job
from numembed.storage.backups import back_up
from numembed.studies.study import Study

NO_DISK = "nothing can be mounted here: a disk of its own needs user namespaces (unshare --user --mount)"
_MOUNT = 'mount -t tmpfs -o size=32m tmpfs "$1" && shift && exec "$@"'
_FULL = "The disk is full"


class _Home(Place):
    """A home in a folder, and the name of the model of its runs."""

    def __init__(self, folder: Path, name: str, *, log: str = "") -> None:
        super().__init__(Settings(folder / "home", offline=True, prewarm=False, folders=()), log=log)
        self.folder, self.name = folder, name


def on_a_small_disk(folder: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command with a small disk of its own at ``folder``: as any user, or as root where that is not allowed."""
    for user in (("--user", "--map-root-user"), ()):
        arguments = ("unshare", *user, "--mount", "sh", "-c", _MOUNT, "sh", folder, *command)
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=900, cwd=ROOT)
        if done.returncode == 0:
            break
    return done


def has_disks(folder: Path) -> bool:
    """Return whether a small disk can be mounted here."""
    return shutil.which("unshare") is not None and on_a_small_disk(str(folder), "true").returncode == 0


def disk_faults(what: str, folder: Path, name: str = "number-lm") -> list[str]:
    """Return what went wrong in one of CASES with runs of a model; where its disk cannot be mounted, that alone."""
    folder.mkdir(parents=True, exist_ok=True)
    command = (sys.executable, "-m", "benchmarks.faults_disk", what, str(folder), name)
    if CASES[what] is replaced:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=ROOT)
    elif not has_disks(folder):
        return [NO_DISK]
    else:
        done = on_a_small_disk(str(folder), *command)
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        return [f"{what} ended with {done.returncode}: {done.stderr[-800:]}"]
    faults: list[str] = json.loads(lines[-1])
    return faults


def full(place: _Home) -> list[str]:
    """Fill the disk under a running app."""
    place.serve()
    faults = _works(place, 1)
    before, ballast = _Stored(place, 1), place.folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    asked = _asked(place, 2, says=_FULL)
    wait_until(lambda: not place.jobs.active())
    newest = place.jobs.recent(1)[0]
    if newest.request.first_window == 2:  # there was room for its row
        asked = [] if newest.state == "done" or _FULL in newest.error else [newest.error]
    faults += asked
    faults += before.lost(place)
    ballast.unlink()
    return faults + _works(place, 3) + before.lost(place)


def read_only(place: _Home) -> list[str]:
    """Let the home be of a disk that can only be read, and then be as before."""
    server = place.serve()
    faults, disk = _works(place, 1), str(place.folder)
    before = _Stored(place, 1)
    _end(place, server)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    read = _Home(place.folder, place.name, log=os.devnull)
    read.serve()
    with Visitor(read.url, query=_query(place, 1)) as visitor:
        if "scores" not in visitor.elements:
            faults.append("what is stored is not shown where it can only be read")
    faults += _asked(read, 2, says="Nothing can be stored here") + before.lost(read)
    read.clear()
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    again = _Home(place.folder, place.name)
    again.serve()
    faults += _works(again, 3) + before.lost(again)
    again.clear()
    return faults


def replaced(place: _Home) -> list[str]:
    """Let app.db or the whole home go or be another while the app waits."""
    place.serve()
    faults = _works(place, 1)
    for number, happen in enumerate(HAPPENINGS, 2):
        before = _Stored(place, 1)
        wait_until(place.settings.app_db.exists)
        happen(place.settings.home)
        faults += [f"{happen.__name__}: {what}" for what in _works(place, number)]
        if happen not in (delete_home, move_home):
            faults += [f"{happen.__name__}: {what}" for what in before.lost(place, results=happen is restore)]
    return faults


CASES: dict[str, Callable[[_Home], list[str]]] = {"full disk": full, "read-only home": read_only, "files": replaced}


def delete(home: Path) -> None:
    """Delete app.db."""
    (home / "app.db").unlink()


def restore(home: Path) -> None:
    """Put a backup in the place of app.db, as ``mv`` does."""
    shutil.copyfile(back_up(home / "app.db", "2026-01-01"), home / "fresh")
    (home / "fresh").replace(home / "app.db")


def damage(home: Path) -> None:
    """Overwrite the beginning of app.db, which has a backup."""
    back_up(home / "app.db", "2026-01-01")
    with (home / "app.db").open("r+b") as file:
        file.write(bytes(40_000))


def delete_home(home: Path) -> None:
    """Delete the home."""
    shutil.rmtree(home)


def move_home(home: Path) -> None:
    """Move the home away."""
    home.rename(home.with_name("elsewhere"))


HAPPENINGS = (delete, restore, damage, delete_home, move_home)


class _Stored:
    """The results of a home, and the vectors of one of its studies."""

    def __init__(self, place: _Home, number: int) -> None:
        self.number, self.results = number, results_of(place)
        self.matrix, self.found = self._vectors(place)

    def lost(self, place: _Home, *, results: bool = True) -> list[str]:
        """Return what is no longer there, or otherwise."""
        matrix, found = self._vectors(place)
        now = results_of(place) if results else self.results
        same = matrix.shape == self.matrix.shape and matrix[self.found].tobytes() == self.matrix[self.found].tobytes()
        lost = [] if same and found[self.found].all() else ["stored vectors are lost"]
        return lost + ["a stored result is lost" for key, value in self.results.items() if now.get(key) != value]

    def _vectors(self, place: _Home) -> Any:
        key = next((one.key for one in place.vectors.models() if one.name == place.name), "")
        return place.vectors.read(key, _study(place, self.number).sequences.texts)


def _study(place: _Home, number: int) -> Study:
    return Study(("primes", "even"), (model(place.name),), per_family=5, length=20, first_window=number)


def _query(place: _Home, number: int) -> str:
    return f"models={place.name}&families=primes&families=even&per_family=5&length=20&first_window={number}"


def _asked(place: _Home, number: int, *, says: str = "") -> list[str]:
    """Press Run for a study; return what the page shows that is no sentence, or that it lacks the one due."""
    with Visitor(place.url, query=_query(place, number)) as visitor:
        faults = visitor.raw_errors
        visitor.click("run", trigger_value=True)
        return faults + visitor.raw_errors + ([] if says in visitor.text else [f"the page does not say {says!r}"])


def _works(place: _Home, number: int) -> list[str]:
    """Press Run for a study and wait for its end; return what was not as it should be."""
    faults = _asked(place, number)
    ended: list[Job] = []

    def over() -> bool:
        ended[:] = [job for job in place.jobs.recent(1) if not job.active]
        return bool(ended)

    wait_until(over)
    if (job := ended[0]).state != "done" or job.error or job.request.first_window != number:
        faults.append(f"the next run is {job.state}: {job.error}")
    return faults


def _end(place: _Home, server: subprocess.Popen[bytes]) -> None:
    """End all processes of a home, and close its files."""
    server.kill()
    server.wait()
    for lane in (LIGHT, MODEL):
        kill(place.worker_pid(lane))
    wait_until(lambda: not place.locked())
    place.clear()


def _main(what: str, folder: Path, name: str) -> None:
    place = _Home(folder, name)
    try:
        faults = CASES[what](place)
    finally:
        if place.settings.home.exists():
            place.clear()
    print(json.dumps(faults))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
