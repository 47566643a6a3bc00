"""All scores of one model, each with what a reader needs to judge it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from numembed.analysis.inference.intervals import jackknife
from numembed.analysis.inference.permutation_test import Metric, permutation_test, smallest_p
from numembed.analysis.labels import kmeans
from numembed.analysis.metrics import (
    Distance,
    agreement_undefined_reason,
    ami,
    ari,
    davies_bouldin,
    davies_bouldin_note,
    silhouettes,
    undefined_reason,
)
from numembed.core.arrays import Labels, Matrix
from numembed.core.progress import Progress, silent

EVIDENCE_UP_TO = 5_000  # sequences; beyond, shuffling within windows and leaving each out take minutes


@dataclass(frozen=True)
class Score:
    """One number of one model. NaN with a note: undefined here, and why."""

    model: str
    metric: str
    labels: str
    value: float
    p: float | None = None  # of the permutation test, towards the better side
    chance_mean: float | None = None  # what shuffled families score
    chance_low: float | None = None  # 95% of the shuffles lie between these two
    chance_high: float | None = None
    note: str = ""
    z: float | None = None  # how many standard deviations above what shuffled families score
    p_within: float | None = None  # families shuffled inside each window only, which holds the size of the numbers
    low: float | None = None  # jackknife over sequences, 95%
    high: float | None = None
    least_p: float | None = None  # that so few sequences can have: above 0.05 nothing can be told
    least_p_within: float | None = None  # the same where families are shuffled inside each window only

    def as_json(self) -> dict[str, Any]:
        """Return the score as JSON values: None for NaN, and only what there is beyond the first four."""
        plain = {name: value for name, value in vars(self).items() if value is not None and (value or name != "note")}
        return plain | {"value": None if math.isnan(self.value) else self.value}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Score:
        """Return the score that :meth:`as_json` described."""
        return cls(**(plain | {"value": math.nan if plain["value"] is None else plain["value"]}))


def plain_scores(
    matrix: Matrix, labels: Labels, *, distance: Distance = "euclidean", seed: int = 0
) -> dict[str, float]:
    """Return the values of all scores by "metric labels", without any evidence; NaN where undefined."""
    clusters = kmeans(matrix, labels, seed=seed)
    by_family, by_cluster = silhouettes(matrix, labels, clusters, distance=distance)
    return {
        "silhouette families": by_family,
        "davies_bouldin families": davies_bouldin(matrix, labels),
        "silhouette kmeans": by_cluster,
        "davies_bouldin kmeans": davies_bouldin(matrix, clusters),
        "ari kmeans": ari(labels, clusters),
        "ami kmeans": ami(labels, clusters),
    }


def _evidence(
    matrix: Matrix,
    labels: Labels,
    metric: Metric,
    windows: Labels | None,
    *,
    distance: Distance,
    permutations: int | None,
    seed: int,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Return the fields of a score that hold its evidence: shuffles, also within windows, and jackknife."""
    test = permutation_test(
        matrix, labels, distance=distance, permutations=permutations, seed=seed, metric=metric, progress=progress
    )
    if test.note:
        return {}
    found = {"p": test.p, "chance_mean": test.null_mean, "chance_low": test.null_low, "chance_high": test.null_high}
    found["least_p"] = smallest_p(labels)
    if len(labels) <= EVIDENCE_UP_TO:
        found["z"] = test.z
        if metric == "silhouette":
            interval = jackknife(matrix, labels, distance=distance)
            found |= {"low": interval.low, "high": interval.high}
        if windows is not None:
            within = permutation_test(
                matrix, labels, distance=distance, permutations=permutations, seed=seed, within=windows, metric=metric
            )
            found |= {"p_within": within.p, "least_p_within": smallest_p(labels, windows)}
    return {name: None if math.isnan(value) else value for name, value in found.items()}


def score_all(
    matrix: Matrix,
    labels: Labels,
    *,
    model: str,
    distance: Distance = "euclidean",
    seed: int = 0,
    windows: Labels | None = None,
    permutations: int | None = None,
    progress: Progress = silent,
) -> tuple[tuple[Score, ...], Labels]:
    """Return the paper's scores of one model and the KMeans clusters (n,) that some of them use.

    ``windows`` (n,) names the window of each sequence, for the test that holds magnitude fixed.
    KMeans, Davies–Bouldin and the agreement use Euclidean distance always, the silhouette the given one.
    """
    clusters = kmeans(matrix, labels, seed=seed)
    asked: dict[str, Any] = {"distance": distance, "permutations": permutations, "seed": seed}
    by_family, by_cluster = silhouettes(matrix, labels, clusters, distance=distance)
    told = davies_bouldin_note(matrix, labels)
    of_index = {} if len(labels) > EVIDENCE_UP_TO else _evidence(matrix, labels, "davies_bouldin", windows, **asked)
    no_agreement = agreement_undefined_reason(labels, clusters)
    return (
        Score(
            model, "silhouette", "families", by_family, note=undefined_reason(matrix, labels, distance=distance),
            **_evidence(matrix, labels, "silhouette", windows, progress=progress, **asked),
        ),
        Score(model, "davies_bouldin", "families", davies_bouldin(matrix, labels), note=told, **of_index),
        Score(
            model, "silhouette", "kmeans", by_cluster, note=undefined_reason(matrix, clusters, distance=distance)
        ),
        Score(
            model, "davies_bouldin", "kmeans", davies_bouldin(matrix, clusters),
            note=davies_bouldin_note(matrix, clusters),
        ),
        Score(model, "ari", "kmeans", ari(labels, clusters), note=no_agreement),
        Score(model, "ami", "kmeans", ami(labels, clusters), note=no_agreement),
    ), clusters  # fmt: skip
