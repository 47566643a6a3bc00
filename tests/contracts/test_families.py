"""What every registered family promises; a new one is tested the moment it is registered."""

from __future__ import annotations

import re
import sys
from itertools import islice
from typing import Any

import pytest

from numembed.core.errors import TooLarge
from numembed.core.registry import Entry
from numembed.core.settings import LIMITS
from numembed.sequences.families.family import DIGITS, FAMILIES, GROUPS, Members, family

ENTRIES = pytest.mark.parametrize("entry", FAMILIES, ids=FAMILIES.names)

# As the encyclopedia prints them (from 2 for the even numbers, as in the paper).
FIRST_TERMS = {
    "consecutive": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    "even": [2, 4, 6, 8, 10, 12, 14, 16, 18, 20],
    "odd": [1, 3, 5, 7, 9, 11, 13, 15, 17, 19],
    "primes": [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31],
    "recaman": [0, 1, 3, 6, 2, 7, 13, 20, 12, 21, 11, 22, 10, 23, 9, 24, 8, 25, 43, 62],
    "composites": [4, 6, 8, 9, 10, 12, 14, 15, 16, 18, 20],
    "squares": [0, 1, 4, 9, 16, 25, 36, 49, 64, 81],
    "cubes": [0, 1, 8, 27, 64, 125, 216, 343, 512, 729],
    "triangular": [0, 1, 3, 6, 10, 15, 21, 28, 36, 45],
    "pentagonal": [0, 1, 5, 12, 22, 35, 51, 70, 92, 117],
    "hexagonal": [0, 1, 6, 15, 28, 45, 66, 91, 120, 153],
    "tetrahedral": [0, 1, 4, 10, 20, 35, 56, 84, 120, 165],
    "fibonacci": [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55],
    "lucas": [2, 1, 3, 4, 7, 11, 18, 29, 47, 76],
    "pell": [0, 1, 2, 5, 12, 29, 70, 169, 408, 985],
    "powers_of_2": [1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
    "powers_of_3": [1, 3, 9, 27, 81, 243, 729, 2187, 6561, 19683],
    "mersenne": [0, 1, 3, 7, 15, 31, 63, 127, 255, 511],
    "factorials": [1, 1, 2, 6, 24, 120, 720, 5040, 40320, 362880],
    "primorials": [1, 2, 6, 30, 210, 2310, 30030, 510510, 9699690, 223092870],
    "catalan": [1, 1, 2, 5, 14, 42, 132, 429, 1430, 4862],
    "bell": [1, 1, 2, 5, 15, 52, 203, 877, 4140, 21147],
    "partitions": [1, 1, 2, 3, 5, 7, 11, 15, 22, 30, 42],
    "lucky": [1, 3, 7, 9, 13, 15, 21, 25, 31, 33, 37, 43, 49, 51],
    "semiprimes": [4, 6, 9, 10, 14, 15, 21, 22, 25, 26, 33],
    "squarefree": [1, 2, 3, 5, 6, 7, 10, 11, 13, 14, 15],
    "twin_primes": [3, 5, 11, 17, 29, 41, 59, 71, 101, 107],
    "prime_gaps": [1, 2, 2, 4, 2, 4, 2, 4, 6, 2, 6],
    "perfect_powers": [1, 4, 8, 9, 16, 25, 27, 32, 36, 49, 64, 81, 100, 121, 125, 128],
    "palindromes": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 22, 33, 44, 55, 66, 77, 88, 99, 101, 111, 121],
    "happy": [1, 7, 10, 13, 19, 23, 28, 31, 32, 44, 49],
    "evil": [0, 3, 5, 6, 9, 10, 12, 15, 17, 18, 20],
    "digit_sums": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3],
    "totient": [1, 1, 2, 2, 4, 2, 6, 4, 6, 4, 10],
    "divisor_counts": [1, 2, 2, 3, 2, 4, 2, 4, 3, 4, 2, 6],
    "divisor_sums": [1, 3, 4, 7, 6, 12, 8, 15, 13, 18, 12, 28],
    "collatz_steps": [0, 1, 7, 2, 5, 8, 16, 3, 19, 6, 14, 9],
}


