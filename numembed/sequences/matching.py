"""Fairer sequences: what families differ in besides themselves is made equal before a model reads them.

To add one, write a registered function: sequences in, as many sequences out, row i in place of row i. Fact:
``meaning``, one sentence on what it would mean if the score changes. A matching may read further terms of a family than
those at hand; how far is bounded, and where that is not enough it says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from math import log

import numpy as np

from numembed.core.errors import BadChoice
from numembed.core.registry import Registry
from numembed.core.settings import LIMITS
from numembed.sequences.families.family import FAMILIES, Family, family
from numembed.sequences.sets import IntegerSequence, SequenceSet

MATCHINGS: Registry[Callable[[SequenceSet], SequenceSet]] = Registry("matching")

_FURTHEST = 100_000  # terms of one family among which magnitudes are looked for; the slowest takes 5 s for them
_FORETOLD = 4_096  # from so many terms it is guessed whether it is worth going on
_PATIENCE = 1_000  # numbers looked at for each one needed; sixty families that share everything need sixty


def matched(sequences: SequenceSet, names: Sequence[str]) -> SequenceSet:
    """Return the sequences after the named matchings, always in the order of the registry; row i stays row i.

    The sequences are plain terms of families or the result of a matching. Raises UnknownName, and BadChoice or TooLarge
    where the families do not allow it.

    >>> from numembed.sequences.sets import make_sequences
    >>> matched(make_sequences(["even", "primes"], per_family=1, length=4), ["numbers", "length"]).texts
    ('2, 4, 6, 8', '3, 5, 7')
    """
    wanted = [MATCHINGS[name] for name in names]
    if wanted and sequences.written is not None:
        raise BadChoice("These texts are rewritten already; match the sequences that they were made of.")
    for entry in (entry for entry in MATCHINGS if entry in wanted):
        sequences = entry.function(sequences)
    return sequences


def matching_sentence(names: Sequence[str]) -> str:
    """Return the sentence that stands beside results of matched sequences.

    >>> matching_sentence(["magnitude", "length"])
    'The sequences were made fairer before the models read them: match magnitude, equal text length.'
    """
    titles = ", ".join(MATCHINGS[name].title.lower() for name in names)
    return f"The sequences were made fairer before the models read them: {titles}."


@MATCHINGS.register(
    "Match magnitude",
    meaning="If the score rises, magnitude hid the families (a confound); if it falls, the model separated them by "
    "how large their numbers are.",
)
def magnitude(sequences: SequenceSet) -> SequenceSet:
    """Starts the same window of every family at about the same number: the median of their first terms, or higher.

    The number lies beyond the median where the windows of a family would overlap otherwise, because a model would know
    a family by numbers that it reads twice. A family that never gets there is refused; one that goes up and down, such
    as Recamán's, matches roughly.
    """
    most = _most(sequences)
    terms = {name: _Terms(family(name), 0, most) for name in sequences.families}
    free = dict.fromkeys(sequences.families, 0)  # where the next window of each family may begin
    items = list(sequences.items)
    for rows in _turns(sequences):
        value = _median([items[row].terms[0] for row in rows if items[row].terms])
        value, leader = max([(value, ""), *_levels(terms, free, [items[row].family for row in rows])])
        for row in rows:
            name, count = items[row].family, len(items[row].terms)
            offset = _reaching(terms[name], free[name], count, value, leader)
            items[row] = IntegerSequence(name, offset, terms[name].span(offset, count))
            free[name] = offset + count
    return replace(sequences, items=tuple(items))


@MATCHINGS.register(
    "No shared numbers",
    meaning="If the score rises, families were close because they share numbers; if it falls, the model recognised "
    "sequences by numbers that are now left out.",
)
def numbers(sequences: SequenceSet) -> SequenceSet:
    """Allows each number in one family only: families take turns, each with its next number that no other has.

    Window by window, each from its own first term on and beyond the family's window before. A family may repeat its own
    numbers. One that finds no more is refused.
    """
    owners: dict[int, str] = {}
    free = dict.fromkeys(sequences.families, 0)
    terms = {name: _Terms(family(name), first, most) for name, (first, most) in _room(sequences).items()}
    items = list(sequences.items)
    for rows in _turns(sequences):
        taken: dict[int, list[int]] = {row: [] for row in rows}  # places in the family
        for row in rows:
            free[items[row].family] = max(free[items[row].family], items[row].offset)
        for place in range(max(len(items[row].terms) for row in rows)):
            for row in (row for row in rows if place < len(items[row].terms)):
                taken[row].append(_take(terms[items[row].family], free, owners))
        for row, places in taken.items():
            one = terms[items[row].family]
            if places:
                items[row] = replace(items[row], offset=places[0], terms=tuple(map(one.at, places)))
    return replace(sequences, items=tuple(items))


@MATCHINGS.register(
    "Equal text length",
    meaning="If the score falls, the model separated the families by how long their texts are.",
)
def length(sequences: SequenceSet) -> SequenceSet:
    """Shortens every text to as many whole numbers as fit into the shortest text of all, at least one."""
    shortest = min(map(len, sequences.texts), default=0)
    layout = sequences.text_format
    items = []
    for item in sequences.items:
        if item.terms:
            fitting = replace(layout, max_chars=max(1, shortest, len(str(item.terms[0]))))
            kept = fitting(item).count(layout.separator) + 1
            item = replace(item, terms=item.terms[:kept])
        items.append(item)
    return replace(sequences, items=tuple(items))


class _Terms:
    """Terms of a family from its term ``first`` on, read when they are asked for, ``most`` of them and no more."""

    def __init__(self, one: Family, first: int, most: int) -> None:
        self.family, self.first = one, first
        self._read: list[int] = []
        self._last = min(one.last_term, first + most - 1)
        self._rest = islice(FAMILIES[one.name].function(first, **dict(one.options)), max(0, self._last + 1 - first))

    def has(self, index: int) -> bool:
        """Return whether there is a term ``index``, counted from the family's first."""
        missing = index - self.first - len(self._read) + 1
        if missing > 0 and index <= self._last:
            self._read.extend(islice(self._rest, missing))
        return index <= self._last

    def at(self, index: int) -> int:
        """Return the term ``index``, which there is."""
        return self._read[index - self.first]

    def span(self, offset: int, count: int) -> tuple[int, ...]:
        """Return ``count`` terms from ``offset`` on, which there are."""
        return tuple(self._read[offset - self.first : offset - self.first + count])

    def is_hopeless(self, value: int) -> bool:
        """Return whether the family, growing as a power of its index as far as it was read, comes to ``value`` late."""
        highest, count = max(self._read, default=0), len(self._read)
        if highest < 2 or value <= highest:
            return highest < 2 and value > highest
        return log(count) * log(value) / log(highest) > log(2 * (self._last + 1))

    @property
    def extent(self) -> str:
        """How far one can look here, in words."""
        return f"the first {self._last + 1:,} terms"


