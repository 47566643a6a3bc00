"""Perturbations: the same rows, changed in one respect; here those that draw new terms or change model or scoring.

Row i of the result stands for row i of the given set. Those of group "model" and "scoring" leave the sequences as they
are and say in ``field`` what a run changes instead: "prompt" or "precision" of ModelSpec; the "distance" of the
silhouette, the "seed" of KMeans, the "normalisation" of the vectors beforehand. Their one option is the new value.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Annotated, Any, Literal

import numpy as np

from numembed.core.errors import BadChoice
from numembed.core.registry import Entry, Range
from numembed.core.settings import LIMITS
from numembed.sequences.families.family import Family, family, whole_number
from numembed.sequences.families.sieves import composite_flags
from numembed.sequences.perturbations.text import GROUPS, PERTURBATIONS
from numembed.sequences.sets import IntegerSequence, SequenceSet

__all__ = ["GROUPS", "PERTURBATIONS", "Change", "change_of", "perturb", "variants"]

_SLOWEST = 20  # a family that takes more terms than this for each unit of value counts as not growing
_NEAR, _AROUND = 50, 2_000  # where a look-alike is drawn from, and how far it may lie in need
_GAPS = 20  # times as many terms as are needed


@dataclass(frozen=True)
class Change:
    """What a run changes instead of the sequences."""

    target: Literal["model", "scoring"]
    field: str
    value: Any


def perturb(sequences: SequenceSet, name: str, *, seed: int = 0, **options: Any) -> SequenceSet:
    """Return the sequences, changed by a registered perturbation; row i stays row i. Equal seeds, equal texts.

    Raises UnknownName and BadChoice, and TooLarge where a family does not reach as far as is asked.

    >>> from numembed.sequences.sets import make_sequences
    >>> perturb(make_sequences(["primes"], per_family=1, length=6), "last_digit_removed").texts
    ('0, 0, 0, 0, 1, 1',)
    """
    entry = PERTURBATIONS[name]
    chosen = _parsed(entry, options)
    seed = whole_number("The seed", seed, low=0, high=2**31 - 1)
    if entry.facts.get("field"):
        return sequences
    if sequences.written is not None:
        raise BadChoice("These texts are rewritten already; perturb the sequences that they were made of.")
    if entry.facts.get("random"):
        chosen["seed"] = seed
    return entry.function(sequences, **chosen)


def change_of(name: str, **options: Any) -> Change | None:
    """Return what a perturbation changes of the model or the scoring, or None where it changes the sequences.

    >>> change_of("precision", precision="binary")
    Change(target='model', field='precision', value='binary')
    """
    entry = PERTURBATIONS[name]
    chosen = _parsed(entry, options)
    if not entry.facts.get("field"):
        return None
    (option,) = entry.options
    return Change(entry.facts["group"], entry.facts["field"], chosen.get(option.name, option.default))


def variants(name: str) -> tuple[dict[str, Any], ...]:
    """Return the options of each form in which a perturbation is worth a look.

    >>> variants("first_term")
    ({'start': 500}, {'start': 1000}, {'start': 2000})
    """
    for option in (entry := PERTURBATIONS[name]).options:
        if tried := entry.facts.get("tried", option.choices):
            return tuple({option.name: value} for value in tried)
    return ({},)


def _parsed(entry: Entry[Any], options: dict[str, Any]) -> dict[str, Any]:
    known = {option.name: option for option in entry.options}
    for name in sorted(set(options) - set(known)):
        raise BadChoice(f"{entry.title} has no option {name[:40]!r}. Known: {', '.join(known) or 'none'}.")
    return {name: known[name].parse(value) for name, value in options.items()}


@PERTURBATIONS.register(
    "First term moved",
    group="place",
    tried=(500, 1_000, 2_000),
    meaning="If the score changes, differences of that size between models mean little: windows decide them.",
)
def first_term(sequences: SequenceSet, *, start: Annotated[int, Range(0, 1_000_000)] = 1_000) -> SequenceSet:
    """Moves the windows of each family along it, so that the first begins at term ``start``, counted from 0."""
    by = {reference: start - first for reference, first in _first_offsets(sequences).items()}
    return _drawn(sequences, [(item.offset + by[item.family], len(item.terms)) for item in sequences.items])


@PERTURBATIONS.register(
    "Interleaved windows",
    group="place",
    meaning="If the score rises, magnitude hid the families: now all windows of a family span the same range.",
)
def interleaved(sequences: SequenceSet) -> SequenceSet:
    """Deals the terms of each family to its windows in turn: of four, the first gets terms 0, 4, 8, …

    A family with a single window keeps it.
    """
    first, longest = _first_offsets(sequences), _longest(sequences)
    windows = dict(zip(first, np.bincount(sequences.labels).tolist(), strict=True))
    pools = {name: family(name).terms(first[name], longest * windows[name]) for name in first}
    items = []
    for item, window in zip(sequences.items, sequences.windows.tolist(), strict=True):
        terms = pools[item.family][window :: windows[item.family]][: len(item.terms)]
        items.append(replace(item, offset=first[item.family] + window, terms=terms))
    return replace(sequences, items=tuple(items))


@PERTURBATIONS.register(
    "Magnitude matched",
    group="place",
    tried=(500, 1_000, 2_000),
    meaning="If the score within windows rises, the model knows the families, but magnitude hid that.",
)
def magnitude_matched(sequences: SequenceSet, *, value: Annotated[int, Range(1, 10_000)] = 1_000) -> SequenceSet:
    """Begins window w (from 1) of every family where the family first reaches w times ``value``.

    Families that go up and down, such as Recamán's, match only roughly; one that never gets there is refused.
    """
    offsets = {}
    for name, count in zip(sequences.families, np.bincount(sequences.labels).tolist(), strict=True):
        offsets[name] = _first_reaching(family(name), [value * (window + 1) for window in range(count)])
    rows = zip(sequences.items, sequences.windows.tolist(), strict=True)
    return _drawn(sequences, [(offsets[item.family][window], len(item.terms)) for item, window in rows])


@PERTURBATIONS.register(
    "Another length",
    group="data",
    tried=(5, 20, 100, 200),
    meaning="If the score grows with the length, the model combines evidence from many numbers.",
)
def length(sequences: SequenceSet, *, terms: Annotated[int, Range(1, LIMITS.length)] = 20) -> SequenceSet:
    """Gives every sequence as many terms; shorter ones begin as before, longer ones move apart so as not to overlap."""
    whole_number("The number of terms in all", len(sequences) * terms, low=0, high=LIMITS.terms)
    first, before = _first_offsets(sequences), max(1, _longest(sequences))
    wider = max(terms, before)
    starts = [first[item.family] + (item.offset - first[item.family]) * wider // before for item in sequences.items]
    return _drawn(sequences, [(start, terms) for start in starts])


@PERTURBATIONS.register(
    "Primes or pseudo-primes",
    group="data",
    random=True,
    other_families=True,
    meaning="If the score is no better than chance, nothing shows that the model knows what a prime is.",
)
def primes_or_not(sequences: SequenceSet, *, seed: int) -> SequenceSet:
    """Puts primes into the first half of the rows and composites that look like them into the rest.

    The families change: it is a control set of two, as large as the given one. The primes begin where the given
    windows do; each row of composites copies one of primes, number by number, with the same last digits and density,
    so that a model which reads no more than those scores below 0. Gaps, and numbers below 100, still tell a little.
    """
    half, offset = (len(sequences) + 1) // 2, min(_first_offsets(sequences).values(), default=0)
    items: list[IntegerSequence] = []
    for item in sequences.items[:half]:
        items.append(IntegerSequence("primes", offset, family("primes").terms(offset, len(item.terms))))
        offset += len(item.terms)
    for row, copied in enumerate(items[: len(sequences) - half]):
        rng = np.random.default_rng([seed, row])
        items.append(replace(copied, family="composites", terms=_look_alikes(copied.terms, rng)))
    return replace(sequences, items=tuple(items))


@PERTURBATIONS.register(
    "Prompt",
    group="model",
    field="prompt",
    tried=(
        "query: ",
        "passage: ",
        "Numbers: ",
        "Number sequence: ",
        "Represent this sequence: ",
        "To which family do these numbers belong? ",
    ),
    meaning="If the score changes, words before the numbers matter, as the choice of a model does.",
)
def prompt(sequences: SequenceSet, *, prompt: str = "query: ") -> SequenceSet:
    """Puts words before each text, as the model's own prompts are put."""
    return sequences


