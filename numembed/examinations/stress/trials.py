"""What every variant of every perturbation scores, beside the set before anything is changed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from numembed.analysis.inference.intervals import leave_one_out
from numembed.analysis.inference.permutation_test import permutation_test
from numembed.analysis.inference.power import sd_above
from numembed.analysis.labels import kmeans
from numembed.analysis.metrics import ari, silhouette
from numembed.analysis.preparation import Distance, undefined_reason
from numembed.analysis.similarity import Doubles, gaps, normalised, relatives
from numembed.core.arrays import Matrix
from numembed.core.errors import TooLarge
from numembed.examinations.registry import ExaminationContext
from numembed.sequences.perturbations.terms import PERTURBATIONS
from numembed.sequences.perturbations.trials import Trial
from numembed.sequences.sets import SequenceSet
from numembed.studies.trial_vectors import TrialVectors

_SHUFFLES = 999  # of each changed set; the plain one gets as many as on Compare
_NO_MODEL = "A baseline is a formula: it takes no prompt and is kept in full precision."


@dataclass(frozen=True, eq=False)
class Reading:
    """What one set of vectors scores; NaN where undefined or not asked."""

    value: float = math.nan
    chance: float = math.nan  # mean of the shuffles
    p: float = math.nan  # against these
    z_within: float = math.nan
    p_within: float = math.nan
    ari: float = math.nan
    without: Doubles | None = None  # (n,) the score without each sequence in turn
    gaps: Doubles | None = None  # (n,) how far each vector lies from its plain one
    repeated: int = 0  # this many more texts than of the plain set are equal to another one
    same: bool = False  # as the plain one in every respect
    note: str = ""
    null_sd: float = math.nan  # standard deviation of the shuffles


@dataclass(frozen=True, eq=False)
class Base:
    """One design before anything is changed, against which its trials are read."""

    trial_vectors: TrialVectors[ExaminationContext]
    sequences: SequenceSet
    matrix: Matrix
    reading: Reading
    kmeans: Reading  # of the KMeans clusters
    own: Doubles  # (n,) distance of each vector to its nearest of the same family; NaN where it has none
    other: Doubles  # (n,) … of the other families
    apart: bool  # whether each vector depends on its text alone

    @classmethod
    def of(cls, trial_vectors: TrialVectors[ExaminationContext], sequences: SequenceSet) -> Base:
        """Return the base of a design."""
        context = trial_vectors.context
        study, spec = context.study, context.spec
        matrix = trial_vectors.matrix(sequences, prompt=spec.prompt, precision=spec.precision)
        distance = cast(Distance, study.distance)
        own, other = relatives(matrix, sequences.labels, distance=distance)
        apart = True
        if spec.is_baseline and len(sequences):
            first = context.vectors(replace(sequences, items=sequences.items[:1]), spec)
            apart = np.array_equal(first, matrix[:1])
        return cls(
            trial_vectors,
            sequences,
            matrix,
            _score(context, matrix, sequences, distance, shuffles=None, within=True),
            _clusters(context, matrix, sequences, study.seed),
            own,
            other,
            apart,
        )

    def read(self, trial: Trial) -> Reading:
        """Return what becomes of the score under a trial; its note says why nothing can."""
        context, change = self.trial_vectors.context, trial.change
        if note := trial.note or (
            _NO_MODEL if context.spec.is_baseline and change and change.target == "model" else ""
        ):
            return Reading(note=note)
        if change is not None and change.field == "seed":
            result = _clusters(context, self.matrix, self.sequences, change.value)
            return replace(result, same=change.value == context.study.seed)
        try:
            same, matrix, distance = self._changed(trial)
        except TooLarge as error:  # a text that the model cannot read
            return Reading(note=str(error))
        moved = gaps(self.matrix, matrix, distance=distance) if self._moves(trial) else None
        if same:
            return replace(self.reading, gaps=moved, same=True)
        within = PERTURBATIONS[trial.name].facts["group"] == "place"
        result = _score(context, matrix, trial.sequences, distance, shuffles=_SHUFFLES, within=within)
        repeated = len(set(self.sequences.texts)) - len(set(trial.sequences.texts))
        return replace(result, gaps=moved, repeated=max(0, repeated))

    def _changed(self, trial: Trial) -> tuple[bool, Matrix, Distance]:
        """Return whether nothing changes, the vectors of a trial, and the distance of its score."""
        spec, distance, change = self.trial_vectors.context.spec, self._distance, trial.change
        if change is None:
            same = trial.sequences.texts == self.sequences.texts and trial.sequences.families == self.sequences.families
            return (
                same,
                self.trial_vectors.matrix(trial.sequences, prompt=spec.prompt, precision=spec.precision),
                distance,
            )
        value = change.value
        match change.field:
            case "prompt":
                matrix = self.trial_vectors.matrix(self.sequences, prompt=value, precision=spec.precision)
                return value == spec.prompt, matrix, distance
            case "precision":
                matrix = self.trial_vectors.matrix(self.sequences, prompt=spec.prompt, precision=value)
                return value == spec.precision, matrix, distance
            case "distance":
                return value == distance, self.matrix, value
            case _:
                return False, normalised(self.matrix, value), distance

    def _moves(self, trial: Trial) -> bool:
        """Return whether each row is still the same sequence, so that its two vectors have a distance that tells."""
        if not self.apart or (trial.change is not None and trial.change.field != "prompt"):
            return False
        pairs = zip(self.sequences.items, trial.sequences.items, strict=True)
        return all((a.family, a.offset, len(a.terms)) == (b.family, b.offset, len(b.terms)) for a, b in pairs)

    @property
    def _distance(self) -> Distance:
        return cast(Distance, self.trial_vectors.context.study.distance)


def _score(
    context: ExaminationContext,
    matrix: Matrix,
    sequences: SequenceSet,
    distance: Distance,
    *,
    shuffles: int | None,
    within: bool,
) -> Reading:
    """Return the silhouette of the families, and what shuffled families score."""
    labels, seed = sequences.labels, context.study.seed
    if reason := undefined_reason(matrix, labels, distance=distance):
        return Reading(note=f"The score is undefined: {reason}.")
    free = permutation_test(matrix, labels, distance=distance, permutations=shuffles, seed=seed)
    inside = None
    if within:
        inside = permutation_test(
            matrix, labels, distance=distance, permutations=shuffles, seed=seed, within=sequences.windows
        )
    return Reading(
        silhouette(matrix, labels, distance=distance),
        free.null_mean,
        free.p,
        inside.z if inside else math.nan,
        inside.p if inside else math.nan,
        without=leave_one_out(matrix, labels, distance=distance),
        null_sd=sd_above(free.null_mean, free.null_high),
    )


def _clusters(context: ExaminationContext, matrix: Matrix, sequences: SequenceSet, seed: int) -> Reading:
    """Return the silhouette of the KMeans clusters of a seed, and how well they match the families."""
    clusters, distance = kmeans(matrix, sequences.labels, seed=seed), cast(Distance, context.study.distance)
    if reason := undefined_reason(matrix, clusters, distance=distance):
        return Reading(note=f"The score is undefined: {reason}.")
    return Reading(silhouette(matrix, clusters, distance=distance), ari=ari(sequences.labels, clusters))
