"""Progressions with parameters, and seeded random controls: what a model can score without any structure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import count
from math import log10
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from numembed.core.errors import BadChoice
from numembed.core.registry import Range
from numembed.core.settings import LIMITS
from numembed.sequences.families.family import DIGITS, FAMILIES
from numembed.sequences.families.sieves import Flags, members

VALUES = 1 << 14  # random numbers drawn at a time
LARGEST_STEP = 12  # on average 6.5: as the first 200 primes, which reach 1,223
Seed = Annotated[int, Range(0, 9_999)]


@FAMILIES.register("Multiples", oeis="", group="progressions", titled="Multiples of {k}")
def multiples(start: int, *, k: Annotated[int, Range(1, 10_000)] = 3) -> Iterator[int]:
    """The numbers that k divides: k, 2k, 3k, …"""
    return count(k * (start + 1), k)


@FAMILIES.register("Residues", oeis="", group="progressions", titled="Residues {remainder} mod {modulus}")
def residues(
    start: int, *, modulus: Annotated[int, Range(2, 10_000)] = 4, remainder: Annotated[int, Range(0, 9_999)] = 1
) -> Iterator[int]:
    """The numbers that leave the same remainder when divided by the modulus: 1, 5, 9, 13, …"""
    if remainder >= modulus:
        raise BadChoice(f"A remainder is smaller than its modulus, got {remainder} mod {modulus}; lower the remainder.")
    return count(remainder + modulus * start, modulus)


def _last_of_geometric(*, ratio: int, first: int) -> int:
    return int((LIMITS.term_digits - log10(first)) / log10(ratio) - 1e-6)  # a whole quotient is one digit too many


@FAMILIES.register(
    "Geometric progression",
    oeis="",
    group="progressions",
    titled="Geometric from {first}, ratio {ratio}",
    last_term=_last_of_geometric,
    beyond=DIGITS,
)
def geometric(
    start: int, *, ratio: Annotated[int, Range(2, 1_000)] = 5, first: Annotated[int, Range(1, 10_000)] = 1
) -> Iterator[int]:
    """Each is the one before times the ratio: 1, 5, 25, 125, …"""
    return (first * ratio**n for n in count(start))


@FAMILIES.register("Random uniform", oeis="", group="random controls", titled="Random 1 to {high} (seed {seed})")
def random_uniform(start: int, *, seed: Seed = 0, high: Annotated[int, Range(2, 999_999)] = 1_000) -> Iterator[int]:
    """Whole numbers from 1 to a highest one, each as likely, in no order."""
    for low in count(start, VALUES):
        yield from (1 + _noise(f"uniform {seed}", low, VALUES) % np.uint64(high)).tolist()


@FAMILIES.register(
    "Random sorted", oeis="", group="random controls", titled="Random sorted (seed {seed})", last_term=50_000_000
)
def random_sorted(start: int, *, seed: Seed = 0) -> Iterator[int]:
    """Growing whole numbers, each 1 to 12 above the one before, every step as likely."""
    total = 0
    for low in count(0, VALUES):
        steps = 1 + (_noise(f"sorted {seed}", low, VALUES) % np.uint64(LARGEST_STEP)).astype(np.int64)
        terms = total + np.cumsum(steps)
        yield from terms[max(0, start - low) :].tolist()
        total = int(terms[-1])


@FAMILIES.register(
    "Random prime-like", oeis="", group="random controls", titled="Random prime-like (seed {seed})", last_term=5_000_000
)
def random_primelike(start: int, *, seed: Seed = 0) -> Iterator[int]:
    """2 and random odd numbers that thin out just as the primes do.

    An odd number n is kept with probability 2 / ln n (Cramér 1936), so 3, 5 and 7 always are.
    """

    def flags(low: int, high: int) -> Flags:
        odd = np.arange(low + 1, high, 2)
        chance = _noise(f"primelike {seed}", low // 2, len(odd)) / 2.0**64
        kept = np.zeros(high - low, bool)
        kept[1::2] = (chance * np.log(odd) < 2) & (odd > 1)
        if low == 0:
            kept[2] = True
        return kept

    return members(flags, start)


def _noise(key: str, first: int, size: int) -> NDArray[np.uint64]:
    """Return 64 random bits for each index, the same on every machine and for ever (SplitMix64, Steele et al. 2014)."""
    state = np.uint64(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big"))
    bits = state + np.arange(first, first + size, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
