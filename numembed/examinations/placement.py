"""Where a text of one's own falls among the sequences, in the space of each model."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np

from numembed.analysis.clusters.attributes import family_title
from numembed.analysis.clusters.neighbours import land
from numembed.analysis.preparation import Distance
from numembed.core.errors import BadChoice, TooLarge
from numembed.core.serialization import with_nan, without_nan
from numembed.examinations.clusters.compute import NEIGHBOURS, sequence_names
from numembed.examinations.registry import EXAMINATIONS, Bench
from numembed.sequences.sets import IntegerSequence, SequenceSet, TextFormat, numbers_in
from numembed.studies.study import QUERY_CHARS, Study

NAME = "landing"
_REACH, _BEYOND = "within the reach of its own sequences", "farther out than all of its own sequences"
_MINUS = str.maketrans({"−": "-", "–": "-"})


@dataclass(frozen=True)
class Query:
    """A text of one's own as the models read it."""

    text: str
    numbers: tuple[int, ...] = ()  # none where it is no list of whole numbers
    left_out: int = 0  # numbers for which the longest text has no room


@dataclass(frozen=True)
class Landed:
    """Where it fell in one model's space; NaN where undefined, with a note that says why."""

    family: str  # whose centre is nearest; "" where none is
    tied: tuple[str, ...]  # further families whose centre is exactly as near
    distance: float  # to that centre, in the model's own units
    members: int  # sequences of that family
    farther: int  # of them, those that lie farther from the centre of the others than the text does
    nearest: tuple[int, ...]  # rows of the nearest sequences, nearest first
    distances: tuple[float, ...]  # to them
    twin: int  # row of the sequence that is this very text and is therefore left out; -1 without
    note: str = ""

    @property
    def inside(self) -> bool:
        """Whether at least one of the family's own sequences lies farther out."""
        return self.farther > 0

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values; None for NaN."""
        found: dict[str, Any] = without_nan(asdict(self))
        return found

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Landed:
        """Return what :meth:`as_json` described."""
        return cls(**with_nan(plain))


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
        raise TooLarge(f"A text of your own has at most {QUERY_CHARS:,} characters, got {len(plain):,}; shorten it.")
    if any("\ud800" <= character <= "\udfff" for character in plain):
        raise BadChoice("This text holds characters that are no text. Type it anew.")
    if not _is_list(plain):
        return Query(plain)
    numbers = tuple(numbers_in(re.sub(r"(?<=[0-9])-", " ", plain.translate(_MINUS))))
    text = text_format.joined(map(str, numbers), "this sequence")
    kept = len(numbers_in(text))
    return Query(text, numbers[:kept], len(numbers) - kept)


@EXAMINATIONS.register("Landing", asks="Where does a text of one's own fall among the sequences?")
def landing(bench: Bench) -> dict[str, Any]:
    """The family and the sequences nearest to the study's query, which alone is encoded."""
    query, sequences = read_query(bench.study.query, bench.study.text_format), bench.study.sequences
    item = IntegerSequence("query", 0, query.numbers)
    both = SequenceSet((*sequences.items, item), sequences.text_format, (*sequences.texts, query.text))
    bench.tell(0, 1)
    return landed(bench.vectors(both, bench.spec), query, bench.study, is_baseline=bench.spec.is_baseline).as_json()


def landed(matrix: np.ndarray[Any, Any], query: Query, study: Study, *, is_baseline: bool = False) -> Landed:
    """Return where the last row of ``matrix`` (n + 1, d) falls among the others, those of the study's sequences.

    A sequence that is this very text is left out, of its family too: whatever is asked was not there before.
    """
    sequences = study.sequences
    twin = sequences.texts.index(query.text) if query.text in sequences.texts else -1
    kept = np.flatnonzero(np.arange(len(sequences)) != twin)
    if is_baseline and not matrix[-1].any():
        note = "this baseline finds nothing in the text that it counts"
        return Landed("", (), math.nan, 0, 0, (), (), twin, note)
    labels = sequences.labels[kept]
    found = land(
        matrix[-1], matrix[:-1][kept], labels, neighbours=NEIGHBOURS, distance=cast(Distance, study.distance)
    )  # fmt: skip
    if found.family < 0:
        return Landed("", (), math.nan, 0, 0, (), (), twin, found.note)
    members = int((labels == found.family).sum())
    nearer = 0 if found.note else round(found.percentile / 100 * members)
    return Landed(
        sequences.families[found.family],
        tuple(sequences.families[label] for label in found.tied),
        found.to_centroid,
        members,
        0 if found.note else members - nearer,
        tuple(map(int, kept[found.rows])),
        tuple(map(float, found.distances)),
        twin,
        found.note,
    )


