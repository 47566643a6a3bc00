"""Classes that a probe is asked for: of sequences by their own terms, and of whole families."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from numembed.analysis.clusters.attributes import ATTRIBUTES, traits
from numembed.core.arrays import Labels
from numembed.sequences.families.family import family
from numembed.sequences.sets import SequenceSet

_SHARES = {"parity": "odd_share", "prime": "prime_share"}
_UNORDERED = ("last_digits", "growth")  # their classes are no levels


def sequence_classes(name: str, sequences: SequenceSet) -> tuple[str, Labels]:
    """Return the class (n,) of each sequence, and the name of what tells it.

    parity: nine terms in ten odd, even, or neither; prime: nine in ten prime, or not. Where all sequences are alike in
    that, the share of such terms stands for it. Numbers are put into three classes of about as many sequences.
    """
    if name in _SHARES:
        result = np.unique(traits(sequences)[name], return_inverse=True)[1]
        if result.any():
            return name, np.asarray(result, dtype=np.int64)
        name = _SHARES[name]
    plain = ATTRIBUTES[name].function(sequences)
    plain = plain if name in _UNORDERED else levels(plain.tolist(), 3)
    return name, np.asarray(np.unique(plain, return_inverse=True)[1], dtype=np.int64)


def family_classes(name: str, sequences: SequenceSet) -> tuple[Labels, str]:
    """Return the class (k,) of each family by an attribute, and why it cannot be learnt from other families, or "".

    Numbers are put into three classes of about as many families, or two where three would leave a family alone.
    """
    labels = ATTRIBUTES[name].function(sequences)
    members = [labels[sequences.labels == one] for one in range(len(sequences.families))]
    if name in _UNORDERED:
        usual = [Counter(own.tolist()).most_common(1)[0][0] for own in members]
        kinds = [np.asarray(np.unique(usual, return_inverse=True)[1], dtype=np.int64)]
    else:
        kinds = [levels([float(own.mean()) for own in members], parts) for parts in (3, 2)]
    for classes in kinds:
        sizes = np.bincount(classes)
        if np.count_nonzero(sizes > 1) > 1 and (sizes.min() > 1 or name in _UNORDERED):
            return classes, ""
    if len(sizes) < 2:
        return classes, "all families share one class, so that there is nothing to tell apart"
    alone = [family(one).title for one, own in zip(sequences.families, classes, strict=True) if sizes[own] == 1]
    return classes, f"no other family has the class of {' or of '.join(alone)}, so that it cannot be learnt from others"


def alike(one: Labels, other: Labels) -> bool:
    """Return whether two labellings part the same from the same."""
    return bool(((one[:, None] == one) == (other[:, None] == other)).all())


def levels(values: Sequence[float], parts: int) -> Labels:
    """Return the class (n,) of each value, lowest 0: ``parts`` classes of about as many values, equal ones together.

    >>> levels([5, 1, 1, 9], 2).tolist()
    [1, 0, 0, 1]
    """
    _, place, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    bins = np.floor(middle[place] * parts / max(1, len(place)))
    return np.asarray(np.unique(bins, return_inverse=True)[1], dtype=np.int64)
