"""What reveals families besides their rule (confounds): shared numbers, magnitude, text length, number of tokens.

A model that puts a family's sequences close together may use no more than that. Everything here is computed from the
sequences alone, without any model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import log10, nan
from statistics import median_low
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numembed.core.errors import TooLarge
from numembed.core.significance import LEVEL, holm
from numembed.core.wording import p_text
from numembed.sequences.families.family import family
from numembed.sequences.sets import SequenceSet, numbers_in

COUNTED_CHARS = 300_000  # of all texts; the tokens of longer sets are not counted
MOST_ROWS = 500  # sequences that are compared pair by pair
MANY = 20  # numbers that two sequences share, from which a pair is counted
SHUFFLES = 999
_OFTEN = 0.1  # of a family's numbers, from which it is said that its sequences repeat them
_MOST_COMPARISONS = 20_000_000  # of all shuffles together: about a second

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Clue:
    """One number of each sequence (n,), and how far that number alone tells its family."""

    name: str
    title: str
    unit: str
    values: Numbers  # (n,)
    overlap: float  # of the ranges of two families, mean over the pairs, from 0 to 1; NaN for one family
    named: float  # sequences whose nearest of another window is of their family; ties count in part
    tried: int  # sequences with a family and other windows to be compared with; 0: nothing can be concluded
    guessing: float  # how many of them guessing names
    p: float  # share of shuffles of the families within each window that name at least as many
    p_holm: float = nan  # adjusted for all clues, for the sentences speak of all
    least_p: float = 0.0  # the least that p could be, all clues judged together: above 0.05 nothing can be concluded
    null_sd: float = nan  # standard deviation of how many shuffled families it names

    @property
    def sentence(self) -> str:
        """What the number gives away, never more than its p allows."""
        if not self.tried:
            return f"{self.title} alone: with one sequence per family, or one family, nothing can be concluded."
        named = f"{self.named:.0f}" if self.named % 1 < 1e-9 else f"about {self.named:.0f}"
        guessing = f"{self.guessing:.0f}" if self.guessing >= 1 else "fewer than one"
        claim = f"{self.title} alone names the family in {named} of {self.tried} cases; guessing, in {guessing}."
        p = self.p if self.p_holm != self.p_holm else self.p_holm
        if p <= LEVEL:
            return f"{claim} That is better than chance ({p_text(p)})."
        if self.least_p > LEVEL:
            return f"{claim} There are too few sequences for a significance test ({p_text(p)})."
        return f"{claim} That is no better than chance ({p_text(p)})."


@dataclass(frozen=True)
class Leakage:
    """What gives the families of a set away; k families in the set's order, n sequences."""

    families: tuple[str, ...]  # (k,) references
    shared: NDArray[np.int64]  # (k, k) distinct numbers that both have; on the diagonal, that the family has
    share: Numbers  # (k, k) the same as a share of the smaller family's numbers
    repeated: NDArray[np.int64]  # (k,) distinct numbers that stand in two or more of the family's own sequences
    pairs: tuple[tuple[int, int], ...]  # rows of different families that share ``MANY`` numbers or more
    clues: tuple[Clue, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the shared numbers mean for a score, in one to three sentences."""
        parts = [_shared_sentence(self)]
        if self.pairs:
            which = "pair of sequences of different families shares"
            which = which if len(self.pairs) == 1 else which.replace("pair ", "pairs ").replace("shares", "share")
            parts.append(f"{len(self.pairs):,} {which} at least {MANY} of their numbers.")
        often = (self.repeated > 0) & (self.repeated >= _OFTEN * np.diag(self.shared))
        if again := [family(self.families[at]).title for at in np.flatnonzero(often)]:
            shown = ", ".join(again[:3]) + (f" and {len(again) - 3} more" if len(again) > 3 else "")
            parts.append(
                f"Sequences of one family repeat each other's numbers, which can make them look alike: {shown}."
            )
        return tuple(parts)


def leakage(sequences: SequenceSet, *, token_counts: Sequence[int] | None = None, seed: int = 0) -> Leakage:
    """Return what gives the families away; ``token_counts`` (n,) adds a clue. Counted is what the texts hold.

    Raises TooLarge above ``MOST_ROWS`` sequences.
    """
    if len(sequences) > MOST_ROWS:
        what = f"Up to {MOST_ROWS:,} sequences are compared with each other, got {len(sequences):,}"
        raise TooLarge(f"{what}; choose fewer sequences per family.")
    read = [numbers_in(text) for text in sequences.texts]
    rows, labels = [set(numbers) for numbers in read], sequences.labels.tolist()
    shared, repeated = _counted(rows, labels, len(sequences.families))
    sizes = np.diag(shared)
    pairs = (
        (one, other)
        for one, other in combinations(range(len(rows)), 2)
        if labels[one] != labels[other] and len(rows[one] & rows[other]) >= MANY
    )
    quantities: list[tuple[str, str, str, Sequence[float]]] = [
        ("magnitude", "Magnitude", "typical number (power of ten)", list(map(_magnitude, read))),
        ("length", "Text length", "characters", list(map(len, sequences.texts))),
    ]
    if token_counts is not None:
        quantities.append(("tokens", "The number of tokens", "tokens", list(token_counts)))
    clues = tuple(_clue(sequences, *one, seed=seed) for one in quantities)
    return Leakage(
        sequences.families,
        shared,
        shared / np.maximum(1, np.minimum.outer(sizes, sizes)),
        repeated,
        tuple(pairs),
        _adjusted(clues),
    )


def _adjusted(clues: Sequence[Clue]) -> tuple[Clue, ...]:
    """Return the clues with their p adjusted for their number. Holm 1979."""
    count, ps = sum(clue.tried > 0 for clue in clues), holm([clue.p for clue in clues])
    return tuple(
        replace(clue, p_holm=nan if p is None else p, least_p=min(1.0, count * clue.least_p))
        for clue, p in zip(clues, ps, strict=True)
    )


def rows_of(leakage: Leakage, sequences: SequenceSet) -> list[dict[str, Any]]:
    """Return all numbers as rows; ``part`` says what each belongs to. Values stand in the order of the sequences."""
    titles = [family(name).title for name in leakage.families]
    shared: list[dict[str, Any]] = [
        {
            "part": "shared",
            "family": titles[one],
            "other": titles[other],
            "numbers": int(leakage.shared[one, other]),
            "share": float(leakage.share[one, other]),
        }
        for one, other in combinations(range(len(titles)), 2)
    ]
    counts = zip(titles, leakage.shared.diagonal().tolist(), leakage.repeated.tolist(), strict=True)
    own = [{"part": "family", "family": title, "numbers": n, "repeated": twice} for title, n, twice in counts]
    numbers = ("name", "unit", "named", "tried", "guessing", "p", "p_holm", "least_p", "overlap", "null_sd")
    clues = [
        {"part": "clue"} | {name: getattr(clue, name) for name in numbers} | {"values": clue.values.tolist()}
        for clue in leakage.clues
    ]
    pairs = [
        {"part": "pair", "one": _place(sequences, one), "other": _place(sequences, other)}
        for one, other in leakage.pairs
    ]
    return [
        {name: None if value != value else value for name, value in row.items()} for row in own + shared + clues + pairs
    ]


def _place(sequences: SequenceSet, row: int) -> str:
    return f"{family(sequences.items[row].family).title}, window {int(sequences.windows[row]) + 1}"


def _counted(
    rows: Sequence[set[int]], labels: Sequence[int], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many numbers each two families share (k, k), and how many stand twice in one (k,)."""
    own: list[set[int]] = [set() for _ in range(count)]
    twice: list[set[int]] = [set() for _ in range(count)]
    for label, numbers in zip(labels, rows, strict=True):
        twice[label] |= own[label] & numbers
        own[label] |= numbers
    shared = [[len(one & other) for other in own] for one in own]
    return np.array(shared, np.int64).reshape(count, count), np.array([len(one) for one in twice], np.int64)


def _shared_sentence(leakage: Leakage) -> str:
    """Name the two families that share the most."""
    between = np.triu(leakage.shared, 1)
    if not between.any():
        return "No number occurs in two families." if len(leakage.families) > 1 else "There is one family only."
    one, other = divmod(int(np.triu(leakage.share, 1).argmax()), len(leakage.families))
    titles = f"{family(leakage.families[one]).title} and {family(leakage.families[other]).title}"
    smaller = min(leakage.shared[one, one], leakage.shared[other, other])
    return f"{titles} have the most in common: {leakage.shared[one, other]:,} of {smaller:,} numbers."


def _magnitude(numbers: Sequence[int]) -> float:
    """Return the power of ten of the median number without its sign; of integers of any size."""
    return log10(max(1, median_low(map(abs, numbers)))) if numbers else 0.0


def _clue(sequences: SequenceSet, name: str, title: str, unit: str, plain: Sequence[float], *, seed: int) -> Clue:
    values, labels = np.asarray(plain, np.float64), sequences.labels
    rows, nearest, weights = _nearest(values, sequences.windows)
    tried = np.unique(rows)
    others = sequences.windows[:, None] != sequences.windows[None, :]
    of_own = (others & (labels[:, None] == labels[None, :])).sum(axis=1)
    guessing = float((of_own[tried] / np.maximum(1, others.sum(axis=1)[tried])).sum())
    if not of_own.any() or len(sequences.families) < 2:
        return Clue(name, title, unit, values, _overlap(values, labels), nan, 0, nan, nan)
    named = float(weights[labels[rows] == labels[nearest]].sum())
    rng = np.random.default_rng(seed)
    shuffles = max(99, min(SHUFFLES, _MOST_COMPARISONS // max(1, len(rows))))
    every = [named]
    for _ in range(shuffles):
        mixed = _shuffled(labels, sequences.windows, rng)
        every.append(float(weights[mixed[rows] == mixed[nearest]].sum()))
    p, least = (float(np.mean(np.array(every) >= value - 1e-9)) for value in (named, max(every)))
    least = least if max(every) > min(every) else 0.0  # where the number is the same everywhere, its sense is clear
    overlap, sd = _overlap(values, labels), float(np.std(every[1:]))
    return Clue(name, title, unit, values, overlap, named, len(tried), guessing, p, least_p=least, null_sd=sd)


def _nearest(values: Numbers, windows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], Numbers]:
    """Return pairs (row, nearest row of another window), and the weight of each: 1 a row, divided among equals."""
    apart = np.abs(values[:, None] - values[None, :])
    apart[windows[:, None] == windows[None, :]] = np.inf
    least = apart.min(axis=1, initial=np.inf)
    rows, nearest = np.nonzero((apart == least[:, None]) & np.isfinite(apart))
    return rows, nearest, 1 / np.bincount(rows, minlength=len(values))[rows]


def _shuffled(labels: NDArray[np.int64], windows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the labels shuffled within each window, so that each window keeps its families."""
    order = np.lexsort((rng.random(len(labels)), windows))
    mixed = np.empty_like(labels)
    mixed[np.argsort(windows, kind="stable")] = labels[order]
    return mixed


def _overlap(values: Numbers, labels: NDArray[np.int64]) -> float:
    """Return the mean, over pairs of families, of the common part of their ranges as a share of the smaller range."""
    ranges = [
        (values[labels == label].min(), values[labels == label].max()) for label in range(labels.max(initial=-1) + 1)
    ]
    parts = []
    for (low, high), (lowest, highest) in combinations(ranges, 2):
        common, smaller = min(high, highest) - max(low, lowest), min(high - low, highest - lowest)
        parts.append(float(common >= 0) if smaller == 0 else max(0.0, common / smaller))
    return float(np.mean(parts)) if parts else nan
