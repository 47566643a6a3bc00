"""Fairer sequences: what families differ in besides themselves is made equal before a model reads them.

To add one, write a registered function: sequences in, as many sequences out, row i in place of row i.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from numembed.registry import Registry
from numembed.sequences.sets import SequenceSet

MATCHINGS: Registry[Callable[[SequenceSet], SequenceSet]] = Registry("matching")


def matched(sequences: SequenceSet, names: Sequence[str]) -> SequenceSet:
    """Return the sequences after the named matchings, always in the order of the registry; row i stays row i.

    Raises UnknownName, and BadChoice or TooLarge where the families do not allow it.
    """
    wanted = [MATCHINGS[name] for name in names]
    for entry in (entry for entry in MATCHINGS if entry in wanted):
        sequences = entry.function(sequences)
    return sequences
