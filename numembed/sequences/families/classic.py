"""The paper's six families, then those defined by a formula or by a rule from term to term."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from math import comb

from numembed.sequences.families.family import DIGITS, FAMILIES
from numembed.sequences.families.sieves import composite_flags, members, prime_flags

NEAR = 1_000_000  # below this index sieving is quicker than importing sympy
FAR = 210_000_000  # beyond the last window on offer; found within half a second


@FAMILIES.register("Consecutive numbers", oeis="A000027", group="paper")
def consecutive(start: int) -> Iterator[int]:
    """The counting numbers 1, 2, 3, 4, …"""
    return count(start + 1)


@FAMILIES.register("Even numbers", oeis="A005843", group="paper")
def even(start: int) -> Iterator[int]:
    """The numbers divisible by 2: 2, 4, 6, …

    The encyclopedia begins at 0, the paper at 2.
    """
    return count(2 * start + 2, 2)


@FAMILIES.register("Odd numbers", oeis="A005408", group="paper")
def odd(start: int) -> Iterator[int]:
    """The numbers not divisible by 2: 1, 3, 5, …"""
    return count(2 * start + 1, 2)


@FAMILIES.register("Primes", oeis="A000040", group="paper", last_term=FAR)
def primes(start: int) -> Iterator[int]:
    """Numbers above 1 that only 1 and they themselves divide: 2, 3, 5, 7, 11, …"""
    if start < NEAR:
        return members(prime_flags, start)
    from sympy import prime

    return members(prime_flags, 0, first=int(prime(start + 1)))


@FAMILIES.register("Recamán's sequence", oeis="A005132", group="paper", last_term=4_000_000)
def recaman(start: int) -> Iterator[int]:
    """Begin at 0; at step n go n back, or n forward where back is negative or was visited: 0, 1, 3, 6, 2, …"""
    seen = bytearray(1 << 10)
    term = 0
    for step in count(1):
        if step > start:
            yield term
        seen[term] = 1
        back = term - step
        term = term + step if back < 0 or seen[back] else back
        if term >= len(seen):
            seen.extend(bytes(len(seen)))


@FAMILIES.register("Composites", oeis="A002808", group="paper", last_term=FAR)
def composites(start: int) -> Iterator[int]:
    """Numbers that are products of smaller ones: 4, 6, 8, 9, 10, 12, …"""
    if start < NEAR:
        return members(composite_flags, start, first=4)
    from sympy import composite

    return members(composite_flags, 0, first=int(composite(start + 1)))


@FAMILIES.register("Squares", oeis="A000290", group="polynomial")
def squares(start: int) -> Iterator[int]:
    """Numbers times themselves: 0, 1, 4, 9, 16, …"""
    return (n * n for n in count(start))


@FAMILIES.register("Cubes", oeis="A000578", group="polynomial")
def cubes(start: int) -> Iterator[int]:
    """Numbers times themselves twice: 0, 1, 8, 27, 64, …"""
    return (n**3 for n in count(start))


@FAMILIES.register("Triangular numbers", oeis="A000217", group="polynomial")
def triangular(start: int) -> Iterator[int]:
    """Sums of the first counting numbers, as dots in a triangle: 0, 1, 3, 6, 10, …"""
    return (n * (n + 1) // 2 for n in count(start))


@FAMILIES.register("Pentagonal numbers", oeis="A000326", group="polynomial")
def pentagonal(start: int) -> Iterator[int]:
    """Dots in nested pentagons, n (3n − 1) / 2: 0, 1, 5, 12, 22, …"""
    return (n * (3 * n - 1) // 2 for n in count(start))


@FAMILIES.register("Hexagonal numbers", oeis="A000384", group="polynomial")
def hexagonal(start: int) -> Iterator[int]:
    """Dots in nested hexagons, n (2n − 1): 0, 1, 6, 15, 28, …"""
    return (n * (2 * n - 1) for n in count(start))


@FAMILIES.register("Tetrahedral numbers", oeis="A000292", group="polynomial")
def tetrahedral(start: int) -> Iterator[int]:
    """Balls in a pyramid on a triangle, sums of triangular numbers: 0, 1, 4, 10, 20, …"""
    return (n * (n + 1) * (n + 2) // 6 for n in count(start))


@FAMILIES.register("Fibonacci numbers", oeis="A000045", group="recursive", last_term=19_141, beyond=DIGITS)
def fibonacci(start: int) -> Iterator[int]:
    """Each is the sum of the two before: 0, 1, 1, 2, 3, 5, 8, …"""
    from sympy import fibonacci as term

    yield from (int(term(n)) for n in count(start))


@FAMILIES.register("Lucas numbers", oeis="A000032", group="recursive", last_term=19_139, beyond=DIGITS)
def lucas(start: int) -> Iterator[int]:
    """Each is the sum of the two before, beginning with 2 and 1: 2, 1, 3, 4, 7, 11, …"""
    from sympy import lucas as term

    yield from (int(term(n)) for n in count(start))


@FAMILIES.register("Pell numbers", oeis="A000129", group="recursive", last_term=10_451, beyond=DIGITS)
def pell(start: int) -> Iterator[int]:
    """Each is twice the one before plus the one before that: 0, 1, 2, 5, 12, 29, …"""
    first, second = 0, 1
    for n in count():
        if n >= start:
            yield first
        first, second = second, first + 2 * second


@FAMILIES.register("Powers of 2", oeis="A000079", group="exponential", last_term=13_287, beyond=DIGITS)
def powers_of_2(start: int) -> Iterator[int]:
    """Begin at 1 and keep doubling: 1, 2, 4, 8, 16, …"""
    return (1 << n for n in count(start))


@FAMILIES.register("Powers of 3", oeis="A000244", group="exponential", last_term=8_383, beyond=DIGITS)
def powers_of_3(start: int) -> Iterator[int]:
    """Begin at 1 and keep tripling: 1, 3, 9, 27, 81, …"""
    return (3**n for n in count(start))


@FAMILIES.register("Mersenne numbers", oeis="A000225", group="exponential", last_term=13_287, beyond=DIGITS)
def mersenne(start: int) -> Iterator[int]:
    """One less than the powers of 2: 0, 1, 3, 7, 15, 31, …"""
    return ((1 << n) - 1 for n in count(start))


@FAMILIES.register("Factorials", oeis="A000142", group="exponential", last_term=1_463, beyond=DIGITS)
def factorials(start: int) -> Iterator[int]:
    """Products of all numbers from 1 to n, the ways to order n things: 1, 1, 2, 6, 24, …"""
    term = 1
    for n in count(1):
        if n > start:
            yield term
        term *= n


@FAMILIES.register("Primorials", oeis="A002110", group="exponential", last_term=1_154, beyond=DIGITS)
def primorials(start: int) -> Iterator[int]:
    """Products of the first n primes: 1, 2, 6, 30, 210, …"""
    term = 1
    for n, prime in enumerate(primes(0)):
        if n >= start:
            yield term
        term *= prime


@FAMILIES.register("Catalan numbers", oeis="A000108", group="exponential", last_term=6_653, beyond=DIGITS)
def catalan(start: int) -> Iterator[int]:
    """The ways to nest n pairs of brackets: 1, 1, 2, 5, 14, 42, …"""
    term = comb(2 * start, start) // (start + 1)
    for n in count(start):
        yield term
        term = term * (4 * n + 2) // (n + 2)


@FAMILIES.register("Bell numbers", oeis="A000110", group="exponential", last_term=1_000)
def bell(start: int) -> Iterator[int]:
    """The ways to split n things into groups: 1, 1, 2, 5, 15, 52, …"""
    from sympy import bell as term

    yield from (int(term(n)) for n in count(start))


@FAMILIES.register("Partition numbers", oeis="A000041", group="recursive", last_term=20_000)
def partitions(start: int) -> Iterator[int]:
    """The ways to write n as a sum of positive whole numbers in any order: 1, 1, 2, 3, 5, 7, …"""
    from sympy import partition as term

    yield from (int(term(n)) for n in count(start))
