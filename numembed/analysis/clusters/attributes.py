"""What sequences have in common besides their family: groupings that clusters are held against, and words for them.

An attribute maps a SequenceSet to labels (n,). Numbers (magnitude, shares) are put into bins of about as many
sequences each, as many as there are families, at least two; equal numbers are never parted. Facts: ``needs``,
where an attribute takes something besides the sequences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import log10

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.labels import kmeans
from numembed.core.arrays import Labels
from numembed.core.errors import BadChoice, UnknownName
from numembed.core.registry import Registry
from numembed.sequences.families.family import family as named
from numembed.sequences.families.sieves import prime_flags
from numembed.sequences.sets import IntegerSequence, SequenceSet

ATTRIBUTES: Registry[Callable[..., Labels]] = Registry("attribute")
NO_TREND, STEADY, FASTER, SHRINKING = 0, 1, 2, 3  # classes of growth
GROWTH = ("no trend", "growing steadily", "growing faster and faster", "shrinking")
NEARLY_ALL = 0.9  # of its terms, for a sequence to be called odd, even or prime
_TREND = 0.5  # correlation of size and index from which a sequence grows or shrinks
_FASTER = 1.5  # exponent of the index: squares have 2, arithmetic progressions 1
_SIEVED = 20_000_000  # numbers below may be sieved together, others are tested one by one
_SIEVED_EACH = 300  # sieving so many numbers costs about as much as testing one
_WITNESSES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)  # tell all primes below the next line (Sorenson, Webster)
_KNOWN_BELOW = 3_317_044_064_679_887_385_961_981

Numbers = NDArray[np.float64]


@ATTRIBUTES.register("Family")
def family(sequences: SequenceSet) -> Labels:
    """The number family that each sequence was drawn from."""
    return sequences.labels


@ATTRIBUTES.register("Window")
def window(sequences: SequenceSet) -> Labels:
    """The place of each sequence among those of its family: 0 holds the first terms."""
    return sequences.windows


@ATTRIBUTES.register("Magnitude")
def magnitude(sequences: SequenceSet) -> Labels:
    """How large the numbers are: the power of ten of the median term without its sign, in bins."""
    return _binned(_magnitudes(sequences), sequences)


@ATTRIBUTES.register("String length")
def string_length(sequences: SequenceSet) -> Labels:
    """How many characters the text has that the model reads, in bins."""
    return _binned([len(text) for text in sequences.texts], sequences)


@ATTRIBUTES.register("Token count", needs="token_counts")
def token_count(sequences: SequenceSet, token_counts: Sequence[int]) -> Labels:
    """How many tokens the model's tokenizer makes of the text, in bins."""
    return _binned(token_counts, sequences)


@ATTRIBUTES.register("Last digits")
def last_digits(sequences: SequenceSet) -> Labels:
    """How often the terms end in 0, 1, … 9: KMeans clusters of these ten shares, as many as there are families."""
    counts = [np.bincount([abs(term) % 10 for term in one.terms], minlength=10) for one in sequences.items]
    shares = np.array([row / max(1, row.sum()) for row in counts], dtype=np.float32).reshape(len(counts), 10)
    return kmeans(shares, np.arange(len(sequences)) % _bins(sequences))


@ATTRIBUTES.register("Growth")
def growth(sequences: SequenceSet) -> Labels:
    """How the size of the terms changes with their index: no trend, steady, faster and faster, or shrinking.

    No trend: log size and log index correlate by less than 0.5. Faster: the size grows as the index to the power of
    1.5 or more (squares: 2). Labels are places in ``GROWTH``.
    """
    return np.array([_growth(one) for one in sequences.items], dtype=np.int64)


@ATTRIBUTES.register("Share of odd numbers")
def odd_share(sequences: SequenceSet) -> Labels:
    """Which part of the terms is odd, in bins."""
    return _binned(_odd_shares(sequences), sequences)


@ATTRIBUTES.register("Share of primes")
def prime_share(sequences: SequenceSet) -> Labels:
    """Which part of the terms is prime, in bins; terms above 3 · 10²⁴ count as not prime."""
    return _binned(_prime_shares(sequences), sequences)


def attributes(sequences: SequenceSet, *, token_counts: Sequence[int] | None = None) -> dict[str, Labels]:
    """Return the labels (n,) of every attribute in which these sequences differ, by its registered name.

    >>> from numembed.sequences.sets import make_sequences
    >>> list(attributes(make_sequences(["even", "odd"], per_family=2, length=5)))
    ['family', 'window', 'magnitude', 'string_length', 'last_digits', 'odd_share', 'prime_share']
    """
    kept: dict[str, Labels] = {}
    for entry in ATTRIBUTES:
        if "needs" not in entry.facts:
            kept[entry.name] = entry.function(sequences)
        elif token_counts is not None:
            kept[entry.name] = entry.function(sequences, token_counts)
    return {name: labels for name, labels in kept.items() if len(np.unique(labels)) > 1}


