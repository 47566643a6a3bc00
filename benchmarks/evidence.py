"""What all evidence of a stored model costs, beside one t-SNE of the same points."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.measure import Figure, cpu_seconds
from numembed.analysis.inference.intervals import jackknife
from numembed.analysis.inference.permutation_test import permutation_test
from numembed.analysis.scores import plain_scores
from numembed.core.arrays import Labels, Matrix
from numembed.studies.study import USUAL_DESIGNS

_FAMILIES, _EXTRA = 6, "Davies–Bouldin"


def evidence() -> list[Figure]:
    """Shuffles free and within windows, jackknife and all six scores of 30 designs, beside one t-SNE of the points.

    What the goal names are 9,999 shuffles of the silhouette; those of Davies–Bouldin come on top and are distinguished.
    """
    figures = []
    for n, goal in ((24, 5.0), (2_400, 1.0)):
        random = np.random.default_rng(0)
        labels = np.repeat(np.arange(_FAMILIES), n // _FAMILIES)
        windows = np.tile(np.arange(n // _FAMILIES), _FAMILIES)
        centres = random.standard_normal((_FAMILIES, 384)) / 2
        designs = [(centres[labels] + random.standard_normal((n, 384))).astype(np.float32) for _ in range(3)]
        _map(designs[0])  # the first call of a library pays its imports
        before = cpu_seconds(partial(_map, designs[0]))
        parts = _parts(designs, labels, windows)
        map_seconds = (before + cpu_seconds(partial(_map, designs[0]))) / 2  # before and after the parts
        text = ", ".join(f"{name} {seconds:.2f}" for name, seconds in parts.items())
        print(f"n = {n:,}: t-SNE {map_seconds:.2f} s of CPU; {text}")
        named = sum(seconds for name, seconds in parts.items() if not name.startswith(_EXTRA))
        figures.append(Figure(f"evidence n = {n:,}", named / map_seconds, goal, at_most=True))
        every = sum(parts.values()) / map_seconds
        figures.append(Figure(f"evidence n = {n:,}, with {_EXTRA}", every, goal, at_most=True))
    return figures


def _parts(designs: list[Matrix], labels: Labels, windows: Labels) -> dict[str, float]:
    """Return the CPU seconds of each part of the evidence, with as many shuffles as the app draws."""
    matrix = designs[0]
    test = partial(permutation_test, matrix, labels)
    _score(designs[:1], labels, times=1)
    return {
        "silhouette, free": cpu_seconds(test),
        "silhouette, within windows": cpu_seconds(partial(test, within=windows)),
        f"{_EXTRA}, free": cpu_seconds(partial(test, metric="davies_bouldin")),
        f"{_EXTRA}, within windows": cpu_seconds(partial(test, metric="davies_bouldin", within=windows)),
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
