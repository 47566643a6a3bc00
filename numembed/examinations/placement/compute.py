"""Where a text of one's own falls among the sequences, in the space of each model."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from numembed.analysis.clusters.neighbours import land
from numembed.analysis.preparation import Distance
from numembed.core.errors import BadChoice, TooLarge
from numembed.examinations.clusters.compute import NEIGHBOURS
from numembed.examinations.registry import ExaminationContext
from numembed.models.spec import ModelSpec
from numembed.sequences.sets import IntegerSequence, SequenceSet, TextFormat, numbers_in
from numembed.studies.study import QUERY_CHARS, Study

_MINUS = str.maketrans({"−": "-", "–": "-"})


@dataclass(frozen=True)
class Query:
    """A text of one's own as the models read it."""

    text: str
    numbers: tuple[int, ...] = ()  # none where it is no list of whole numbers
    left_out: int = 0  # numbers for which the longest text has no room


@dataclass(frozen=True)
class Placement:
    """Where it fell in one model's space; NaN where undefined, with a note that says why."""

    family: str  # whose centre is nearest; "" where none is
    tied: tuple[str, ...]  # further families whose centre is exactly as near
    distance: float  # to that centre, in the model's own units
    members: int  # sequences of that family
    farther: int  # of them, those that lie farther from the centre of the others than the text does
    nearest: tuple[int, ...]  # rows of the nearest sequences, nearest first
    distances: tuple[float, ...]  # to them
    same_text: int = field(metadata={"stored": "twin"})  # row of the sequence with this text, left out; -1: none
    note: str = ""

    @property
    def inside(self) -> bool:
        """Whether at least one of the family's own sequences lies farther out."""
        return self.farther > 0


def read_query(typed: str, text_format: TextFormat) -> Query:
    """Return what the models read: whole numbers in the study's own format, any other text as it stands.

    Numbers are separated as one likes, but by no letter. Raises BadChoice for an empty text, TooLarge for a long one.

    >>> read_query("[2; 3] 5 −7", TextFormat())
    Query(text='2, 3, 5, -7', numbers=(2, 3, 5, -7), left_out=0)
    >>> read_query("3.14 and so on", TextFormat())
    Query(text='3.14 and so on', numbers=(), left_out=0)
    """
    plain = typed.strip()
    if not plain:
        raise BadChoice("There is nothing to place yet. Type a sequence such as 2, 3, 5, 7, 11.")
    if len(plain) > QUERY_CHARS:
        raise TooLarge(f"Your own text has at most {QUERY_CHARS:,} characters, got {len(plain):,}; shorten it.")
    if any("\ud800" <= character <= "\udfff" for character in plain):
        raise BadChoice("This text contains invalid characters. Type it again.")
    if not _is_list(plain):
        return Query(plain)
    numbers = tuple(numbers_in(re.sub(r"(?<=[0-9])-", " ", plain.translate(_MINUS))))
    text = text_format.joined(map(str, numbers), "this sequence")
    kept = len(numbers_in(text))
    return Query(text, numbers[:kept], len(numbers) - kept)


def placement(context: ExaminationContext) -> Placement:
    """Return the family and the sequences nearest to the study's query, which alone is encoded."""
    ((spec, both),) = texts_of(context)
    query = read_query(context.study.query, context.study.text_format)
    context.progress(0, 1)
    return placed(context.vectors(both, spec), query, context.study, is_baseline=spec.is_baseline)


def texts_of(context: ExaminationContext) -> list[tuple[ModelSpec, SequenceSet]]:
    """Return the model and what it reads: the study's sequences, then the query; raises what ``read_query`` raises."""
    query, sequences = read_query(context.study.query, context.study.text_format), context.study.sequences
    item = IntegerSequence("query", 0, query.numbers)
    return [
        (context.spec, SequenceSet((*sequences.items, item), sequences.text_format, (*sequences.texts, query.text)))
    ]


def placed(matrix: np.ndarray[Any, Any], query: Query, study: Study, *, is_baseline: bool = False) -> Placement:
    """Return where the last row of ``matrix`` (n + 1, d) falls among the others, those of the study's sequences.

    A sequence that is this very text is left out, of its family too: whatever is asked was not there before.
    """
    sequences = study.sequences
    same_text = sequences.texts.index(query.text) if query.text in sequences.texts else -1
    kept = np.flatnonzero(np.arange(len(sequences)) != same_text)
    if is_baseline and not matrix[-1].any():
        note = "this baseline finds nothing in the text that it can count"
        return Placement("", (), math.nan, 0, 0, (), (), same_text, note)
    labels = sequences.labels[kept]
    result = land(matrix[-1], matrix[:-1][kept], labels, neighbours=NEIGHBOURS, distance=cast(Distance, study.distance))
    if result.family < 0:
        return Placement("", (), math.nan, 0, 0, (), (), same_text, result.note)
    members = int((labels == result.family).sum())
    nearer = 0 if result.note else round(result.percentile / 100 * members)
    return Placement(
        sequences.families[result.family],
        tuple(sequences.families[label] for label in result.tied),
        result.to_centroid,
        members,
        0 if result.note else members - nearer,
        tuple(map(int, kept[result.rows])),
        tuple(map(float, result.distances)),
        same_text,
        result.note,
    )


def _is_list(text: str) -> bool:
    """Return whether a text is whole numbers and punctuation between them: no letter, no sign, no decimal point."""
    between = re.sub(r"[0-9]+", "0", text.translate(_MINUS))
    whole = "0" in between and not re.search(r"(?<!\.)\.0", between)
    return whole and re.fullmatch(r"[0\s,;:|/()\[\]{}<>\"'_.…—-]*", between) is not None
