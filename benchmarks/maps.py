"""Maps: UMAP's first use of a process, t-SNE at many points, and what points cost on the wire."""

from __future__ import annotations

import hashlib
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Figure, cpu_seconds
from numembed.analysis.maps.projections import OPENTSNE_POINTS, project
from numembed.figures.maps import Group, map_figure
from numembed.sequences.sets import make_sequences
from numembed.studies.results import Projection

_FIRST_FIT = """
import sys, time, hashlib
import numpy as np
from pathlib import Path
from numembed.analysis.maps.projections import project
matrix = np.random.default_rng(0).standard_normal((24, 384)).astype(np.float32)
project(matrix, "tsne")  # as in every run: t-SNE comes before UMAP
began = time.process_time()
points, _ = project(matrix, "umap", cache_folder=Path(sys.argv[1]) if sys.argv[1] else None)
print(time.process_time() - began, hashlib.sha256(points.tobytes()).hexdigest())
"""


def umap() -> list[Figure]:
    """UMAP's import and first fit in a new worker process, its compiled code on disk, beside a process without."""
    with tempfile.TemporaryDirectory() as name:
        (plain, same), (ever, _), *later = runs = [_first_fit(folder) for folder in ("", name, name, name, name)]
    first = statistics.median(seconds for seconds, _ in later)
    print(f"{plain:.2f} s of CPU without a cache, {ever:.2f} s to fill it, {first:.2f} s after")
    return [
        Figure("umap first fit, CPU seconds", first, 1.0, at_most=True),
        Figure("umap gain over no cache", plain / first, 5),
        Figure("umap same coordinates", float(all(digest == same for _, digest in runs)), 1.0),
    ]


def tsne() -> list[Figure]:
    """t-SNE of 10,000 points by openTSNE, beside scikit-learn's: CPU seconds and Kullback–Leibler divergence."""
    from sklearn.manifold import TSNE

    matrix = clustered(10_000)
    points: dict[str, NDArray[np.float32]] = {}

    def ours() -> None:
        points["ours"] = project(matrix, "tsne")[0]

    def theirs() -> None:
        points["theirs"] = TSNE(init="pca", random_state=0, max_iter=1000).fit_transform(matrix)

    quick, slow = cpu_seconds(ours), cpu_seconds(theirs)
    divergence = {name: kullback_leibler(matrix, mapped) for name, mapped in points.items()}
    hashes = {_fresh_map() for _ in range(2)}
    print(
        f"scikit-learn {slow:.1f} s, KL {divergence['theirs']:.3f}; openTSNE {quick:.1f} s, KL {divergence['ours']:.3f}"
    )
    return [
        Figure("tsne n = 10,000", slow / quick, 2.5),
        Figure("tsne divergence", divergence["ours"] / divergence["theirs"], 1.05, at_most=True),
        Figure("tsne different maps of two fresh processes", float(len(hashes) - 1), 0, at_most=True),
    ]


def wire() -> list[Figure]:
    """Bytes a point of a map of 100,000 points, as the figure is sent to the browser."""
    import plotly.io

    n = 100_000
    sequences = make_sequences(["consecutive"], per_family=1, length=1)
    points = np.random.default_rng(0).standard_normal((n, 2)).astype(np.float32)
    groups = [Group(f"Group {i}", "#0072B2", i, np.arange(i, n, 6)) for i in range(6)]
    figure = map_figure(Projection(points, "pca", {}), sequences, groups)
    size = len(plotly.io.to_json(figure, validate=False))
    return [Figure("wire bytes a point", size / n, 16, at_most=True)]


def clustered(n: int) -> NDArray[np.float32]:
    """Return (n, 384) points in 20 clouds, unit length: shaped like embeddings."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((20, 384))
    rows = centres[np.arange(n) % 20] * 0.6 + random.standard_normal((n, 384))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def kullback_leibler(matrix: NDArray[np.float32], points: NDArray[np.float32], perplexity: float = 30.0) -> float:
    """Return the divergence of a map from the affinities that both programs aim at: P over near neighbours, Q exact."""
    from openTSNE.affinity import PerplexityBasedNN

    affinities = PerplexityBasedNN(matrix, perplexity=perplexity, method="exact", random_state=0, n_jobs=1).P.tocoo()
    rows = np.asarray(points, dtype=np.float64)
    total = 0.0
    for start in range(0, len(rows), 500):
        gaps = ((rows[start : start + 500, None, :] - rows[None, :, :]) ** 2).sum(axis=2)
        total += float((1 / (1 + gaps)).sum())
    total -= len(rows)
    near = 1 / (1 + ((rows[affinities.row] - rows[affinities.col]) ** 2).sum(axis=1))
    p = affinities.data / affinities.data.sum()
    return float((p * np.log(np.maximum(p, 1e-12) / (near / total))).sum())


def _first_fit(folder: str) -> tuple[float, str]:
    done = subprocess.run([sys.executable, "-c", _FIRST_FIT, folder], check=True, capture_output=True, text=True)
    seconds, digest = done.stdout.split()
    return float(seconds), digest


def _fresh_map() -> str:
    code = f"""
from benchmarks.maps import clustered
from numembed.analysis.maps.projections import project
import hashlib
print(hashlib.sha256(project(clustered({OPENTSNE_POINTS + 200}), "tsne")[0].tobytes()).hexdigest())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    return hashlib.sha256(done.stdout.encode()).hexdigest()
