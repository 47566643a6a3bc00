"""The registry of perturbations, and those that change no more than the terms at hand and how they are written.

To add one, write a registered function here or in perturbations.py: sequences in, as many sequences out, row i in
place of row i. Facts: ``group``, one of ``GROUPS``; ``meaning``, one sentence on what its result would mean; and,
where there are any, ``random`` (the function takes a ``seed``), ``tried`` (the values of its option that are worth a
look; all choices of an option that has some) and ``field`` (see perturbations.py). Import perturbations.py to have
them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np

from numembed.core.registry import Range, Registry
from numembed.sequences.sets import IntegerSequence, SequenceSet

GROUPS = ("text", "digits", "order", "place", "data", "model", "scoring")
PERTURBATIONS: Registry[Callable[..., SequenceSet]] = Registry("perturbation")

_SEPARATORS = {"space": " ", "semicolon": "; ", "line break": "\n", "comma without space": ",", "and": ", and "}
_DIGITS_TO_HASH = str.maketrans("0123456789", "##########")
_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_THOUSANDS = (
    *("", "thousand", "million", "billion", "trillion", "quadrillion", "quintillion", "sextillion", "septillion"),
    *("octillion", "nonillion", "decillion"),
)


@PERTURBATIONS.register(
    "Another separator",
    group="text",
    meaning="If the score changes, the model uses the punctuation as well as the numbers.",
)
def separator(
    sequences: SequenceSet,
    *,
    to: Literal["space", "semicolon", "line break", "comma without space", "and"] = "space",
) -> SequenceSet:
    """Separates the numbers in another way: 2 3 5 7."""
    return replace(sequences, text_format=replace(sequences.text_format, separator=_SEPARATORS[to]))


@PERTURBATIONS.register(
    "Brackets",
    group="text",
    meaning="If the score changes, two characters around the text matter as well as the numbers in it.",
)
def brackets(sequences: SequenceSet, *, kind: Literal["[]", "()", "{}"] = "[]") -> SequenceSet:
    """Puts the whole text into brackets: [2, 3, 5, 7]."""
    shorter = replace(sequences.text_format, max_chars=max(1, sequences.text_format.max_chars - 2))
    return replace(sequences, written=tuple(f"{kind[0]}{shorter(item)}{kind[1]}" for item in sequences.items))


@PERTURBATIONS.register(
    "Leading zeros",
    group="text",
    meaning="If the score changes, the model uses how a number is written and not its value.",
)
def leading_zeros(sequences: SequenceSet, *, width: Annotated[int, Range(2, 20)] = 6) -> SequenceSet:
    """Pads each number with zeros to the same width: 000002, 000003, 000005."""
    return _written(sequences, lambda term: str(term).zfill(width + (term < 0)))


@PERTURBATIONS.register(
    "Another base",
    group="text",
    meaning="If the score falls, the model recognises these numbers by their decimal digits and not by their values.",
)
def base(sequences: SequenceSet, *, to: Literal[2, 16] = 2) -> SequenceSet:
    """Writes the numbers with base 2 or 16: 10, 11, 101, 111."""
    return _written(sequences, lambda term: format(term, "b" if to == 2 else "x"))


@PERTURBATIONS.register(
    "Number words",
    group="text",
    meaning="If the score falls, the model recognises these numbers by their digits; if it stays, by their meaning.",
)
def number_words(sequences: SequenceSet) -> SequenceSet:
    """Writes the numbers as English words: two, three, five, seven."""
    return _written(sequences, in_words)


@PERTURBATIONS.register("Last digit removed", group="digits", meaning="If the score falls, the model uses last digits.")
def last_digit_removed(sequences: SequenceSet) -> SequenceSet:
    """Divides by ten and drops the rest: 127 becomes 12, and 7 becomes 0.

    The density of a family, and with it the differences between neighbours, stays.
    """
    return _terms(sequences, lambda term: _signed(term, abs(term) // 10))


@PERTURBATIONS.register(
    "First digit removed",
    group="digits",
    meaning="If the score falls, the model uses first digits, and with them how large the numbers are.",
)
def first_digit_removed(sequences: SequenceSet) -> SequenceSet:
    """Drops the first digit and zeros that follow it: 127 becomes 27, and 7 becomes 0."""
    return _terms(sequences, lambda term: _signed(term, int(str(abs(term))[1:] or "0")))


@PERTURBATIONS.register(
    "Digits masked",
    group="digits",
    meaning="If the score stays, the number of digits of each number is enough for the model.",
)
def digits_masked(sequences: SequenceSet) -> SequenceSet:
    """Writes # for each digit: 127 becomes ###."""
    return _written(sequences, lambda term: str(term).translate(_DIGITS_TO_HASH))


@PERTURBATIONS.register(
    "Last digit masked",
    group="digits",
    meaning="If the score falls, the model uses last digits; the number of digits does not change.",
)
def last_digit_masked(sequences: SequenceSet) -> SequenceSet:
    """Writes # for the last digit: 127 becomes 12#."""
    return _written(sequences, lambda term: str(term)[:-1] + "#")


