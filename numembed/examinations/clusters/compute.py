"""What do a model's clusters encode? Agreement with attributes, shares of variance, neighbours, misplaced sequences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.clusters import neighbours
from numembed.analysis.clusters.agreement import Agreement, Share, permanova, ranked_agreement
from numembed.analysis.clusters.attributes import attributes, family_title
from numembed.analysis.clusters.clusterers import matched_share, name_clusters
from numembed.analysis.clusters.neighbours import Alike
from numembed.analysis.preparation import Distance
from numembed.core.arrays import Labels, Matrix
from numembed.core.serialization import from_plain
from numembed.core.significance import holm
from numembed.models.spec import ModelSpec
from numembed.sequences.sets import SequenceSet
from numembed.studies.keys import explain_key
from numembed.studies.results import ResultStore
from numembed.studies.study import Study

LARGEST = 500  # sequences; beyond, the pictures of this page say nothing any more
NEIGHBOURS = 5
_SHUFFLES = 999


@dataclass(frozen=True)
class Explanation:
    """What was found about one model's vectors (n, d) and its KMeans clusters."""

    agreements: tuple[Agreement, ...]  # best first
    shares: tuple[Share, ...]  # of the variance, the rest last
    cluster_names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]  # (clusters, families) how many sequences
    matched: float  # share of sequences in the cluster that stands for their family
    matched_chance: float  # its mean where families are shuffled
    matched_p: float
    silhouettes: tuple[float, ...]  # (n,)
    nearest: tuple[int, ...]  # (n,) index of the nearest other family, -1 where undefined
    neighbours: tuple[tuple[int, ...], ...]  # (n, up to 5) rows of the nearest sequences, nearest first
    distances: tuple[tuple[float, ...], ...]  # (n, up to 5) to them
    same_family: Alike  # as the nearest sequence
    same_window: Alike
    tree: tuple[tuple[int, int, float], ...]  # two joined and their distance: families, then joined ones from k on
    similarity: tuple[tuple[float, ...], ...]  # (n, n) cosine, rounded
    order: tuple[int, ...]  # rows in the order of a tree
    matched_least_p: float = 0.0  # share of shuffles with the highest match: above 0.05 nothing can be concluded
    matched_null_sd: float = math.nan  # standard deviation over the shuffles


def explain(
    matrix: Matrix,
    sequences: SequenceSet,
    clusters: Labels,
    *,
    distance: Distance = "euclidean",
    token_counts: Sequence[int] | None = None,
    seed: int = 0,
) -> Explanation:
    """Return what the clusters (n,) of ``matrix`` agree with, and what its variance is made of; n up to ``LARGEST``."""
    labels, windows = sequences.labels, sequences.windows
    counts = np.zeros((int(clusters.max(initial=0)) + 1, len(sequences.families)), dtype=int)
    np.add.at(counts, (clusters, labels), 1)
    matched, chance, p, least, null_sd = matched_by_chance(clusters, labels, seed=seed)
    silhouettes, others = neighbours.silhouette_samples(matrix, labels, distance=distance)
    rows, distances = neighbours.nearest(matrix, NEIGHBOURS, distance=distance)
    tree = neighbours.centroid_tree(matrix, labels, distance=distance)
    shares = permanova(matrix, ("family", labels), ("window", windows), seed=seed)
    alike = [neighbours.nearest_alike(matrix, own, distance=distance, seed=seed) for own in (labels, windows)]
    tests = [(one.p, one.least_p) for one in shares] + [(one.p, one.least_p) for one in alike]
    tests += [(p, least)] if matched == matched else []
    kinds = attributes(sequences, token_counts=token_counts)
    return Explanation(
        agreements=ranked_agreement(clusters, kinds, seed=seed, beside=[one for one in tests if one[0] == one[0]]),
        shares=shares,
        cluster_names=name_clusters(clusters, sequences),
        counts=_whole(counts),
        matched=matched,
        matched_chance=chance,
        matched_p=p,
        matched_least_p=least,
        matched_null_sd=null_sd,
        silhouettes=tuple(silhouettes.tolist()),
        nearest=tuple(others.tolist()),
        neighbours=_whole(rows),
        distances=tuple(tuple(float(f"{value:.6g}") for value in row) for row in distances.tolist()),
        same_family=alike[0],
        same_window=alike[1],
        tree=tuple((int(one), int(other), float(gap)) for one, other, gap, _ in tree.tolist()),
        similarity=tuple(tuple(round(float(value), 3) for value in row) for row in neighbours.similarity(matrix)),
        order=tuple(neighbours.similar_order(matrix).tolist()),
    )


def matched_by_chance(
    clusters: Labels, labels: Labels, *, shuffles: int = _SHUFFLES, seed: int = 0
) -> tuple[float, float, float, float, float]:
    """Return the share of sequences in the cluster that stands for their family; its mean over shuffles, p, the least
    that p could be, and the standard deviation over shuffles.
    """
    observed, drawn = matched_share(clusters, labels), np.random.default_rng(seed)
    shuffled = [matched_share(clusters, drawn.permutation(labels)) for _ in range(shuffles if len(labels) else 0)]
    if not shuffled:
        return observed, observed, 1.0, 1.0, math.nan
    every = np.array([observed, *shuffled])
    p, least = (float(np.mean(every >= value - 1e-9)) for value in (observed, every.max()))
    return observed, float(np.mean(shuffled)), p, least, float(np.std(shuffled))


def adjusted(explanation: Explanation) -> dict[str, float]:
    """Return p of the agreement with each attribute, adjusted for their number (Holm 1979); NaN where undefined."""
    ps = holm([one.p for one in explanation.agreements])
    names = [one.attribute for one in explanation.agreements]
    return {name: math.nan if p is None else p for name, p in zip(names, ps, strict=True)}


def tree_members(explanation: Explanation) -> list[tuple[int, ...]]:
    """Return the families below each node of the tree, in the order in which it is drawn; single families first."""
    members: list[tuple[int, ...]] = [(leaf,) for leaf in range(len(explanation.tree) + 1)]
    for one, other, _ in explanation.tree:
        members.append(members[one] + members[other])
    return members


def stored_explanation(study: Study, spec: ModelSpec, results: ResultStore) -> Explanation | None:
    """Return what earlier runs found about the clusters of a resolved model, or None."""
    stored = results.get(explain_key(study, spec))
    return from_plain(Explanation, stored) if stored else None


def sequence_names(sequences: SequenceSet) -> tuple[str, ...]:
    """Return a name (n,) for each sequence, such as "Primes, window 2"."""
    return tuple(
        f"{family_title(item.family)}, window {int(window) + 1}"
        for item, window in zip(sequences.items, sequences.windows, strict=True)
    )


def _whole(table: NDArray[Any]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, row)) for row in table.tolist())