@PERTURBATIONS.register(
    "Precision",
    group="model",
    field="precision",
    meaning="If the score stays, the vectors can be stored in a quarter, or a thirty-second, of the space.",
)
def precision(sequences: SequenceSet, *, precision: Literal["int8", "binary"] = "int8") -> SequenceSet:
    """Stores each coordinate of the vectors in one byte or one bit."""
    return sequences


@PERTURBATIONS.register(
    "Distance",
    group="scoring",
    field="distance",
    meaning="If the score changes, scores are comparable only if they use the same distance.",
)
def distance(sequences: SequenceSet, *, distance: Literal["cosine", "euclidean"] = "cosine") -> SequenceSet:
    """Computes the silhouette with another distance."""
    return sequences


@PERTURBATIONS.register(
    "Normalisation",
    group="scoring",
    field="normalisation",
    meaning="If the score changes, it depends on the lengths of the vectors, or on a direction that all of them share.",
)
def normalisation(
    sequences: SequenceSet, *, to: Literal["unit length", "centred", "standardised"] = "unit length"
) -> SequenceSet:
    """Scales the vectors to length 1, moves their mean to 0, or gives each coordinate mean 0 and variance 1."""
    return sequences


@PERTURBATIONS.register(
    "KMeans seed",
    group="scoring",
    field="seed",
    tried=tuple(range(1, 20)),
    meaning="If the scores of the clusters change, KMeans has no single solution, and its scores are that uncertain.",
)
def kmeans_seed(sequences: SequenceSet, *, kmeans_seed: Annotated[int, Range(0, 2**31 - 1)] = 1) -> SequenceSet:
    """Starts KMeans from another random seed."""
    return sequences


