"""Ways to find groups without knowing the families, how sure they are, and a name for each group by rule.

A clusterer takes (matrix, k, seed) and returns labels (n,) from 0; -1 marks what it leaves out as noise. With fewer
distinct vectors than ``k`` there are fewer clusters, with one distinct vector there is one. Facts: ``reference``;
``finds_k``, where a clusterer chooses the number itself.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numembed.analysis import labels as labellings
from numembed.analysis.clusters.agreement import pairwise_ari
from numembed.analysis.clusters.attributes import traits
from numembed.analysis.clusters.neighbours import distances, refuse_larger
from numembed.analysis.metrics import silhouette
from numembed.analysis.preparation import Distance, counts_of, rescaled, undefined_reason
from numembed.core.arrays import Labels, Matrix
from numembed.core.progress import Progress, silent
from numembed.core.registry import Registry
from numembed.sequences.sets import SequenceSet

CLUSTERERS: Registry[Callable[[Matrix, int, int], Labels]] = Registry("clusterer")
MIXED, NOISE = "mixed", "left out as noise"
_MOST = 0.8  # of a cluster's sequences have what its name says
_CLEARLY = 0.3  # less common outside the cluster than inside
_PER_WORD = 0.05  # that a further word must add to the difference
_WORDS = 3
_NOUNS = ("size", "digits", "parity", "prime")  # stand before "numbers"


@CLUSTERERS.register("KMeans", reference="section 4.5 of the paper", finds_k=False)
def kmeans(matrix: Matrix, k: int, seed: int) -> Labels:
    """Groups around k centres: the clusters that the paper scores."""
    return labellings.kmeans(matrix, np.arange(len(matrix)) % max(1, k), seed=seed)


@CLUSTERERS.register("Agglomerative (Ward)", reference="Ward 1963", finds_k=False)
def ward(matrix: Matrix, k: int, seed: int) -> Labels:
    """Groups by joining, again and again, the two that spread least when joined; Euclidean, no chance in it."""
    refuse_larger(len(matrix), "Agglomerative clustering")
    count = _clusters(matrix, k)
    if count < 2:
        return np.zeros(len(matrix), dtype=np.int64)
    from sklearn.cluster import AgglomerativeClustering

    return _whole(AgglomerativeClustering(n_clusters=count).fit_predict(rescaled(matrix)))


@CLUSTERERS.register("Agglomerative (average cosine)", reference="Sokal and Michener 1958", finds_k=False)
def average_cosine(matrix: Matrix, k: int, seed: int) -> Labels:
    """Groups by joining, again and again, the two with the smallest average angle between them; no chance in it."""
    refuse_larger(len(matrix), "Agglomerative clustering")
    pairs = distances(matrix, distance="cosine")
    count = _clusters(matrix, k) if pairs.any() else 0
    if count < 2:
        return np.zeros(len(matrix), dtype=np.int64)
    from sklearn.cluster import AgglomerativeClustering

    joined = AgglomerativeClustering(n_clusters=count, metric="precomputed", linkage="average")
    return _whole(joined.fit_predict(pairs))


@CLUSTERERS.register("Spectral", reference="Ng, Jordan and Weiss 2001", finds_k=False)
def spectral(matrix: Matrix, k: int, seed: int) -> Labels:
    """Groups of a graph in which close sequences are linked, so that they may have any shape.

    The strength of a link is exp(−d² / m) with d the Euclidean distance and m the median of all d².
    """
    refuse_larger(len(matrix), "Spectral clustering")
    count = _clusters(matrix, k)
    if count < 2:
        return np.zeros(len(matrix), dtype=np.int64)
    if count == len(matrix):
        return np.arange(count)
    from sklearn.cluster import SpectralClustering

    squares = distances(matrix) ** 2
    affinity = np.exp(-squares / np.median(squares[squares > 0]))
    result = SpectralClustering(n_clusters=count, affinity="precomputed", random_state=seed % 2**32)
    with _one_thread(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)  # equal vectors: fewer groups than asked for
        warnings.filterwarnings("ignore", category=RuntimeWarning)  # few vectors: solved densely instead
        return _whole(result.fit_predict(affinity))


@CLUSTERERS.register("HDBSCAN", reference="Campello, Moulavi and Sander 2013", finds_k=True)
def hdbscan(matrix: Matrix, k: int, seed: int) -> Labels:
    """Groups where sequences lie densely, as many as there are, and the rest left out as noise (−1).

    k is not used. The smallest group has an eighth of the sequences, at least 2 and at most 5.
    """
    refuse_larger(len(matrix), "HDBSCAN")
    n = len(matrix)
    if n < 3 or _clusters(matrix, 2) < 2:
        return np.zeros(n, dtype=np.int64)
    from sklearn.cluster import HDBSCAN

    with _one_thread():
        return _whole(HDBSCAN(min_cluster_size=int(np.clip(n // 8, 2, 5)), copy=True).fit_predict(rescaled(matrix)))


@CLUSTERERS.register("Gaussian mixture", reference="Dempster, Laird and Rubin 1977", finds_k=False)
def gaussian_mixture(matrix: Matrix, k: int, seed: int) -> Labels:
    """Groups as k bell-shaped clouds, each as wide as it needs along every axis, found in at most 10 dimensions.

    The widths of a cloud cannot be estimated from few sequences in hundreds of dimensions: it uses the first min(n/3,
    10) principal components, and its axes are theirs.
    """
    count = _clusters(matrix, k)
    if count < 2:
        return np.zeros(len(matrix), dtype=np.int64)
    from sklearn.decomposition import PCA
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    dims = max(1, min(len(matrix) // 3, 10, matrix.shape[1]))
    with _one_thread(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        points = PCA(dims, random_state=seed % 2**32).fit_transform(np.asarray(rescaled(matrix), dtype=np.float64))
        points /= points.std() or 1.0
        clouds = GaussianMixture(count, covariance_type="diag", reg_covar=1e-3, n_init=10, random_state=seed % 2**32)
        return _whole(clouds.fit_predict(points))


@dataclass(frozen=True)
class NumberOfClusters:
    """One line of the table that helps to choose k."""

    k: int
    silhouette: float  # of the clusters of seed 0; NaN where undefined
    stability: float  # mean adjusted Rand index over pairs of seeds
    groupings: int  # different ones over the seeds
    note: str = ""


def default_seeds(n: int) -> int:
    """Return how many KMeans runs n sequences get: fewer where one costs more.

    >>> default_seeds(24), default_seeds(2_400), default_seeds(20_000)
    (50, 10, 5)
    """
    return 50 if n <= 500 else 10 if n <= 5_000 else 5


def best_k(
    matrix: Matrix,
    ks: Sequence[int] = range(2, 13),
    *,
    seeds: int | None = None,
    distance: Distance = "euclidean",
    progress: Progress = silent,
) -> tuple[NumberOfClusters, ...]:
    """Return silhouette and stability of KMeans for each number of clusters; high in both is a k that the data has.

    The seeds are 0 … ``seeds`` − 1, with ten restarts each. On noise the silhouette of KMeans is above 0 too: compare
    it with that of vectors without groups, not with 0.
    """
    seeds = seeds or default_seeds(len(matrix))
    table = []
    for i, k in enumerate(ks):
        runs = _kmeans_runs(matrix, k, seeds, progress, i * seeds, len(ks) * seeds)
        stability, groupings, note = _stability(runs, k)
        reason = undefined_reason(matrix, runs[0], distance=distance) if len(runs) else note
        value = math.nan if reason else silhouette(matrix, runs[0], distance=distance)
        table.append(NumberOfClusters(k, value, stability, groupings, reason or note))
    return tuple(table)


def matched_share(clusters: Labels, labels: Labels) -> float:
    """Return the share of sequences in the cluster of their label, in the one-to-one assignment that matches most."""
    from scipy.optimize import linear_sum_assignment

    counts = counts_of(clusters, labels)
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / len(labels)) if len(labels) else math.nan


def name_clusters(clusters: Labels, sequences: SequenceSet) -> tuple[str, ...]:
    """Return a name for each cluster, in the order of their labels, such as "large 3-digit odd numbers, window 4".

    Of what can be said of a sequence (:func:`~numembed.analysis.clusters.attributes.traits`) a name takes up to three
    things that at least 80% of the cluster's sequences have together, and fewer, by 30% of all, outside; those that set
    the cluster apart most. Where nothing does, "mixed"; equal names are numbered.
    """
    known = traits(sequences)
    groups = np.unique(clusters)
    names = [NOISE if group < 0 else _name(clusters == group, known) for group in groups.tolist()]
    seen = dict.fromkeys(names, 0)
    numbered = []
    for name in names:
        seen[name] += 1
        numbered.append(f"{name} ({seen[name]})" if names.count(name) > 1 else name)
    return tuple(numbered)


def _name(inside: NDArray[np.bool_], mapping: dict[str, tuple[str, ...]]) -> str:
    common: dict[str, tuple[str, NDArray[np.bool_]]] = {}  # kind: what most inside have, and who has it
    for kind, words in mapping.items():
        column = np.array(words)
        values, counts = np.unique(column[inside], return_counts=True)
        if (word := str(values[counts.argmax()])) and counts.max() >= _MOST * inside.sum():
            common[kind] = word, column == word
    best: tuple[str, ...] = ()
    most = -math.inf
    for length in range(1, _WORDS + 1):
        for kinds in combinations(common, length):
            true = np.logical_and.reduce([common[kind][1] for kind in kinds])
            share, others = true[inside].mean(), true[~inside].mean() if not inside.all() else 1.0
            gain = share - others - _PER_WORD * (length - 1)
            if share >= _MOST and share - others >= _CLEARLY and gain > most + 1e-9:
                best, most = kinds, gain
    return _phrase({kind: common[kind][0] for kind in best}) if best else MIXED


def _phrase(words: dict[str, str]) -> str:
    parts = [f"mostly {words['family']}"] if "family" in words else []
    if before := [words[kind] for kind in _NOUNS if kind in words]:
        parts.append(" ".join(before) + " numbers")
    return ", ".join(parts + [word for kind, word in words.items() if kind not in ("family", *_NOUNS)])


def _stability(runs: Sequence[Labels], k: int) -> tuple[float, int, str]:
    """Return the mean adjusted Rand index over pairs of runs, how many different groupings there are, and a note."""
    if not len(runs):
        return math.nan, 0, f"{k} clusters need more than {max(k, 2)} sequences"
    if len(np.unique(runs[0])) < 2:
        return math.nan, 1, "KMeans found no two clusters"
    alike = pairwise_ari(np.stack(runs))
    pairs = alike[np.triu_indices(len(runs), k=1)]
    return float(pairs.mean()) if len(pairs) else 1.0, len(np.unique(alike > 1 - 1e-9, axis=0)), ""


def _kmeans_runs(matrix: Matrix, k: int, seeds: int, progress: Progress, before: int, total: int) -> list[Labels]:
    runs = []
    for seed in range(seeds) if 2 <= k < len(matrix) else ():
        runs.append(kmeans(matrix, k, seed))
        progress(before + seed + 1, total, "cluster")
    return runs


def _clusters(matrix: Matrix, k: int) -> int:
    """Return how many clusters there can be: k, or as many as there are distinct vectors."""
    return min(k, len(matrix) and len(np.unique(matrix, axis=0)))


def _whole(result: NDArray[Any]) -> Labels:
    return np.asarray(result, dtype=np.int64)


def _one_thread() -> Any:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    return threadpool_limits(1, user_api="openmp")  # more add up in any order: other last digits in each run
