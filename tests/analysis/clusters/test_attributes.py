"""Attributes: what each says of known sequences, equal-count bins, and words that are true."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sympy import isprime

from numembed.analysis.clusters import attributes as module
from numembed.analysis.clusters.attributes import (
    ATTRIBUTES,
    GROWTH,
    attributes,
    family_title,
    traits,
)
from numembed.core.errors import NumembedError
from numembed.paper.protocol import PAPER_FAMILIES
from numembed.sequences.sets import IntegerSequence, SequenceSet, make_sequences

PAPER = make_sequences(PAPER_FAMILIES)


def of(*terms: tuple[int, ...], offset: int = 0) -> SequenceSet:
    return SequenceSet(tuple(IntegerSequence(f"f{i}", offset, one) for i, one in enumerate(terms)))


def growth_of(*terms: int, offset: int = 0) -> str:
    return GROWTH[int(ATTRIBUTES["growth"].function(of(terms, offset=offset))[0])]


@pytest.mark.parametrize("entry", ATTRIBUTES, ids=ATTRIBUTES.names)
def test_every_attribute_labels_every_sequence_and_says_what_it_is(entry: module.Entry) -> None:
    needs = {"token_counts": list(range(24))}
    labels = entry.function(PAPER, *([needs[entry.facts["needs"]]] if "needs" in entry.facts else []))
    assert labels.dtype == np.int64 and labels.shape == (24,) and labels.min() == 0
    assert entry.title and entry.summary.endswith(".")


def test_family_and_window_are_those_of_the_sequences() -> None:
    found = attributes(PAPER)
    assert np.array_equal(found["family"], PAPER.labels) and np.array_equal(found["window"], PAPER.windows)


def test_bins_hold_equally_many_and_are_as_many_as_there_are_families() -> None:
    sequences = make_sequences(["squares", "cubes", "factorials", "fibonacci"], per_family=5, length=6)
    values = [float(np.median([abs(term) for term in one.terms])) for one in sequences.items]
    assert len(set(values)) == 20
    labels = attributes(sequences)["magnitude"]
    assert np.bincount(labels).tolist() == [5, 5, 5, 5]
    assert np.array_equal(labels[np.argsort(values)], np.repeat(np.arange(4), 5))


def test_equal_numbers_are_never_parted() -> None:
    lengths = np.array([len(text) for text in PAPER.texts])
    labels = attributes(PAPER)["string_length"]
    assert all(len(set(labels[lengths == one].tolist())) == 1 for one in lengths)
    assert sorted(lengths[labels == 0].tolist()) < sorted(lengths[labels == 1].tolist())


def test_one_family_still_has_two_bins() -> None:
    found = attributes(make_sequences(["squares"], per_family=6, length=10))
    assert np.bincount(found["magnitude"]).tolist() == [3, 3]


def test_tokens_are_binned_where_they_are_known() -> None:
    counts = np.random.default_rng(0).permutation(24)
    labels = attributes(PAPER, token_counts=counts.tolist())["token_count"]
    assert np.array_equal(labels, counts // 4)


def test_last_digits_tell_apart_what_ends_differently() -> None:
    sequences = make_sequences(["even", "odd", "multiples:k=5", "multiples:k=10"], per_family=3, length=40)
    labels = attributes(sequences)["last_digits"]
    assert len({(a, b) for a, b in zip(labels.tolist(), sequences.labels.tolist(), strict=True)}) == 4


def test_growth_of_known_sequences() -> None:
    assert growth_of(*range(1, 51)) == growth_of(*range(1000, 1050)) == "growing steadily"
    assert growth_of(*(3 * i + 7 for i in range(200, 250)), offset=200) == "growing steadily"
    assert growth_of(*(i * i for i in range(200, 250)), offset=199) == "growing faster and faster"
    assert growth_of(*(2**i for i in range(2_000, 2_050)), offset=2_000) == "growing faster and faster"
    assert growth_of(*range(50, 0, -1)) == "shrinking"
    assert growth_of(5, 5, 5, 5) == growth_of(0, 0, 0) == growth_of(7) == growth_of() == "no trend"
    assert growth_of(*np.random.default_rng(0).integers(1, 1000, 50).tolist()) == "no trend"


def test_shares_of_odd_and_prime_numbers() -> None:
    sequences = of((2, 4, 6, 8), (1, 3, 5, 9), (2, 3, 5, 7), (-7, -5, -3, -2))
    assert module._odd_shares(sequences).tolist() == [0, 1, 0.75, 0.75]
    assert module._prime_shares(sequences).tolist() == [0.25, 0.5, 1, 0]


def test_primes_are_those_of_sympy() -> None:
    drawn = np.random.default_rng(0)
    numbers = {int(number) for high in (100, 10**6, 10**9, 10**18) for number in drawn.integers(0, high, 300)}
    numbers |= {2**61 - 1, 2**31 - 1, 561, 3_215_031_751, 341_550_071_728_321, 10**24 + 7, 19_999_999, 20_000_003}
    assert module._primes_among(numbers) == {number for number in numbers if isprime(number)}
    assert module._primes_among(set()) == module._primes_among({-3, 0, 1}) == module._primes_among({10**4000}) == set()


def test_numbers_of_thousands_of_digits() -> None:
    sequences = make_sequences(["factorials", "powers_of_2"], per_family=3, length=150)
    found = attributes(sequences)
    assert found["magnitude"].tolist() != [0] * 6
    assert len(traits(of((10**3_999, 10**3_999 + 1)))["digits"]) == 1


def test_what_is_constant_or_unknown_is_left_out() -> None:
    kept = attributes(make_sequences(["even", "multiples:k=4"], per_family=3, length=10))
    assert {"odd_share", "growth", "token_count"} <= set(ATTRIBUTES.names) - set(kept)
    assert {"family", "window", "magnitude"} <= set(kept)


@pytest.mark.parametrize("n", range(5))
def test_few_equal_or_empty_sequences_never_fail(n: int) -> None:
    for terms in ((), (0,), (0, 0, 0), (1, 2, 3)):
        sequences = SequenceSet(tuple(IntegerSequence("even", 0, terms) for _ in range(n)))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert set(attributes(sequences, token_counts=[3] * n)) <= {"window"}
            assert all(len(words) == n for words in traits(sequences).values())


def test_words_for_known_sequences() -> None:
    said = traits(PAPER)
    rows = {(one.family, one.offset): row for row, one in enumerate(PAPER.items)}
    evens, primes = rows["even", 50], rows["primes", 150]
    assert said["family"][evens] == "Even numbers" and said["window"][evens] == "window 2"
    assert said["parity"][evens] == "even" and said["digits"][evens] == "3-digit" and said["prime"][evens] == ""
    assert said["prime"][primes] == "prime" and said["parity"][primes] == "odd" and said["size"][primes] == "large"
    assert said["ending"][primes] == "ending in 1, 3, 7 or 9" and said["length"][primes] == "long strings"
    assert said["size"][rows["consecutive", 0]] == "small" and said["length"][rows["consecutive", 0]] == "short strings"
    assert traits(of((10, 20, 30)))["ending"] == ("ending in 0",)


def test_a_family_that_nobody_registered_is_named_as_it_is() -> None:
    assert family_title("residues:remainder=3") == "Residues 3 mod 4"
    assert family_title("My own <b>list</b>") == "My own <b>list</b>"
    with pytest.raises(NumembedError):
        ATTRIBUTES["colour"]
