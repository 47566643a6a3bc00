"""Kills of a process that does nothing but add vectors: what it has acknowledged is there, and nothing is half there.

``python -m benchmarks.faults_writers STORE FILE FIRST`` adds batches from number FIRST on, and prints each number once
its batch is stored.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults_vectors import STORES, WIDTH, Vectors, vectors_of
from benchmarks.page import ROOT

BATCH = 48
_KEY = "model"
_ROUNDS_OF_A_FILE = 10


@dataclass
class Kills:
    """What a number of kills led to."""

    rounds: int = 0
    acknowledged: int = 0  # batches, or rows of runs
    faults: list[str] = field(default_factory=list)


def killed_writers(store: str, rounds: int, folder: Path, *, seed: int = 0) -> Kills:
    """Return what ``rounds`` kills of a writer into a store of STORES led to; each goes on where the last one was."""
    folder.mkdir(parents=True, exist_ok=True)
    kills, dice = Kills(rounds), random.Random(seed)
    acknowledged: set[int] = set()
    for number in range(rounds):
        file = folder / f"{store}-{number // _ROUNDS_OF_A_FILE}"
        acknowledged = acknowledged if number % _ROUNDS_OF_A_FILE else set()
        new = _killed(store, file, max(acknowledged, default=-1) + 1, dice)
        acknowledged |= new
        kills.acknowledged += len(new)
        kills.faults += [f"kill {number}: {what}" for what in _faults(store, file, acknowledged)]
    return kills


def _killed(store: str, file: Path, first: int, dice: random.Random) -> set[int]:
    """Return which batches a writer has acknowledged before it was killed at a random moment."""
    command = [sys.executable, "-m", "benchmarks.faults_writers", store, str(file), str(first)]
    writer = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert writer.stdout is not None
    lines = [writer.stdout.readline()]
    time.sleep(dice.uniform(0, 0.15))
    writer.kill()
    lines += writer.stdout.readlines()
    writer.wait()
    return {int(line) for line in lines if line.endswith("\n")}


def _faults(store: str, file: Path, acknowledged: set[int]) -> list[str]:
    """Return what is wrong in a file after a kill: batches that are lost, half there or others than were stored."""
    try:
        opened = STORES[store](file)
        last = max(acknowledged, default=-1) + 3  # one may be stored and not acknowledged; none is begun after it
        found = [(number, _fault(opened, number, number in acknowledged)) for number in range(last)]
        opened.close()
    except Exception as error:
        return [f"cannot be read: {error!r}"]
    return [f"batch {number} is {what}" for number, what in found if what]


def _fault(opened: Vectors, number: int, acknowledged: bool) -> str:
    texts = texts_of(number)
    matrix, found = opened.read(_KEY, texts)
    if acknowledged and not found.any():
        return "lost"
    if found.any() and not found.all():
        return "half there"
    return "another" if found.all() and matrix.tobytes() != vectors_of(texts).tobytes() else ""


def texts_of(number: int) -> list[str]:
    """Return the texts of a batch."""
    return [f"{number}, {place}" for place in range(BATCH)]


def _write(store: str, file: Path, first: int) -> None:
    opened = STORES[store](file)
    batches = {number: vectors_of(texts_of(number)) for number in range(first, first + 8)}
    for number in range(first, first + 10_000):
        matrix = batches.pop(number) if number in batches else vectors_of(texts_of(number))
        assert matrix.shape == (BATCH, WIDTH)
        opened.add(_KEY, _KEY, texts_of(number), matrix)
        print(number, flush=True)


if __name__ == "__main__":
    _write(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
