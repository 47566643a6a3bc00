"""Scores of a labelled set of vectors: (matrix, labels) → one number, NaN where the score is undefined.

Facts: ``kind`` "separation" takes (matrix, labels), "agreement" takes (labels, clusters).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from numembed.core.arrays import Labels, Matrix
from numembed.core.registry import Registry

METRICS: Registry[Callable[..., float]] = Registry("metric")
Distance = Literal["euclidean", "cosine"]
ONE_CENTRE = 1e-12  # as a share of the largest coordinate: centres no farther apart are one
_STRETCH_NUMBERS = 1 << 20  # distances looked at together: stay in the processor's cache
_MOST_TABLE = 1 << 23  # numbers of the table that counts what clusters share by chance
_SAME = np.float32(1e-6)  # as a share: what single precision does not tell from nothing


@METRICS.register(
    "Silhouette",
    kind="separation",
    higher_is_better=True,
    bounds=(-1.0, 1.0),
    chance="a little below 0 and different for every set: the grey band shows where shuffled labels fall",
)
def silhouette(matrix: Matrix, labels: Labels, *, distance: Distance = "euclidean") -> float:
    """How much closer each sequence lies to its own group than to the nearest other; from −1 to 1, higher is better.

    Equal to scikit-learn's silhouette_score up to its rounding. Rousseeuw 1987; formula (1) of the paper.
    """
    return silhouettes(matrix, labels, distance=distance)[0]


@METRICS.register(
    "Davies–Bouldin",
    kind="separation",
    higher_is_better=False,
    bounds=(0.0, math.inf),
    chance="about 2.5 to 4 for 24 sequences in 6 groups",
)
def davies_bouldin(matrix: Matrix, labels: Labels) -> float:
    """How wide the groups are beside the gaps between their centres; from 0 up, lower is better.

    Equal to scikit-learn's davies_bouldin_score, also where two centres coincide: formula (2) of the paper then
    divides by zero, and scikit-learn leaves that pair out; :func:`davies_bouldin_note` says so.
    Davies and Bouldin 1979.
    """
    if undefined_reason(matrix, labels):
        return math.nan
    groups, own = np.unique(labels, return_inverse=True)
    rows, members = centred(matrix), np.eye(len(groups))[own]
    centres = (members.T @ rows) / members.sum(axis=0)[:, None]
    offsets = centres[own]
    offsets -= rows
    widths = (members.T @ np.sqrt(np.einsum("ij,ij->i", offsets, offsets))) / members.sum(axis=0)
    gaps = np.linalg.norm(centres[:, None] - centres, axis=2)
    gaps[gaps <= ONE_CENTRE * np.abs(rows).max()] = math.inf
    return float(((widths[:, None] + widths) / gaps).max(axis=1).mean())


@METRICS.register(
    "Adjusted Rand index", kind="agreement", higher_is_better=True, bounds=(-0.5, 1.0), chance="0 on average"
)
def ari(labels: Labels, clusters: Labels) -> float:
    """How well the clusters found by KMeans match the families, pair by pair; 1 is perfect, 0 is chance.

    Hubert and Arabie 1985.
    """
    if agreement_undefined_reason(labels, clusters):
        return math.nan
    both = counts_of(labels, clusters)
    within, by_family, by_cluster = (
        int((counts * (counts - 1)).sum()) for counts in (both, both.sum(axis=1), both.sum(axis=0))
    )
    n = len(labels)
    every, expected = n * (n - 1), by_family * by_cluster  # whole numbers: exact
    most = (by_family + by_cluster) * every - 2 * expected
    return 1.0 if not most else 2 * (within * every - expected) / most


@METRICS.register(
    "Adjusted mutual information", kind="agreement", higher_is_better=True, bounds=(-1.0, 1.0), chance="0 on average"
)
def ami(labels: Labels, clusters: Labels) -> float:
    """How much the clusters found by KMeans tell about the families; 1 is everything, 0 is chance.

    Vinh, Epps and Bailey 2010.
    """
    if agreement_undefined_reason(labels, clusters):
        return math.nan
    both = counts_of(labels, clusters)
    of_family, of_cluster = both.sum(axis=1), both.sum(axis=0)
    if both.size * max(of_family.max(), of_cluster.max()) > _MOST_TABLE:
        from sklearn.metrics import adjusted_mutual_info_score

        return float(adjusted_mutual_info_score(labels, clusters))
    shared = _entropy(of_family) + _entropy(of_cluster) - _entropy(both[both > 0])
    chance = _chance_information(of_family, of_cluster)
    most = (_entropy(of_family) + _entropy(of_cluster)) / 2 - chance
    tiny = float(np.finfo(np.float64).eps)  # as scikit-learn has it
    return (shared - chance) / (min(most, -tiny) if most < 0 else max(most, tiny))


def counts_of(labels: NDArray[np.integer], clusters: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return how many members each group (rows) has in each cluster (columns), both in the order of their labels."""
    groups, own = np.unique(labels, return_inverse=True)
    found, into = np.unique(clusters, return_inverse=True)
    counts = np.bincount(own * len(found) + into, minlength=len(groups) * len(found))
    return np.asarray(counts.reshape(len(groups), len(found)), dtype=np.int64)


