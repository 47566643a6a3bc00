"""Vectors and groups as the scores take them: rescaled, around their mean, as parts of cosine distances, counted."""

from __future__ import annotations

import functools
import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from numembed.core.arrays import Labels, Matrix, level_rows

Distance = Literal["euclidean", "cosine"]
ONE_CENTRE = 1e-12  # as a share of the largest coordinate: centres no farther apart are one
_FEW_PAIRS = 20  # for each row, that lie close along some directions
_LEFT = 1e-14  # as a share: what double precision leaves of a difference of squares that are equal
_BLOCK = 256  # rows that are compared with all others at once
SAME = np.float32(1e-6)  # as a share: what single precision does not tell from nothing


def all_equal(matrix: Matrix) -> bool:
    """Return whether no two rows differ by more than rounding; a look at the first rows answers nearly always."""
    scaled = _levelled(matrix)
    return all(bool(_alike(part, scaled[:1]).all()) for part in (scaled[:16], scaled))


def rescaled(matrix: Matrix) -> Matrix:
    """Return the matrix as scores and maps take it; rows without any need for it are returned as they are.

    It is divided by a power of two where its squares would leave the range of single precision: no score and no map
    depends on the unit, and a power of two leaves every digit as it is. Rows that differ by rounding only, such as
    those of texts that a model cuts to the same tokens, become equal.
    """
    return equalised(_levelled(matrix))


def equal_rows(matrix: Matrix) -> tuple[tuple[int, ...], ...]:
    """Return the rows that are equal up to rounding, each group of two or more with its numbers in order."""
    if len(matrix) < 2:
        return ()
    first = _first_equal(rescaled(matrix))
    alike = np.flatnonzero(np.bincount(first, minlength=len(first)) > 1)
    return tuple(tuple(np.flatnonzero(first == row).tolist()) for row in alike)


def _levelled(matrix: Matrix) -> Matrix:
    largest = max(float(matrix.max(initial=0)), -float(matrix.min(initial=0)))
    if largest == 0 or 1e-3 < largest < 1e6:
        return matrix
    return np.asarray(np.ldexp(matrix, -math.frexp(largest)[1]), dtype=np.float32)


def equalised(matrix: Matrix) -> Matrix:
    """Return the matrix with each row replaced by the first one from which it differs by less than SAME of its length.

    Where there is no such pair, which one projection nearly always shows, the matrix itself is returned.
    """
    n, d = matrix.shape
    if n < 2 or d == 0:
        return matrix
    reach = 4 * float(SAME) * float(np.sqrt(np.einsum("ij,ij->i", matrix, matrix).max()))  # with room for rounding
    places = matrix @ _directions(d)
    if np.diff(np.sort(places[:, 0])).min() > reach:
        return matrix
    first = _first_equal(matrix)
    distinct = np.flatnonzero(first == np.arange(n))
    alike = distinct[_first_alike(matrix[distinct], places[distinct], reach)]
    first[distinct] = alike
    first = first[first]
    return matrix if (first == np.arange(n)).all() else matrix[first]


def _first_equal(matrix: Matrix) -> NDArray[np.intp]:
    """Return for each row the number of the first that is equal to it, (n,); −0 is 0."""
    rows = np.ascontiguousarray(matrix + 0.0).view(np.dtype((np.void, matrix.itemsize * matrix.shape[1]))).ravel()
    _, first, own = np.unique(rows, return_index=True, return_inverse=True)
    return np.asarray(first[own], dtype=np.intp)


def _first_alike(matrix: Matrix, places: NDArray[np.float32], reach: float) -> NDArray[np.intp]:
    """Return for each of some distinct rows the first that differs from it by rounding only; itself where none does."""
    if len(matrix) <= _BLOCK:  # pages need it without scipy
        return _in_blocks(matrix)
    from scipy.spatial import cKDTree

    first, tree = np.arange(len(matrix)), cKDTree(places)
    if tree.count_neighbors(tree, reach) > _FEW_PAIRS * len(matrix):
        return _in_blocks(matrix)
    pairs = tree.query_pairs(reach, output_type="ndarray")
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    ones, twos = pairs[_alike(matrix[pairs[:, 0]], matrix[pairs[:, 1]])].T if len(pairs) else pairs.T
    for one, two in zip(ones.tolist(), twos.tolist(), strict=True):
        if first[one] == one and first[two] == two:
            first[two] = one
    return first


