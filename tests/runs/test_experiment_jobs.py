"""Ladders as jobs of the worker, and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from numembed.core.errors import BadChoice
from numembed.core.settings import Settings, read_settings
from numembed.merge_experiment.experiment import MergeExperiment, stored_experiment
from numembed.merge_experiment.run import experiment_rows
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel
from numembed.runs import worker
from numembed.runs.jobs import JobTable
from numembed.runs.worker import run_job
from numembed.storage.vectors import VectorStore
from numembed.studies.results import ResultStore
from numembed.studies.study import Study
from tests.merge_experiment.bases import small_experiment

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


# --- jobs


@pytest.fixture
def jobs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobTable]:
    monkeypatch.setattr(worker, "_be_polite", lambda: None)
    with JobTable(settings.app_db) as table:
        yield table


def test_a_merging_experiment_is_a_job_like_a_study(jobs: JobTable, settings: Settings, tiny_model: Path) -> None:
    asked = small_experiment(tiny_model, paths=("lora",))
    job_id = jobs.submit(asked, asked_by="visitor")
    assert jobs.submit(MergeExperiment.from_json(asked.to_json()), asked_by="another") == job_id
    waiting = jobs.get(job_id)
    assert waiting.kind == MergeExperiment.kind and waiting.request == asked and jobs.latest(asked) == waiting
    with pytest.raises(BadChoice):
        Study.from_json(waiting.request_json)
    job = jobs.claim()
    assert job is not None and run_job(job, jobs, settings=settings, loaded=LoadedModel(settings)) == "done"
    done = jobs.get(job_id)
    assert [(step.model, step.stage) for step in done.progress] == [(name, "done") for name in experiment_rows(asked)]
    with ResultStore(settings.app_db) as results:
        stored = stored_experiment(asked, results)
    assert stored is not None and stored.complete and done.error == ""


def test_a_study_is_no_merging_experiment(jobs: JobTable, tiny_model: Path) -> None:

    job = jobs.get(jobs.submit(Study(("even", "odd"), (model("last_digits"),)), asked_by="visitor"))
    assert job.kind == Study.kind and isinstance(job.request, Study)
    with pytest.raises(BadChoice, match="no merging experiment"):
        MergeExperiment.from_json(job.request_json)


def test_a_merging_experiment_that_cannot_be_run_ends_in_a_sentence(
    jobs: JobTable, settings: Settings, nan_model: Path
) -> None:
    jobs.submit(small_experiment(nan_model, paths=("lora",)), asked_by="visitor")
    job = jobs.claim()
    assert job is not None and run_job(job, jobs, settings=settings, loaded=LoadedModel(settings)) == "failed"
    assert "became NaN or infinite" in jobs.get(job.id).error


# --- kills and the command line


_FAMILIES = ("multiples", "lucky", "happy")


def test_a_killed_merging_experiment_goes_on_where_it_was(tmp_path: Path, tiny_model: Path, home: Path) -> None:
    options = ["--steps", "4", "--seeds", "0", "--rank", "2", "--points", "3", "--base", str(tiny_model)]
    options += ["--families", *_FAMILIES, "--paths", "lora", "slerp_base"]
    asked = [sys.executable, "-m", "numembed", "ladder", *options, "--out", str(tmp_path / "out")]
    settings = read_settings()
    process = subprocess.Popen(asked, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    with ResultStore(settings.app_db) as results, VectorStore(settings.cache_db) as vectors:
        while sum(model.vectors for model in vectors.models()) < 300:
            assert process.poll() is None and time.monotonic() < deadline, "it never got so far"
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        before = {model.key: model.vectors for model in vectors.models()}
        assert not (tmp_path / "out").exists()
        subprocess.run(asked, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=240)
        after = {model.key: model.vectors for model in vectors.models()}
        assert len(after) > len(before) and all(after[key] == count for key, count in before.items())
        runnable = MergeExperiment.from_json((tmp_path / "out" / "ladder.json").read_text())
        stored = stored_experiment(runnable, results)
        assert stored is not None and stored.complete and len(stored.candidates) == runnable.candidates
    assert not list(home.rglob(".tmp-*")), "nothing half-written is left"
