"""UMAP's compiled code on disk: the same coordinates with it and without, and damage costs time, not the map."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from numembed.analysis.maps import umap_cache
from numembed.analysis.maps.umap_cache import _ready, _versioned, keep_compiled
from numembed.core.settings import read_settings

_FIT = """
import json, sys, time
from pathlib import Path
import numpy as np
import sklearn.manifold
from numembed.analysis.maps.projections import project
matrix = np.random.default_rng(0).standard_normal((30, 16)).astype(np.float32)
began = time.process_time()
points, used = project(matrix, "umap", seed=5, cache_folder=Path(sys.argv[1]))
import numba
print(json.dumps([time.process_time() - began, points.tolist(), numba.njit.__module__, numba.get_num_threads()]))
"""


@dataclass(frozen=True)
class Fit:
    seconds: float
    points: np.ndarray
    njit_from: str
    threads: int


def _fit_in_a_new_process(folder: Path) -> Fit:
    done = subprocess.run(
        [sys.executable, "-c", _FIT, str(folder)], capture_output=True, text=True, check=True, timeout=300
    )
    seconds, points, njit_from, threads = json.loads(done.stdout)
    return Fit(seconds, np.array(points), njit_from, threads)


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Fit]:
    """A folder with compiled code, this machine's where it has some, and a fit that added to it."""
    folder = tmp_path_factory.mktemp("machine") / "compiled"
    if (kept := _versioned(read_settings().compiled)).exists():
        shutil.copytree(kept, folder / kept.name)
    return folder, _fit_in_a_new_process(folder)


@pytest.mark.slow
def test_with_the_cache_and_where_it_cannot_be_kept_the_map_is_the_same(cold: tuple[Path, Fit], tmp_path: Path) -> None:
    folder, first = cold
    (tmp_path / "file").write_text("in the way")
    uncached, warm = _fit_in_a_new_process(tmp_path / "file"), _fit_in_a_new_process(folder)
    assert (first.points == uncached.points).all()
    assert (warm.points == uncached.points).all()
    assert warm.seconds < uncached.seconds / 3
    assert {first.njit_from, warm.njit_from, uncached.njit_from} == {"numba.core.decorators"}  # put back after import
    assert {first.threads, warm.threads, uncached.threads} == {1}  # with more it would change how many torch takes


@pytest.mark.slow
def test_damaged_code_is_compiled_again_and_kept_again(cold: tuple[Path, Fit], tmp_path: Path) -> None:
    folder, first = cold
    damaged = tmp_path / "compiled"
    shutil.copytree(folder, damaged)
    index, code = sorted(damaged.rglob("*optimize_layout*.nbi"))[0], sorted(damaged.rglob("*rp_trees*.nbc"))[0]
    index.write_bytes(b"")
    code.write_bytes(code.read_bytes()[:-200])
    assert (_fit_in_a_new_process(damaged).points == first.points).all()
    assert index.stat().st_size and code.stat().st_size
    (sums,) = damaged.rglob("checksums.json")
    assert {sums.parent / name for name in json.loads(sums.read_text())} == set(damaged.rglob("*.nb[ic]"))


@pytest.mark.parametrize("content", ["", "[]", '{"other": "file"}', "\x00", None])
def test_only_files_with_their_checksum_are_used(tmp_path: Path, content: str | None) -> None:
    folder = _versioned(tmp_path)
    (folder / "umap").mkdir(parents=True)
    sound, torn = folder / "umap" / "sound.nbc", folder / "umap" / "torn.nbi"
    sound.write_bytes(b"compiled")
    torn.write_bytes(b"index")
    keep_compiled(tmp_path)
    torn.write_bytes(b"ind")
    if content is not None:
        (folder / "checksums.json").write_text(content)
    assert _ready(tmp_path) == folder
    assert not torn.exists()
    assert sound.exists() is (content is None)


@pytest.mark.slow
def test_the_folder_names_the_versions_whose_code_it_holds(cold: tuple[Path, Fit]) -> None:
    (inside,) = cold[0].iterdir()
    for name in ("umap-learn-", "pynndescent-", "numba-"):
        assert name in inside.name


def test_files_are_read_again_only_when_something_was_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, read = _versioned(tmp_path) / "umap", list[Path]()
    folder.mkdir(parents=True)
    (folder / "one.nbc").write_bytes(b"compiled")
    monkeypatch.setattr(umap_cache, "_checksum", lambda path: read.append(path) or path.name)
    keep_compiled(tmp_path)
    keep_compiled(tmp_path)
    assert len(read) == 1
    (folder / "two.nbc").write_bytes(b"compiled later")
    keep_compiled(tmp_path)
    keep_compiled(tmp_path)
    assert len(read) == 1 + 2
    (sums,) = tmp_path.rglob("checksums.json")
    assert set(json.loads(sums.read_text())) == {"umap/one.nbc", "umap/two.nbc"}


def test_nothing_is_written_where_nothing_was_compiled(tmp_path: Path) -> None:
    keep_compiled(None)
    keep_compiled(tmp_path / "absent")
    keep_compiled(tmp_path)
    assert list(tmp_path.iterdir()) == []
