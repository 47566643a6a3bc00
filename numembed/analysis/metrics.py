"""Scores of a labelled set of vectors: (matrix, labels) → one number, NaN where the score is undefined.

A metric is one registered function; every place that computes, stores or shows scores reads the registry. Its facts:

- ``kind``: "separation" takes (matrix, groups), "agreement" takes (families, groups). Options named ``distance`` and
  ``seed`` are given the study's.
- ``higher_is_better``, ``bounds``, and in words what it is by ``chance``.
- ``short``: the title of its column, where that is not the whole title.
- ``in_table``: False keeps it out of the table of scores; it stands with the evidence then.
- ``labellings``: the names of those that it is computed for; without it all that it can be computed for.
- ``note``: (the same arguments) → why it is undefined or what flatters it, or "".
- ``untested``: why no shuffles stand beside it, in words; without it groups that are known beforehand are shuffled.
- ``together``: (matrix, *groupings) → the values of all, where these share work.
- ``shuffles``: how many shuffles are scored at once; without it they are scored one by one, and fewer of them.
- ``interval``: (the same arguments) → its interval over sequences; without it there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.inference.cyclic_permutations import Cycle, cyclic_davies_bouldin, cyclic_silhouettes
from numembed.analysis.inference.intervals import jackknife
from numembed.analysis.inference.permuted_scores import distances_of, permuted_davies_bouldin, permuted_silhouettes
from numembed.analysis.preparation import (
    ONE_CENTRE,
    Distance,
    agreement_undefined_reason,
    centred,
    counts_of,
    davies_bouldin_note,
    undefined_reason,
)
from numembed.analysis.silhouettes import silhouettes
from numembed.core.arrays import Labels, Matrix
from numembed.core.progress import Progress
from numembed.core.registry import Entry, Registry

METRICS: Registry[Callable[..., float]] = Registry("metric")
_NOTES: dict[str, Callable[..., str]] = {"separation": undefined_reason, "agreement": agreement_undefined_reason}
_ADJUSTED = "already adjusted for chance: 0 on average; its p value is on the Explain page"
_MOST_TABLE = 1 << 23  # numbers of the table that counts what clusters share by chance


@dataclass(frozen=True)
class Shuffles:
    """How a metric scores many shuffles of the same labels at once; both also take its options and ``progress``."""

    products: Callable[..., NDArray[np.float64]]  # (matrix, labellings (b, n)) → (b,)
    cycles: Callable[..., NDArray[np.float64]]  # (matrix, cycles) → one value for each of their shuffles
    cheap: bool = False  # all cyclic shifts take seconds, and even the largest sets are tested


def note_of(entry: Entry[Any], *arguments: Any, **options: Any) -> str:
    """Return why a metric is undefined for its arguments, or what flatters it there, or ""."""
    note: str = entry.facts.get("note", _NOTES[entry.facts["kind"]])(*arguments, **options)
    return note


def _silhouettes_around(matrix: Matrix, items: list[Cycle], *, distance: Distance, progress: Progress) -> Any:
    return cyclic_silhouettes(distances_of(matrix, distance), items, progress=progress)


def _davies_bouldin_around(matrix: Matrix, items: list[Cycle], *, progress: Progress) -> Any:
    return cyclic_davies_bouldin(centred(matrix), items, progress=progress)


@METRICS.register(
    "Silhouette",
    kind="separation",
    higher_is_better=True,
    bounds=(-1.0, 1.0),
    chance="a little below 0 and different for every set: the grey band shows where shuffled labels fall",
    together=silhouettes,
    shuffles=Shuffles(permuted_silhouettes, _silhouettes_around, cheap=True),
    interval=jackknife,
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
    note=davies_bouldin_note,
    shuffles=Shuffles(permuted_davies_bouldin, _davies_bouldin_around),
)
def davies_bouldin(matrix: Matrix, labels: Labels) -> float:
    """How wide the groups are beside the gaps between their centres; from 0 up, lower is better.

    Equal to scikit-learn's davies_bouldin_score, also where two centres coincide: formula (2) of the paper then
    divides by zero, and scikit-learn leaves that pair out; its note says so.
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
    "Adjusted Rand index",
    short="ARI",
    kind="agreement",
    higher_is_better=True,
    bounds=(-0.5, 1.0),
    chance="0 on average",
    untested=_ADJUSTED,
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
    "Adjusted mutual information",
    short="AMI",
    kind="agreement",
    higher_is_better=True,
    bounds=(-1.0, 1.0),
    chance="0 on average",
    untested=_ADJUSTED,
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
    summands = met / n * np.log(n * met / (a * b)) * np.exp(chance)
    return float(summands.sum())
