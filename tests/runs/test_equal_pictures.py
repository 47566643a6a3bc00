"""Equal inputs give equal pictures: whatever the threads, the order of names and who carries out the study."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from numembed.analysis.maps.projections import PROJECTIONS
from numembed.core.errors import LIGHT, MODEL
from numembed.core.settings import read_settings
from numembed.models.catalogue.names import model
from numembed.runs.jobs import JobTable
from numembed.runs.supervisor import start_worker
from numembed.storage.vectors import VectorStore
from numembed.studies.results import ResultStore
from numembed.studies.stored import previously_pinned, stored_projection, stored_result
from numembed.studies.study import DIMENSIONS, Study

FAMILIES = ("multiples:k=7", "primes", "even", "multiples", "recaman", "odd")  # not in the registry's order
OLD_PATH = {"MKL_CBWR": "COMPATIBLE"}  # code of Intel's library whose last digits follow the threads on any processor


def _study(tiny_model: Path) -> Study:
    names = ("all-MiniLM-L6-v2", str(tiny_model), "last_digits")
    return Study(FAMILIES, tuple(map(model, names)), per_family=4, length=30)


def _ran(study: Study, home: Path, threads: int) -> None:
    environ = os.environ | OLD_PATH | {"NUMEMBED_HOME": str(home), "OMP_NUM_THREADS": str(threads)}
    named = study.as_dict()
    command = (sys.executable, "-m", "numembed", "run", "--families", *named["families"], "--models", *named["models"])
    done = subprocess.run(
        [*command, "--length", str(study.length)], env=environ, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr


def _worked(study: Study, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the page's worker carry out the study with two threads."""
    for name, value in (OLD_PATH | {"NUMEMBED_HOME": str(home), "OMP_NUM_THREADS": "2"}).items():
        monkeypatch.setenv(name, value)
    settings = read_settings()
    with JobTable(settings.app_db) as jobs:
        job = jobs.submit(study, asked_by="visitor")
        workers = [start_worker(settings, lane) for lane in (LIGHT, MODEL)]
        try:
            while jobs.get(job).state in ("queued", "running"):
                assert all(worker.poll() is None for worker in workers)
                time.sleep(0.2)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        assert jobs.get(job).state == "done" and not jobs.get(job).error


def _found(study: Study, home: Path) -> dict[str, Any]:
    """Return vectors, clusters, scores and maps of every model, by what they are."""
    found: dict[str, Any] = {}
    with ResultStore(home / "app.db") as results, VectorStore(home / "cache.db") as vectors:
        for named in study.models:
            spec, result = previously_pinned(named, results), stored_result(study, named, results)
            assert spec is not None and result is not None
            found[f"{named.name} vectors"] = vectors.read(spec.stored.key, study.sequences.texts)[0].tolist()
            found[f"{named.name} clusters"] = result.clusters.tolist()
            found[f"{named.name} p"] = [(score.p, score.p_within) for score in result.scores]
            found[f"{named.name} scores"] = [score.value for score in result.scores]
            for method in PROJECTIONS.names:
                for dims in DIMENSIONS:
                    drawn = stored_projection(study, spec, results, method=method, dims=dims)
                    assert drawn is not None
                    found[f"{named.name} {method} {dims}"] = drawn.points.tolist()
    return found


@pytest.mark.slow
def test_threads_order_and_worker_give_the_same_pictures(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = _study(tiny_model)
    other = replace(study, families=study.families[::-1], models=study.models[::-1])
    homes = [tmp_path / name for name in ("one", "two", "page")]
    for home in homes:
        home.mkdir()
    monkeypatch.setenv("NUMEMBED_PREWARM", "0")
    _ran(study, homes[0], threads=1)
    _ran(other, homes[1], threads=2)
    _worked(replace(study, families=study.sequences.families), homes[2], monkeypatch)
    first, *rest = (_found(study, home) for home in homes)
    for one in rest:
        assert [name for name in first if repr(one[name]) != repr(first[name])] == []
