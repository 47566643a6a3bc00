"""Stress tests: how the score of one model changes under every registered perturbation, and how far its vectors move.

Scores are silhouettes of the families, for the seed of KMeans those of its clusters. The sequences are the plain ones,
before anything is made equal between the families.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from numembed.analysis.inference.intervals import Difference, jackknife, mean_interval, paired_difference
from numembed.analysis.preparation import Distance
from numembed.analysis.similarity import paired_jackknife
from numembed.core.errors import TooLarge
from numembed.core.significance import holm
from numembed.examinations.clusters.compute import LARGEST
from numembed.examinations.registry import ExaminationContext
from numembed.examinations.stress.trials import Base, Reading
from numembed.models.spec import ModelSpec
from numembed.sequences.perturbations.terms import PERTURBATIONS
from numembed.sequences.perturbations.trials import Trial, encoded_sets, trials, variant_words
from numembed.sequences.sets import SequenceSet
from numembed.studies.study import Study, redrawings
from numembed.studies.trial_vectors import fetched, sets_to_read


@dataclass(frozen=True)
class Plain:
    """The score before anything is changed; None where undefined. Means over the designs where there are several."""

    value: float | None
    low: float | None  # 95%: jackknife over sequences, or of the mean over designs
    high: float | None
    chance: float | None  # what shuffled families score on average
    p: float | None  # against shuffled families, right-tailed
    z_within: float | None  # families shuffled inside each window only
    p_within: float | None
    kmeans: float | None  # silhouette of the KMeans clusters
    ari: float | None  # how well they match the families
    own: float | None  # mean distance of each vector to its nearest neighbour of the same family
    other: float | None  # … and to its nearest of the other families
    note: str = ""
    null_sd: float | None = None  # standard deviation of what shuffled families score


STILL = 0.005  # times as far as its nearest relative: a vector that has not moved


@dataclass(frozen=True)
class TrialResult:
    """One variant of a perturbation and what became of the score; None where undefined or not asked."""

    perturbation: str
    options: dict[str, Any]
    value: float | None = None  # the score after the change
    change: float | None = None  # value − plain value; None where the families are others
    low: float | None = None  # 95% interval of the change
    high: float | None = None
    p: float | None = None  # of the change, two-sided
    p_holm: float | None = None  # adjusted for all variants
    chance: float | None = None  # of the changed set, as in ``Plain``
    p_chance: float | None = None
    z_within: float | None = None
    p_within: float | None = None
    ari: float | None = None  # of the KMeans clusters, for the seed of KMeans
    drift: float | None = None  # mean distance between the plain and the changed vector of a sequence
    ratio: float | None = None  # … divided by ``Plain.own``
    ratios: tuple[float, ...] = ()  # (n,) the drift of each sequence, divided by ``Plain.own``
    repeated: int = 0  # this many more texts are equal to another one: they get equal vectors whatever the model
    same: bool = False  # nothing was changed
    note: str = ""  # why there is no score
    null_sd: float | None = None  # as in ``Plain``


@dataclass(frozen=True)
class Stress:
    """All stress tests of one model."""

    plain: Plain
    tried: tuple[TrialResult, ...]  # in the order of the registry
    designs: int  # redrawn sets of windows that all of it was done on; 0: the study's own windows alone
    distance: str

    @property
    def farthest(self) -> tuple[TrialResult, ...]:
        """The variant of each perturbation that moves the vectors farthest, the least of them first.

        Perturbations that move them nowhere, or for which that cannot be determined, are left out.
        """
        moved = sorted((one for one in self.tried if (one.ratio or 0) >= STILL), key=lambda one: one.ratio or 0)
        strongest = {one.perturbation: one for one in moved}
        return tuple(one for one in moved if one is strongest[one.perturbation])


def texts_of(study: Study, *, designs: int = 0) -> int:
    """Return how many texts the stress tests of ``study`` encode at most."""
    return (1 + encoded_sets()) * len(study.families) * study.per_family * max(1, designs)


def variant_of(tried: TrialResult) -> str:
    """Return the options of a variant in a few words, "" where there are none.

    >>> variant_of(TrialResult("first_term", {"start": 2000})), variant_of(TrialResult("base", {"to": 2}))
    ('at term 2,000', 'base 2')
    """
    return variant_words(tried.options)


def stress(context: ExaminationContext) -> Stress:
    """Return how far every perturbation moves the score, and the vectors."""
    study, count = context.study, context.study.designs
    plains, planned = _planned(study)
    trial_vectors = fetched(context, plains, planned)
    bases, readings = [], []
    for design, (plain, tests) in enumerate(zip(plains, planned, strict=True)):
        base, of_design = Base.of(trial_vectors, plain), []
        for done, trial in enumerate(tests):
            context.progress(design * len(tests) + done, len(plains) * len(tests))
            of_design.append(base.read(trial))
        bases.append(base)
        readings.append(of_design)
    plain_scores = _plain(bases, study)
    columns = zip(zip(*planned, strict=True), zip(*readings, strict=True), strict=True)
    tried = [_tried(of_variant, bases, column, plain_scores) for of_variant, column in columns]
    adjusted = holm([one.p for one in tried])
    rows = tuple(replace(one, p_holm=p) for one, p in zip(tried, adjusted, strict=True))
    return Stress(plain_scores, rows, count, study.distance)


def stress_texts(context: ExaminationContext) -> Iterator[tuple[ModelSpec, SequenceSet]]:
    """Yield what the perturbed texts of a model are, by the prompt before them."""
    plains, planned = _planned(context.study)
    yield from sets_to_read(context.spec, plains, [trial for of_one in planned for trial in of_one])


def _planned(study: Study) -> tuple[tuple[SequenceSet, ...], list[tuple[Trial, ...]]]:
    """Return the designs and the trials of each; raise TooLarge above ``LARGEST`` sequences."""
    n = len(study.families) * study.per_family
    if n > LARGEST:
        raise TooLarge(f"Stress tests take at most {LARGEST:,} sequences, got {n:,}; choose fewer on Compare.")
    count = study.designs
    plains = tuple(redrawings(replace(study, matched=()), count)) if count else (study.plain_sequences,)
    return plains, [trials(plain, seed=study.seed) for plain in plains]


def _plain(bases: Sequence[Base], study: Study) -> Plain:
    readings = [base.reading for base in bases]
    values, chances = [reading.value for reading in readings], [reading.chance for reading in readings]
    p, p_within = readings[0].p, readings[0].p_within
    interval = jackknife(bases[0].matrix, bases[0].sequences.labels, distance=cast(Distance, study.distance))
    if study.designs:
        inside = [reading.z_within for reading in readings]
        interval = mean_interval(values)
        p, p_within = (_right_tail(values, chances), _right_tail(inside, [0.0] * len(inside)))
    return Plain(
        _mean(values),
        _number(interval.low),
        _number(interval.high),
        _mean(chances),
        _number(p),
        _mean([reading.z_within for reading in readings]),
        _number(p_within),
        _mean([base.kmeans.value for base in bases]),
        _mean([base.kmeans.ari for base in bases]),
        _mean([_middle(base.own) for base in bases]),
        _mean([_middle(base.other) for base in bases]),
        next((reading.note for reading in readings if reading.note), ""),
        _mean([reading.null_sd for reading in readings]),
    )


def _tried(
    of_variant: Sequence[Trial], bases: Sequence[Base], readings: Sequence[Reading], plain: Plain
) -> TrialResult:
    trial = of_variant[0]
    row, facts = (
        replace(TrialResult(trial.name, trial.options), **_drift(readings, plain)),
        PERTURBATIONS[trial.name].facts,
    )
    if note := next((reading.note for reading in readings if reading.note), ""):
        return replace(row, note=note)
    row = replace(
        row,
        value=_mean([reading.value for reading in readings]),
        repeated=max(one.repeated for one in readings),
        chance=_mean([reading.chance for reading in readings]),
        p_chance=_together([one.p for one in readings]),
        ari=_mean([reading.ari for reading in readings]),
        same=all(reading.same for reading in readings),
        null_sd=_mean([reading.null_sd for reading in readings]),
    )
    if facts["group"] == "place":
        inside = _mean([reading.z_within for reading in readings])
        row = replace(row, z_within=inside, p_within=_together([reading.p_within for reading in readings]))
    if facts.get("other_families"):
        return row
    if row.same:
        return replace(row, change=0.0, low=0.0, high=0.0)
    before = [base.kmeans if facts.get("field") == "seed" else base.reading for base in bases]
    result = _change(before, readings, fixed=facts["group"] == "place" and _recur(of_variant))
    return replace(
        row, change=_number(result.mean), low=_number(result.low), high=_number(result.high), p=_number(result.p)
    )


def _change(before: Sequence[Reading], after: Sequence[Reading], *, fixed: bool) -> Difference:
    """Return by how much the score changed: paired over the designs, or by leaving out each sequence in turn.

    The latter also where the changed windows are ``fixed``, the same in several designs, which then repeat nothing:
    one row of all designs is left out at once.
    """
    values = [one.value for one in after], [one.value for one in before]
    if len(after) > 1 and not fixed:
        return paired_difference(*values)
    change = float(np.mean(values[0]) - np.mean(values[1]))
    without = [one.without for one in before], [one.without for one in after]
    if any(one is None for side in without for one in side):  # the seed of KMeans: it draws no sequences
        return Difference(change, math.nan, math.nan, math.nan, False)
    start, end = (np.mean(cast(Any, side), axis=0) for side in without)
    return paired_jackknife(change, start, end)


def _recur(of_variant: Sequence[Trial]) -> bool:
    """Return whether designs share changed texts."""
    sets = [set(trial.sequences.texts) for trial in of_variant]
    return len(set[str]().union(*sets)) < sum(map(len, sets))


def _together(ps: Sequence[float]) -> float | None:
    """Return one p for the designs: twice the mean, valid however they depend on each other (Rüschendorf 1982)."""
    return _number(ps[0] if len(ps) == 1 else min(1.0, 2 * float(np.mean(ps))))


def _right_tail(values: Sequence[float], others: Sequence[float]) -> float:
    """Return p of how far values lie above others on the same designs."""
    result = paired_difference(values, others)
    return result.p / 2 if result.mean > 0 else 1 - result.p / 2


def _drift(readings: Sequence[Reading], plain: Plain) -> dict[str, Any]:
    moved = [reading.gaps for reading in readings if reading.gaps is not None]
    if len(moved) < len(readings):
        return {}
    gaps = np.mean(moved, axis=0)
    drift = _number(float(gaps.mean()))
    if drift is None or not plain.own:
        return {"drift": drift}
    return {
        "drift": drift,
        "ratio": drift / plain.own,
        "ratios": tuple(round(float(gap) / plain.own, 4) for gap in gaps),
    }


def _mean(values: Sequence[float]) -> float | None:
    return _number(float(np.mean(values)))


def _middle(values: Any) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
