"""The texts that the small language model is pretrained on: two windows of one family of numbers at a time.

The paper's six families and those that are held back as new are not among them, and neither are the terms that the
usual split reserves. Steps of one and two are left out of the drawn progressions: those are families of the paper's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from numembed.sequences.sets import IntegerSequence, SequenceSet
from numembed.sequences.splits import OTHERS, Split, training_batch

REGISTERED = (  # beside the usual split's twelve
    *OTHERS,
    *("squares", "cubes", "hexagonal", "tetrahedral", "perfect_powers", "prime_gaps", "digit_sums", "totient"),
    *("divisor_counts", "divisor_sums", "collatz_steps", "random_sorted", "random_uniform"),
    *(f"multiples:k={k}" for k in (4, 6, 8, 10, 11, 12, 15, 20, 25)),
    *("residues:modulus=3,remainder=2", "residues:modulus=10,remainder=1", "residues:modulus=10,remainder=7"),
)
SHORTEST, LONGEST = 8, 50  # terms of a text
_FORBIDDEN_STEPS = (1, 2, 5, 7)  # they would draw the paper's families, or those that stay new

Terms = tuple[int, ...]


@functools.cache
def reading() -> Split:
    """Return the registered families and the terms of them that pretraining may read; a leak would be refused."""
    return Split(training=REGISTERED, shortest=SHORTEST, longest=LONGEST)


def text_pairs(count: int, *, seed: int, step: int) -> tuple[SequenceSet, ...]:
    """Return ``count`` pairs of windows, each pair of one family; they depend on ``seed`` and ``step`` alone.

    Half of the families are registered ones, the others are drawn: progressions, residue classes, repeated steps.
    """
    rng = np.random.default_rng((seed, step, 1))
    half = count // 2
    known = training_batch(reading(), size=2 * half, seed=seed, step=step, pairs=True).items if half else ()
    pairs: list[tuple[IntegerSequence, ...]] = [known[at : at + 2] for at in range(0, len(known), 2)]
    while len(pairs) < count:
        draw = _DRAWN[int(rng.choice(len(_DRAWN), p=_SHARES))]
        terms = draw(rng)
        pairs.append(tuple(IntegerSequence(draw.__name__, 0, one) for one in terms))
    return tuple(map(SequenceSet, pairs))


def _progression(rng: np.random.Generator) -> tuple[Terms, Terms]:
    """Return two windows of numbers with the same step, one later than the other; one in five falls."""
    while (step := int(rng.integers(3, 100))) in _FORBIDDEN_STEPS:
        pass
    remainder = int(rng.integers(0, step))
    windows = [remainder + step * (at + np.arange(count)) for at, count in _places(rng)]
    falls = rng.random() < 0.2
    return _both([one[::-1] if falls else one for one in windows])


def _residues(rng: np.random.Generator) -> tuple[Terms, Terms]:
    """Return two windows of the numbers with a few of the remainders of one divisor."""
    divisor = int(rng.integers(8, 40))
    kept = np.sort(rng.choice(divisor, size=int(rng.integers(2, divisor // 2)), replace=False))
    windows = []
    for at, count in _places(rng):
        numbers = (np.arange(at, at + count // len(kept) + 2)[:, None] * divisor + kept).ravel()
        first = int(rng.integers(0, len(kept)))
        windows.append(numbers[first : first + count])
    return _both(windows)


def _steps(rng: np.random.Generator) -> tuple[Terms, Terms]:
    """Return two windows of numbers that rise by steps drawn from the same few."""
    steps = rng.integers(3, 60, size=int(rng.integers(2, 5)))
    windows = []
    for at, count in _places(rng):
        windows.append(at * int(steps.sum()) + np.cumsum(rng.choice(steps, size=count)))
    return _both(windows)


def _places(rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return where two windows begin, every power of ten as likely, and how long they are."""
    return [
        (int(np.exp(rng.uniform(0, np.log(5_000)))) - 1, int(rng.integers(SHORTEST, LONGEST + 1))) for _ in range(2)
    ]


def _both(windows: list[NDArray[np.int64]]) -> tuple[Terms, Terms]:
    first, second = (tuple(map(int, one)) for one in windows)
    return first, second


_DRAWN: tuple[Callable[[np.random.Generator], tuple[Terms, Terms]], ...] = (_progression, _residues, _steps)
_SHARES = (0.6, 0.25, 0.15)
