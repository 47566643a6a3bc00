"""Maps of a set of vectors: (n, d) → (n, 2) or (n, 3). Seeded, and never failing for small n."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.umap_cache import import_umap, keep_compiled
from numembed.registry import Range, Registry

Matrix = NDArray[np.float32]
Points = NDArray[np.float32]
Used = dict[str, Any]
PROJECTIONS: Registry[Callable[..., tuple[Points, Used]]] = Registry("projection")

OPENTSNE_POINTS = 3_000  # above, openTSNE is several times quicker; below, the paper's scikit-learn is as quick
_ITERATIONS = 1_000  # section 4.4


@PROJECTIONS.register("t-SNE", reference="van der Maaten and Hinton 2008")
def tsne(
    matrix: Matrix, *, dims: int, seed: int, perplexity: Annotated[float, Range(0, 100)] = 0.0
) -> tuple[Points, Used]:
    """Keeps near neighbours near; distances between far groups mean nothing.

    Perplexity 0 stands for the paper's rule: 30, or 10 below 50 samples (section 4.4).
    """
    asked = perplexity or (30.0 if len(matrix) >= 50 else 10.0)
    used = min(asked, max(1.0, len(matrix) - 1.0))
    if len(matrix) > OPENTSNE_POINTS and dims == 2:
        return _opentsne(matrix, seed, used), {"perplexity": used, "iterations": _ITERATIONS, "program": "openTSNE"}
    from sklearn.manifold import TSNE

    start = "pca" if min(matrix.shape) >= dims and np.ptp(matrix, axis=0).max() > 0 else "random"
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore")  # scikit-learn warns where the first coordinate of the start is constant
        points = TSNE(
            n_components=dims, perplexity=min(used, len(matrix) - 1e-3), max_iter=_ITERATIONS, init=start,
            learning_rate="auto", random_state=seed,
        ).fit_transform(matrix)  # fmt: skip
    return points, {"perplexity": used, "iterations": _ITERATIONS, "program": "scikit-learn"}


@PROJECTIONS.register("UMAP", reference="McInnes, Healy and Melville 2018")
def umap(
    matrix: Matrix,
    *,
    dims: int,
    seed: int,
    neighbors: Annotated[int, Range(2, 200)] = 15,
    cache_folder: Path | None = None,
) -> tuple[Points, Used]:
    """Keeps neighbourhoods together, near and middling; gaps between groups look clearer than they are."""
    n = len(matrix)
    if n < 4:
        points, used = pca(matrix, dims=dims, seed=seed)
        return points, used | {"note": "UMAP needs at least 4 sequences, so PCA is shown"}
    used = {"neighbors": min(neighbors, n - 1)}
    start = "spectral" if n > dims + 2 else "random"
    module = import_umap(cache_folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed means one thread, and that spectral starts may fail
        points = module.UMAP(
            n_components=dims, n_neighbors=used["neighbors"], random_state=seed, n_jobs=1, init=start
        ).fit_transform(matrix)
    keep_compiled(cache_folder)
    return points, used


@PROJECTIONS.register("PCA", reference="Pearson 1901")
def pca(matrix: Matrix, *, dims: int, seed: int) -> tuple[Points, Used]:
    """The flat view with the most spread: distances are honest, but what lies behind is hidden."""
    from sklearn.decomposition import PCA

    count = min(dims, *matrix.shape)
    points = np.zeros((len(matrix), dims), dtype=np.float32)
    shares: list[float] = []
    if len(matrix) > 1 and np.ptp(matrix, axis=0).max() > 0:
        fitted = PCA(n_components=count, svd_solver="full" if max(matrix.shape) <= 500 else "auto", random_state=seed)
        points[:, :count] = fitted.fit_transform(matrix)
        shares = [round(float(share), 4) for share in fitted.explained_variance_ratio_]
    return points, {"explained_variance": shares}


def project(
    matrix: Matrix,
    method: str,
    *,
    dims: int = 2,
    seed: int = 0,
    cache_folder: Path | None = None,
    **options: Any,
) -> tuple[Points, Used]:
    """Return (points (n, dims), what was used) for any n ≥ 1 and any finite matrix; equal seeds, equal maps."""
    entry = PROJECTIONS[method]
    if len(matrix) < 2:
        return np.zeros((len(matrix), dims), dtype=np.float32), {"note": "one sequence has no map"}
    if method == "umap":
        options["cache_folder"] = cache_folder
    points, used = entry.function(matrix, dims=dims, seed=seed, **options)
    if not np.isfinite(points).all():
        points, used = pca(matrix, dims=dims, seed=seed)
        used = used | {"note": f"{entry.title} found no map of these vectors, so PCA is shown"}
    return np.ascontiguousarray(points, dtype=np.float32), used


def warm_umap(cache_folder: Path) -> None:
    """Compile UMAP for this machine, or read the compiled code, so that the next map is quick."""
    noise = np.random.default_rng(0).standard_normal((24, 16)).astype(np.float32)
    for dims in (2, 3):
        project(noise, "umap", dims=dims, cache_folder=cache_folder)


def _opentsne(matrix: Matrix, seed: int, perplexity: float) -> Points:
    from openTSNE import TSNE

    fitted = TSNE(
        n_components=2, perplexity=perplexity, n_iter=_ITERATIONS - 250, random_state=seed, n_jobs=1,
        initialization="pca",
    ).fit(np.asarray(matrix, dtype=np.float64))  # fmt: skip
    return np.asarray(fitted, dtype=np.float32)
