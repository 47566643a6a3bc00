"""What is asked of a damaged app.db: lists of runs, results, works, and a new run to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.faults_files import Asked, Damages, Maker
from numembed.core.errors import NumembedError
from numembed.core.progress import DONE
from numembed.models.catalogue.names import model
from numembed.models.embedding import Work
from numembed.runs.job import ModelProgress
from numembed.runs.jobs import JobTable
from numembed.storage.backups import back_up
from numembed.studies.results import ResultStore
from numembed.studies.study import Study

_STUDY = Study(("even", "primes"), (model("last_digits"),), per_family=1, length=5)
_RESULTS, _JOBS = 300, 90


def app_file(path: Path) -> Maker:
    """Write jobs and results to ``path``; return what asks a copy of them."""
    requests = _fill(path)
    return lambda home, found: _AskedApp(home / "app.db", found, requests)


class _AskedApp(Asked):
    def __init__(self, path: Path, found: Damages, requests: dict[str, Study]) -> None:
        super().__init__(path, found)
        self._requests = dict(requests)

    def open(self) -> None:
        self._jobs, self._results = JobTable(self.path), ResultStore(self.path)

    def close(self) -> None:
        if self.opened:
            self._jobs.close()
            self._results.close()

    def back_up(self) -> None:
        back_up(self.path, "2026-01-01")

    def questions(self) -> tuple[Callable[[str], None], ...]:
        return self._lists, self._stored, self._run, self._lists

    def _lists(self, name: str) -> None:
        for job in self._jobs.recent():
            assert job.title and job.words and isinstance(job.active, bool)
            self._right(name, job.id, lambda job=job: job.request)  # type: ignore[misc]
            sum(step.stage.answers + step.done / (step.total or 1) for step in job.progress)
        for job_id in list(self._requests)[::7]:
            with self.told(name):
                job = self._jobs.get(job_id)
                self._right(name, job_id, lambda job=job: job.request)  # type: ignore[misc]
        self._jobs.latest(_STUDY)

    def _stored(self, name: str) -> None:
        for number in range(_RESULTS):
            read = self._results.get(f"key {number}")
            self.found.unreadable += read is None
            if read not in (None, _value(number)):
                self.found.wrong.append(f"{name}: result {number}")
        if not all(work.seconds >= 0 and work.device for work in self._results.works()):
            self.found.wrong.append(f"{name}: works")
        self._results.put("key 3", _value(3))
        if self._results.get("key 3") != _value(3):
            self.found.wrong.append(f"{name}: what was put is not there")

    def _run(self, name: str) -> None:
        asked = replace(_STUDY, seed=len(self._requests))
        self._requests[self._jobs.submit(asked, asked_by="visitor")] = asked
        for _ in range(_JOBS + 2):
            if (job := self._jobs.claim()) is None:
                break
            self._right(name, job.id, lambda job=job: job.request)  # type: ignore[misc]
            self._jobs.cancel_requested(job.id)
            self._jobs.show(job.id, (ModelProgress("Last digits", done=1, total=2),))
            self._jobs.finish(job.id, state="done", seconds=1.0, progress=(ModelProgress("Last digits", DONE),))
        else:
            self.found.wrong.append(f"{name}: the queue does not end")

    def _right(self, name: str, job_id: str, request: Callable[[], Study]) -> None:
        """Note a request that is read and is another than the job's."""
        try:
            read = request()
        except NumembedError:
            return
        if read != self._requests.get(job_id, read):
            self.found.wrong.append(f"{name}: job {job_id}")


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
