"""Scores of one candidate, the shift of vectors by an adapter, and the maps from the base to the adapted model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.inference.intervals import leave_one_out
from numembed.analysis.maps.faithfulness import procrustes_stability
from numembed.analysis.maps.projections import project
from numembed.analysis.metrics import silhouette
from numembed.analysis.preparation import Distance, undefined_reason
from numembed.analysis.probes import balanced, folds_of, held_out_sorter
from numembed.analysis.scores import SILHOUETTE, score_all
from numembed.analysis.similarity import (
    agreement_interval,
    cka,
    grades_agreement,
    paraphrase_margin,
    shift_shares,
    similarity_agreement,
)
from numembed.core.arrays import Labels, Matrix
from numembed.merge_experiment.experiment import MergeExperiment
from numembed.merge_experiment.paths import Path
from numembed.merge_experiment.results import FIELDS, Frame, Retention, Separation, ShiftShare
from numembed.sequences.number_texts import number_texts
from numembed.sequences.sets import IntegerSequence, SequenceSet
from numembed.sequences.splits import Split, sentences

SHUFFLES = 999  # of each of some hundred candidates' families
DIRECTIONS = (1, 2, 3, 5, 10)
MAPPED = ("reserved", "paper")


@dataclass(frozen=True)
class Texts:
    """All texts that a candidate encodes, in one set: the windows of all splits, then the ordinary sentences."""

    splits: Mapping[str, SequenceSet]
    split: Split

    @classmethod
    def of(cls, experiment: MergeExperiment) -> Texts:
        """Return the texts of the candidates of ``experiment``."""
        return cls(experiment.recipe.split.evaluations, experiment.recipe.split)

    @cached_property
    def free(self) -> SequenceSet:
        """Number texts that are neither trained nor scored: read only for bases that do not tell sentences apart."""
        return number_texts(self.split)

    @cached_property
    def all(self) -> SequenceSet:
        """All texts, one after the other."""
        spoken = sentences().texts
        items = [item for split in self.splits.values() for item in split.items]
        written = [text for split in self.splits.values() for text in split.texts]
        items += [IntegerSequence("sentences", 0, ())] * len(spoken)
        return SequenceSet(tuple(items), written=(*written, *spoken))

    @cached_property
    def places(self) -> dict[str, slice]:
        """The rows of each split."""
        ends = np.cumsum([0, *map(len, self.splits.values())]).tolist()
        return {name: slice(ends[i], ends[i + 1]) for i, name in enumerate(self.splits)}

    def numbers(self, matrix: Matrix) -> Matrix:
        """Return the rows of all number texts."""
        return matrix[: sum(map(len, self.splits.values()))]

    def spoken(self, matrix: Matrix) -> Matrix:
        """Return the rows of the sentences."""
        return matrix[sum(map(len, self.splits.values())) :]


def separation(matrix: Matrix, sequences: SequenceSet, *, distance: str, seed: int) -> Separation:
    """Return how well vectors (n, d) separate the families of ``sequences``, with evidence."""
    labels, of = sequences.labels, cast(Distance, distance)
    scores, _ = score_all(
        matrix, labels, model="", distance=of, seed=seed, windows=sequences.windows, permutations=SHUFFLES
    )
    values = {score.kind: score.value for score in scores}
    first = next(score for score in scores if score.kind == SILHOUETTE)
    without = np.full(len(labels), math.nan)
    if not undefined_reason(matrix, labels, distance=of):
        without = leave_one_out(matrix, labels, distance=of)
    numbers = (first.low, first.high, first.p, first.p_within, first.z, first.chance_mean)
    low, high, p, within, z, chance = (math.nan if one is None else one for one in numbers)
    return Separation(
        **{field: values[kind] for kind, field in FIELDS.items()},
        accuracy=_accuracy(matrix, labels, sequences.windows),
        p=p,
        p_within=within,
        z=z,
        chance=chance,
        low=low,
        high=high,
        without=tuple(np.round(without, 7).tolist()),
        further={str(kind): value for kind, value in values.items() if kind not in FIELDS},
    )


def retention(matrix: Matrix, base: Matrix, *, lm_loss: float | None = None) -> Retention:
    """Return the retention: how similar the vectors of ordinary sentences are to the base's."""
    margin, graded = paraphrase_margin(matrix, sentences().paraphrases), grades_agreement(matrix, sentences().graded)
    low, high = agreement_interval(base, matrix)
    return Retention(similarity_agreement(base, matrix), cka(base, matrix), margin, lm_loss, low, high, graded)


def shift(base: Matrix, adapted: Matrix, scale: float) -> ShiftShare:
    """Return into how few directions a scaled adapter moves the vectors of number texts."""
    moved = np.linalg.norm(np.asarray(adapted, dtype=np.float64) - base, axis=1)
    return ShiftShare(scale, float(moved.mean()), shift_shares(base, adapted, DIRECTIONS) if scale else ())


def largest_gap(one: Matrix, other: Matrix) -> float:
    """Return the largest distance between the vectors that two models give for one text."""
    return float(np.linalg.norm(np.asarray(one, dtype=np.float64) - other, axis=1).max(initial=0))


def frames(
    path: Path, vectors: Sequence[tuple[float, str, Matrix]], base: Matrix, sequences: SequenceSet, split: str
) -> tuple[Frame, ...]:
    """Return a map of each candidate of a path, (at, title, vectors), each aligned with the one before it.

    Each is the two-dimensional view with the most variance (PCA), so differences between maps come from the vectors.
    """
    made, before = [], project(base, "pca")[0]
    for at, title, matrix in vectors:
        _, laid = procrustes_stability([before, project(matrix, "pca")[0]])[0]
        score = silhouette(matrix, sequences.labels)
        points = tuple((float(x), float(y)) for x, y in np.round(laid, 4).tolist())
        made.append(Frame(path.id, at, title, split, score, points))
        before = laid
    return tuple(made)


def _accuracy(matrix: Matrix, labels: Labels, windows: Labels) -> float:
    """Return the accuracy of the nearest centroid, each window held out in turn; NaN with one window."""
    folds, classes = folds_of(windows), int(labels.max(initial=-1)) + 1
    if len(folds) < 2 or classes < 2:
        return math.nan
    own: NDArray[np.int64] = labels[None]
    named = held_out_sorter("nearest_centroid", matrix, folds)(own, classes)
    return float(balanced(named == own, own, np.ones(own.shape, dtype=np.bool_), classes)[0])
