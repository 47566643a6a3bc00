"""What a model is adapted to and what it is judged by, held apart: windows of families, and ordinary sentences."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from numembed.core.errors import BadChoice, UnknownName
from numembed.core.settings import LIMITS
from numembed.sequences.families.family import FAMILIES, family, whole_number
from numembed.sequences.sets import IntegerSequence, SequenceSet, make_sequences, numbers_in

PAPER = tuple(entry.name for entry in FAMILIES if entry.facts["group"] == "paper")  # section 4.1
OTHERS = (  # twelve with none of the paper's six among them
    *("multiples", "multiples:k=5", "multiples:k=9", "residues:modulus=3", "residues", "residues:remainder=3"),
    *("residues:modulus=6,remainder=2", "lucky", "semiprimes", "squarefree", "pentagonal", "happy"),
)
NEW = ("multiples:k=7", "residues:modulus=5,remainder=2", "triangular", "twin_primes", "evil", "palindromes")
WINDOWS, LENGTH = 4, 50  # of every evaluation: the paper's design, section 4.1
_SHOWN = 8  # numbers that a refusal lists
_FILE = Path(__file__).with_name("sentences.toml")

Band = tuple[int, int]  # indices of terms, the second one excluded


@dataclass(frozen=True)
class Split:
    """Families to train on and the terms of them that training never sees. Refused, once made, where it leaks.

    A training sequence begins at a random term from ``first`` to ``furthest``, drawn so that every power of ten is as
    likely, and holds ``shortest`` to ``longest`` terms, none of them in a reserved band.
    """

    training: tuple[str, ...] = OTHERS
    new: tuple[str, ...] = NEW  # families that training never sees
    reserved: tuple[Band, ...] = ((1_000, 1_200),)  # the first of them is what validation takes
    shortest: int = 8
    longest: int = 16
    first: int = 0
    furthest: int = 5_000
    brief: bool = False  # judged by the reserved and the paper's windows alone, and by new ones if it trains on these

    def __post_init__(self) -> None:
        for name in ("training", "new"):
            object.__setattr__(self, name, tuple(dict.fromkeys(family(one).reference for one in getattr(self, name))))
        object.__setattr__(self, "reserved", tuple((int(low), int(high)) for low, high in self.reserved))
        _check(self)
        if type(self.brief) is not bool:
            raise BadChoice(f"brief is true or false, got {str(self.brief)[:40]!r}.")
        if leaks := leaks_of(self):
            raise BadChoice(_text(leaks))

    @property
    def spans(self) -> tuple[Band, ...]:
        """Where training may read: everything that it reaches, without the reserved bands."""
        bands, begin = [], self.first
        for low, high in sorted((*self.reserved, (self.furthest + self.longest,) * 2)):
            if low - begin >= self.shortest:
                bands.append((begin, low))
            begin = max(begin, high)
        return tuple(bands)

    @functools.cached_property
    def evaluations(self) -> Mapping[str, SequenceSet]:
        """What an adapted model is judged by, four windows of 50 terms of each family.

        ``reserved``: the training families where training does not read, for validation. ``paper``: the paper's 24;
        ``later``: its families where validation is, so that their numbers are as large. ``new``: other families.
        """
        at, reads_paper = self.reserved[0][0] // LENGTH, bool(set(self.training) & set(PAPER))
        chosen = {"later": (PAPER, at)} if set(self.training) != set(PAPER) and not self.brief else {}
        chosen |= {"reserved": (self.training, at), "paper": (PAPER, 0)}
        chosen |= {"new": (self.new, 0)} if reads_paper or not self.brief else {}
        return {
            name: make_sequences(families, per_family=WINDOWS, length=LENGTH, first_window=first)
            for name, (families, first) in chosen.items()
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        plain = asdict(self)
        if not self.brief:  # as before there was it
            plain.pop("brief")
        return (
            plain
            | {name: list(plain[name]) for name in ("training", "new")}
            | {"reserved": [list(band) for band in self.reserved]}
        )

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Split:
        """Return the split that :meth:`as_dict` described."""
        bands = tuple((low, high) for low, high in plain["reserved"])
        return cls(**(plain | {"training": tuple(plain["training"]), "new": tuple(plain["new"]), "reserved": bands}))


@dataclass(frozen=True)
class Leak:
    """Numbers of one evaluation text that a training sequence may show in a row."""

    evaluation: str
    family: str
    training: str  # the family through which they leak; the same, or another with the same terms
    offset: int
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Overlap:
    """What one evaluation has in common with training, whatever the order: no leak, but worth knowing."""

    evaluation: str
    texts: int
    numbers: int  # distinct ones in the evaluation
    shared: int  # of them, that a training sequence may hold
    by_family: tuple[tuple[str, int], ...]  # the same for each training family

    @property
    def share(self) -> float:
        """The shared part of the numbers, from 0 to 1."""
        return self.shared / self.numbers if self.numbers else 0.0


@dataclass(frozen=True)
class Sentences:
    """Ordinary sentences; pairs are indices into ``texts``."""

    texts: tuple[str, ...]
    paraphrases: tuple[tuple[int, int], ...]
    graded: tuple[tuple[int, int, float], ...]  # with their likeness, from 0 to 5


@functools.cache
def split_called(name: str) -> Split:
    """Return the split ``others`` (twelve families beside the paper's) or ``paper`` (the paper's six themselves)."""
    if name == "others":
        return Split()
    if name == "paper":  # their first 200 terms are the paper's 24 sequences
        return Split(training=PAPER, reserved=((1_000, 1_200), (0, WINDOWS * LENGTH)))
    raise UnknownName(f"No split is called {name[:80]!r}. Known: others, paper.")


@functools.cache
def sentences() -> Sentences:
    """Return about 120 ordinary sentences of this project's own, some of them in pairs."""
    content = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    texts = [text for pair in content["paraphrases"] for text in pair]
    texts += [text for _, *pair in content["graded"] for text in pair]
    at = 2 * len(content["paraphrases"])
    return Sentences(
        (*texts, *content["others"]),
        tuple((i, i + 1) for i in range(0, at, 2)),
        tuple((at + 2 * i, at + 2 * i + 1, float(grade)) for i, (grade, *_) in enumerate(content["graded"])),
    )


