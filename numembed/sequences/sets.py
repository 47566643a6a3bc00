"""Sequences, the text that models read of them, sets of both, and the same sets with other windows."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from numembed.core.errors import BadChoice, TooLarge
from numembed.core.settings import LIMITS
from numembed.sequences.families.family import Family, family, whole_number

LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class IntegerSequence:
    """Consecutive terms of a family, unless perturbed; ``offset`` is the index of the first, from 0."""

    family: str  # canonical reference
    offset: int
    terms: tuple[int, ...]


@dataclass(frozen=True)
class TextFormat:
    """How a sequence becomes text; numbers stay readable back, so a separator holds no digit and no minus sign."""

    separator: str = ", "
    max_chars: int = LIMITS.text_chars

    def __post_init__(self) -> None:
        if not isinstance(self.separator, str) or not 1 <= len(self.separator) <= LIMITS.separator_chars:
            length = f"{len(self.separator):,} characters" if isinstance(self.separator, str) else "no text"
            raise BadChoice(f"A separator has 1 to {LIMITS.separator_chars} characters, got {length}; choose another.")
        if any(_unreadable(character) for character in self.separator):
            raise BadChoice(
                f"A separator has no digits, minus signs or control characters but line break and tab, "
                f"got {self.separator!r}; choose another."
            )
        whole_number("The longest text", self.max_chars, low=1, high=LIMITS.text_chars)

    def __call__(self, sequence: IntegerSequence) -> str:
        """Return the terms joined by the separator; whole terms that do not fit into max_chars are left out.

        >>> TextFormat(", ", 8)(IntegerSequence("primes", 3, (7, 11, 13, 17)))
        '7, 11'
        """
        return self.joined(map(_decimal, sequence.terms), sequence.family)

    def joined(self, terms: Iterable[str], family: str) -> str:
        """Return written terms as one text, in the same way; ``family`` is named where not even the first fits."""
        written: list[str] = []
        length = -len(self.separator)
        for text in terms:
            length += len(self.separator) + len(text)
            if length > self.max_chars:
                break
            written.append(text)
        if length > self.max_chars and not written:
            raise BadChoice(
                f"The first term of {family[:80]} has {length:,} characters and a text at most "
                f"{self.max_chars:,}; allow longer texts or choose earlier windows."
            )
        return self.separator.join(written)


def _unreadable(character: str) -> bool:
    hidden = unicodedata.category(character).startswith("C") and character not in "\n\t"
    return hidden or character.isdigit() or character in "-−"


def _decimal(term: int) -> str:
    try:
        return str(term)
    except ValueError:  # Python refuses to print integers above 4,300 digits
        raise TooLarge(f"A term has at most {LIMITS.term_digits:,} digits, got more; leave it out.") from None


def numbers_in(text: str) -> list[int]:
    """Return the decimal integers of a text in order: ASCII digits, each with a minus sign directly before it or not.

    >>> numbers_in("7, -11; x13")
    [7, -11, 13]
    """
    numbers = re.findall(r"-?[0-9]+", text)
    longest = max((len(number.lstrip("-")) for number in numbers), default=0)
    if longest > LIMITS.term_digits:
        raise TooLarge(f"A number has at most {LIMITS.term_digits:,} digits, got one of {longest:,}; leave it out.")
    return [int(number) for number in numbers]


@dataclass(frozen=True)
class SequenceSet:
    """n sequences of k families and the format of their texts; ``written`` holds texts that no format gives."""

    items: tuple[IntegerSequence, ...]
    text_format: TextFormat = TextFormat()
    written: tuple[str, ...] | None = None  # (n,) in place of the formatted terms

    def __post_init__(self) -> None:
        if self.written is not None and len(self.written) != len(self.items):
            raise ValueError(f"{len(self.items)} sequences need as many written texts, got {len(self.written)}")

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """(n,) what the models read."""
        return tuple(map(self.text_format, self.items)) if self.written is None else self.written

    @cached_property
    def families(self) -> tuple[str, ...]:
        """(k,) canonical references in order of first appearance."""
        return tuple(dict.fromkeys(item.family for item in self.items))

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(n,) index into ``families``; read-only."""
        index = {reference: i for i, reference in enumerate(self.families)}
        return _read_only([index[item.family] for item in self.items])

    @cached_property
    def windows(self) -> NDArray[np.int64]:
        """(n,) position of each sequence among those of its family, from 0; read-only."""
        seen = dict.fromkeys(self.families, -1)
        positions = []
        for item in self.items:
            seen[item.family] += 1
            positions.append(seen[item.family])
        return _read_only(positions)

    @cached_property
    def shared_windows(self) -> bool:
        """Whether every family has the same windows, so that a test can shuffle families inside each of them."""
        return len(set(np.bincount(self.labels).tolist())) <= 1

    @cached_property
    def digest(self) -> str:
        """The sha256 of the texts in their order."""
        canonical = json.dumps(self.texts, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def _read_only(numbers: list[int]) -> NDArray[np.int64]:
    array = np.array(numbers, np.int64)
    array.setflags(write=False)
    return array


def make_sequences(
    families: Sequence[str],
    *,
    per_family: int = 4,
    length: int = 50,
    first_window: int = 0,
    text_format: TextFormat = TextFormat(),
) -> SequenceSet:
    """Return ``per_family`` windows of each family, family by family; window w holds terms w·length … (w+1)·length - 1.

    A family named twice, in whatever spelling, counts once. Raises BadChoice, UnknownName or TooLarge before
    computing anything.

    >>> make_sequences(["even", "odd"], per_family=2, length=3).texts
    ('2, 4, 6', '8, 10, 12', '1, 3, 5', '7, 9, 11')
    """
    chosen = check_size(families, per_family=per_family, length=length, first_window=first_window)
    start, count = first_window * length, per_family * length
    items = []
    for one in chosen:
        terms = one.terms(start, count)
        for at in range(0, count, length):
            items.append(IntegerSequence(one.reference, start + at, terms[at : at + length]))
    return SequenceSet(tuple(items), text_format)


def check_size(families: Sequence[str], *, per_family: int, length: int, first_window: int) -> tuple[Family, ...]:
    """Return the distinct families, or raise BadChoice, UnknownName or TooLarge at once where too much is asked."""
    whole_number("The number of sequences per family", per_family, low=1, high=LIMITS.per_family)
    whole_number("The number of terms per sequence", length, low=1, high=LIMITS.length)
    whole_number("The first window", first_window, low=0, high=LIMITS.first_window)
    if isinstance(families, str) or not families:
        raise BadChoice("Sequences are drawn from a list of at least one family, got none; choose some.")
    whole_number("The number of families", len(families), low=1, high=LIMITS.families)
    chosen = tuple({result.reference: result for result in map(family, families)}.values())
    whole_number("The number of sequences in all", len(chosen) * per_family, low=1, high=LIMITS.texts)
    whole_number("The number of terms in all", len(chosen) * per_family * length, low=1, high=LIMITS.terms)
    for one in chosen:
        one.check(first_window * length, per_family * length)
    return chosen


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
    pairs = zip(sequences.items, _own_terms(sequences), strict=True)
    if sequences.written is not None or any(item.terms != terms for item, terms in pairs):
        raise BadChoice(
            "Only the plain terms of families can be drawn again, and these sequences were changed; "
            "draw the plain ones again and change those."
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
