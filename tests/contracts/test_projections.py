"""What every registered map promises; a new one is tested the moment it is registered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from numembed.analysis.maps.projections import PROJECTIONS, project
from numembed.core.settings import Settings

# UMAP compiles for seconds at its first use
NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name == "umap" else []) for name in PROJECTIONS.names]
METHODS = pytest.mark.parametrize("method", NAMES)
SIZES = pytest.mark.parametrize("n", [*range(1, 13), 49, 50, 51])
DIMS = pytest.mark.parametrize("dims", [2, 3])
MATRICES = {
    "plain": lambda n: np.random.default_rng(0).standard_normal((n, 8)),
    "one number a vector": lambda n: np.arange(n, dtype=float)[:, None],
    "identical": lambda n: np.ones((n, 8)),
    "zeros": lambda n: np.zeros((n, 8)),
    "two points": lambda n: np.eye(2, 8)[np.arange(n) % 2],
    "a line": lambda n: np.outer(np.arange(n), np.ones(8)),
    "one far away": lambda n: np.random.default_rng(0).standard_normal((n, 8)) + 1e6 * (np.arange(n) == 0)[:, None],
}


@pytest.fixture
def compiled(settings: Settings) -> Path:
    """Where UMAP's compiled code is kept between sessions."""
    return settings.compiled


def _map(matrix: np.ndarray, method: str, compiled: Path, *, dims: int, seed: int = 7) -> np.ndarray:
    points, used = project(matrix.astype(np.float32), method, dims=dims, seed=seed, cache_folder=compiled)
    assert isinstance(used, dict)
    return points


@pytest.mark.slow
@METHODS
@SIZES
@DIMS
def test_a_finite_place_for_every_row_and_the_same_again(method: str, n: int, dims: int, compiled: Path) -> None:
    matrix = MATRICES["plain"](n)
    points = _map(matrix, method, compiled, dims=dims)
    assert points.shape == (n, dims)
    assert points.dtype == np.float32
    assert points.flags.c_contiguous
    assert np.isfinite(points).all()
    assert (_map(matrix, method, compiled, dims=dims) == points).all()


@pytest.mark.slow
@METHODS
@DIMS
@pytest.mark.parametrize("n", [2, 3, 4, 5, 10, 24, 51])
@pytest.mark.parametrize("kind", [kind for kind in MATRICES if kind != "plain"])
def test_degenerate_vectors_have_a_finite_map(method: str, n: int, kind: str, dims: int, compiled: Path) -> None:
    points = _map(MATRICES[kind](n), method, compiled, dims=dims)
    assert points.shape == (n, dims)
    assert np.isfinite(points).all()


@METHODS
def test_the_vectors_are_left_as_they_were(method: str, compiled: Path) -> None:
    matrix = MATRICES["plain"](24).astype(np.float32)
    matrix.setflags(write=False)
    before = matrix.copy()
    project(matrix, method, cache_folder=compiled)
    assert (matrix == before).all()


@METHODS
def test_the_title_the_help_and_the_reference_are_given(method: str) -> None:
    entry = PROJECTIONS[method]
    assert entry.title and entry.summary.endswith(".")
    assert entry.facts["reference"]


@METHODS
def test_no_warning_reaches_the_page(method: str, compiled: Path, recwarn: pytest.WarningsRecorder) -> None:
    for kind in MATRICES:
        _map(MATRICES[kind](10), method, compiled, dims=2)
    assert [str(warning.message) for warning in recwarn if warning.category is not DeprecationWarning] == []
