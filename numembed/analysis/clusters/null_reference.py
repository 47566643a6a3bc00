"""Do groups stand out? KMeans on vectors that spread as far in every direction, but hold no groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.clusters.clusterers import kmeans
from numembed.analysis.metrics import silhouette
from numembed.analysis.preparation import Distance, all_equal, rescaled
from numembed.core.arrays import Matrix
from numembed.core.progress import Progress, silent

LARGEST = 500  # sequences; beyond, each set of vectors without groups costs seconds
REFERENCES = 19  # the fewest with which p can reach 0.05


@dataclass(frozen=True, eq=False)
class StandingOut:
    """The silhouettes of KMeans next to those of vectors without groups. NaN with a note: undefined, and why."""

    low: NDArray[np.float64]  # (k,) the lowest of vectors without groups, by number of clusters
    high: NDArray[np.float64]  # (k,) the highest
    p: float  # that any number of clusters stands out as far by chance
    best: int  # index of the number of clusters that stands out furthest; -1 where undefined
    note: str = ""


def without_groups(matrix: Matrix, seed: int) -> Matrix:
    """Return shapeless vectors (n, d) with the same mean and the same spread along the same directions.

    The left singular vectors of the centred matrix are replaced by random ones. Where the rows are drawn from one
    normal distribution, whatever its shape, the result is as likely as the matrix itself.
    """
    rows = np.asarray(rescaled(matrix), dtype=np.float64)
    mean = rows.mean(axis=0)
    _, spread, directions = np.linalg.svd(rows - mean, full_matrices=False)
    drawn = np.random.default_rng(seed).standard_normal((len(rows), min(len(rows) - 1, len(spread))))
    places, corner = np.linalg.qr(drawn - drawn.mean(axis=0))
    places = places * np.sign(np.diag(corner))
    kept = places.shape[1]
    return np.asarray(mean + places * spread[:kept] @ directions[:kept], dtype=np.float32)


def standing_out(
    matrix: Matrix,
    ks: Sequence[int],
    observed: Sequence[float],
    *,
    distance: Distance = "euclidean",
    seed: int = 0,
    progress: Progress = silent,
) -> StandingOut:
    """Return whether the silhouettes ``observed`` of KMeans with ``ks`` clusters are above those without groups.

    Each silhouette is divided by the standard deviation of those without groups at that k, and the largest is compared
    with the largest of each set without groups: one test for all k, exact for a normal distribution.
    """
    nothing = np.full(len(ks), math.nan)
    if reason := _undefined(matrix, observed):
        return StandingOut(nothing, nothing, math.nan, -1, reason)
    silhouettes = np.full((1 + REFERENCES, len(ks)), math.nan)
    silhouettes[0] = observed
    for number in range(1, 1 + REFERENCES):
        other = without_groups(matrix, seed * REFERENCES + number)
        for i, k in enumerate(ks):
            if not math.isnan(observed[i]):
                silhouettes[number, i] = silhouette(other, kmeans(other, k, seed), distance=distance)
            progress((number - 1) * len(ks) + i + 1, REFERENCES * len(ks), "cluster")
    known = np.flatnonzero(np.isfinite(silhouettes).all(axis=0))
    if not len(known):
        return StandingOut(nothing, nothing, math.nan, -1, "KMeans found no groups in shapeless vectors")
    values = silhouettes[:, known]
    units = values.std(axis=0)
    far = (values - values.mean(axis=0)) / np.where(units > 0, units, 1)
    p = np.count_nonzero(far.max(axis=1) >= far[0].max() - 1e-9) / len(far)
    return StandingOut(silhouettes[1:].min(axis=0), silhouettes[1:].max(axis=0), float(p), int(known[far[0].argmax()]))


def _undefined(matrix: Matrix, observed: Sequence[float]) -> str:
    if len(matrix) > LARGEST:
        return f"is computed for at most {LARGEST:,} sequences"
    if len(matrix) < 4 or all_equal(matrix):
        return "all vectors are equal" if len(matrix) >= 4 else f"needs at least 4 sequences, got {len(matrix)}"
    return "KMeans found no groups" if all(math.isnan(value) for value in observed) else ""
