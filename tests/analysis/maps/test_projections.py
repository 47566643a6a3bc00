"""Maps: the paper's settings, the values that were used, and what is shown where a method has no map."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from numembed.analysis.maps import projections
from numembed.analysis.maps.projections import (
    OPENTSNE_POINTS,
    PROJECTIONS,
    caption_of,
    opening_map,
    pca,
    project,
    tsne,
)
from numembed.analysis.metrics import silhouette
from numembed.analysis.steadiness import with_rounded_distances
from numembed.core.errors import BadChoice, UnknownName
from numembed.core.settings import Settings


@pytest.fixture
def compiled(settings: Settings) -> Path:
    """Where UMAP's compiled code is kept between sessions."""
    return settings.compiled


def _noise(n: int, d: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


@pytest.mark.parametrize(
    ("n", "asked", "used"),
    [
        (120, 0.0, 30),  # section 4.4 of the paper
        (119, 0.0, 29),
        (50, 0.0, 12),
        (49, 0.0, 10),
        (40, 0.0, 10),
        (24, 0.0, 6),
        (8, 0.0, 2),
        (3, 0.0, 1),
        (2, 0.0, 1),
        (24, 10.0, 10),
        (24, 5.0, 5),
        (24, 100.0, 23),  # below n
        (120, 45.0, 45),
    ],
)
def test_perplexity_is_the_papers_up_to_a_quarter_of_the_points(n: int, asked: float, used: float) -> None:
    _, told = tsne(_noise(n, 4), dims=2, seed=0, perplexity=asked)
    paper = 30 if n >= 50 else 10
    differs = {"paper": paper} if not asked and used != paper else {}
    assert told == {"perplexity": used, "iterations": 1_000, "program": "scikit-learn"} | differs
    said = f"perplexity {used:g} (paper: {paper})," if differs else f"perplexity {used:g},"
    assert said in caption_of("tsne", told)


@pytest.mark.parametrize("seed", range(3))
def test_two_groups_of_four_are_no_even_ring(seed: int) -> None:
    labels = np.repeat([0, 1], 4)
    matrix = _noise(8, 64, seed=seed) + 1.5 * _noise(2, 64, seed=seed + 9)[labels]
    ours, papers = (silhouette(project(matrix, "tsne", **how)[0], labels) for how in ({}, {"perplexity": 10}))
    assert ours > 0.8 > 0.5 > papers


def test_pages_open_with_distances_where_points_are_few() -> None:
    assert [opening_map(n) for n in (0, 8, 14, 15, 24)] == ["pca", "pca", "pca", "tsne", "tsne"]


def test_tsne_is_scikit_learns_with_the_papers_settings() -> None:
    from sklearn.manifold import TSNE

    matrix = _noise(24, 8)
    theirs = TSNE(n_components=2, perplexity=10, max_iter=1_000, init="pca", random_state=3)
    points, _ = project(matrix, "tsne", seed=3, perplexity=10)
    assert (points == theirs.fit_transform(with_rounded_distances(matrix))).all()


@pytest.mark.slow
def test_a_random_start_shows_what_luck_does_and_the_usual_one_hides_it() -> None:
    from numembed.analysis.maps.faithfulness import procrustes_stability

    matrix = _noise(24, 8)
    usual = [project(matrix, "tsne", seed=seed)[0] for seed in range(3)]
    lucky = [project(matrix, "tsne", seed=seed, start="random") for seed in range(3)]
    assert procrustes_stability(usual)[1] > 0.99 > procrustes_stability([points for points, _ in lucky])[1]
    assert lucky[0][1]["start"] == "random" and "start" not in project(matrix, "tsne")[1]
    assert (lucky[1][0] == project(matrix, "tsne", seed=1, start="random")[0]).all()
    assert (usual[0] == project(matrix, "tsne", start="pca")[0]).all()


def test_an_unknown_start_is_a_sentence() -> None:
    with pytest.raises(BadChoice, match="one of pca, random"):
        project(_noise(6, 4), "tsne", start="spectral")


def test_tsne_keeps_clear_groups_apart() -> None:
    labels = np.arange(24) % 3
    points, _ = project(_noise(24, 8) * 0.01 + np.eye(3, 8, dtype=np.float32)[labels], "tsne")
    centres = np.stack([points[labels == group].mean(axis=0) for group in range(3)])
    widest = max(np.linalg.norm(points[labels == group] - centres[group], axis=1).max() for group in range(3))
    gaps = [np.linalg.norm(centres[i] - centres[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert min(gaps) > 2 * widest


def test_pca_of_flat_vectors_keeps_every_distance() -> None:
    matrix = np.zeros((10, 5), dtype=np.float32)
    matrix[:, [1, 3]] = _noise(10, 2)
    points, told = pca(matrix, dims=2, seed=0)
    apart = np.linalg.norm(matrix[:, None] - matrix, axis=2)
    assert np.linalg.norm(points[:, None] - points, axis=2) == pytest.approx(apart, abs=1e-5)
    assert sum(told["explained_variance"]) == pytest.approx(1, abs=1e-3)


def test_pca_shares_fall_and_match_scikit_learns() -> None:
    from sklearn.decomposition import PCA

    matrix = _noise(40, 12) * np.arange(12, 0, -1, dtype=np.float32)
    points, told = pca(matrix, dims=3, seed=0)
    expected = PCA(3, svd_solver="full").fit(matrix)
    assert told["explained_variance"] == pytest.approx(expected.explained_variance_ratio_, abs=1e-4)
    assert np.abs(points) == pytest.approx(np.abs(expected.transform(matrix)), abs=1e-3)


def test_one_sequence_lies_in_the_middle_and_says_so() -> None:
    for method in PROJECTIONS.names:
        points, told = project(_noise(1, 4), method, dims=3)
        assert points.tolist() == [[0, 0, 0]]
        assert told == {"note": "one sequence has no map"}


def test_umap_of_three_is_pca_and_says_so() -> None:
    points, told = project(_noise(3, 4), "umap")
    assert told["note"] == "UMAP needs at least 4 sequences, so PCA is shown"
    assert np.abs(points) == pytest.approx(np.abs(project(_noise(3, 4), "pca")[0]), abs=1e-3)  # of rounded distances


def test_a_method_without_a_finite_map_is_replaced_by_pca_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(matrix: np.ndarray, *, dims: int, seed: int) -> tuple[np.ndarray, dict[str, object]]:
        return np.full((len(matrix), dims), np.nan), {}

    monkeypatch.setattr(projections, "PROJECTIONS", type(PROJECTIONS)("projection"))
    projections.PROJECTIONS.register("Nowhere")(nowhere)
    points, told = project(_noise(6, 4), "nowhere")
    assert (points == pca(_noise(6, 4), dims=2, seed=0)[0]).all()
    assert told["note"] == "Nowhere found no map of these vectors, so PCA is shown"


def test_an_unknown_method_is_a_sentence() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'tsne'"):
        project(_noise(6, 4), "tsnee")


@pytest.mark.parametrize("n", [100, OPENTSNE_POINTS])
@pytest.mark.slow
def test_scikit_learn_maps_up_to_the_limit(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projections, "_ITERATIONS", 250)
    assert project(_noise(n, 4), "tsne")[1]["program"] == "scikit-learn"


@pytest.mark.slow
def test_above_the_limit_opentsne_maps_and_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projections, "OPENTSNE_POINTS", 600)  # its own limit would take half a minute
    n = 601
    labels = np.arange(n) % 5
    matrix = _noise(n, 16) * 0.1 + np.eye(5, 16, dtype=np.float32)[labels]
    points, told = project(matrix, "tsne", seed=1)
    assert told == {"perplexity": 30, "iterations": 1_000, "program": "openTSNE"}
    assert points.shape == (n, 2) and points.dtype == np.float32 and np.isfinite(points).all()
    centres = np.stack([points[labels == group].mean(axis=0) for group in range(5)])
    nearest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1)
    assert (nearest == labels).mean() > 0.99
    assert (project(matrix, "tsne", seed=1)[0] == points).all()


_FRESH = """
import sys
from pathlib import Path
import numpy as np
from numembed.analysis.maps.projections import PROJECTIONS, project
maps = {}
for n, dims in ((24, 2), (24, 3), (200, 2)):
    matrix = np.random.default_rng(0).standard_normal((n, 16)).astype(np.float32)
    for method in PROJECTIONS.names:
        maps[f"{method}-{n}-{dims}"] = project(matrix, method, dims=dims, seed=5, cache_folder=Path(sys.argv[1]))[0]
np.savez(sys.argv[2], **maps)
"""


@pytest.mark.slow
def test_two_fresh_processes_give_bit_equal_maps(tmp_path: Path, compiled: Path) -> None:
    files = [tmp_path / f"{name}.npz" for name in ("first", "second")]
    for file in files:
        subprocess.run([sys.executable, "-c", _FRESH, str(compiled), str(file)], check=True)
    first, second = map(np.load, files)
    assert len(first.files) == len(second.files) == 3 * len(PROJECTIONS)
    for name in first.files:
        n, dims = map(int, name.split("-")[-2:])
        assert (first[name] == second[name]).all() and first[name].shape == (n, dims), name
