"""Maps of a set of vectors: (n, d) → (n, 2) or (n, 3). Seeded, and never failing for small n.

A registered function is a whole map: pages, exports and runs read all they show of it from its entry. Its facts, all
but the first optional:

- ``reference``: who published it;
- ``caption``: what it used → the line below the map; without it, the title;
- ``seeded``: the options with which its seed decides the layout; without it, all seeds are taken to give one map;
- ``seeded_note``: how that differs from the map that pages show;
- ``linear``: True where points move no farther than the vectors do; other maps are drawn from rounded distances;
- ``compiles``: a context manager around its computation, given the folder for compiled code. Such a map is slow at its
  first use, so runs draw it after all others.
"""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from numembed.analysis.maps.umap_cache import compiled_umap
from numembed.analysis.preparation import all_equal, rescaled
from numembed.analysis.steadiness import one_thread, with_rounded_distances
from numembed.core.arrays import Matrix, Points
from numembed.core.errors import BadChoice
from numembed.core.registry import Entry, Range, Registry

Used = dict[str, Any]
PROJECTIONS: Registry[Callable[..., tuple[Points, Used]]] = Registry("projection")

LINEAR_BELOW = 15  # points: fewer have so few neighbours that other maps draw rings and strings
OPENTSNE_POINTS = 3_000  # above, openTSNE is several times quicker; below, the paper's scikit-learn is as quick
_ITERATIONS = 1_000  # section 4.4
_PAIRWISE_POINTS = 4_096  # from here on umap would compile an approximate search for half a minute in each process
_SETTLING = 300  # of them, by openTSNE's finer method


