"""What all evidence of a stored model costs, beside one t-SNE of the same points."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.measure import Figure, cpu_seconds
from numembed.analysis.intervals import jackknife
from numembed.analysis.metrics import Labels, Matrix
from numembed.analysis.scores import plain_scores
from numembed.analysis.significance import default_permutations, permutation_test
from numembed.study import USUAL_DESIGNS

_FAMILIES = 6
_GOAL_SHUFFLES = 9_999  # the goals are for 10,000 labellings, the observed one among them


def evidence() -> list[Figure]:
    """The shuffles of two scores, the jackknife, and all six scores of 30 designs, beside one t-SNE of the points."""
    figures = []
    for n, goal in ((24, 5.0), (2_400, 1.0)):
        random = np.random.default_rng(0)
        labels = np.repeat(np.arange(_FAMILIES), n // _FAMILIES)
        windows = np.tile(np.arange(n // _FAMILIES), _FAMILIES)
        centres = random.standard_normal((_FAMILIES, 384)) / 2
        designs = [(centres[labels] + random.standard_normal((n, 384))).astype(np.float32) for _ in range(3)]
        map_seconds = cpu_seconds(partial(_map, designs[0]))  # the first call of a library pays its imports
        map_seconds = min(map_seconds, cpu_seconds(partial(_map, designs[0])))
        for shuffles in dict.fromkeys((default_permutations(n), _GOAL_SHUFFLES)):
            parts = _parts(designs, labels, windows, shuffles)
            told = ", ".join(f"{name} {seconds:.2f}" for name, seconds in parts.items())
            whose = "as the app runs" if shuffles == default_permutations(n) else "as the goal asks"
            print(f"n = {n:,}, {shuffles:,} shuffles ({whose}): t-SNE {map_seconds:.2f} s of CPU; {told}")
            name = f"evidence n = {n:,}, {shuffles:,} shuffles"
            figures.append(Figure(name, sum(parts.values()) / map_seconds, goal, at_most=True))
    return figures


def _parts(designs: list[Matrix], labels: Labels, windows: Labels, shuffles: int) -> dict[str, float]:
    """Return the CPU seconds of each part of the evidence."""
    matrix = designs[0]
    test = partial(permutation_test, matrix, labels, permutations=shuffles)
    _score(designs[:1], labels, times=1)
    return {
        "silhouette, free": cpu_seconds(test),
        "within windows": cpu_seconds(partial(test, within=windows)),
        "Davies–Bouldin, free": cpu_seconds(partial(test, metric="davies_bouldin")),
        "within windows too": cpu_seconds(partial(test, metric="davies_bouldin", within=windows)),
        "jackknife": cpu_seconds(partial(jackknife, matrix, labels)),
        f"six scores of {USUAL_DESIGNS} designs": cpu_seconds(partial(_score, designs, labels, times=USUAL_DESIGNS)),
    }


def _map(matrix: Matrix) -> None:
    from sklearn.manifold import TSNE

    perplexity = 30.0 if len(matrix) >= 50 else 10.0
    TSNE(perplexity=perplexity, max_iter=1_000, init="pca", learning_rate="auto", random_state=0).fit_transform(matrix)


def _score(designs: list[Matrix], labels: Labels, *, times: int) -> None:
    for count in range(times):
        plain_scores(designs[count % len(designs)], labels)
