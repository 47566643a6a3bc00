"""How far a map may be believed: what it keeps of the neighbourhoods, and what it shows that is not there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.inference.permutation_test import shuffled
from numembed.analysis.inference.permuted_scores import permuted_silhouettes
from numembed.analysis.labels import kmeans
from numembed.analysis.metrics import silhouette
from numembed.analysis.preparation import Distance, all_equal, cosine_parts, rescaled, undefined_reason
from numembed.core.arrays import Labels, Matrix, Points, unit_rows
from numembed.core.wording import decimal

Distances = NDArray[np.float64]
_MOST = 3_000  # rows compared; two distance matrices of 72 MB
_NEIGHBOURS = 10
_SAME = 1e-6  # as a share of the largest distance: closer than this is the same place
_CLUSTERS = 0.25  # "no substantial structure" up to here (Kaufman and Rousseeuw 1990)
_SOME = 0.1  # in hundreds of dimensions real families rarely score more than twice this
_SHUFFLES = 999
_TIE = 1e-3  # of scores: few sequences can be shuffled in few ways, one of them as observed
_SCATTERS = 99
_RESTARTS = 4  # of KMeans on flat points, where it hardly misses
_NOISE = "the maps of pure noise drawn beside it"


@dataclass(frozen=True)
class Faithfulness:
    """How a map and its space agree; NaN with a note where that is undefined."""

    trustworthiness: float  # 1: no neighbours in the map that are none in the space; about 0.5 for a random map
    continuity: float  # 1: no neighbours in the space that the map tears apart; about 0.5 for a random map
    neighbour_overlap: float  # share of neighbours in common; neighbours / (n − 1) for a random map
    score_in_space: float  # silhouettes of the families
    score_in_map: float
    neighbours: int  # how many of each sequence were compared; 0 where there are too few sequences
    note: str = ""


@dataclass(frozen=True)
class Groups:
    """The groups that the eye finds in a map, read off it by KMeans without the families; silhouettes."""

    in_map: float
    in_space: float  # of the very same groups


def faithfulness(
    matrix: Matrix,
    points: Points,
    labels: Labels,
    *,
    neighbours: int | None = None,
    distance: Distance = "euclidean",
    seed: int = 0,
) -> Faithfulness:
    """Return how well a map (n, 2 or 3) keeps the neighbourhoods and the groups of its space (n, d).

    ``neighbours`` is 10 unless told otherwise, and less than n / 2, as the measures need it. ``distance`` is that of
    the space; a map is read with the eye, so its is Euclidean. Above 3,000 sequences, all is computed for as many
    drawn by ``seed``. Venna and Kaski 2001; Lee and Verleysen 2009.
    """
    n, rows = len(matrix), _rows(len(matrix), seed)
    matrix, points, labels = matrix[rows], points[rows], labels[rows]
    notes = [f"computed for {_MOST:,} of the {n:,} sequences"] if n > _MOST else []
    most = max(0, (len(rows) - 1) // 2)
    count = min(_NEIGHBOURS if neighbours is None else max(1, neighbours), most)
    if neighbours is not None and count != neighbours:
        notes.append(f"{count} neighbours instead of {neighbours:,}: at least 1 and fewer than half of the sequences")
    trust = continuity = overlap = math.nan
    if reason := _undefined(matrix, points):
        notes.append(reason)
    else:
        in_space, in_map = distances(matrix, distance), distances(points, "euclidean")
        for table in (in_space, in_map):
            np.fill_diagonal(table, np.inf)  # none is its own neighbour
        ranks = _ranks_of_neighbours(in_map, in_space, count)
        trust, overlap = _kept(ranks), float((ranks <= count).mean())
        continuity = _kept(_ranks_of_neighbours(in_space, in_map, count))
    if groups := undefined_reason(matrix, labels, distance=distance):
        notes.append(f"no score: {groups}")
    scores = silhouette(matrix, labels, distance=distance), silhouette(points, labels)
    return Faithfulness(trust, continuity, overlap, *scores, count, "; ".join(dict.fromkeys(notes)))


def map_faithfulness(
    matrix: Matrix,
    points: Points,
    labels: Labels,
    *,
    distance: Distance = "euclidean",
    seed: int = 0,
    chance_high: float | None = None,
) -> dict[str, Any]:
    """Return how far one map (n, 2 or 3) may be believed, as JSON values: None where a number is undefined.

    Chance in the map is what 999 shuffles of the families score in it (199 above 500 sequences): 95% lie between
    its two ends. ``chance_high`` is the upper end of the permutation test in the space, where it is known;
    ``warning`` is "" for an honest map.
    """
    result = faithfulness(matrix, points, labels, distance=distance, seed=seed)
    null = _shuffled_scores(points, labels, seed)
    low, high = np.quantile(null, (0.025, 0.975)).tolist() if len(null) else (math.nan, math.nan)
    limit = {} if chance_high is None or math.isnan(chance_high) else {"chance_high": chance_high}
    numbers = {
        "trustworthiness": result.trustworthiness,
        "continuity": result.continuity,
        "overlap": result.neighbour_overlap,
        "silhouette_space": result.score_in_space,
        "silhouette_map": result.score_in_map,
        "chance_map_low": low,
        "chance_map_high": high,
    }
    return {name: None if math.isnan(value) else round(value, 4) for name, value in numbers.items()} | {
        "neighbours": result.neighbours,
        "warning": warning(result, null, of="shuffles of the families", **limit),
        "note": result.note,
    }


def groups_in(matrix: Matrix, points: Points, labels: Labels, *, distance: Distance = "euclidean") -> Groups:
    """Return how clear as many groups as there are families, read off a map, are in the map and in its space."""
    rows = _rows(len(matrix), 0)
    read = kmeans(points[rows], labels[rows], restarts=_RESTARTS)
    return Groups(silhouette(points[rows], read), silhouette(matrix[rows], read, distance=distance))


def clearest_scatter(labels: Labels, *, dims: int = 2, seed: int = 0) -> float:
    """Return the clearest groups that KMeans reads off 99 even scatters of n points: where no eye should see any."""
    drawn = np.random.default_rng(seed)
    count = min(len(labels), _MOST)
    scatters = (drawn.random((count, dims), dtype=np.float32) for _ in range(_SCATTERS))
    scores = [silhouette(points, kmeans(points, labels[:count], restarts=_RESTARTS)) for points in scatters]
    return max((score for score in scores if not math.isnan(score)), default=math.nan)


def distances(matrix: Matrix, distance: Distance) -> Distances:
    """Return the distances (n, n) between all rows; 0 between rows that differ by no more than rounding.

    In cosine distance, a row of zeros is at distance 1 of all, itself included.
    """
    if distance == "cosine":
        centred, halves = cosine_parts(matrix)
        table = np.asarray(halves[:, None] + halves - centred @ centred.T, dtype=np.float64)
    else:
        from sklearn.metrics.pairwise import euclidean_distances

        table = euclidean_distances(np.asarray(rescaled(matrix), dtype=np.float64))
    table[table <= _SAME * table.max(initial=0)] = 0
    return table


def procrustes_stability(maps: Sequence[Points]) -> tuple[tuple[Points, ...], float]:
    """Return the maps, each aligned with the first, and how far they agree with it: from 0 to 1, higher is better.

    Maps are moved, turned, mirrored and scaled to one size (squared coordinates sum to 1). Stability is 1 minus the
    mean disparity of scipy's ``procrustes``: the share of a map's squared spread that the best fit to the first leaves
    unexplained. Random maps of 24 points reach 0.06, not 0. NaN for fewer than two maps or three points; a map
    whose points all coincide agrees with no other.
    """
    from scipy.spatial import procrustes

    sized = [_sized(points) for points in maps]
    aligned, disparities = sized[:1], []
    for points in sized[1:]:
        if not (points.any() and sized[0].any()):
            aligned.append(points)
            disparities.append(float(points.any() or sized[0].any()))
            continue
        _, turned, disparity = procrustes(sized[0], points)
        aligned.append(_sized(turned))
        disparities.append(min(1.0, max(0.0, float(disparity))))
    defined = disparities and len(sized[0]) >= 3
    stability = 1 - float(np.mean(disparities)) if defined else math.nan
    return tuple(np.asarray(points, dtype=np.float32) for points in aligned), stability


def noise_reference(n: int, d: int, seed: int) -> Matrix:
    """Return n random directions (n, d), each of length 1: what a map makes of vectors without any structure."""
    return np.asarray(unit_rows(np.random.default_rng(seed).standard_normal((n, d))), dtype=np.float32)


def chance_stability(maps: Sequence[Points], *, seed: int = 0) -> float:
    """Return the stability of the same maps with their points in any order: what maps that share nothing reach."""
    drawn = np.random.default_rng(seed)
    rounds = [
        procrustes_stability([*maps[:1], *(points[drawn.permutation(len(points))] for points in maps[1:])])[1]
        for _ in range(9)
    ]
    return float(np.mean(rounds))


def warning(faithful: Faithfulness, null: Sequence[float], *, chance_high: float = _SOME, of: str = _NOISE) -> str:
    """Return a sentence where a map shows groups that its space does not have, or "".

    ``null`` holds scores in maps without groups: those of noise with the same labels and method, or of shuffled
    families in this map; ``of`` names them. It speaks where the score in the map is above 0.25 and 95% of those, and
    above the score in the space by 0.25, which itself is not above ``chance_high``: best the upper end of its
    permutation test, so that weak but real groups are not denied.
    """
    space, shown = faithful.score_in_space, faithful.score_in_map
    known = [score for score in null if not math.isnan(score)]
    if not known or math.isnan(space) or math.isnan(shown):
        return ""
    noise = float(np.quantile(known, 0.95))
    if shown <= max(noise + _TIE, _CLUSTERS, space + _CLUSTERS) or space > chance_high:
        return ""
    return (
        f"This map shows groups that the vectors do not: the silhouette of the families is {decimal(shown)} in the map "
        f"and {decimal(space)} in the vectors, and 95% of {of} reach no more than {decimal(noise)}. "
        "Do not interpret groups in this map."
    )


def groups_warning(groups: Groups, *, scatter: float, noise_in_space: Sequence[float]) -> str:
    """Return a sentence where the eye finds groups in a map that its space does not have, or "".

    It speaks where the groups read off the map are clearer than in 99 even ``scatter``s and by 0.25 than the same
    groups in the space, where they are no clearer than those read off maps of noise, ``noise_in_space``, or 0.1.
    """
    known = [score for score in noise_in_space if not math.isnan(score)]
    if not known or math.isnan(scatter) or math.isnan(groups.in_map) or math.isnan(groups.in_space):
        return ""
    shown, space = groups.in_map, groups.in_space
    if shown <= max(scatter, _CLUSTERS, space + _CLUSTERS) or space > min(max(known), _SOME):
        return ""
    return (
        f"This map shows groups that the vectors do not: the groups that the eye finds in it have a silhouette of "
        f"{decimal(shown)} there and {decimal(space)} in the vectors, where noise reaches at most "
        f"{decimal(max(known))}. Do not interpret groups in this map."
    )


def _rows(n: int, seed: int) -> NDArray[np.int64]:
    """Return the rows that are compared, in random order, as ties go by their place."""
    return np.random.default_rng(seed).permutation(n)[:_MOST]


def _shuffled_scores(points: Points, labels: Labels, seed: int) -> list[float]:
    """Return what shuffled families score in a map; nothing where a score is undefined."""
    rows = _rows(len(points), seed)
    points, labels = points[rows], labels[rows]
    if undefined_reason(points, labels):
        return []
    own = np.unique(labels, return_inverse=True)[1].astype(np.int32)
    rounds = _SHUFFLES if len(rows) <= 500 else 199
    repeated = shuffled(own, np.zeros_like(own), rounds, seed=seed)
    result: list[float] = permuted_silhouettes(points, repeated)[1:].tolist()
    return result


def _undefined(matrix: Matrix, points: Points) -> str:
    if len(matrix) < 3:
        return f"neighbours need at least 3 sequences, got {len(matrix)}"
    if all_equal(matrix):
        return "all vectors are equal"
    return "all points of the map are equal" if all_equal(points) else ""


def _ranks_of_neighbours(here: Distances, there: Distances, count: int) -> NDArray[np.int64]:
    """Return, for each point's nearest ``count`` here, the ranks (n, count) that they have there, from 1.

    Equal distances there share the best rank, so that no order among them is demanded.
    """
    nearest = np.argpartition(here, count - 1, axis=1)[:, :count]
    wanted = np.take_along_axis(there, nearest, axis=1)
    nearer = [np.searchsorted(row, values) for row, values in zip(np.sort(there, axis=1), wanted, strict=True)]
    return np.asarray(nearer, dtype=np.int64) + 1


def _kept(ranks: NDArray[np.int64]) -> float:
    """Return 1 minus the excess of the ranks over those of true neighbours, as a share of the worst possible."""
    n, count = ranks.shape
    excess = int(np.maximum(ranks - count, 0).sum())
    worst = n * count * (2 * n - 3 * count - 1) // 2
    return float(1 - excess / worst)


def _sized(points: Points) -> NDArray[np.float64]:
    """Return the points around 0, with squares that sum to 1; zeros where all coincide."""
    centred = np.asarray(points, dtype=np.float64)
    if not len(centred) or all_equal(centred.astype(np.float32)):
        return np.zeros_like(centred)
    centred = centred - centred.mean(axis=0)
    return np.asarray(centred / np.linalg.norm(centred))
