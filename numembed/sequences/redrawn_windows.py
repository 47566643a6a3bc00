"""The same experiment with other windows: how much of a score is the choice of where they begin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from numembed.core.errors import BadChoice
from numembed.core.settings import LIMITS
from numembed.sequences.families.family import family, whole_number
from numembed.sequences.sets import IntegerSequence, SequenceSet, check_size

LARGEST_SEED = 2**31 - 1


def redrawn(
    sequences: SequenceSet, count: int = 30, *, seed: int = 0, furthest: int = 1_000
) -> tuple[SequenceSet, ...]:
    """Return ``count`` sets like this one, each with its windows at new random places from term 0 to ``furthest``.

    Row i keeps its family, its length and its place among the windows of its family. Within a set all families begin
    their windows at the same places, and no two windows of one family share a term; every such choice is equally
    likely. Set i depends on ``seed`` and i alone, however many are asked for. Raises BadChoice, UnknownName or TooLarge
    before drawing where the places do not hold so many windows, a family ends before them, or the sequences are not
    the plain terms of registered families.

    >>> from numembed.sequences.sets import make_sequences
    >>> [one.texts for one in redrawn(make_sequences(["even", "odd"], per_family=1, length=2), 2)]
    [('1704, 1706', '1703, 1705'), ('1046, 1048', '1045, 1047')]
    """
    whole_number("The seed", seed, low=0, high=LARGEST_SEED)
    length = max((len(item.terms) for item in sequences.items), default=1)
    windows = int(sequences.windows.max(initial=0)) + 1
    terms = _terms_to_draw_from(sequences, count, windows, length, furthest)
    designs = []
    for design in range(count):
        starts = window_starts(windows, length, furthest, seed=seed, design=design)
        placed = zip(sequences.items, (starts[window] for window in sequences.windows.tolist()), strict=True)
        items = (replace(item, offset=at, terms=terms[item.family][at : at + len(item.terms)]) for item, at in placed)
        designs.append(SequenceSet(tuple(items), sequences.text_format))
    return tuple(designs)


def window_starts(windows: int, length: int, furthest: int, *, seed: int, design: int) -> tuple[int, ...]:
    """Return where the windows of one design begin, ascending: from 0 to ``furthest``, at least ``length`` apart.

    Drawn without the terms that lie inside windows, then spread by them: so all choices are equally likely.
    """
    spread = length - 1
    places = furthest + 1 - (windows - 1) * spread
    drawn = np.random.default_rng((seed, design)).choice(places, size=windows, replace=False)
    return tuple((np.sort(drawn) + spread * np.arange(windows)).tolist())


def _terms_to_draw_from(
    sequences: SequenceSet, count: int, windows: int, length: int, furthest: int
) -> dict[str, tuple[int, ...]]:
    """Return the terms 0 … furthest + length − 1 of each family, or raise where the choice cannot be met."""
    chosen = check_size(sequences.families, per_family=windows, length=length, first_window=0)
    most = min(LIMITS.texts // len(sequences), LIMITS.terms // (len(sequences) * length))
    whole_number("The number of designs", count, low=1, high=most)
    whole_number("The furthest first term", furthest, low=0, high=LIMITS.first_window)
    if furthest < (windows - 1) * length:
        raise BadChoice(
            f"{windows:,} windows of {length:,} terms need first terms from 0 to at least {(windows - 1) * length:,}, "
            f"got {furthest:,}; allow windows further out, or take fewer or shorter sequences."
        )
    whole_number("The number of terms to draw from", len(chosen) * (furthest + length), low=1, high=LIMITS.terms)
    for one in chosen:
        one.check(furthest, length)
    if sequences.written is not None or any(map(_is_changed, sequences.items, _own_terms(sequences))):
        raise BadChoice(
            "Only the plain terms of families are drawn anew, and these sequences were changed; "
            "draw the plain ones anew and change those."
        )
    return {name: family(name).terms(0, furthest + length) for name in sequences.families}


def _own_terms(sequences: SequenceSet) -> Iterator[tuple[int, ...]]:
    """Yield what the family of each sequence has at its place."""
    spans = {}
    for name in sequences.families:
        items = [item for item in sequences.items if item.family == name]
        first = min(item.offset for item in items)
        last = max(item.offset + len(item.terms) for item in items)
        spans[name] = first, family(name).terms(first, last - first)
    for item in sequences.items:
        first, terms = spans[item.family]
        yield terms[item.offset - first :][: len(item.terms)]


def _is_changed(item: IntegerSequence, terms: tuple[int, ...]) -> bool:
    return item.terms != terms