@PERTURBATIONS.register(
    "Only last digits",
    group="digits",
    meaning="If the score stays or rises, last digits are enough for it; no other property of the numbers is needed.",
)
def last_digits_only(sequences: SequenceSet) -> SequenceSet:
    """Keeps the last digit of each number: 127 becomes 7."""
    return _terms(sequences, lambda term: abs(term) % 10)


@PERTURBATIONS.register(
    "Order shuffled",
    group="order",
    random=True,
    meaning="If the score stays, the model uses which numbers occur and not their order.",
)
def order_shuffled(sequences: SequenceSet, *, seed: int) -> SequenceSet:
    """Puts the numbers of each sequence into a random order; each sequence has its own."""
    items = []
    for row, item in enumerate(sequences.items):
        order = np.random.default_rng([seed, row]).permutation(len(item.terms))
        items.append(replace(item, terms=tuple(item.terms[at] for at in order)))
    return replace(sequences, items=tuple(items))


@PERTURBATIONS.register(
    "Order reversed", group="order", meaning="If the score falls, the model needs numbers in increasing order."
)
def order_reversed(sequences: SequenceSet) -> SequenceSet:
    """Puts the numbers of each sequence into the opposite order."""
    return replace(sequences, items=tuple(replace(item, terms=item.terms[::-1]) for item in sequences.items))


@PERTURBATIONS.register(
    "Sorted",
    group="order",
    meaning="If the score changes, the model distinguishes families by whether their numbers are sorted.",
)
def order_sorted(sequences: SequenceSet) -> SequenceSet:
    """Sorts the numbers of each sequence; it changes only families that do not grow, such as Recamán's."""
    return replace(sequences, items=tuple(replace(item, terms=tuple(sorted(item.terms))) for item in sequences.items))


@PERTURBATIONS.register(
    "Terms corrupted",
    group="data",
    random=True,
    tried=(0.02, 0.1, 0.5),
    meaning="If the score falls at once, the model uses a rule that one wrong number breaks; if it falls slowly, it "
    "uses averages.",
)
def corrupted(sequences: SequenceSet, *, seed: int, share: Annotated[float, Range(0, 1, 0.01)] = 0.02) -> SequenceSet:
    """Replaces a share of each sequence's numbers, at least one, by other random ones of as many digits."""
    items = []
    for row, item in enumerate(sequences.items):
        rng, terms = np.random.default_rng([seed, row]), list(item.terms)
        count = min(len(terms), max(1, round(share * len(terms))))
        for at in rng.choice(len(terms), count, replace=False).tolist() if terms else ():
            terms[at] = _another(terms[at], rng)
        items.append(replace(item, terms=tuple(terms)))
    return replace(sequences, items=tuple(items))


def in_words(number: int) -> str:
    """Return a whole number in English words; from 10³⁶ on digit by digit, as such numbers are read aloud.

    >>> in_words(1_042)
    'one thousand forty-two'
    """
    if number < 0:
        return f"minus {in_words(-number)}"
    if number < 1_000:
        return _below_a_thousand(number)
    if number >= 1_000 ** len(_THOUSANDS):
        return " ".join(_SMALL[int(digit)] for digit in str(number))
    groups = f"{number:,}".split(",")
    names = _THOUSANDS[: len(groups)][::-1]
    spoken = [f"{_below_a_thousand(int(g))} {name}".rstrip() for g, name in zip(groups, names, strict=True) if int(g)]
    return " ".join(spoken)


def _below_a_thousand(number: int) -> str:
    if number < 20:
        return _SMALL[number]
    if number < 100:
        return _TENS[number // 10] + (f"-{_SMALL[number % 10]}" if number % 10 else "")
    rest = f" {_below_a_thousand(number % 100)}" if number % 100 else ""
    return f"{_SMALL[number // 100]} hundred{rest}"


def _another(term: int, rng: np.random.Generator) -> int:
    """Return another number of the same sign and as many digits."""
    digits = len(str(abs(term)))
    while True:
        drawn = rng.integers(0, 10, digits)
        drawn[0] = rng.integers(digits > 1, 10)
        other = _signed(term, int("".join(map(str, drawn.tolist()))))
        if other != term:
            return other


def _signed(term: int, size: int) -> int:
    return -size if term < 0 else size


def _terms(sequences: SequenceSet, change: Callable[[int], int]) -> SequenceSet:
    items = (replace(item, terms=tuple(map(change, item.terms))) for item in sequences.items)
    return replace(sequences, items=tuple(items))


def _written(sequences: SequenceSet, wording: Callable[[int], str]) -> SequenceSet:
    """Return the set with each term written by ``wording``; terms that do not fit are left out, as ever."""

    def text(item: IntegerSequence) -> str:
        return sequences.text_format.joined(map(wording, item.terms), item.family)

    return replace(sequences, written=tuple(map(text, sequences.items)))
