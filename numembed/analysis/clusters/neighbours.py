"""Who lies beside whom in the original space: silhouettes, nearest sequences, heat-map orders, trees, a free query."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.preparation import Distance, cosine_parts, rescaled, undefined_reason
from numembed.analysis.silhouettes import from_sums
from numembed.core.arrays import Labels, Matrix, unit_rows
from numembed.core.errors import TooLarge

LARGEST = 5_000  # sequences of which all pairs are kept at once
_BEST_ORDER = 500  # sequences up to which the leaves of a tree are put in their best order: its cost grows with n³
_STRETCH_NUMBERS = 1 << 22  # distances computed at once
_EQUAL = 1e-6  # as a share: distances of float32 vectors that differ by less are equal
_ROUNDING = 1e-9
_SAME = 1e-12  # as a share of a squared distance's terms: what double precision does not tell from nothing

Distances = NDArray[np.float64]


@dataclass(frozen=True)
class Alike:
    """How often the nearest other sequence is of the same group."""

    share: float  # 0 to 1; sequences equally near share their place; NaN where undefined
    chance: float  # the exact mean over all shuffles of the groups
    p: float  # share of shuffles, the observed groups included, in which it is at least as often
    note: str = ""  # why undefined
    least_p: float = 0.0  # share of shuffles in which it is most often: above 0.05 nothing can be concluded
    null_sd: float = math.nan  # standard deviation over the shuffles


@dataclass(frozen=True, eq=False)
class Landing:
    """Where a new vector is placed among stored ones."""

    rows: NDArray[np.int64]  # (k,) the nearest sequences, nearest first
    distances: Distances  # (k,)
    family: int  # the label of the nearest centroid; -1 without sequences
    to_centroid: float  # distance to that centroid
    percentile: float  # 0 to 100: this share of the family's own sequences lies no farther from the others' centroid
    note: str = ""
    tied: tuple[int, ...] = ()  # labels of further families whose centroid is exactly as near


def refuse_larger(n: int, what: str) -> None:
    """Raise TooLarge where all pairs of n sequences would not fit."""
    if n > LARGEST:
        raise TooLarge(f"{what} compares all pairs, for at most {LARGEST:,} sequences, got {n:,}; choose fewer.")


def distances(matrix: Matrix, *, distance: Distance = "euclidean") -> Distances:
    """Return the distances (n, n) of all pairs; raise TooLarge above 5,000 sequences."""
    refuse_larger(len(matrix), "A table of distances")
    parts = [part for _, part in _stretches(matrix, distance)]
    return np.concatenate(parts) if parts else np.zeros((0, 0))


def silhouette_samples(
    matrix: Matrix, labels: Labels, *, distance: Distance = "euclidean"
) -> tuple[NDArray[np.float64], Labels]:
    """Return the silhouette (n,) of each sequence and the label (n,) of the other family nearest to it.

    NaN and −1 where undefined. Equal to scikit-learn's silhouette_samples; a family of one has 0. Rousseeuw 1987.
    """
    n = len(labels)
    if undefined_reason(matrix, labels, distance=distance):
        return np.full(n, np.nan), np.full(n, -1)
    groups, own = np.unique(labels, return_inverse=True)
    sizes = np.bincount(own)
    members = np.asarray(own[:, None] == np.arange(len(groups)), dtype=np.float64)
    values, nearest = np.empty(n), np.empty(n, dtype=np.int64)
    for at, part in _stretches(matrix, distance):
        sums, mine = part @ members, own[at]
        values[at], other = from_sums(sums, sums[np.arange(len(part)), mine], mine, sizes)
        nearest[at] = groups[other]
    return values, nearest


def nearest(
    matrix: Matrix, k: int, *, distance: Distance = "euclidean"
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows (n, k) of the nearest other sequences of each, and their distances (n, k), nearest first.

    Fewer than ``k`` where there are no more; equal distances in the order of the rows.
    """
    n = len(matrix)
    count = max(0, min(k, n - 1))
    rows, result = np.empty((n, count), dtype=np.int64), np.empty((n, count))
    for at, part in _stretches(matrix, distance):
        part[np.arange(len(part)), np.arange(n)[at]] = np.inf
        rows[at], result[at] = _closest(part, count)
    return rows, result


