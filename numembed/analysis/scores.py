"""The table of scores: each registered metric with each registered labelling, and what a reader needs to judge them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from numembed.analysis.inference.permutation_test import permutation_test, smallest_p
from numembed.analysis.inference.permuted_scores import part_of
from numembed.analysis.labels import LABELLINGS, kmeans
from numembed.analysis.metrics import METRICS, note_of
from numembed.analysis.preparation import Distance
from numembed.core.arrays import Labels, Matrix
from numembed.core.progress import Progress, silent
from numembed.core.registry import Entry

_UNTESTED = {
    "separation": "these groups were computed from the vectors, so shuffled groups are no chance level for them",
    "agreement": "groups that are compared with the families are not shuffled",
}


class ScoreKind(NamedTuple):
    """One score: a metric with a labelling. Written as text it is "metric labels", the name of stored values."""

    metric: str
    labels: str

    @classmethod
    def read(cls, text: str) -> ScoreKind:
        """Return the kind that ``str`` wrote."""
        return cls(*text.split(" "))

    def __str__(self) -> str:
        return f"{self.metric} {self.labels}"

    @property
    def entry(self) -> Entry[Any]:
        """The registered metric."""
        return METRICS[self.metric]

    @property
    def labelling(self) -> Entry[Any]:
        """The registered labelling."""
        return LABELLINGS[self.labels]

    @property
    def where(self) -> str:
        """The labelling in words, as it follows the name of a score."""
        return f"with {self.labelling.facts.get('phrase', self.labelling.title)}"

    @property
    def sign(self) -> int:
        """1 where higher is better, else −1."""
        return 1 if self.entry.facts["higher_is_better"] else -1

    @property
    def title(self) -> str:
        """The metric and the labelling in words."""
        return f"{self.entry.title} {self.where}"

    @property
    def column(self) -> str:
        """The title of its column in a table."""
        short: str = self.entry.facts.get("short", self.entry.title)
        return short

    @property
    def group(self) -> str:
        """The heading above its column, which it shares with others."""
        return self.where if self.entry.facts["kind"] == "separation" else "both compared"

    @property
    def in_table(self) -> bool:
        """Whether it has a column of the table of scores; all have a place with the evidence."""
        shown: bool = self.entry.facts.get("in_table", True)
        return shown

    @property
    def help(self) -> str:
        """What the score says, and what it is by chance."""
        return f"{self.entry.summary} By chance: {self.entry.facts['chance']}."

    @property
    def untested(self) -> str:
        """Why it has no permutation test, or "" where it has one."""
        kind = self.entry.facts["kind"]
        general: str = _UNTESTED[kind] if kind == "agreement" else self.labelling.facts.get("untested", _UNTESTED[kind])
        return self.entry.facts.get("untested") or general

    def arguments(self, matrix: Matrix, families: Labels, groups: Labels) -> tuple[Any, Labels]:
        """Return what the metric takes, of vectors and their groups by this labelling."""
        return (matrix if self.entry.facts["kind"] == "separation" else families), groups

    def note(self, matrix: Matrix, families: Labels, groups: Labels, **choices: Any) -> str:
        """Return why the score is undefined here, or what flatters it, or ""."""
        entry = self.entry
        return note_of(entry, *self.arguments(matrix, families, groups), **entry.options_from(**choices))


SILHOUETTE = ScoreKind("silhouette", "families")  # the score that models are ranked by


def score_kinds() -> tuple[ScoreKind, ...]:
    """Return every score that is computed: labelling by labelling, first how far its groups lie apart."""
    return tuple(
        ScoreKind(metric.name, labelling.name)
        for labelling in LABELLINGS
        for kind in ("separation", "agreement")
        for metric in METRICS
        if metric.facts["kind"] == kind and _applies(metric, labelling)
    )


def _applies(metric: Entry[Any], labelling: Entry[Any]) -> bool:
    if metric.facts["kind"] == "agreement" and labelling.facts.get("truth"):
        return False
    return labelling.name in metric.facts.get("labellings", LABELLINGS)


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
    within_mean: float | None = None  # what families shuffled inside each window only score
    within_low: float | None = None  # 95% of these shuffles lie between these two
    within_high: float | None = None

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
    tested = [kind for kind in score_kinds() if kind not in scores and _is_tested(kind, len(labels))]
    for kind in (kind for kind in score_kinds() if kind not in scores):
        own, fields = groups[kind.labels], {}
        if kind in tested:
            fields = test(labels=own, kind=kind, progress=part_of(progress, tested.index(kind), len(tested)))
        scores[kind] = Score(model, *kind, values[kind], note=kind.note(matrix, labels, own, **choices), **fields)
    return tuple(scores[kind] for kind in score_kinds()), groups[kmeans.__name__]


def _is_tested(kind: ScoreKind, n: int) -> bool:
    """Return whether a score of n sequences gets a permutation test."""
    shuffles = kind.entry.facts.get("shuffles")
    return not kind.untested and (n <= EVIDENCE_UP_TO or bool(shuffles and shuffles.cheap))


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
    small = len(labels) <= EVIDENCE_UP_TO
    tests = 1 + (small and windows is not None)
    shuffle = partial(
        permutation_test, matrix, labels, distance=distance, permutations=permutations, seed=seed, metric=kind.metric
    )
    test = shuffle(progress=part_of(progress, 0, tests))
    if test.note:
        return {}
    fields = {"p": test.p, "chance_mean": test.null_mean, "chance_low": test.null_low, "chance_high": test.null_high}
    fields["least_p"] = smallest_p(labels)
    if small:
        fields |= {"z": test.z} | _interval(matrix, labels, kind, distance=distance)
        if windows is not None:
            within = shuffle(within=windows, progress=part_of(progress, 1, tests))
            fields |= {"p_within": within.p, "least_p_within": smallest_p(labels, windows)}
            fields |= {"within_mean": within.null_mean, "within_low": within.null_low, "within_high": within.null_high}
    return {name: None if math.isnan(value) else value for name, value in fields.items()}


def _interval(matrix: Matrix, labels: Labels, kind: ScoreKind, **choices: Any) -> dict[str, float]:
    of = kind.entry.facts.get("interval")
    interval = of(matrix, labels, **kind.entry.options_from(**choices)) if of else None
    return {"low": interval.low, "high": interval.high} if interval else {}
