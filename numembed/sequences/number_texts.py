"""Number texts of families that a split neither trains nor scores: what retention is measured on for models that know
numbers only."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from numembed.sequences.families.family import FAMILIES, family
from numembed.sequences.sets import IntegerSequence, SequenceSet, make_sequences
from numembed.sequences.splits import LENGTH, PAPER, WINDOWS, Split, holds, leaking, sentences

LONGEST_TEXT = 1_000  # characters: what models with 512 tokens read whole
_WINDOWS = 12  # of a family at most, from its beginning


@functools.lru_cache(maxsize=16)
def number_texts(split: Split) -> SequenceSet:
    """Return as many number texts as there are ordinary sentences, or as many as there are; equal splits give equal
    ones.

    Their families are the registered ones with their usual options, in the registry's order: first one window of 50
    terms of each, then the next. Left out is a family that the split trains or scores, a window that training may show
    or that stands in a scored family's terms (the rules by which a split is refused), and a text above 1,000
    characters.
    """
    windows = {name: _windows(name, split) for name in free_families(split)}
    turns = [item for at in range(_WINDOWS) for own in windows.values() for item in own[at : at + 1]]
    return SequenceSet(tuple(turns[: len(sentences().texts)]))


def free_families(split: Split) -> tuple[str, ...]:
    """Return the registered families that ``split`` neither trains nor scores, whatever their options."""
    used = {family(name).name for name in (*split.training, *split.new, *PAPER)}
    return tuple(name for name in FAMILIES.names if name not in used)


def _windows(name: str, split: Split) -> list[IntegerSequence]:
    """Return the windows of a family that may be used, from its beginning; none where one of them overlaps."""
    offered = min(_WINDOWS, (family(name).last_term + 1) // LENGTH)
    if not offered:
        return []
    items = make_sequences([name], per_family=offered, length=LENGTH)
    whole = [item for item, text in zip(items.items, items.texts, strict=True) if len(text) <= LONGEST_TEXT]
    return [] if any(_overlaps(item, split) for item in whole) else whole


def _overlaps(item: IntegerSequence, split: Split) -> bool:
    shown = any(leaking(item, name, split) for name in split.training)
    return shown or any(holds(terms, item.terms) for terms in _scored(split))


def _scored(split: Split) -> Iterator[tuple[int, ...]]:
    """Yield what is scored of each family on each evaluation, in one piece."""
    for sequences in split.evaluations.values():
        for at in range(0, len(sequences), WINDOWS):
            yield tuple(term for item in sequences.items[at : at + WINDOWS] for term in item.terms)