def traits(sequences: SequenceSet) -> dict[str, tuple[str, ...]]:
    """Return what can be said of each sequence in words, by kind; "" where nothing of that kind is true of it.

    family: its title. window: "window 1", … size: "small" or "large", the lower or upper third by median size.
    digits: "3-digit", where most terms have 3. parity: "odd" or "even", and prime: "prime", where nine terms in ten
    are. ending: the last digits, where there are at most four. growth: as in ``GROWTH``. length: "short strings" or
    "long strings", by more than a tenth from the median.
    """
    sizes, lengths = _magnitudes(sequences), np.array([len(text) for text in sequences.texts], dtype=np.float64)
    small, large = np.quantile(sizes, (1 / 3, 2 / 3)) if len(sizes) else (0, 0)
    middle = float(np.median(lengths)) if len(lengths) else 0.0
    odd, even = _odd_shares(sequences) >= NEARLY_ALL, _odd_shares(sequences) <= 1 - NEARLY_ALL
    titles = {reference: family_title(reference) for reference in sequences.families}
    return {
        "family": tuple(titles[one.family] for one in sequences.items),
        "window": tuple(f"window {place + 1}" for place in sequences.windows.tolist()),
        "size": _words(("small", sizes < small), ("large", sizes > large)),
        "digits": tuple(_digits(one) for one in sequences.items),
        "parity": _words(("odd", odd), ("even", even & np.array([bool(one.terms) for one in sequences.items], bool))),
        "prime": _words(("prime", _prime_shares(sequences) >= NEARLY_ALL)),
        "ending": tuple(_ending(one) for one in sequences.items),
        "growth": tuple(GROWTH[label] for label in growth(sequences).tolist()),
        "length": _words(("short strings", lengths < 0.9 * middle), ("long strings", lengths > 1.1 * middle)),
    }


def family_title(reference: str) -> str:
    """Return the title of a family, or the reference itself where no registered family has it."""
    try:
        return named(reference).title
    except (UnknownName, BadChoice):
        return reference


def _bins(sequences: SequenceSet) -> int:
    return max(2, len(sequences.families))


def _binned(values: Iterable[float], sequences: SequenceSet) -> Labels:
    """Return the bin (n,) of each value by its rank; equal values have their middle rank and so one bin."""
    _, place, counts = np.unique(np.asarray(list(values), np.float64), return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    bins = np.floor(middle[place] * _bins(sequences) / max(1, len(place)))
    return np.asarray(np.unique(bins, return_inverse=True)[1], dtype=np.int64)


def _log_sizes(sequence: IntegerSequence) -> list[float]:
    return [log10(abs(term) or 1) for term in sequence.terms]  # of whole numbers of any length


def _magnitudes(sequences: SequenceSet) -> Numbers:
    return np.array([np.median(_log_sizes(one)) if one.terms else 0.0 for one in sequences.items], dtype=np.float64)


def _growth(sequence: IntegerSequence) -> int:
    sizes, index = np.array(_log_sizes(sequence)), np.log10(sequence.offset + 1 + np.arange(len(sequence.terms)))
    if len(sizes) < 3 or np.ptp(sizes) < 1e-12:
        return NO_TREND
    sizes, index = sizes - sizes.mean(), index - index.mean()
    correlation = (sizes @ index) / np.sqrt((sizes @ sizes) * (index @ index))
    if abs(correlation) < _TREND:
        return NO_TREND
    return SHRINKING if correlation < 0 else FASTER if sizes @ index >= _FASTER * (index @ index) else STEADY


def _odd_shares(sequences: SequenceSet) -> Numbers:
    return np.array([np.mean([term % 2 for term in one.terms or (0,)]) for one in sequences.items], dtype=np.float64)


def _prime_shares(sequences: SequenceSet) -> Numbers:
    primes = _primes_among({term for one in sequences.items for term in one.terms})
    shares = [np.mean([term in primes for term in one.terms or (0,)]) for one in sequences.items]
    return np.array(shares, dtype=np.float64)


def _primes_among(numbers: set[int]) -> set[int]:
    limit = min(_SIEVED, max(10_000, _SIEVED_EACH * len(numbers)))
    sieved = np.array([number for number in numbers if 0 <= number < limit], dtype=np.int64)
    result = set(sieved[prime_flags(0, int(sieved.max()) + 1)[sieved]].tolist()) if len(sieved) else set()
    return result | {number for number in numbers if limit <= number < _KNOWN_BELOW and _is_prime(number)}


def _is_prime(number: int) -> bool:
    """Return whether a number from 38 to ``_KNOWN_BELOW`` is prime (Miller 1976, Rabin 1980)."""
    if any(number % small == 0 for small in _WITNESSES):
        return False
    twos = ((number - 1) & (1 - number)).bit_length() - 1
    for witness in _WITNESSES:
        power = pow(witness, (number - 1) >> twos, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


def _words(*said: tuple[str, NDArray[np.bool_]]) -> tuple[str, ...]:
    words = [""] * len(said[0][1])
    for word, true in said:
        for row in np.flatnonzero(true).tolist():
            words[row] = word
    return tuple(words)


def _digits(sequence: IntegerSequence) -> str:
    counts = Counter(len(str(abs(term))) for term in sequence.terms).most_common(1)
    return f"{counts[0][0]}-digit" if counts and 2 * counts[0][1] > len(sequence.terms) else ""


def _ending(sequence: IntegerSequence) -> str:
    *most, last = sorted({abs(term) % 10 for term in sequence.terms}) or [-1]
    if not 0 <= len(most) < 4 or last < 0:
        return ""
    return "ending in " + (f"{', '.join(map(str, most))} or {last}" if most else str(last))