def sentence_of(found: Sequence[tuple[str, bool, Landed]]) -> str:
    """Return in one to three sentences where (name, is_baseline, landed) agree that the text falls."""
    told = [
        _voted([(name, one) for name, baseline, one in found if baseline is kind], noun)
        for kind, noun in ((False, "model"), (True, "baseline"))
    ]
    return " ".join(filter(None, told))


def read_sentence(query: Query, study: Study) -> str:
    """Return how the text is read, and what that means for its distances."""
    if not query.numbers:
        return "This is no list of whole numbers, so the models read it as it stands, unlike the sequences around it."
    count = len(query.numbers)
    told = f"Read as {count:,} whole number{'s' * (count != 1)}, in the format of the sequences."
    if query.left_out:
        told += f" {query.left_out:,} more did not fit into the longest text and were left out."
    usual = max((len(item.terms) for item in study.sequences.items), default=0)
    if count != usual:
        told += f" The sequences here have {usual:,}: a part of every distance may be the length."
    return told


def outlying(one: Landed) -> str:
    """Return in a few words how the text lies beside the family's own sequences."""
    if one.note or not one.family:
        return one.note
    if one.farther:
        return f"{one.farther} of its {one.members} lie farther out"
    return f"farther out than all {one.members}"


def rows_of(name: str, one: Landed, study: Study) -> list[dict[str, Any]]:
    """Return where the text falls in one model's space, as one row."""
    names = sequence_names(study.sequences)
    row = {
        "part": "landing",
        "name": name,
        "text": read_query(study.query, study.text_format).text,
        "family": family_title(one.family) if one.family else "",
        "tied": ", ".join(map(family_title, one.tied)),
        "distance": one.distance,
        "members": one.members,
        "members_farther_out": one.farther,
        "nearest": names[one.nearest[0]] if one.nearest else "",
        "nearest_distance": one.distances[0] if one.distances else math.nan,
        "neighbours": [names[row] for row in one.nearest],
        "distances": list(one.distances),
        "same_text": names[one.twin] if one.twin >= 0 else "",
        "note": one.note,
    }
    return [without_nan(row)]


def _is_list(text: str) -> bool:
    """Return whether a text is whole numbers and punctuation between them: no letter, no sign, no decimal point."""
    between = re.sub(r"[0-9]+", "0", text.translate(_MINUS))
    whole = "0" in between and not re.search(r"(?<!\.)\.0", between)
    return whole and re.fullmatch(r"[0\s,;:|/()\[\]{}<>\"'_.…—-]*", between) is not None


def _voted(found: Sequence[tuple[str, Landed]], noun: str) -> str:
    """Return where the models, or the baselines, put the text; one that cannot decide counts for nobody."""
    if not found:
        return ""
    votes = Counter(one.family for _, one in found if one.family and not one.tied)
    if not votes:
        return f"No {noun} can tell one family from another here."
    (first, most), *others = votes.most_common()
    if [count for _, count in others if count == most]:
        split = ", ".join(f"{count} with {family_title(name)}" for name, count in votes.most_common(4))
        return f"The {noun}s do not agree: {split}."
    there = [one for _, one in found if one.family == first and not one.tied and not one.note]
    inside = sum(one.inside for one in there)
    if len(found) == 1:
        where = f", {_REACH if there[0].inside else _BEYOND}" if there else ""
        return f"{found[0][0]} puts it with {family_title(first)}{where}."
    told = f"{most} of {len(found)} {noun}s {'puts' if most == 1 else 'put'} it with {family_title(first)}"
    if there and noun == "model":
        told += f", in {inside} of {'these' if most > 1 else 'it'} {_REACH}"
    return told + "."