def nearest_alike(
    matrix: Matrix, labels: Labels, *, distance: Distance = "euclidean", permutations: int = 999, seed: int = 0
) -> Alike:
    """Return how often the nearest other sequence has the same label; NaN with a note where chance is 0 or 1.

    The vectors stay and the labels are shuffled among them. Of several equally near sequences each counts in part, so
    that the order of the rows decides nothing.
    """
    n, sizes = len(labels), np.unique(labels, return_counts=True)[1]
    if not 2 <= len(sizes) <= n - 1:
        return Alike(math.nan, math.nan, math.nan, f"needs 2 to n − 1 groups, got {len(sizes)} for n = {n}")
    refuse_larger(n, "A search for all nearest")
    rows, columns, weights = _nearest_pairs(matrix, distance)
    drawn, block = np.random.default_rng(seed), max(1, _STRETCH_NUMBERS // len(rows))
    shares = np.empty(1 + permutations)
    for start in range(0, 1 + permutations, block):
        shuffled = np.broadcast_to(labels, (min(block, 1 + permutations - start), n)).copy()
        skip = start == 0  # the labels as they are
        shuffled[skip:] = drawn.permuted(shuffled[skip:], axis=1)
        shares[start : start + len(shuffled)] = (shuffled[:, rows] == shuffled[:, columns]) @ weights / n
    chance = float((sizes * (sizes - 1)).sum() / (n * (n - 1)))
    p = np.count_nonzero(shares >= shares[0] - _ROUNDING) / len(shares)
    least = np.count_nonzero(shares >= shares.max() - _ROUNDING) / len(shares)
    return Alike(float(shares[0]), chance, float(p), least_p=float(least), null_sd=float(shares[1:].std()))


def similarity(matrix: Matrix) -> NDArray[np.float64]:
    """Return the cosine (n, n) of all pairs, from −1 to 1; a zero vector has 0 with every other, and 1 with itself.

    Raises TooLarge above 5,000 sequences.
    """
    return 1 - distances(matrix, distance="cosine")


def similar_order(matrix: Matrix) -> NDArray[np.int64]:
    """Return the rows (n,) of a heat map, similar ones side by side: the leaves of a dendrogram.

    Average linkage of cosine distances; up to 500 sequences its leaves stand in their best order (Bar-Joseph, Gifford
    and Jaakkola 2001). Raises TooLarge above 5,000.
    """
    if len(matrix) < 3:
        return np.arange(len(matrix))
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering

    pairs = _condensed(distances(matrix, distance="cosine"))
    tree = linkage(pairs, "average")
    if len(matrix) <= _BEST_ORDER:
        tree = optimal_leaf_ordering(tree, pairs)
    return np.asarray(leaves_list(tree), dtype=np.int64)


def centroid_tree(matrix: Matrix, labels: Labels, *, distance: Distance = "euclidean") -> NDArray[np.float64]:
    """Return the average-linkage tree of the k families' centroids, (k − 1, 4) as scipy's ``linkage``."""
    families = np.unique(labels)
    if len(families) < 2:
        return np.zeros((0, 4))
    from scipy.cluster.hierarchy import linkage

    rows = matrix if distance == "cosine" else rescaled(matrix)  # short rows would vanish beside long ones
    pairs = _condensed(distances(_centroids(rows, labels, families), distance=distance))
    return np.asarray(linkage(pairs, "average"), dtype=np.float64)


def land(
    query_vector: NDArray[np.floating],
    matrix: Matrix,
    labels: Labels,
    *,
    neighbours: int = 5,
    distance: Distance = "euclidean",
) -> Landing:
    """Return where ``query_vector`` (d,) is placed: its nearest sequences and the family with the nearest centroid.

    Each sequence of the family is held against the centroid of the *others*, as the query is no part of its own
    centroid either: the percentile says which share of them lies no farther away than the query does.
    """
    if not len(matrix):
        return Landing(np.zeros(0, np.int64), np.zeros(0), -1, math.nan, math.nan, "there are no sequences yet")
    query = np.asarray(query_vector, dtype=np.float64)
    rows, near = _closest(_to(query, matrix, distance)[None], min(neighbours, len(matrix)))
    families = np.unique(labels)
    gaps = _to(query, _centroids(matrix, labels, families), distance)
    gap = float(gaps.min())
    first, *tied = families[gaps <= gap * (1 + _EQUAL)].tolist()
    members = np.asarray(matrix[labels == first], dtype=np.float64)
    if len(members) < 2:
        return Landing(rows[0], near[0], first, gap, math.nan, "the family has one sequence", tuple(tied))
    others = (members.sum(axis=0) - members) / (len(members) - 1)
    own = np.array([_to(member, other[None], distance)[0] for member, other in zip(members, others, strict=True)])
    percentile = 100 * float(np.mean(own <= gap * (1 + 1e-9)))
    return Landing(rows[0], near[0], first, gap, percentile, tied=tuple(tied))


def _stretches(matrix: Matrix, distance: Distance) -> Iterator[tuple[slice, Distances]]:
    """Yield rows and their distances to all, some rows at a time; to itself, each row is at distance 0."""
    n = len(matrix)
    step = max(1, _STRETCH_NUMBERS // max(1, n))
    if not n:
        return
    if distance == "cosine":
        rows, halves = (np.asarray(part, dtype=np.float64) for part in cosine_parts(matrix))
    else:
        rows = np.asarray(rescaled(matrix), dtype=np.float64)
        rows = rows - rows.mean(axis=0)
        halves = np.einsum("ij,ij->i", rows, rows) / 2
    for start in range(0, n, step):
        at = slice(start, min(n, start + step))
        most = halves[at, None] + halves
        half = most - rows[at] @ rows.T
        half = np.where(half > (1e-6 if distance == "cosine" else _SAME) * most, half, 0)
        half[np.arange(len(half)), np.arange(n)[at]] = 0
        yield at, half if distance == "cosine" else np.sqrt(2 * half)


def _nearest_pairs(matrix: Matrix, distance: Distance) -> tuple[Labels, Labels, Distances]:
    """Return (m,) rows, the columns nearest to them and their weights, which are 1 together for each row."""
    n, rows, columns, weights = len(matrix), [], [], []
    for at, part in _stretches(matrix, distance):
        part[np.arange(len(part)), np.arange(n)[at]] = np.inf
        near = part <= part.min(axis=1, keepdims=True) * (1 + _EQUAL)
        row, column = np.nonzero(near)
        rows.append(row + at.start)
        columns.append(column)
        weights.append(1 / near.sum(axis=1)[row])
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(weights)


def _to(query: NDArray[np.float64], rows: NDArray[Any], distance: Distance) -> Distances:
    """Return the distance (m,) of one vector to each of m."""
    rows = np.asarray(rows, dtype=np.float64)
    if distance == "cosine":
        query, rows = unit_rows(query[None])[0], unit_rows(rows)
        half = ((rows - query) ** 2).sum(axis=1) / 2
        return np.where(rows.any(axis=1) & query.any(), half, 1.0)
    gaps: Distances = np.linalg.norm(rows - query, axis=1)
    return gaps


def _centroids(matrix: Matrix, labels: Labels, families: Labels) -> Matrix:
    return np.stack([matrix[labels == one].mean(axis=0, dtype=np.float64) for one in families]).astype(np.float32)


def _closest(part: Distances, count: int) -> tuple[NDArray[np.int64], Distances]:
    """Return the columns (m, count) of the smallest numbers of each row, and these; of equal ones the first."""
    if 4 * count < part.shape[1] and part.shape[1] > 1_000:
        edge = np.partition(part, max(0, count - 1), axis=1)[:, max(0, count - 1), None]
        candidates = [np.flatnonzero(row) for row in part <= edge]
        picked = [one[np.argsort(row[one], kind="stable")[:count]] for one, row in zip(candidates, part, strict=True)]
        columns = np.stack(picked)
    else:
        columns = np.argsort(part, axis=1, kind="stable")[:, :count]
    return columns, np.take_along_axis(part, columns, axis=1)


def _condensed(table: Distances) -> Distances:
    return table[np.triu_indices(len(table), k=1)]
