"""Groupings of a set of sequences: what a score takes as its labels."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Annotated

import numpy as np

from numembed.analysis.metrics import Labels, Matrix, rescaled
from numembed.registry import Range, Registry

LABELLINGS: Registry[Callable[..., Labels]] = Registry("labelling")


@LABELLINGS.register("Families")
def families(matrix: Matrix, labels: Labels) -> Labels:
    """The family of each sequence: the truth that the scores are held against."""
    return labels


@LABELLINGS.register("KMeans clusters", reference="section 4.5 of the paper")
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
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    wanted = len(np.unique(labels))
    count = min(wanted, len(matrix) and len(np.unique(matrix, axis=0)))
    if count < 2:
        return np.zeros(len(matrix), dtype=np.int64)
    # More than two threads add up the centres in any order, and the last digits would differ from run to run.
    with threadpool_limits(1, user_api="openmp"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Number of distinct clusters")
        found = KMeans(n_clusters=count, n_init=restarts, random_state=seed).fit_predict(rescaled(matrix))
    return np.asarray(found, dtype=np.int64)
