"""Scores and permutation tests against scikit-learn."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Figure, cpu_seconds, interleaved
from numembed.analysis.inference.permutation_test import permutation_test
from numembed.analysis.inference.permuted_scores import permuted_silhouettes
from numembed.analysis.metrics import silhouette as our_silhouette
from numembed.analysis.preparation import Distance
from numembed.core.arrays import Matrix


def permutation() -> list[Figure]:
    """One shuffle of the vectorised permutation test, beside one call of scikit-learn's silhouette_score."""
    figures = []
    distances: tuple[Distance, ...] = ("euclidean", "cosine")
    cases = ((24, 9_999, 400, 200), (1_000, 999, 20, 50))
    for distance, (n, shuffles, sample, goal) in itertools.product(distances, cases):
        random = np.random.default_rng(0)
        matrix = random.standard_normal((n, 384)).astype(np.float32)
        labels = np.arange(n) % 6
        shuffled = np.stack([random.permutation(labels) for _ in range(sample)])
        ours, theirs = interleaved(
            partial(permutation_test, matrix, labels, distance=distance, permutations=shuffles),
            partial(_one_by_one, matrix, shuffled, distance),
            rounds=3,
        )
        error = np.abs(
            permuted_silhouettes(matrix, shuffled, distance=distance) - _one_by_one(matrix, shuffled, distance)
        )
        case, theirs, ours = f"{distance} n = {n:,}", theirs / sample * 1e6, ours / shuffles * 1e6
        print(f"{case}: {theirs:,.0f} µs with scikit-learn, {ours:,.1f} µs a shuffle")
        figures += [
            Figure(f"permutation {case}", theirs / ours, goal),
            Figure(f"permutation {case} error", float(error.max()), 1e-6, at_most=True),
        ]
    return figures


def silhouette() -> list[Figure]:
    """The cosine silhouette from group sums, beside scikit-learn's, at n = 10,000 and d = 384."""
    from sklearn.metrics import silhouette_score

    matrix = np.random.default_rng(0).standard_normal((10_000, 384)).astype(np.float32)
    labels = np.arange(10_000) % 6
    theirs = cpu_seconds(lambda: silhouette_score(matrix, labels, metric="cosine"))
    (ours,) = interleaved(lambda: our_silhouette(matrix, labels, distance="cosine"), rounds=15)
    expected = float(silhouette_score(matrix, labels, metric="cosine"))
    error = abs(our_silhouette(matrix, labels, distance="cosine") - expected)
    print(f"scikit-learn {theirs:.2f} s, ours {ours * 1000:.1f} ms of CPU")
    return [Figure("silhouette cosine", theirs / ours, 100), Figure("silhouette error", error, 1e-6, at_most=True)]


def _one_by_one(matrix: Matrix, labellings: NDArray[np.int64], distance: Distance) -> NDArray[np.float64]:
    from sklearn.metrics import silhouette_score

    return np.array([silhouette_score(matrix, labels, metric=distance) for labels in labellings])
