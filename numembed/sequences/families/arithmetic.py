"""Families defined by primes, factors and digits, and the values of arithmetic functions."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import count, pairwise

import numpy as np

from numembed.sequences.families.classic import FAR, primes
from numembed.sequences.families.family import FAMILIES
from numembed.sequences.families.sieves import happy_flags, members, semiprime_flags, squarefree_flags, twin_flags


@FAMILIES.register("Lucky numbers", oeis="A000959", group="primes and factors", last_term=500_100)
def lucky(start: int) -> Iterator[int]:
    """What is left after striking every 2nd number, then every 3rd, then every 7th, …: 1, 3, 7, 9, 13, …"""
    limit = 17 * start + 1_000  # the first term asked for lies below
    while True:
        terms = _lucky_to(limit)
        yield from terms[start:]
        start, limit = max(start, len(terms)), 2 * limit


def _lucky_to(limit: int) -> array[int]:
    left = array("i", range(1, limit, 2))
    rank = 1
    while rank < len(left) and left[rank] <= len(left):
        step = left[rank]
        del left[step - 1 :: step]
        rank += 1
    return left


@FAMILIES.register("Semiprimes", oeis="A001358", group="primes and factors", last_term=5_000_000)
def semiprimes(start: int) -> Iterator[int]:
    """Products of two primes, equal or not: 4, 6, 9, 10, 14, …"""
    return members(semiprime_flags, start, first=1)


@FAMILIES.register("Squarefree numbers", oeis="A005117", group="primes and factors", last_term=50_000_000)
def squarefree(start: int) -> Iterator[int]:
    """Numbers that no square above 1 divides: 1, 2, 3, 5, 6, 7, 10, …"""
    return members(squarefree_flags, start, first=1)


@FAMILIES.register("Twin primes", oeis="A001359", group="primes and factors", last_term=1_000_000)
def twin_primes(start: int) -> Iterator[int]:
    """The smaller of two primes that differ by 2: 3, 5, 11, 17, 29, …"""
    return members(twin_flags, start)


@FAMILIES.register("Prime gaps", oeis="A001223", group="primes and factors", last_term=FAR)
def prime_gaps(start: int) -> Iterator[int]:
    """The distances from each prime to the next: 1, 2, 2, 4, 2, …"""
    return (after - before for before, after in pairwise(primes(start)))


@FAMILIES.register("Perfect powers", oeis="A001597", group="primes and factors", last_term=1_000_000)
def perfect_powers(start: int) -> Iterator[int]:
    """Squares, cubes and higher powers of whole numbers: 1, 4, 8, 9, 16, 25, 27, …"""
    root = start + 100  # its square has the first term asked for below it
    while True:
        limit = root * root
        higher = (n**e for e in range(3, limit.bit_length()) for n in range(2, int(limit ** (1 / e)) + 2))
        result = np.union1d(np.arange(1, root + 1) ** 2, np.array([power for power in higher if power <= limit]))
        yield from result[start:].tolist()
        start, root = max(start, len(result)), 2 * root


@FAMILIES.register("Palindromes", oeis="A002113", group="digits")
def palindromes(start: int) -> Iterator[int]:
    """Numbers that read the same backwards: 0, 1, …, 9, 11, 22, …, 99, 101, 111, …"""
    return map(_palindrome, count(start))


def _palindrome(index: int) -> int:
    length = 1
    while index > (of_this_length := 9 * 10 ** ((length - 1) // 2)):
        index -= of_this_length
        length += 1
    half = str(10 ** ((length - 1) // 2) + index - 1)
    return int(half + half[-1 - length % 2 :: -1])


@FAMILIES.register("Happy numbers", oeis="A007770", group="digits", last_term=5_000_000)
def happy(start: int) -> Iterator[int]:
    """Numbers that reach 1 when replaced, over and over, by the sum of their digits' squares: 1, 7, 10, 13, 19, …"""
    return members(happy_flags, start, first=1)


@FAMILIES.register("Evil numbers", oeis="A001969", group="digits")
def evil(start: int) -> Iterator[int]:
    """Numbers with an even count of ones in binary: 0, 3, 5, 6, 9, 10, …"""
    return (2 * n + n.bit_count() % 2 for n in count(start))


@FAMILIES.register("Digit sums", oeis="A007953", group="digits")
def digit_sums(start: int) -> Iterator[int]:
    """The sums of the digits of 0, 1, 2, …: 0, 1, …, 9, 1, 2, …"""
    return (sum(map(int, str(n))) for n in count(start))


@FAMILIES.register("Euler's totient", oeis="A000010", group="arithmetic functions", last_term=10**9)
def totient(start: int) -> Iterator[int]:
    """How many of 1, …, n share no divisor with n, for n = 1, 2, …: 1, 1, 2, 2, 4, 2, …"""
    from sympy import totient as value

    yield from (int(value(n)) for n in count(start + 1))


@FAMILIES.register("Divisor counts", oeis="A000005", group="arithmetic functions", last_term=10**9)
def divisor_counts(start: int) -> Iterator[int]:
    """How many numbers divide n, for n = 1, 2, …: 1, 2, 2, 3, 2, 4, …"""
    from sympy import divisor_count as value

    yield from (int(value(n)) for n in count(start + 1))


@FAMILIES.register("Divisor sums", oeis="A000203", group="arithmetic functions", last_term=10**9)
def divisor_sums(start: int) -> Iterator[int]:
    """The sum of the numbers that divide n, for n = 1, 2, …: 1, 3, 4, 7, 6, 12, …"""
    from sympy import divisor_sigma as value

    yield from (int(value(n)) for n in count(start + 1))


@FAMILIES.register("Collatz steps", oeis="A006577", group="arithmetic functions")
def collatz_steps(start: int) -> Iterator[int]:
    """How many steps of "halve if even, else triple and add 1" lead from n to 1, for n = 1, 2, …: 0, 1, 7, 2, …"""
    return map(_collatz, count(start + 1))


def _collatz(number: int) -> int:
    steps = 0
    while True:
        halvings = (number & -number).bit_length() - 1
        number >>= halvings
        steps += halvings
        if number == 1:
            return steps
        number = 3 * number + 1
        steps += 1
