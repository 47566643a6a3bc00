"""Kills of a real worker, of its server and of both while runs store vectors: nothing is lost, every run ends right."""

from __future__ import annotations

import json
import math
import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults_places import Place, kill, wait_until
from benchmarks.faults_writers import Kills
from numembed.core.errors import LIGHT, MODEL
from numembed.core.settings import Settings
from numembed.models.resolve import resolve
from numembed.models.spec import ModelSpec
from numembed.runs.job import Job
from numembed.studies.study import Study

WHO = ("worker", "worker", "server", "both")
FAMILIES = ("primes", "even", "squares", "triangular")
_MOST_PAUSE = 2.5  # seconds between the first gain of a worker and its kill
_OF_THE_MACHINE = ("check:", "machine")
_NEAR = 1e-4  # which texts share a batch decides the last digits of their vectors


def killed_runs(rounds: int, folder: Path, spec: ModelSpec, *, per_family: int = 50, seed: int = 0) -> Kills:
    """Return what ``rounds`` kills at random moments led to, while runs of ``spec`` follow one another.

    At the end all runs are compared with the same ones in a home where nothing was killed.
    """
    kills, dice = Kills(rounds), random.Random(seed)
    studies = _studies(spec, per_family)
    killed = Place(Settings(folder / "killed", offline=True, prewarm=False, folders=(folder,)))
    ended: list[Study] = []
    try:
        server = killed.serve()
        asked, job_id, starts = next(studies), "", 0
        for number in range(rounds):
            job_id = job_id or killed.jobs.submit(asked, asked_by="campaign")
            wait_until(lambda job_id=job_id, starts=starts: _gained(killed, job_id, starts))  # type: ignore[misc]
            time.sleep(dice.uniform(0, _MOST_PAUSE))
            who = WHO[number % len(WHO)]
            before = _Kept(killed, asked)
            for lane in {"worker": (MODEL,), "server": (), "both": (LIGHT, MODEL)}[who]:
                kill(killed.worker_pid(lane))
            if who != "worker":
                kill(server.pid)
                server.wait()
            after = _Kept(killed, asked)
            kills.acknowledged += int(after.found.sum())
            kills.faults += [f"kill {number} of {who}: {what}" for what in before.lost_in(after)]
            starts = killed.job(job_id).attempts if who != "server" else 0
            if who != "worker":
                server = killed.serve()
            if not killed.job(job_id).active:
                ended, asked, job_id, starts = [*ended, asked], next(studies), "", 0
        if job_id:
            wait_until(lambda: not killed.job(job_id).active)
            ended.append(asked)
        kills.faults += [f"run {job.id} is {job.state}: {job.error}" for job in killed.jobs.recent() if _is_odd(job)]
        kills.faults += _unlike(killed, ended, folder)
    finally:
        killed.clear()
    return kills


def _studies(spec: ModelSpec, per_family: int) -> Iterator[Study]:
    number = 0
    while True:
        number += 1
        yield Study(FAMILIES, (spec,), per_family=per_family, length=30, first_window=1_000 * number)


def _gained(place: Place, job_id: str, starts: int) -> bool:
    """Return whether the newest start of a job has stored something, or the job has ended."""
    job = place.job(job_id)
    in_vain = place.jobs._connection.execute("SELECT in_vain FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return not job.active or (job.attempts > starts and in_vain == (0,))


def _is_odd(job: Job) -> bool:
    return job.state != "done" or bool(job.error)


class _Kept:
    """What is stored for a study at one moment."""

    def __init__(self, place: Place, study: Study) -> None:
        key, steps = (
            resolve(study.models[0], place.settings).key,
            [s for job in place.jobs.active() for s in job.progress],
        )
        shown = [step.done for step in steps if step.stage == "encode"]  # read before what is counted
        self.shown = 0 if study.models[0].is_baseline else max(shown, default=0)
        self.matrix, self.found = place.vectors.read(key, study.sequences.texts)
        self.results = results_of(place)
        self.unsound = [what for path in (place.settings.app_db, place.settings.cache_db) if (what := _unsound(path))]

    def lost_in(self, after: _Kept) -> list[str]:
        """Return what is there no more, or otherwise, a moment later."""
        faults, norms = after.unsound, np.linalg.norm(after.matrix[after.found], axis=1)
        if (self.found & ~after.found).any() or after.found.sum() < self.shown:
            faults.append("acknowledged vectors are lost")
        elif self.matrix[self.found].tobytes() != after.matrix[self.found].tobytes():
            faults.append("stored vectors have changed")
        if not (np.abs(norms - 1) < 1e-3).all():
            faults.append("a vector is half there")
        if any(after.results.get(key) != value for key, value in self.results.items()):
            faults.append("stored results are lost or have changed")
        return faults


def results_of(place: Place) -> dict[str, Any]:
    """Return all results of a home by their keys, but those that tell of the machine."""
    with closing(sqlite3.connect(place.settings.app_db)) as connection:
        rows = connection.execute("SELECT key, payload FROM results").fetchall()
    return {key: json.loads(payload) for key, payload in rows if not key.startswith(_OF_THE_MACHINE)}


def _unsound(path: Path) -> str:
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        said = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
    return "" if said == "ok" else f"{path.name}: {said}"


def _unlike(killed: Place, studies: Sequence[Study], folder: Path) -> list[str]:
    """Return what differs from a home in which the same runs were carried out one after another."""
    whole = Place(Settings(folder / "whole", offline=True, prewarm=False, folders=(folder,)))
    try:
        for study in studies:
            whole.jobs.submit(study, asked_by="campaign")
        whole.worker()
        wait_until(lambda: not whole.jobs.active(), seconds=1_800)
        faults = [f"the run {job.id} that was not killed is {job.state}" for job in whole.jobs.recent() if _is_odd(job)]
        for number, study in enumerate(studies):
            ours, theirs = (_Kept(place, study) for place in (killed, whole))
            apart = np.abs(ours.matrix - theirs.matrix).max(initial=0) if (ours.found == theirs.found).all() else np.inf
            if apart > _NEAR:
                faults.append(f"run {number}: vectors are others than those of a run that was not killed")
        found, wanted = results_of(killed), results_of(whole)
        faults += [f"result {key} is missing" for key in wanted.keys() - found.keys()]
        faults += [
            f"result {key} differs" for key in wanted.keys() & found.keys() if not _alike(found[key], wanted[key])
        ]
    finally:
        whole.clear()
    return faults


def _alike(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal up to the last digits of numbers."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_NEAR, abs_tol=_NEAR)
    return bool(one == other)
