"""What keeps the last digits of vectors, and the number of threads, from deciding what is made of them.

The same text in another batch, or with another number of threads on some processors, has a vector that differs by
about 1e-7. Scores differ as little; a map by t-SNE or UMAP becomes another one.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.preparation import centred, rescaled
from numembed.core.arrays import Matrix

ROUNDED_UP_TO = 500  # rows: with more, some of their many distances are rounded another way each time
_STEPS = 12  # a step is this power of two below the largest distance
_NOISE = 20  # and no finer than this power of two below the largest vector: single precision has 24


def with_rounded_distances(matrix: Matrix) -> Matrix:
    """Return points (n, m), m < n and m ≤ d, with the distances of the rows, rounded; rows at distance 0 become equal.

    A distance is rounded to a 4,096th of the smallest power of two above the largest: maps show no such difference.
    Distances are n (n − 1) / 2 numbers whose error does not grow with the dimension, so that few of them lie where an
    error of 1e-7 rounds them another way; coordinates are many more. The points have them as far as rounded
    distances allow (classical scaling: Torgerson 1952). With more than ``ROUNDED_UP_TO`` rows the matrix is returned.
    """
    if not 1 < len(matrix) <= ROUNDED_UP_TO:
        return matrix
    steps, step = _steps(rescaled(matrix))
    first = _first_equal(steps)
    kept, own = np.unique(first, return_inverse=True)
    squares = np.square(steps[np.ix_(kept, kept)])
    squares -= squares.mean(axis=0)
    squares -= squares.mean(axis=1, keepdims=True)
    values, directions = np.linalg.eigh(squares / -2)
    values, directions = values[-matrix.shape[1] :], directions[:, -matrix.shape[1] :]
    real = values > 1e-9 * max(1.0, values[-1])
    points = directions[:, real] * np.sqrt(values[real]) * step
    return np.asarray(points[own] if real.any() else np.zeros((len(matrix), 1)), dtype=np.float32)


def _steps(matrix: Matrix) -> tuple[NDArray[np.float64], float]:
    """Return the distances between all rows as whole numbers of steps (n, n), and the step."""
    rows = centred(matrix)
    squares = np.einsum("ij,ij->i", rows, rows)
    table = squares[:, None] + squares - 2 * (rows @ rows.T)
    table = np.sqrt(np.maximum(np.maximum(table, table.T), 0))
    np.fill_diagonal(table, 0)
    longest = float(np.linalg.norm(np.asarray(matrix, dtype=np.float64), axis=1).max())
    powers = np.frexp(table.max())[1] - _STEPS, np.frexp(longest)[1] - _NOISE
    step = float(np.ldexp(1.0, max(powers)))
    return np.rint(table / step), step


def _first_equal(steps: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each row the first that it equals, by way of others too (n,)."""
    first = (steps == 0).argmax(axis=1)
    while (earlier := first[first]).tolist() != first.tolist():
        first = earlier
    return np.asarray(first, dtype=np.int64)


def one_thread() -> AbstractContextManager[Any]:
    """Return a context in which numpy and scikit-learn use one thread: sums of several end in other digits."""
    limited: AbstractContextManager[Any] = _libraries().limit(limits=1)
    return limited


@functools.cache
def _libraries() -> Any:
    """Return what holds their threads; looking for the libraries takes longer than grouping a few vectors."""
    import sklearn.cluster  # noqa: F401  loads them
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()