def _entropy(counts: NDArray[np.int64]) -> float:
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _chance_information(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> float:
    """Return the mutual information that groupings of these sizes have on average; Vinh, Epps and Bailey 2010, (24)."""
    n = int(rows.sum())
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    a, b = rows[:, None, None], columns[None, :, None]
    met = np.arange(1, int(min(rows.max(), columns.max())) + 1)
    possible = (met <= np.minimum(a, b)) & (met >= a + b - n)
    rest = [np.where(possible, left, 0) for left in (a - met, b - met, n - a - b + met)]
    chance = sum(log_factorial[whole] for whole in (a, b, n - a, n - b)) - log_factorial[n] - log_factorial[met]
    chance = np.where(possible, chance - sum(log_factorial[left] for left in rest), -np.inf)
    told = met / n * np.log(n * met / (a * b)) * np.exp(chance)
    return float(told.sum())


def silhouettes(matrix: Matrix, *labellings: Labels, distance: Distance = "euclidean") -> list[float]:
    """Return the silhouette of each labelling (n,) of the same vectors; their distances are computed once."""
    undefined = [bool(undefined_reason(matrix, labels)) for labels in labellings]
    known = [labels for labels, without in zip(labellings, undefined, strict=True) if not without]
    if distance == "cosine":
        values = [float(_cosine_silhouettes(matrix, labels).mean()) for labels in known]
    else:
        values = _euclidean_silhouettes(matrix, known) if known else []
    found = iter(values)
    return [math.nan if without else next(found) for without in undefined]


def undefined_reason(matrix: Matrix, labels: Labels, *, distance: Distance = "euclidean") -> str:
    """Return why separation is undefined here, in plain words, or "" where it is defined."""
    if reason := _groups_reason(labels):
        return reason
    if all_equal(matrix):
        return "all vectors are equal"
    if distance == "cosine" and _one_direction(cosine_parts(matrix)[1]):
        return "all vectors point the same way"
    return ""


def davies_bouldin_note(matrix: Matrix, labels: Labels) -> str:
    """Return why Davies–Bouldin is undefined here, or what flatters it, or ""."""
    if reason := undefined_reason(matrix, labels):
        return reason
    centres = np.stack([matrix[labels == group].mean(axis=0, dtype=np.float64) for group in np.unique(labels)])
    gaps = [np.linalg.norm(centres[i + 1 :] - centres[i], axis=1).min() for i in range(len(centres) - 1)]
    return "two groups share one centre; that pair is left out" if min(gaps) <= _SAME * np.abs(matrix).max() else ""


def agreement_undefined_reason(labels: Labels, clusters: Labels) -> str:
    """Return why agreement is undefined here, or ""; with one sequence per family any clusters would match."""
    if len(np.unique(labels)) < 2:
        return "needs at least 2 families"
    if reason := _groups_reason(labels):
        return reason
    return "KMeans found no two clusters" if len(np.unique(clusters)) < 2 else ""


def all_equal(matrix: Matrix) -> bool:
    """Return whether no two rows differ; a look at the first rows answers nearly always."""
    return bool((matrix[:16] == matrix[:1]).all() and (matrix == matrix[:1]).all())


def rescaled(matrix: Matrix) -> Matrix:
    """Return the matrix, divided by a power of two where its squares would leave the range of single precision.

    No score and no layout depends on the unit; a power of two leaves every digit as it is.
    """
    largest = max(float(matrix.max(initial=0)), -float(matrix.min(initial=0)))
    if largest == 0 or 1e-3 < largest < 1e6:
        return matrix
    return np.asarray(np.ldexp(matrix, -math.frexp(largest)[1]), dtype=np.float32)


def cosine_parts(matrix: Matrix) -> tuple[Matrix, NDArray[np.float32]]:
    """Return (centred (n, d), halves (n,)) with distance(x, y) = halves_x + halves_y − centred_x · centred_y.

    Equal to 1 − cosine. That difference itself loses its digits where all rows point nearly the same way, as those
    of many models do; half the squared distance of the unit rows keeps them. Zero rows are at distance 1 of all.
    """
    matrix = rescaled(matrix)
    norms = np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64))[:, None]
    centred = np.asarray(matrix / np.where(norms > 0, norms, 1).astype(np.float32), dtype=np.float32)
    centred -= centred.mean(axis=0)
    halves = np.einsum("ij,ij->i", centred, centred) / 2
    return centred, np.where(norms[:, 0] > 0, halves, halves + np.float32(0.5))


