"""A container's arbitrary user: NUMEMBED_HOME alone is enough, without a home, a name, a writable installation."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from numembed.analysis.maps.projections import compile_maps
from numembed.analysis.maps.umap_cache import _versioned
from numembed.core.settings import read_settings
from tests.nobody import given_to_nobody, run_as_nobody

pytestmark = pytest.mark.slow
ROOT = str(Path(__file__).parents[2])
BESIDE = """
import numba

@numba.njit(cache=True)
def twice(x):
    return x + x

@numba.njit("f4(f4)", cache=True)
def thrice(x):
    return x + x + x

@numba.vectorize(cache=True)
def half(x):
    return x / 2
"""
COMPILE = """
try:
    import kernels
except RuntimeError as error:
    print("plainly:", error)
from numembed.analysis.maps.umap_cache import _compiling
with _compiling(None):
    import kernels
print(kernels.twice(2), kernels.thrice(2), kernels.half(3.0))
"""
JOB = """
import sys, time
from numembed.core.settings import read_settings
from numembed.models.catalogue.names import model
from numembed.runs.jobs import JobTable
from numembed.runs.supervisor import start_supervisor
from numembed.studies.results import ResultStore
from numembed.studies.stored import stored_projection
from numembed.studies.study import Study

settings = read_settings()
study = Study(("even", "odd"), tuple(map(model, sys.argv[1:])), per_family=4, length=8)
with JobTable(settings.app_db) as jobs, ResultStore(settings.app_db) as results:
    job = jobs.submit(study, asked_by="nobody")
    start_supervisor(settings)
    while jobs.get(job).active:
        time.sleep(0.1)
    print(jobs.get(job).state, jobs.get(job).error)
    print([stored_projection(study, study.models[0], results, method="umap", dims=dims) is not None for dims in (2, 3)])
    print([str(folder) for folder in settings.folders])
"""


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A home of the nameless user's own, with this machine's compiled code, because compiling takes a minute."""
    shared = read_settings().compiled
    assert shared is not None
    if not (kept := _versioned(shared)).exists():
        compile_maps(shared)
    with tempfile.TemporaryDirectory(prefix="nobody-") as home:  # pytest's own folders are closed to others
        shutil.copytree(kept, Path(home) / "compiled" / kept.name)
        yield given_to_nobody(Path(home))


def test_the_command_line_and_the_worker_need_nothing_but_their_home(place: Path) -> None:
    models = ("last_digits", "string_length")
    where = {"NUMEMBED_HOME": str(place), "PYTHONPATH": ROOT}
    command = ["-m", "numembed", "run", "--families", "even", "odd", "--length", "10", "--models", *models, "--json"]
    done = run_as_nobody(command, **where)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert {json.loads(line)["model"] for line in done.stdout.splitlines()} == {"Last digits", "String length"}
    worked = run_as_nobody(["-c", JOB, *models], NUMEMBED_PREWARM="0", **where)
    assert worked.stdout.splitlines() == ["done ", "[True, True]", str([str(place)])], worked.stderr
    assert (place / "worker.log").is_file() and not list((place / "cache").rglob("*.nbi")), "it was compiled elsewhere"


def test_what_asks_numba_for_a_cache_is_compiled_in_memory_where_nothing_can_be_written(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "kernels.py").write_text(BESIDE)
    library.chmod(0o555)
    done = run_as_nobody(["-c", COMPILE], PYTHONPATH=f"{ROOT}:{library}")
    first, second = done.stdout.splitlines()
    assert first.startswith("plainly: cannot cache function") and second == "4 6.0 1.5", done.stderr
    assert [file.name for file in library.iterdir()] == ["kernels.py"]
