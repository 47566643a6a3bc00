"""Sequences that were made, kept by size: choices of windows are many and small, their sequences few and large."""

from __future__ import annotations

import functools
from collections import OrderedDict
from dataclasses import dataclass, replace
from threading import Lock

from numembed.sequences.families.family import family
from numembed.sequences.matching import matched
from numembed.sequences.sets import SequenceSet, TextFormat, make_sequences

KEPT_BYTES = 20_000_000  # of all sets together: about 400,000 terms of usual size
_SET_BYTES, _SEQUENCE_BYTES, _TERM_BYTES = 1_000, 400, 40
_LONG_TERMS = 20_000  # families that end before this index end with terms of thousands of digits
_MOST_LONG_BYTES = 6_000  # of such a term, with its text


@dataclass(frozen=True)
class Windows:
    """Which windows of which families are read as which text, and what is made equal between the families."""

    families: tuple[str, ...]
    per_family: int
    length: int
    first_window: int
    text_format: TextFormat
    matched: tuple[str, ...] = ()

    @functools.cached_property
    def expected_bytes(self) -> int:
        """About how much memory the sequences and their texts will take, without making any."""
        terms, end = self.per_family * self.length, (self.first_window + self.per_family) * self.length
        long = [last for one in map(family, self.families) if (last := one.last_term) <= _LONG_TERMS]
        of_long = sum(_MOST_LONG_BYTES * min(end, last) // max(1, last) for last in long)
        usual = len(self.families) * (_term_bytes(self.text_format) + 8)
        return self.per_family * len(self.families) * _SEQUENCE_BYTES + terms * (usual + of_long)


_kept: OrderedDict[Windows, tuple[SequenceSet, int]] = OrderedDict()  # the one used last at the end
_lock = Lock()


def sequences_of(windows: Windows) -> SequenceSet:
    """Return the sequences, made once as long as they are kept.

    Those that were used last are kept up to KEPT_BYTES, the very last one whatever its size.
    """
    with _lock:
        if windows in _kept:
            _kept.move_to_end(windows)
            return _kept[windows][0]
    made = _made(windows)
    size = _bytes_of(made)
    with _lock:
        made, _ = _kept.setdefault(windows, (made, size))  # another thread may have been first
        _kept.move_to_end(windows)
        while len(_kept) > 1 and kept_bytes() > KEPT_BYTES:
            _kept.popitem(last=False)
    return made


def kept_bytes() -> int:
    """Return about how much memory the kept sequences take."""
    return sum(size for _, size in _kept.values())


@functools.lru_cache(maxsize=256)
def digest_of(windows: Windows) -> str:
    """Return the sha256 of the texts; it is kept where the sequences no longer are."""
    return sequences_of(windows).digest


def _made(windows: Windows) -> SequenceSet:
    if windows.matched:
        return matched(sequences_of(replace(windows, matched=())), windows.matched)
    return make_sequences(
        windows.families,
        per_family=windows.per_family,
        length=windows.length,
        first_window=windows.first_window,
        text_format=windows.text_format,
    )


def _bytes_of(sequences: SequenceSet) -> int:
    """Return about how much memory the terms and their texts take: each bit of a term a third of a digit besides."""
    each = _term_bytes(sequences.text_format)
    terms = sum(each + term.bit_length() // 2 for item in sequences.items for term in item.terms)
    return _SET_BYTES + _SEQUENCE_BYTES * len(sequences) + terms


def _term_bytes(text_format: TextFormat) -> int:
    return _TERM_BYTES + len(text_format.separator.encode())