def test_the_papers_six_come_first_among_at_least_thirty() -> None:
    assert FAMILIES.names[:6] == ("consecutive", "even", "odd", "primes", "recaman", "composites")
    assert 30 <= len(FAMILIES) <= LIMITS.families


@ENTRIES
def test_restart_gives_identical_plain_integers(entry: Entry[Members]) -> None:
    terms = family(entry.name).terms(0, 60)
    assert len(terms) == 60
    assert all(type(term) is int for term in terms)
    assert terms == family(entry.name).terms(0, 60)


@ENTRIES
def test_windows_join_without_gap_or_overlap(entry: Entry[Members]) -> None:
    one = family(entry.name)
    assert one.terms(0, 60) == one.terms(0, 20) + one.terms(20, 20) + one.terms(40, 20)
    far = min(one.last_term - 39, 70_000)  # beyond the first stretches of the sieves
    assert one.terms(far, 40) == one.terms(far, 15) + one.terms(far + 15, 25)


@pytest.mark.slow
@ENTRIES
def test_far_windows_are_where_counting_leads(entry: Entry[Members]) -> None:
    one = family(entry.name)
    far = min(one.last_term - 2, 40_000)
    assert one.terms(far, 3) == tuple(islice(entry.function(0, **dict(one.options)), far, far + 3))


@ENTRIES
def test_every_fact_is_given(entry: Entry[Members]) -> None:
    assert entry.title and entry.summary
    assert re.fullmatch(r"(A[0-9]{6})?", entry.facts["oeis"])
    assert entry.facts["group"] in GROUPS
    assert set(entry.facts) <= {"oeis", "group", "last_term", "beyond", "titled"}
    assert bool(entry.options) == ("titled" in entry.facts)
    assert all(option.kind is int and option.range is not None for option in entry.options)


@pytest.mark.parametrize("name", [entry.name for entry in FAMILIES if entry.facts["oeis"]])
def test_first_terms_are_the_encyclopedias(name: str) -> None:
    assert list(family(name).terms(0, len(FIRST_TERMS[name]))) == FIRST_TERMS[name]


def test_no_number_of_the_encyclopedia_is_given_twice() -> None:
    numbers = [entry.facts["oeis"] for entry in FAMILIES if entry.facts["oeis"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("name", [entry.name for entry in FAMILIES if entry.facts.get("beyond") == DIGITS])
def test_the_last_term_is_the_longest_that_the_limit_allows(name: str) -> None:
    one = family(name)
    (last,) = one.terms(one.last_term, 1)
    _, after = islice(FAMILIES[name].function(one.last_term, **dict(one.options)), 2)
    assert last < 10**LIMITS.term_digits <= after


def _ends() -> list[Any]:
    sieved = [name for name in FAMILIES.names if 10**6 < family(name).last_term < 10**9]  # about a second each
    return [pytest.param(name, marks=[pytest.mark.slow] if name in sieved else []) for name in FAMILIES.names]


@pytest.mark.slow
@pytest.mark.parametrize("name", _ends())
def test_the_last_term_is_offered(name: str) -> None:
    assert len(family(name).terms(family(name).last_term, 1)) == 1


@ENTRIES
def test_more_than_is_offered_is_refused_before_computing(entry: Entry[Members]) -> None:
    one = family(entry.name)
    called = []
    sys.setprofile(lambda frame, event, argument: called.append(frame.f_code))
    try:
        with pytest.raises(TooLarge, match="available up to term"):
            one.terms(one.last_term - 5, 7)
    finally:
        sys.setprofile(None)
    assert entry.function.__code__ not in called


def _extremes() -> list[str]:
    references = []
    for entry in FAMILIES:
        for option in entry.options:
            assert option.range is not None
            low, high = int(option.range.low), int(option.range.high)
            others = f",modulus={high + 1}" if option.name == "remainder" else ""
            references += [f"{entry.name}:{option.name}={end}{others}" for end in (low, high)]
    return references


@pytest.mark.parametrize("reference", _extremes())
def test_options_hold_at_the_ends_of_their_ranges(reference: str) -> None:
    one = family(reference)
    assert family(one.reference) == one
    assert one.terms(0, 30) == one.terms(0, 10) + one.terms(10, 20)
    last = one.terms(min(one.last_term, 10**6), 1)[0]
    assert abs(last) < 10**LIMITS.term_digits
