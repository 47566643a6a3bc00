"""All scores of one model, each with what a reader needs to judge it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from numembed.analysis.inference.permutation_test import permutation_test, smallest_p
from numembed.analysis.labels import LABELLINGS, kmeans
from numembed.analysis.metrics import METRICS
from numembed.analysis.preparation import Distance
from numembed.analysis.score_kinds import ScoreKind, score_kinds
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
    least_p: float | None = None  # that so few sequences can have: above 0.05 nothing can be concluded
    least_p_within: float | None = None  # the same where families are shuffled inside each window only

    @property
    def kind(self) -> ScoreKind:
        """Which score it is."""
        return ScoreKind(self.metric, self.labels)


def plain_scores(
    matrix: Matrix, labels: Labels, *, distance: Distance = "euclidean", seed: int = 0
) -> dict[ScoreKind, float]:
    """Return the values of all scores, without any evidence; NaN where undefined."""
    return _values(matrix, labels, _groupings(matrix, labels, seed), distance=distance, seed=seed)


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
    known: Sequence[Score] = (),
) -> tuple[tuple[Score, ...], Labels]:
    """Return all scores of one model and the KMeans clusters (n,) that some of them use.

    ``windows`` (n,) names the window of each sequence, for the test that holds magnitude fixed.
    A metric without an option of that name, like KMeans, uses Euclidean distance whatever ``distance``.
    What is ``known`` of the same vectors is taken as it is.
    """
    choices: dict[str, Any] = {"distance": distance, "seed": seed}
    groups, scores = _groupings(matrix, labels, seed), {score.kind: replace(score, model=model) for score in known}
    values = _values(matrix, labels, groups, **choices)
    test = partial(_evidence, matrix, windows=windows, permutations=permutations, **choices)
    for at, kind in enumerate(score_kinds()):
        own = groups[kind.labels]
        scores[kind] = scores.get(kind) or Score(
            model,
            *kind,
            values[kind],
            note=kind.note(matrix, labels, own, **choices),
            **test(labels=own, kind=kind, progress=silent if at else progress),
        )
    return tuple(scores[kind] for kind in score_kinds()), groups[kmeans.__name__]


def _groupings(matrix: Matrix, labels: Labels, seed: int) -> dict[str, Labels]:
    """Return the groups (n,) of every labelling by its name."""
    return {one.name: one.function(matrix, labels, **one.options_from(seed=seed)) for one in LABELLINGS}


def _values(matrix: Matrix, labels: Labels, groups: Mapping[str, Labels], **choices: Any) -> dict[ScoreKind, float]:
    """Return the values of all scores, in their order; a metric that shares work between labellings has all at once."""
    scores: dict[ScoreKind, float] = {}
    for metric in METRICS:
        own = [kind for kind in score_kinds() if kind.metric == metric.name]
        given, together = metric.options_from(**choices), metric.facts.get("together")
        if together:
            values = together(matrix, *(groups[kind.labels] for kind in own), **given)
        else:
            values = [metric.function(*kind.arguments(matrix, labels, groups[kind.labels]), **given) for kind in own]
        scores |= zip(own, values, strict=True)
    return {kind: scores[kind] for kind in score_kinds()}


def _evidence(
    matrix: Matrix,
    *,
    labels: Labels,
    kind: ScoreKind,
    windows: Labels | None,
    distance: Distance,
    permutations: int | None,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Return the fields of a score that hold its evidence: shuffles, also within windows, and its interval."""
    shuffles, small = kind.entry.facts.get("shuffles"), len(labels) <= EVIDENCE_UP_TO
    if kind.untested or not (small or (shuffles and shuffles.cheap)):
        return {}
    shuffle = partial(
        permutation_test, matrix, labels, distance=distance, permutations=permutations, seed=seed, metric=kind.metric
    )
    test = shuffle(progress=progress)
    if test.note:
        return {}
    fields = {"p": test.p, "chance_mean": test.null_mean, "chance_low": test.null_low, "chance_high": test.null_high}
    fields["least_p"] = smallest_p(labels)
    if small:
        fields |= {"z": test.z} | _interval(matrix, labels, kind, distance=distance)
        if windows is not None:
            fields |= {"p_within": shuffle(within=windows).p, "least_p_within": smallest_p(labels, windows)}
    return {name: None if math.isnan(value) else value for name, value in fields.items()}


def _interval(matrix: Matrix, labels: Labels, kind: ScoreKind, **choices: Any) -> dict[str, float]:
    of = kind.entry.facts.get("interval")
    interval = of(matrix, labels, **kind.entry.options_from(**choices)) if of else None
    return {"low": interval.low, "high": interval.high} if interval else {}
