"""What the evidence of a stored model costs, beside one t-SNE of the same points."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.measure import Figure, cpu_seconds
from numembed.analysis.intervals import jackknife
from numembed.analysis.metrics import Labels, Matrix, silhouette
from numembed.analysis.scores import plain_scores
from numembed.analysis.significance import default_permutations, permutation_test
from numembed.study import USUAL_DESIGNS

_FAMILIES, _WINDOWS = 6, 4


def evidence() -> list[Figure]:
    """The permutation tests, jackknife and 30 designs of a silhouette, as the app makes them, beside one t-SNE."""
    figures = []
    for n, goal in ((24, 5.0), (2_400, 1.0)):
        random = np.random.default_rng(0)
        labels = np.repeat(np.arange(_FAMILIES), n // _FAMILIES)
        windows = np.tile(np.arange(n // _FAMILIES), _FAMILIES)
        centres = random.standard_normal((_FAMILIES, 384)) / 2
        designs = [(centres[labels] + random.standard_normal((n, 384))).astype(np.float32) for _ in range(3)]
        map_seconds = cpu_seconds(partial(_map, designs[0]))  # the first call of a library pays its imports
        map_seconds = min(map_seconds, cpu_seconds(partial(_map, designs[0])))
        ours = {
            "free permutations": cpu_seconds(partial(permutation_test, designs[0], labels)),
            "within windows": cpu_seconds(partial(permutation_test, designs[0], labels, within=windows)),
            "jackknife": cpu_seconds(partial(jackknife, designs[0], labels)),
            "silhouettes of 30 designs": cpu_seconds(partial(_silhouettes, designs, labels)),
        }
        told = ", ".join(f"{name} {seconds:.2f}" for name, seconds in ours.items())
        print(f"n = {n:,}, {default_permutations(n):,} shuffles: t-SNE {map_seconds:.2f} s of CPU; {told}")
        print(f"  beside it: the other five scores of 30 designs {cpu_seconds(partial(_score, designs, labels)):.2f}")
        figures.append(Figure(f"evidence n = {n:,}", sum(ours.values()) / map_seconds, goal, at_most=True))
    return figures


def _map(matrix: Matrix) -> None:
    from sklearn.manifold import TSNE

    perplexity = 30.0 if len(matrix) >= 50 else 10.0
    TSNE(perplexity=perplexity, max_iter=1_000, init="pca", learning_rate="auto", random_state=0).fit_transform(matrix)


def _silhouettes(designs: list[Matrix], labels: Labels) -> None:
    for count in range(USUAL_DESIGNS):
        silhouette(designs[count % len(designs)], labels)


def _score(designs: list[Matrix], labels: Labels) -> None:
    for count in range(USUAL_DESIGNS):
        plain_scores(designs[count % len(designs)], labels)
