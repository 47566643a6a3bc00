"""Campaigns of bad luck: kills, damages, full and read-only disks, files that go, and a soak. Nothing may be lost.

``NUMEMBED_FAULTS=0.1`` makes a tenth of the rounds, ``NUMEMBED_SOAK=5`` a soak of five minutes instead of twenty.
``python -m benchmarks.faults PART …`` carries out some parts alone.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from platformdirs import user_cache_path

from benchmarks.faults_app import app_file
from benchmarks.faults_disk import CASES, disk_faults
from benchmarks.faults_files import damaged_files
from benchmarks.faults_runs import killed_runs
from benchmarks.faults_soak import soaked
from benchmarks.faults_vectors import NAIVE, vector_file
from benchmarks.faults_writers import killed_writers
from benchmarks.measure import Figure
from numembed.models.catalogue.names import model

_KILLS, _DAMAGES, _SOAK_MINUTES = 50, 300, 20.0
_MEMORY = Path("/dev/shm")  # each of some thousand writes waits for a disk otherwise


def faults() -> list[Figure]:
    """Kills, damages, full and read-only disks, files that go and a soak: what is lost, wrong or no sentence."""
    return [figure for part in PARTS.values() for figure in _done(part)]


def _damages(folder: Path) -> Iterator[Figure]:
    rounds = _rounds(_DAMAGES)
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as name:
        for file, made in {"app.db": app_file, "cache.db": vector_file("cache.db")}.items():
            found = damaged_files(made, rounds, Path(name) / file)
            print(f"{file}: {found.set_aside} of {rounds} set aside; sentences: {dict(found.sentences)}")
            yield _none(f"{rounds} damages of {file}", found.faults)


def _naive(folder: Path) -> Iterator[Figure]:
    """The negative control: what the same damages and kills find in stores that guard nothing."""
    damages, kills = _rounds(_DAMAGES), _rounds(_KILLS)
    for store in NAIVE:
        found = damaged_files(vector_file(store), damages, folder / store)
        yield Figure(f"naive store ({store}): faults found by {damages} damages", len(found.faults), 1)
        killed = killed_writers(store, kills, folder / f"{store}-kills")
        yield Figure(f"naive store ({store}): faults found by {kills} kills", len(killed.faults), 1)


def _writers(folder: Path) -> Iterator[Figure]:
    kills = killed_writers("cache.db", _rounds(_KILLS), folder)
    print(f"{kills.acknowledged:,} batches of vectors were acknowledged")
    yield _none(f"{kills.rounds} kills of a process that adds vectors", kills.faults)


def _runs(folder: Path) -> Iterator[Figure]:
    kills = killed_runs(_rounds(_KILLS), folder, model("number-lm"))
    print(f"{kills.acknowledged:,} vectors were stored at the moments of the kills")
    yield _none(f"{kills.rounds} kills of worker, server or both", kills.faults)


def _disks(folder: Path) -> Iterator[Figure]:
    for case in CASES:
        yield _none(case, disk_faults(case, folder / case.replace(" ", "-")))


def _soak(folder: Path) -> Iterator[Figure]:
    minutes = float(os.environ.get("NUMEMBED_SOAK", _SOAK_MINUTES))
    found = soaked(60 * minutes, folder)
    print(f"{found.clicks:,} clicks, {found.runs} runs, {found.kills} workers ended")
    yield _none(f"a soak of {minutes:g} minutes", found.faults)
    yield Figure("soak: growth of the web process in the second half, MiB", found.grown(0), 30, at_most=True)
    yield Figure("soak: growth of its open files in the second half", found.grown(1), 20, at_most=True)
    yield Figure(
        "soak: largest memory of a worker, second half beyond first, MiB", found.worker_grown, 60, at_most=True
    )


Part = Callable[[Path], Iterator[Figure]]
PARTS: dict[str, Part] = {
    "damages": _damages,
    "naive": _naive,
    "writers": _writers,
    "disks": _disks,
    "kills": _runs,
    "soak": _soak,
}


def _done(part: Part) -> Sequence[Figure]:
    os.environ.setdefault("NUMEMBED_COMPILED", str(user_cache_path("numembed") / "compiled"))  # one for all homes
    logging.getLogger("numembed.storage.damage").setLevel(logging.ERROR)  # it tells each damage
    with tempfile.TemporaryDirectory() as folder:
        return list(part(Path(folder)))


def _rounds(usual: int) -> int:
    return max(1, round(usual * float(os.environ.get("NUMEMBED_FAULTS", "1"))))


def _none(name: str, found: Sequence[str]) -> Figure:
    """Return the figure of faults, of which there may be none, and print the first ones."""
    for fault in found[:10]:
        print(f"{name}: {fault}", flush=True)
    return Figure(f"faults: {name}", len(found), 0, at_most=True)


if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    for asked in sys.argv[1:]:
        for one in _done(PARTS[asked]):
            print(one, flush=True)
