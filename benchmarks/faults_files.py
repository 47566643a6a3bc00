"""Random damages of app.db: what is asked of it then raises sentences alone, and no answer is wrong."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from numembed.core.errors import NumembedError
from numembed.core.progress import DONE
from numembed.models.catalogue.names import model
from numembed.models.embedding import Work
from numembed.runs.job import ModelProgress
from numembed.runs.jobs import JobTable
from numembed.storage.backups import back_up
from numembed.studies.results import ResultStore
from numembed.studies.study import Study

KINDS = ("bit", "cut", "zeroed page", "random bytes", "header")
_PAGE = 32_768
_STUDY = Study(("even", "primes"), (model("last_digits"),), per_family=1, length=5)
_RESULTS, _JOBS = 300, 90


@dataclass
class Damages:
    """What a number of damages led to; each of ``raw`` and ``wrong`` names the damage that it came after."""

    rounds: int = 0
    set_aside: int = 0
    sentences: Counter[str] = field(default_factory=Counter)
    raw: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def damaged_files(rounds: int, folder: Path, *, seed: int = 0) -> Damages:
    """Return what ``rounds`` random damages of five kinds led to; every second one has a backup to go back to.

    Half of them happen under an open connection.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole, requests = folder / "whole.db", _fill(folder / "whole.db")
    found, dice = Damages(rounds), random.Random(seed)
    for number in range(rounds):
        home = folder / f"damage-{number}"
        home.mkdir()
        path = home / "app.db"
        shutil.copyfile(whole, path)
        if number // len(KINDS) % 2:
            back_up(path, "2026-01-01")
        name, place = f"{number}: {KINDS[number % len(KINDS)]}", _Asked(path, requests, found)
        if dice.random() < 0.5:
            place.open()
            place.ask(name)
        damage(path, KINDS[number % len(KINDS)], dice)
        place.ask(name)
        place.close()
        found.set_aside += bool(list(home.glob("app.db.corrupt-*")))
        shutil.rmtree(home)
    return found


def damage(path: Path, kind: str, dice: random.Random) -> None:
    """Damage a file in place, as a bad disk does."""
    size = path.stat().st_size
    begins = {"header": dice.randrange(100), "zeroed page": dice.randrange(size // _PAGE) * _PAGE}
    at = begins.get(kind, dice.randrange(size))
    with path.open("r+b") as file:
        if kind == "cut":
            file.truncate(at)
            return
        file.seek(at)
        before = file.read(1)[0]
        most = {"zeroed page": _PAGE, "random bytes": 64, "header": 100 - at if dice.random() < 0.3 else 1}.get(kind, 1)
        put = dice.randbytes(min(most, size - at)) if kind != "zeroed page" else bytes(_PAGE)
        file.seek(at)
        file.write(put if kind != "bit" else bytes([before ^ 1 << dice.randrange(8)]))


class _Asked:
    """One file, and all that is asked of it."""

    def __init__(self, path: Path, requests: dict[str, Study], found: Damages) -> None:
        self._path, self._requests, self._found = path, dict(requests), found
        self._open: list[JobTable | ResultStore] = []

    def open(self) -> None:
        self._open = [JobTable(self._path), ResultStore(self._path)]

    def close(self) -> None:
        for store in self._open:
            store.close()

    def ask(self, name: str) -> None:
        if not self._open:
            with self._told(name):
                self.open()
        if self._open:
            for one in (self._lists, self._results, self._run, self._lists):
                with self._told(f"{name}: {one.__name__}"):
                    one(name)

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        try:
            yield
        except NumembedError as error:
            self._found.sentences[str(error).replace(str(self._path.parent), "HOME")] += 1
        except Exception as error:
            self._found.raw.append(f"{name}: {error!r}")

    def _lists(self, name: str) -> None:
        jobs = self._open[0]
        assert isinstance(jobs, JobTable)
        for job in jobs.recent():
            assert job.title and job.words and isinstance(job.active, bool)
            self._right(name, job.id, lambda job=job: job.request)  # type: ignore[misc]
            sum(step.stage.answers + step.done / (step.total or 1) for step in job.progress)
        for job_id in list(self._requests)[::7]:
            with self._told(name):
                job = jobs.get(job_id)
                self._right(name, job_id, lambda job=job: job.request)  # type: ignore[misc]
        jobs.latest(_STUDY)

    def _results(self, name: str) -> None:
        results = self._open[1]
        assert isinstance(results, ResultStore)
        for number in range(_RESULTS):
            if results.get(f"key {number}") not in (None, _value(number)):
                self._found.wrong.append(f"{name}: result {number}")
        if not all(work.seconds >= 0 and work.device for work in results.works()):
            self._found.wrong.append(f"{name}: works")
        results.put("key 3", _value(3))
        if results.get("key 3") != _value(3):
            self._found.wrong.append(f"{name}: what was put is not there")

    def _run(self, name: str) -> None:
        jobs, asked = self._open[0], replace(_STUDY, seed=len(self._requests))
        assert isinstance(jobs, JobTable)
        self._requests[jobs.submit(asked, asked_by="visitor")] = asked
        for _ in range(_JOBS + 2):
            if (job := jobs.claim()) is None:
                break
            self._right(name, job.id, lambda job=job: job.request)  # type: ignore[misc]
            jobs.cancel_requested(job.id)
            jobs.show(job.id, (ModelProgress("Last digits", done=1, total=2),))
            jobs.finish(job.id, state="done", seconds=1.0, progress=(ModelProgress("Last digits", DONE),))
        else:
            self._found.wrong.append(f"{name}: the queue does not end")

    def _right(self, name: str, job_id: str, request: Callable[[], Study]) -> None:
        """Note a request that is read and is another than the job's."""
        try:
            read = request()
        except NumembedError:
            return
        if read != self._requests.get(job_id, read):
            self._found.wrong.append(f"{name}: job {job_id}")


def _fill(path: Path) -> dict[str, Study]:
    requests = {}
    with JobTable(path) as jobs, ResultStore(path) as results:
        for number in range(_RESULTS):
            results.put(f"key {number}", _value(number))
        for number in range(_JOBS):
            asked = replace(_STUDY, seed=number)
            requests[jobs.submit(asked, asked_by="visitor")] = asked
            results.add_work("model", Work(1_000, "cpu", 24, 1_000, 1.0 + number, 0.5))
        for _ in range(_JOBS - 3):
            job = jobs.claim()
            assert job is not None
            jobs.finish(job.id, state="done", seconds=1.0, progress=(ModelProgress("Last digits", DONE, 1, 1),))
    return requests


def _value(number: int) -> dict[str, object]:
    return {"number": number, "values": [number / 7] * (number % 97)}
