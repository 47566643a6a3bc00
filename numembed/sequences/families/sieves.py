"""Which numbers of a whole stretch are prime, squarefree, …, so that far windows come quickly.

A flags function maps ``low``, ``high`` to the (high - low,) booleans "low + i is a member".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from math import isqrt

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
SHORTEST = 1 << 12  # the first stretch: near windows come at once
LONGEST = 1 << 18  # each is twice the one before, so that far windows cost few steps


def members(flags: Callable[[int, int], Flags], start: int, *, first: int = 0) -> Iterator[int]:
    """Yield the members from ``first`` on, without the ``start`` smallest of them."""
    low, stretch = first, SHORTEST
    while True:
        result = np.flatnonzero(flags(low, low + stretch))
        yield from (result[start:] + low).tolist()
        start = max(0, start - len(result))
        low, stretch = low + stretch, min(2 * stretch, LONGEST)


def multiples_from(factor: int, low: int) -> slice:
    """Return the positions of the multiples of ``factor`` in a stretch that begins at ``low``."""
    return slice(-low % factor, None, factor)


def primes_to(limit: int) -> list[int]:
    """Return the primes up to and including ``limit``."""
    flags = np.ones(limit + 1, bool)
    flags[:2] = False
    for number in range(2, isqrt(limit) + 1):
        if flags[number]:
            flags[number * number :: number] = False
    return [int(prime) for prime in np.flatnonzero(flags)]


def prime_flags(low: int, high: int) -> Flags:
    """Return which of low … high - 1 are prime, for low ≥ 0."""
    flags = np.ones(high - low, bool)
    flags[: max(0, 2 - low)] = False
    for prime in primes_to(isqrt(high)):
        flags[max(prime * prime - low, -low % prime) :: prime] = False
    return flags


def composite_flags(low: int, high: int) -> Flags:
    """Return which of low … high - 1 are not prime, for low ≥ 2."""
    return ~prime_flags(low, high)


def twin_flags(low: int, high: int) -> Flags:
    """Return which of low … high - 1 are prime together with the number two above."""
    flags = prime_flags(low, high + 2)
    return flags[:-2] & flags[2:]


def squarefree_flags(low: int, high: int) -> Flags:
    """Return which of low … high - 1 no square above 1 divides, for low ≥ 1."""
    flags = np.ones(high - low, bool)
    for prime in primes_to(isqrt(high)):
        flags[multiples_from(prime * prime, low)] = False
    return flags


def semiprime_flags(low: int, high: int) -> Flags:
    """Return which of low … high - 1 are a product of two primes, for low ≥ 1."""
    rest = np.arange(low, high)
    factors = np.zeros(high - low, np.int8)
    for prime, power in _prime_powers(high):
        where = multiples_from(power, low)
        rest[where] //= prime
        factors[where] += 1
    semiprime: Flags = factors + (rest > 1) == 2  # what is left is one prime above the root
    return semiprime


def happy_flags(low: int, high: int) -> Flags:
    """Return which of low … high - 1 are happy, for low ≥ 1."""
    rest, total = np.arange(low, high), np.zeros(high - low, np.int64)
    while rest.any():
        rest, digit = np.divmod(rest, 10)
        total += digit * digit
    return _happy_below(81 * len(str(high)) + 1)[total]


@cache
def _happy_below(end: int) -> Flags:
    return np.array([_is_happy(number) for number in range(end)])


def _is_happy(number: int) -> bool:
    while number > 4:  # every unhappy number falls into the cycle through 4
        number = sum(int(digit) ** 2 for digit in str(number))
    return number == 1


def _prime_powers(high: int) -> Iterator[tuple[int, int]]:
    for prime in primes_to(isqrt(high)):
        power = prime
        while power < high:
            yield prime, power
            power *= prime