def _one_direction(halves: NDArray[np.float32]) -> bool:
    return bool(halves.max() < 1e-12)  # closer to the common direction than single precision can tell


def _groups_reason(labels: Labels) -> str:
    n, groups = len(labels), len(np.unique(labels))
    return "" if 2 <= groups <= n - 1 else f"needs 2 to n − 1 groups, got {groups} for n = {n}"


def _cosine_silhouettes(matrix: Matrix, labels: Labels) -> NDArray[np.float64]:
    """Return each point's silhouette (n,) in closed form: the distances of a point to a group follow from its sum.

    No pair of points is compared, so the cost grows with n and not with its square.
    """
    _, own = np.unique(labels, return_inverse=True)
    centred, halves = cosine_parts(matrix)
    if _one_direction(halves):
        return np.full(len(own), np.nan)
    sizes, rows = np.bincount(own), np.arange(len(own))
    members = (own == np.arange(len(sizes))[:, None]).astype(np.float32)
    dots = centred @ (members @ centred).T
    most = np.outer(halves, sizes) + np.bincount(own, halves)
    sums = np.where(most - dots > _SAME * most, most - dots, 0)  # less is the rounding of equal directions
    to_itself = ~matrix.any(axis=1)  # a zero row is at distance 1 of every other and, by this form, of itself
    return _from_sums(sums, sums[rows, own] - to_itself, own, sizes)


def _euclidean_silhouettes(matrix: Matrix, labellings: Sequence[Labels]) -> list[float]:
    """Return the mean silhouette of each labelling, from the summed distances of every point to every group."""
    owns = [np.unique(labels, return_inverse=True)[1] for labels in labellings]
    members = np.hstack([np.eye(int(own.max()) + 1)[own] for own in owns])
    sums, values, first = _summed_gaps(centred(matrix), members), [], 0
    for own in owns:
        sizes = np.bincount(own)
        to_groups = sums[:, first : first + len(sizes)]
        values.append(float(_from_sums(to_groups, to_groups[np.arange(len(own)), own], own, sizes).mean()))
        first += len(sizes)
    return values


def _summed_gaps(rows: NDArray[np.float64], members: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the summed distances (n, k) of each of ``rows`` (n, d) to the ``members`` (n, k) of each group."""
    n, squares = len(rows), np.einsum("ij,ij->i", rows, rows)
    step, sums = max(1, _STRETCH_NUMBERS // n), np.zeros(members.shape)
    for start in range(0, n, step):
        stop = min(start + step, n)
        gaps = rows[start:stop] @ rows[start:].T  # those to earlier rows are known already
        gaps *= -2
        gaps += squares[start:stop, None]
        gaps += squares[start:]
        np.maximum(gaps, 0, out=gaps)
        np.fill_diagonal(gaps, 0)
        np.sqrt(gaps, out=gaps)
        sums[start:stop] += gaps @ members[start:]
        sums[stop:] += gaps[:, stop - start :].T @ members[start:stop]
    return sums


def _from_sums(
    sums: NDArray[np.floating], inside: NDArray[np.floating], own: NDArray[np.intp], sizes: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return each point's silhouette (n,) from its summed distances (n, k) to all groups and (n,) inside its own."""
    within = inside / np.maximum(sizes[own] - 1, 1)
    means = sums / sizes
    means[np.arange(len(own)), own] = np.inf
    nearest = means.min(axis=1)
    widest = np.maximum(within, nearest)
    values = np.divide(nearest - within, widest, out=np.zeros(len(own)), where=widest > 0)
    return np.where(sizes[own] > 1, values, 0.0)


def centred(matrix: Matrix) -> NDArray[np.float64]:
    """Return the rows around their mean in double precision, where differences lose no digits."""
    rows = np.array(rescaled(matrix), dtype=np.float64)
    rows -= rows.mean(axis=0)
    return rows
