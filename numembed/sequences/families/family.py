"""The registry of number families, and one family with its options as a value.

To add a family, write one registered function in classic.py, arithmetic.py or controls.py: it yields plain
integers from the 0-based index ``start`` on. Facts: ``oeis`` ("" where no single number fits), ``group``,
``last_term`` (highest index offered; a function of the options where it depends on them), ``beyond`` (why it ends
there) and, where there are options, ``titled`` (a format string over them).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from numembed.core.errors import BadChoice, TooLarge
from numembed.core.registry import Entry, Registry
from numembed.core.settings import LIMITS

GROUPS = (
    "paper",
    "polynomial",
    "exponential",
    "recursive",
    "primes and factors",
    "digits",
    "arithmetic functions",
    "progressions",
    "random controls",
)
DIGITS = f"later ones have more than {LIMITS.term_digits:,} digits"
SLOW = "later ones take too long to compute"
LAST_TERM = 10**12  # of the families that can be computed anywhere

Members = Callable[..., Iterator[int]]
FAMILIES: Registry[Members] = Registry("family")


@dataclass(frozen=True)
class Family:
    """A registered family with its options; equal families have equal references. Made by :func:`family`."""

    reference: str
    name: str
    title: str
    options: tuple[tuple[str, int], ...] = ()

    @property
    def oeis(self) -> str:
        """The number in the On-Line Encyclopedia of Integer Sequences, or "" where no single one fits."""
        return str(FAMILIES[self.name].facts["oeis"])

    @property
    def group(self) -> str:
        """The kind of family, one of ``GROUPS``."""
        return str(FAMILIES[self.name].facts["group"])

    @property
    def summary(self) -> str:
        """The definition in plain words."""
        return FAMILIES[self.name].summary

    @property
    def last_term(self) -> int:
        """The highest index that is offered, counted from 0."""
        last = FAMILIES[self.name].facts.get("last_term", LAST_TERM)
        return int(last(**dict(self.options)) if callable(last) else last)

    def check(self, start: int, count: int) -> None:
        """Raise TooLarge, at once, unless terms ``start`` to ``start + count - 1`` are offered."""
        start = whole_number("The first term", start, low=0)
        count = whole_number("The number of terms", count, low=0, high=LIMITS.per_family * LIMITS.length)
        if start + count - 1 > self.last_term:
            reason = FAMILIES[self.name].facts.get("beyond", SLOW)
            raise TooLarge(
                f"{self.title}: terms up to {_shown(start + count - 1)} were requested, but they are available up to "
                f"term {self.last_term:,}, counted from 0: {reason}. Choose earlier windows or shorter sequences."
            )

    def terms(self, start: int, count: int) -> tuple[int, ...]:
        """Return (count,) exact integers from index ``start`` on; raise TooLarge before computing any.

        >>> family("primes").terms(0, 5)
        (2, 3, 5, 7, 11)
        """
        self.check(start, count)
        return tuple(islice(FAMILIES[self.name].function(start, **dict(self.options)), count))


@lru_cache(maxsize=1024)
def family(reference: str) -> Family:
    """Return the family that ``reference`` names; raise UnknownName or BadChoice where it names none.

    >>> family("residues: remainder=3, modulus=4")
    Family(reference='residues:remainder=3', name='residues', title='Residues 3 mod 4', \
options=(('modulus', 4), ('remainder', 3)))
    """
    if not isinstance(reference, str):
        raise BadChoice(f"A family is named by text such as 'primes', got {type(reference).__name__}.")
    if len(reference) > LIMITS.reference_chars:
        raise BadChoice(
            f"A family's name has at most {LIMITS.reference_chars} characters, got {len(reference):,}: "
            f"{reference[:80]!r}. Choose one of the list."
        )
    name, colon, tail = reference.partition(":")
    entry = FAMILIES[name.strip()]
    given = _given(entry, tail) if colon else {}
    options = tuple((option.name, given.get(option.name, option.default)) for option in entry.options)
    entry.function(0, **dict(options))  # lazy; a function that refuses a combination of options does so here
    changed = [f"{o.name}={value}" for o, (_, value) in zip(entry.options, options, strict=True) if value != o.default]
    canonical = f"{entry.name}:{','.join(changed)}" if changed else entry.name
    title = str(entry.facts.get("titled", entry.title)).format(**dict(options))
    return Family(canonical, entry.name, title, options)


def in_registry_order(references: Iterable[str]) -> tuple[str, ...]:
    """Return families in the order in which they are registered, those of one name by their options.

    >>> in_registry_order(["multiples:k=7", "primes", "multiples", "even"])
    ('even', 'primes', 'multiples', 'multiples:k=7')
    """
    place = {name: number for number, name in enumerate(FAMILIES.names)}
    chosen = {one.reference: one for one in map(family, references)}
    return tuple(sorted(chosen, key=lambda name: (place[chosen[name].name], chosen[name].options)))


def _given(entry: Entry[Members], tail: str) -> dict[str, int]:
    known = {option.name: option for option in entry.options}
    if not known:
        raise BadChoice(f"{entry.title} has no options, got {tail[:80]!r}; write just {entry.name!r}.")
    given: dict[str, int] = {}
    for part in tail.split(","):
        match = re.fullmatch(r"\s*(\w{1,80})\s*=\s*(-?[0-9]{1,18})\s*", part, re.ASCII)
        if match is None or match[1] not in known or match[1] in given:
            example = f"{entry.name}:" + ",".join(f"{o.name}={o.default}" for o in known.values())
            raise BadChoice(
                f"{entry.title}: each option is given once, as a whole number, for example {example!r}; "
                f"got {part[:80]!r}."
            )
        given[match[1]] = known[match[1]].parse(int(match[2]))
    return given


def whole_number(what: str, value: Any, *, low: int, high: int | None = None) -> int:
    """Return ``value`` as a plain integer; raise BadChoice where it is none or below low, TooLarge above high."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise BadChoice(f"{what} is a whole number from {low:,}, got {str(value)[:40]!r}.") from None
    if number < low:
        raise BadChoice(f"{what} is at least {low:,}, got {_shown(number)}.")
    if high is not None and number > high:
        raise TooLarge(f"{what} is at most {high:,}, got {_shown(number)}; choose a smaller one.")
    return number


def _shown(number: int) -> str:
    return f"{number:,}" if number.bit_length() < 64 else "a number of more than 18 digits"