def _first_offsets(sequences: SequenceSet) -> dict[str, int]:
    """Return the smallest offset of each family, in the order of ``families``."""
    first: dict[str, int] = {}
    for item in sequences.items:
        first[item.family] = min(item.offset, first.get(item.family, item.offset))
    return first


def _longest(sequences: SequenceSet) -> int:
    return max((len(item.terms) for item in sequences.items), default=0)


def _first_reaching(one: Family, values: Sequence[int]) -> list[int]:
    """Return the index of the first term at or above each of some growing values."""
    count, most = 0, min(one.last_term + 1, _SLOWEST * values[-1])
    while count < most:
        count = min(max(64, 4 * count), most)
        highest = list(accumulate(one.terms(0, count), max))
        if highest[-1] >= values[-1]:
            return [bisect_left(highest, value) for value in values]
    raise BadChoice(
        f"{one.title}: none of the first {count:,} terms reaches {values[-1]:,}, so its magnitude cannot be matched; "
        f"choose a smaller value or leave the family out."
    )


def _look_alikes(primes: Sequence[int], rng: np.random.Generator) -> tuple[int, ...]:
    """Return one composite for each prime, in order: near it, with its last digit, none twice."""
    low = max(4, primes[0] - _AROUND)
    free = set((np.flatnonzero(composite_flags(low, primes[-1] + _AROUND)) + low).tolist())
    chosen = []
    for prime in primes:
        reach, near = _NEAR, list[int]()
        while not near:
            near = [number for number in range(prime - reach, prime + reach + 1, 10) if number in free]
            reach *= 2
        chosen.append(near[rng.integers(len(near))])
        free.remove(chosen[-1])
    return tuple(sorted(chosen))


def _drawn(sequences: SequenceSet, places: Sequence[tuple[int, int]]) -> SequenceSet:
    """Return the set with the terms that each row's family has at its (offset, length)."""
    items = list(sequences.items)
    for label, reference in enumerate(sequences.families):
        rows = np.flatnonzero(sequences.labels == label).tolist()
        one, low = family(reference), min(places[row][0] for row in rows)
        span = max(sum(places[row]) for row in rows) - low
        near = span <= _GAPS * sum(places[row][1] for row in rows)  # then it costs least to walk along it once
        pool = one.terms(low, span) if near else ()
        for row in rows:
            offset, count = places[row]
            terms = pool[offset - low : offset - low + count] if near else one.terms(offset, count)
            items[row] = IntegerSequence(reference, offset, terms)
    return replace(sequences, items=tuple(items))
