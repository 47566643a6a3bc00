"""What retention is measured on: ordinary sentences, or number texts where the base does not tell the sentences apart.

A base that reads no words has nearly the same vector for each sentence. The order of their cosines then follows the
length of the texts, and a rank correlation of such orders says nothing about what was retained.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from numembed.analysis.similarity import agreement_interval, cka, similarity_agreement, spread
from numembed.core.arrays import Matrix
from numembed.merge_experiment.comparisons import comparisons_of
from numembed.merge_experiment.experiment import ExperimentResult
from numembed.merge_experiment.results import LEAST_SPREAD, Candidate, Comparison, Reference, Retention
from numembed.sequences.sets import SequenceSet


def reference_of(base_of_sentences: Matrix, numbers: SequenceSet, read: Callable[[SequenceSet], Matrix]) -> Reference:
    """Return what retention is measured on, from the base's vectors of the sentences.

    ``read`` gives the base's vectors of ``numbers``; it is asked only where the sentences do not serve.
    """
    of_sentences = spread(base_of_sentences)
    if of_sentences >= LEAST_SPREAD:
        return Reference("sentences", of_sentences, texts=len(base_of_sentences))
    of_numbers = spread(read(numbers))
    kind = "numbers" if of_numbers >= LEAST_SPREAD else "none"
    return Reference(kind, of_sentences, of_numbers, len(numbers), numbers.families)


def retention_of_numbers(matrix: Matrix, base: Matrix) -> Retention:
    """Return the retention over number texts, without what only sentences have."""
    low, high = agreement_interval(base, matrix)
    return Retention(similarity_agreement(base, matrix), cka(base, matrix), math.nan, low=low, high=high)


def comparisons_by_sentences(result: ExperimentResult) -> tuple[Comparison, ...]:
    """Return the comparisons at equal retention of the ordinary sentences, also where the base does not tell them apart
    and they mean nothing: what earlier versions printed."""
    candidates = tuple(map(_by_sentences, result.candidates))
    return comparisons_of(replace(result, candidates=candidates, reference=None))


def _by_sentences(candidate: Candidate) -> Candidate:
    return candidate if candidate.spoken is None else replace(candidate, retention=candidate.spoken, spoken=None)