def _turns(sequences: SequenceSet) -> list[list[int]]:
    """Return the rows of each turn: of every family its earliest window, then its second, …"""
    turns: list[list[int]] = []
    for label in range(len(sequences.families)):
        rows = np.flatnonzero(sequences.labels == label).tolist()
        for turn, row in enumerate(sorted(rows, key=lambda row: sequences.items[row].offset)):
            if turn == len(turns):
                turns.append([])
            turns[turn].append(row)
    return turns


def _most(sequences: SequenceSet) -> int:
    """Return how many terms of each family are looked at for its magnitude."""
    end = max((item.offset + len(item.terms) for item in sequences.items), default=0)
    return min(max(_FURTHEST, 4 * end), LIMITS.terms // max(1, len(sequences.families)))


def _room(sequences: SequenceSet) -> dict[str, tuple[int, int]]:
    """Return, for each family, where its first window begins and how many terms from there may be looked at."""
    share = LIMITS.terms // max(1, len(sequences.families))
    room = {}
    for name in sequences.families:
        items = [item for item in sequences.items if item.family == name]
        first, needed = min(item.offset for item in items), sum(len(item.terms) for item in items)
        span = max(item.offset + len(item.terms) for item in items) - first
        room[name] = first, span + min(share, _PATIENCE * needed)
    return room


def _median(terms: Sequence[int]) -> int:
    """Return the least whole number that is not below the median, which a float could not hold."""
    ordered = sorted(terms) or [0]
    return -(-(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) // 2)


def _levels(terms: dict[str, _Terms], free: dict[str, int], names: Sequence[str]) -> list[tuple[int, str]]:
    """Return how far each family has come where its next window may begin."""
    levels = []
    for name in names:
        if not terms[name].has(free[name]):
            raise _no_room(terms[name])
        levels.append((terms[name].at(free[name]), name))
    return levels


def _reaching(terms: _Terms, start: int, count: int, value: int, leader: str) -> int:
    """Return the first index from ``start`` on whose term is at least ``value``."""
    index = start
    while terms.has(index) and terms.at(index) < value:
        index += 1
        if index == _FORETOLD and terms.is_hopeless(value):
            raise _out_of_reach(terms, value, leader)
    if not terms.has(index):
        raise _out_of_reach(terms, value, leader)
    if not terms.has(index + max(0, count - 1)):
        raise _no_room(terms)
    return index


def _out_of_reach(terms: _Terms, value: int, leader: str) -> BadChoice:
    shown = f"{value:,}" if value.bit_length() < 64 else f"a number of {len(str(value))} digits"
    whose = f", where a window of {family(leader).title} begins" if leader else ", the median of all families"
    which = "one of the two" if leader else "it"
    return BadChoice(
        f"{terms.family.title}: within {terms.extent} it does not reach {shown}{whose}, so magnitudes cannot be "
        f"matched. Leave {which} out, choose earlier windows, or do not match the magnitude."
    )


def _no_room(terms: _Terms) -> BadChoice:
    return BadChoice(
        f"{terms.family.title}: {terms.extent} have no room for its next window, so magnitudes cannot be matched. "
        f"Leave it out, choose earlier windows, or do not match the magnitude."
    )


def _take(terms: _Terms, free: dict[str, int], owners: dict[int, str]) -> int:
    """Return the place of the family's next number that no other family has, and take it."""
    name = terms.family.reference
    place = free[name]
    while terms.has(place) and owners.get(terms.at(place), name) != name:
        place += 1
    if not terms.has(place):
        raise BadChoice(
            f"{terms.family.title}: {terms.extent} hold too few numbers that no other family has taken. Leave one "
            f"family out, take fewer or shorter sequences, or allow shared numbers."
        )
    owners[terms.at(place)] = name
    free[name] = place + 1
    return place