@PROJECTIONS.register(
    "t-SNE",
    reference="van der Maaten and Hinton 2008",
    caption=lambda used: (
        f"t-SNE, perplexity {used['perplexity']:g}{_papers(used)}, {used['iterations']:,} iterations, {used['program']}"
    ),
    seeded={"start": "random"},
    seeded_note="from a random start (Compare's begins with PCA, which hides what luck does)",
)
def tsne(
    matrix: Matrix,
    *,
    dims: int,
    seed: int,
    perplexity: Annotated[float, Range(0, 100)] = 0.0,
    start: Literal["pca", "random"] = "pca",
) -> tuple[Points, Used]:
    """Keeps near neighbours near; distances between far groups mean nothing.

    Perplexity 0 stands for the paper's rule: 30, or 10 below 50 samples (section 4.4), but at most n // 4: where it
    comes near to a third of the points, each has all others as neighbours, and groups become an even ring. Another
    one is used as it is asked for, below n. From the start "pca" all seeds give much the same map; "random" shows how
    much of a map is luck.
    """
    n = len(matrix)
    papers = 30.0 if n >= 50 else 10.0
    used = min(perplexity or max(1.0, min(papers, n // 4)), max(1.0, n - 1.0))
    first = start if min(matrix.shape) >= dims else "random"
    options: Used = {"perplexity": used, "iterations": _ITERATIONS}
    options |= {"paper": papers} if not perplexity and used != papers else {}
    options |= {"start": start} if start != "pca" else {}
    if len(matrix) > OPENTSNE_POINTS and dims == 2:
        return _opentsne(matrix, seed, used, first), options | {"program": "openTSNE"}
    from sklearn.manifold import TSNE

    points = TSNE(
        n_components=dims,
        perplexity=used,
        max_iter=_ITERATIONS,
        init=first,
        learning_rate="auto",
        random_state=seed,
    ).fit_transform(matrix)
    return points, options | {"program": "scikit-learn"}


@PROJECTIONS.register(
    "UMAP",
    reference="McInnes, Healy and Melville 2018",
    caption=lambda used: f"UMAP, {used['neighbors']} neighbours",
    seeded={},
    compiles=compiled_umap,
)
def umap(matrix: Matrix, *, dims: int, seed: int, neighbors: Annotated[int, Range(2, 200)] = 15) -> tuple[Points, Used]:
    """Keeps neighbourhoods together, near and middling; gaps between groups look clearer than they are."""
    n = len(matrix)
    if n < 4:
        points, used = pca(matrix, dims=dims, seed=seed)
        return points, used | {"note": "UMAP needs at least 4 sequences, so PCA is shown"}
    from umap import UMAP

    count = min(neighbors, n - 1)
    with warnings.catch_warnings(), _seeded_restarts(seed):
        for known in ("precomputed_knn", "Spectral initialisation failed", "Graph is not fully connected"):
            warnings.filterwarnings("ignore", message=f"\\s*{known}")
        points = UMAP(
            n_components=dims,
            n_neighbors=count,
            random_state=seed,
            n_jobs=1,
            init="spectral" if n > dims + 2 else "random",
            precomputed_knn=_neighbours(matrix, count),
        ).fit_transform(matrix)
    return points, {"neighbors": count}


@PROJECTIONS.register(
    "PCA",
    reference="Pearson 1901",
    caption=lambda used: f"PCA, shows {sum(used['explained_variance']):.0%} of the variance",
    linear=True,
)
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
    """Return (points (n, dims), what was used) for any n and any finite matrix; equal seeds, equal maps.

    A map depends on the order of the rows, and not on the number of threads. Vectors of texts that were first encoded
    in other batches differ by about 1e-7: PCA moves as little, and all other maps are drawn from rounded distances, so
    that they are nearly always the same (see ``with_rounded_distances``). Compiled code is kept in ``cache_folder``.
    Raises UnknownName and BadChoice.
    """
    entry = PROJECTIONS[method]
    chosen = _parsed(entry, dims, options)
    compiled = entry.facts["compiles"](cache_folder) if _compiles(entry) else contextlib.nullcontext()
    with compiled, one_thread():
        rows = matrix if entry.facts.get("linear") else with_rounded_distances(matrix)
        if len(rows) < 2 or all_equal(rows):
            note = "all vectors are equal" if len(rows) > 1 else "one sequence has no map"
            return np.zeros((len(rows), dims), dtype=np.float32), {"note": note}
        points, used = entry.function(rescaled(rows), dims=dims, seed=seed, **chosen)
        if not np.isfinite(points).all():
            points, used = pca(rescaled(matrix), dims=dims, seed=seed)
            used = used | {"note": f"{entry.title} found no map of these vectors, so PCA is shown"}
    return np.ascontiguousarray(points, dtype=np.float32), used


def caption_of(method: str, used: Used) -> str:
    """Return the line below a map: what was used, or the note of one that was drawn in another way."""
    entry = PROJECTIONS[method]
    if "note" in used:
        return str(used["note"])
    return str(entry.facts["caption"](used)) if "caption" in entry.facts else entry.title


def opening_map(n: int) -> str:
    """Return the name of the map that pages open with: of few points the first that keeps distances, else the first."""
    few = (entry.name for entry in PROJECTIONS if n < LINEAR_BELOW and entry.facts.get("linear"))
    return next(few, PROJECTIONS.names[0])


def run_order() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of all maps as runs draw them: first the quick ones, then those that compile at first use."""
    early = tuple(entry.name for entry in PROJECTIONS if not _compiles(entry))
    return early, tuple(entry.name for entry in PROJECTIONS if _compiles(entry))


def seeded_maps() -> dict[str, Mapping[str, Any]]:
    """Return the names of the maps whose seed decides the layout, with the options under which it does."""
    return {entry.name: entry.facts["seeded"] for entry in PROJECTIONS if "seeded" in entry.facts}


def compile_maps(cache_folder: Path | None) -> None:
    """Compile what maps need for this machine, or read the compiled code, so that the next map is quick."""
    noise = np.random.default_rng(0).standard_normal((24, 16)).astype(np.float32)
    for method in run_order()[1]:
        for dims in (2, 3):
            project(noise, method, dims=dims, cache_folder=cache_folder)


def _opentsne(matrix: Matrix, seed: int, perplexity: float, start: str) -> Points:
    """Return the map in two stages: a coarse grid brings every point near its place, finer forces settle it.

    The grid costs a quarter of the tree, and only the last iterations decide how good a map is: together a third
    of scikit-learn's time at 10,000 points, with a divergence within 5% of its.
    """
    from openTSNE import TSNE

    coarse = TSNE(
        perplexity=perplexity,
        early_exaggeration_iter=250,
        n_iter=_ITERATIONS - 250 - _SETTLING,
        initialization=start,
        neighbors="exact",
        negative_gradient_method="fft",
        ints_in_interval=2,
        min_num_intervals=20,
        random_state=seed,
        n_jobs=1,
    ).fit(np.asarray(matrix, dtype=np.float64))
    settled = coarse.optimize(_SETTLING, negative_gradient_method="bh", theta=0.6)
    return np.asarray(settled, dtype=np.float32)


def _papers(used: Used) -> str:
    return f" (paper: {used['paper']:g})" if "paper" in used else ""


def _compiles(entry: Entry[Callable[..., tuple[Points, Used]]]) -> bool:
    return "compiles" in entry.facts


def _parsed(entry: Entry[Callable[..., tuple[Points, Used]]], dims: int, options: dict[str, Any]) -> dict[str, Any]:
    if dims not in (2, 3):
        raise BadChoice(f"A map has 2 or 3 dimensions, got {dims}.")
    known = {option.name: option for option in entry.options}
    if unknown := sorted(set(options) - set(known)):
        raise BadChoice(f"{entry.title} has no option {unknown[0][:40]!r}. Known: {', '.join(known) or 'none'}.")
    return {name: known[name].parse(value) for name, value in options.items()}


@contextlib.contextmanager
def _seeded_restarts(seed: int) -> Iterator[None]:
    """Let scipy's eigsh take its restarts from ``seed``.

    umap gives it no seed, and where vectors repeat it restarts: equal seeds gave unequal maps.
    """
    from scipy.sparse import linalg

    plain = linalg.eigsh
    if "rng" in inspect.signature(plain).parameters:  # before scipy 1.17 the restarts were always the same
        linalg.eigsh = partial(plain, rng=seed)
    try:
        yield
    finally:
        linalg.eigsh = plain


def _neighbours(matrix: Matrix, count: int) -> tuple[Any, ...]:
    """Return UMAP's (rows (n, count), distances (n, count)) for many points, exact; nothing for few."""
    if len(matrix) < _PAIRWISE_POINTS:
        return (None, None, None)
    from sklearn.neighbors import NearestNeighbors

    distances, rows = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(matrix).kneighbors(matrix)
    return rows, np.asarray(distances, dtype=np.float32), None