def _in_blocks(matrix: Matrix) -> NDArray[np.intp]:
    """Return what ``_first_alike`` returns from the distances of all rows: of few, or where many lie close together."""
    rows, first, numbers = matrix.astype(np.float64), np.arange(len(matrix)), np.arange(len(matrix))
    limits = (float(SAME) * np.linalg.norm(rows, axis=1)) ** 2
    rows -= rows.mean(axis=0)
    squares = np.einsum("ij,ij->i", rows, rows)
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        gaps = squares[block, None] + squares - 2 * (rows[block] @ rows.T)
        close = gaps <= limits[block, None] + _LEFT * (squares[block, None] + squares)
        for row, others in enumerate(close, start):
            if first[row] == row:
                later = np.flatnonzero(others & (first == numbers) & (numbers > row))
                first[later[_alike(matrix[row : row + 1], matrix[later])]] = row
    return first


def _alike(rows: Matrix, others: Matrix) -> NDArray[np.bool_]:
    """Return where ``rows`` and ``others``, both (m, d), differ by less than SAME of the first one's length."""
    length = np.linalg.norm(rows, axis=1)
    return np.asarray(np.linalg.norm(rows - others, axis=1) <= SAME * length, dtype=np.bool_)


@functools.lru_cache(maxsize=64)
def _directions(d: int) -> NDArray[np.float32]:
    """Return up to four directions at right angles, (d, 4): rows that lie far apart seldom agree along all of them."""
    drawn = np.random.default_rng(0).standard_normal((d, min(d, 4)))
    return np.asarray(np.linalg.qr(drawn)[0], dtype=np.float32)


def centred(matrix: Matrix) -> NDArray[np.float64]:
    """Return the rows around their mean in double precision, where differences lose no digits."""
    rows = np.array(rescaled(matrix), dtype=np.float64)
    rows -= rows.mean(axis=0)
    return rows


def cosine_parts(matrix: Matrix) -> tuple[Matrix, NDArray[np.float32]]:
    """Return (centred (n, d), halves (n,)) with distance(x, y) = halves_x + halves_y − centred_x · centred_y.

    Equal to 1 − cosine. That difference itself loses its digits where all rows point nearly the same way, as those
    of many models do; half the squared distance of the unit rows keeps them. Zero rows are at distance 1 of all.
    Rows that point the same way up to rounding become equal.
    """
    norms = np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64))[:, None]
    if (level := level_rows(matrix, norms[:, 0])) is not matrix:
        return cosine_parts(np.asarray(level, dtype=np.float32))
    unit = equalised(np.asarray(matrix / np.where(norms > 0, norms, 1).astype(np.float32), dtype=np.float32))
    centred = unit - unit.mean(axis=0)
    halves = np.einsum("ij,ij->i", centred, centred) / 2
    return centred, np.where(norms[:, 0] > 0, halves, halves + np.float32(0.5))


def counts_of(labels: NDArray[np.integer], clusters: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return how many members each group (rows) has in each cluster (columns), both in the order of their labels."""
    groups, own = np.unique(labels, return_inverse=True)
    result, into = np.unique(clusters, return_inverse=True)
    counts = np.bincount(own * len(result) + into, minlength=len(groups) * len(result))
    return np.asarray(counts.reshape(len(groups), len(result)), dtype=np.int64)


def undefined_reason(matrix: Matrix, labels: Labels, *, distance: Distance = "euclidean") -> str:
    """Return why separation is undefined here, in plain words, or "" where it is defined."""
    if reason := _groups_reason(labels):
        return reason
    if all_equal(matrix):
        return "all vectors are equal"
    if distance == "cosine" and one_direction(cosine_parts(matrix)[1]):
        return "all vectors point the same way"
    return ""


def davies_bouldin_note(matrix: Matrix, labels: Labels) -> str:
    """Return why Davies–Bouldin is undefined here, or what flatters it, or ""."""
    if reason := undefined_reason(matrix, labels):
        return reason
    centres = np.stack([matrix[labels == group].mean(axis=0, dtype=np.float64) for group in np.unique(labels)])
    gaps = [np.linalg.norm(centres[i + 1 :] - centres[i], axis=1).min() for i in range(len(centres) - 1)]
    return "two groups share one centre; that pair is left out" if min(gaps) <= SAME * np.abs(matrix).max() else ""


def agreement_undefined_reason(labels: Labels, clusters: Labels) -> str:
    """Return why agreement is undefined here, or ""; with one sequence per family any clusters would match."""
    if len(np.unique(labels)) < 2:
        return "needs at least 2 families"
    if reason := _groups_reason(labels):
        return reason
    return "KMeans found no two clusters" if len(np.unique(clusters)) < 2 else ""


def one_direction(halves: NDArray[np.float32]) -> bool:
    """Return whether vectors with these parts of cosine distances all point the same way."""
    return bool(halves.max() < 1e-12)  # closer to the common direction than single precision can tell


def _groups_reason(labels: Labels) -> str:
    n, groups = len(labels), len(np.unique(labels))
    return "" if 2 <= groups <= n - 1 else f"needs 2 to n − 1 groups, got {groups} for n = {n}"