def overlaps(split: Split) -> tuple[Overlap, ...]:
    """Return what each evaluation and the ordinary sentences have in common with training."""
    may_show = {name: _numbers(name, split) for name in split.training}
    sets = {name: chosen.texts for name, chosen in split.evaluations.items()} | {"sentences": sentences().texts}
    rows = []
    for evaluation, texts in sets.items():
        numbers = {number for text in texts for number in numbers_in(text)}
        by_family = tuple((name, len(numbers & theirs)) for name, theirs in may_show.items())
        shared = len(numbers & set().union(*may_show.values()))
        rows.append(Overlap(evaluation, len(texts), len(numbers), shared, by_family))
    return tuple(rows)


@functools.lru_cache(maxsize=64)  # every stored experiment is read with its split
def leaks_of(split: Split) -> tuple[Leak, ...]:
    """Return the terms of evaluation texts that training may show: of the same family, or a whole text of any."""
    return tuple(
        Leak(evaluation, item.family, name, item.offset, numbers)
        for evaluation, result in split.evaluations.items()
        for item in result.items
        for name in split.training
        if (numbers := leaking(item, name, split))
    )


def training_batch(
    split: Split, *, size: int, seed: int, step: int, pairs: bool = False, apart: float | None = None
) -> SequenceSet:
    """Return the sequences of one step, which depend on ``seed`` and ``step`` alone.

    Every family in it has two sequences or more; with ``pairs`` exactly two, one behind the other. They begin each on
    its own, or, with ``apart``, around one random term: at most that many times as far out, or as near, and up to two
    lengths later, because near the beginning they would all be the same.
    """
    rng = np.random.default_rng((seed, step))
    families = list(split.training)
    chosen = min(len(families), size // 2)
    order = [families[i] for i in rng.permutation(len(families))[:chosen]]
    counts = [2 if pairs else size // chosen + (i < size % chosen) for i in range(chosen)]
    rows = [name for name, count in zip(order, counts, strict=True) for _ in range(count)]
    low, high, later = *np.log([split.first + 1, split.furthest + 2]), 0
    if apart is not None:
        while not _is_free(split, _start(split, middle := rng.uniform(low, high)), split.longest):
            pass
        low, high, later = max(low, middle - np.log(apart)), min(high, middle + np.log(apart)), 2 * split.longest
    return SequenceSet(tuple(_drawn(split, name, (low, high), later, rng) for name in rows))


def apart_at(step: int, steps: int, apart: tuple[float, float] | None) -> float | None:
    """Return how far apart the sequences of step 1, 2, … of ``steps`` begin: it grows by the same ratio to the last.

    >>> apart_at(1, 2, (2.0, 8.0)), apart_at(2, 2, (2.0, 8.0)), apart_at(2, 2, None)
    (4.0, 8.0, None)
    """
    if apart is None:
        return None
    first, last = apart
    return float(first * (last / first) ** (step / steps))


def _drawn(
    split: Split, name: str, between: tuple[float, float], later: int, rng: np.random.Generator
) -> IntegerSequence:
    """Return a sequence; the logarithm of its first index lies ``between`` these, but for up to ``later`` terms."""
    while True:
        count = int(rng.integers(split.shortest, split.longest + 1))
        start = _start(split, rng.uniform(*between))
        if later:
            start = min(start + int(rng.integers(0, later + 1)), split.furthest)
        if _is_free(split, start, count):
            return IntegerSequence(name, start, _terms(name, split)[start - split.first :][:count])


def _start(split: Split, drawn: float) -> int:
    return min(int(np.exp(drawn)) - 1, split.furthest)


def _is_free(split: Split, start: int, count: int) -> bool:
    return all(start + count <= begin or end <= start for begin, end in split.reserved)


@functools.lru_cache(maxsize=128)
def _terms_from(name: str, first: int, count: int) -> tuple[int, ...]:
    return family(name).terms(first, count)


def _terms(name: str, split: Split) -> tuple[int, ...]:
    """Return all terms that training may reach, the reserved ones among them."""
    return _terms_from(name, split.first, split.furthest + split.longest - split.first)


def _numbers(name: str, split: Split) -> set[int]:
    terms = _terms(name, split)
    return {term for low, high in split.spans for term in terms[low - split.first : high - split.first]}


def leaking(item: IntegerSequence, name: str, split: Split) -> tuple[int, ...]:
    """Return the terms of ``item`` that training on the family ``name`` may show in a row."""
    if name == item.family or _terms_from(name, item.offset, len(item.terms)) == item.terms:
        spans = [(low - item.offset, high - item.offset) for low, high in split.spans]
        return tuple(term for at, term in enumerate(item.terms) if any(low <= at < high for low, high in spans))
    terms = _terms(name, split)
    for low, high in split.spans:
        part = terms[low - split.first : high - split.first]
        if holds(part, item.terms):
            return item.terms
    return ()


def holds(terms: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Return True where ``wanted`` stands in ``terms`` without a gap."""
    return any(terms[at : at + len(wanted)] == wanted for at in _places(terms, wanted[0]))


def _places(terms: tuple[int, ...], term: int) -> Iterator[int]:
    at = -1
    while True:
        try:
            at = terms.index(term, at + 1)
        except ValueError:
            return
        yield at


def _text(leaks: Iterable[Leak]) -> str:
    """Return one sentence that names the numbers that leak."""
    first, *_ = listed = tuple(leaks)
    numbers = list(dict.fromkeys(number for leak in listed for number in leak.numbers))
    shown = ", ".join(map(str, numbers[:_SHOWN])) + (", …" if len(numbers) > _SHOWN else "")
    through = "" if first.family == first.training else f" (they are terms of {family(first.training).title} too)"
    return (
        f"This split leaks: training would show {len(numbers):,} numbers of the evaluation {first.evaluation!r} in "
        f"their order, first of {family(first.family).title}{through}: {shown}. Reserve these terms, or train on other "
        "families."
    )


def _check(split: Split) -> None:
    """Refuse what cannot be drawn."""
    if len(split.training) < 2 or len(split.new) < 2:
        raise BadChoice("A split needs at least two families to train on and two new ones. Choose more.")
    whole_number("The number of families", len(split.training), low=2, high=LIMITS.families)
    whole_number("The fewest terms of a training sequence", split.shortest, low=2, high=LIMITS.length)
    whole_number("The most terms of a training sequence", split.longest, low=split.shortest, high=LIMITS.length)
    whole_number("The first term of training", split.first, low=0, high=LIMITS.first_window)
    whole_number("The furthest term of training", split.furthest, low=split.first + 1, high=LIMITS.first_window)
    if not split.reserved or any(not 0 <= low < high for low, high in split.reserved):
        raise BadChoice("A reserved band goes from a term to a later one. Reserve at least one, such as 1000 to 1200.")
    low, high = split.reserved[0]
    if low % LENGTH or high - low < WINDOWS * LENGTH:
        raise BadChoice(
            f"Validation takes {WINDOWS} windows of {LENGTH} terms from the first reserved band, got terms {low:,} to "
            f"{high:,}. Begin it at a multiple of {LENGTH} and make it {WINDOWS * LENGTH} terms long."
        )
    if not split.spans or all(end - begin < split.longest for begin, end in split.spans):
        raise BadChoice("The reserved bands leave no terms to train on. Reserve less, or reach further out.")
    for name in split.training:
        family(name).check(split.first, split.furthest + split.longest - split.first)
