"""Groupings of a set of sequences: what a score takes as its labels.

A labelling is one registered function, (matrix, families) → groups; every metric is then computed for it. An option
named ``seed`` is given the study's. Its facts:

- ``phrase``: what stands behind "with" in a heading, where that is not the title.
- ``truth``: True for the families themselves: no agreement with them is computed.
- ``untested``: why no shuffles of these groups are a chance level, in words; "" where they are one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Annotated

import numpy as np

from numembed.analysis.preparation import rescaled
from numembed.analysis.steadiness import one_thread
from numembed.core.arrays import Labels, Matrix
from numembed.core.registry import Range, Registry

_DOUBLE_UP_TO = 1 << 24  # numbers; twice as wide they take 128 MiB
LABELLINGS: Registry[Callable[..., Labels]] = Registry("labelling")


@LABELLINGS.register("Families", phrase="the families", truth=True, untested="")
def families(matrix: Matrix, labels: Labels) -> Labels:
    """The family of each sequence: the truth that the scores are held against."""
    return labels


@LABELLINGS.register(
    "KMeans clusters",
    reference="section 4.5 of the paper",
    untested="KMeans chose these groups to be separate, so shuffled groups are no chance level for them",
)
def kmeans(
    matrix: Matrix,
    labels: Labels,
    *,
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0,
    restarts: Annotated[int, Range(1, 100)] = 10,
) -> Labels:
    """The groups that KMeans finds without knowing the families: as many as there are families.

    With fewer distinct vectors than families there are only as many clusters.
    """
    from sklearn import config_context
    from sklearn.cluster import KMeans

    rows = rescaled(matrix)
    count = _distinct(rows, len(np.unique(labels)))
    if count < 2:
        return np.zeros(len(matrix), dtype=np.int64)
    if rows.size <= _DOUBLE_UP_TO:  # scikit-learn is quicker where it need not widen the numbers for every distance
        rows = rows.astype(np.float64)
    unchecked = config_context(assume_finite=True, skip_parameter_validation=True)
    with one_thread(), unchecked, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Number of distinct clusters")
        result = KMeans(n_clusters=count, n_init=restarts, random_state=seed).fit_predict(rows)
    return np.asarray(result, dtype=np.int64)


def _distinct(matrix: Matrix, most: int) -> int:
    """Return how many rows differ; counting ends at ``most``."""
    seen: set[bytes] = set()
    for row in matrix:
        seen.add((row + 0.0).tobytes())  # −0 is 0
        if len(seen) >= most:
            break
    return len(seen)
