"""Do the families lie apart on a map as they do in the vectors? A map's own silhouette, and where the two disagree."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from numembed.analysis.inference.permutation_test import permutation_test
from numembed.core.arrays import Labels, Points
from numembed.core.significance import LEVEL

CLEAR = 0.25  # no substantial structure up to here (Kaufman and Rousseeuw 1990)
LESS_CLEAR = 0.1  # in hundreds of dimensions real families rarely score more than twice this
NOT_CLOSE = 0.2  # p of vectors that surely show no more than chance: a weak effect is seldom above
_MOST = 500  # points compared, in as many shuffles
_TIE = 1e-3  # few points can be shuffled in few ways, one of them as observed


@dataclass(frozen=True)
class MapSilhouette:
    """The silhouette of the families on a map, with the middle 95% of what shuffled families score there."""

    value: float
    chance_low: float
    chance_high: float
    labels: str  # the digest of the families, which a map itself does not depend on


def map_silhouette(points: Points, labels: Labels, *, windows: Labels | None, seed: int) -> MapSilhouette | None:
    """Return the silhouette of the families on a map (n, 2 or 3), or None where it is undefined.

    Families are shuffled inside ``windows`` where they are given. Of more than 500 points, 500 drawn by ``seed`` are
    compared, and shuffled freely.
    """
    if len(points) > _MOST:
        rows, windows = np.sort(np.random.default_rng(seed).permutation(len(points))[:_MOST]), None
    else:
        rows = np.arange(len(points))
    test = permutation_test(points[rows], labels[rows], permutations=_MOST - 1, seed=seed, within=windows)
    if math.isnan(test.null_high):
        return None
    low, value, high = (round(value, 4) for value in (test.null_low, test.observed, test.null_high))
    return MapSilhouette(value, low, high, labels_digest(labels))


def labels_digest(labels: Labels) -> str:
    """Return a short digest of which rows belong together."""
    first = np.unique(labels, return_index=True, return_inverse=True)
    return hashlib.sha256(np.asarray(first[1][first[2]], dtype="<i8").tobytes()).hexdigest()[:16]


def map_shows_more(shown: MapSilhouette, value: float, p: float) -> bool:
    """Return whether the families lie clearly apart on a map of vectors that surely show no more than chance.

    ``value`` is their silhouette in the vectors, with ``p`` as it is before any adjustment: where that is small but not
    significant, families may lie apart a little, and a map that shows more of it is not wrong.
    """
    return p > NOT_CLOSE and shown.value > max(shown.chance_high + _TIE, CLEAR, value + CLEAR)


def map_shows_less(shown: MapSilhouette, value: float, p: float) -> bool:
    """Return whether families that lie clearly apart in the vectors have no silhouette above 0 or chance on a map.

    ``value`` is their silhouette there, with ``p`` adjusted as its reader sees it.
    """
    return p <= LEVEL and value >= LESS_CLEAR and shown.value <= min(max(0.0, shown.chance_high), value - LESS_CLEAR)
