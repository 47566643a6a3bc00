from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from numembed.core.errors import BadChoice, NumembedError, TooLarge, UnknownName
from numembed.core.settings import LIMITS
from numembed.sequences.families.family import FAMILIES, Family, family
from numembed.sequences.sets import IntegerSequence, SequenceSet, TextFormat, make_sequences, numbers_in

PAPER = ["consecutive", "even", "odd", "primes", "recaman", "composites"]
integers = st.one_of(st.integers(-1_000, 1_000), st.integers(-(10**60), 10**60))


def separators() -> st.SearchStrategy[str]:
    return st.text(min_size=1, max_size=LIMITS.separator_chars).filter(_allowed)


def _allowed(separator: str) -> bool:
    try:
        TextFormat(separator)
    except BadChoice:
        return False
    return True


def test_the_papers_preset() -> None:
    made = make_sequences(PAPER)
    assert len(made) == len(made.items) == len(made.texts) == 24
    assert made.families == tuple(PAPER)
    assert made.labels.tolist() == [family for family in range(6) for _ in range(4)]
    assert made.windows.tolist() == [0, 1, 2, 3] * 6
    assert made.items[1] == IntegerSequence("consecutive", 50, tuple(range(51, 101)))
    assert made.texts[16].startswith("0, 1, 3, 6, 2, 7, 13, 20, 12")
    assert made.texts[12].startswith("2, 3, 5, 7, 11") and made.texts[12].endswith("223, 227, 229")


def test_windows_begin_at_the_given_place() -> None:
    made = make_sequences(["primes"], per_family=2, length=50, first_window=10_000)
    assert [item.offset for item in made.items] == [500_000, 500_050]
    assert made.items[0].terms[0] == 7_368_791
    assert made.windows.tolist() == [0, 1]
    assert made.items[1].terms == family("primes").terms(500_050, 50)


def test_a_family_named_twice_counts_once() -> None:
    made = make_sequences(["multiples:k=5", "odd", "multiples: k=05", "odd", "multiples"], per_family=1)
    assert made.families == ("multiples:k=5", "odd", "multiples")


def test_labels_and_windows_of_any_order_of_items() -> None:
    items = tuple(IntegerSequence(name, 0, (at,)) for at, name in enumerate(["b", "a", "b", "c", "a", "b"]))
    mixed = SequenceSet(items)
    assert mixed.families == ("b", "a", "c")
    assert mixed.labels.tolist() == [0, 1, 0, 2, 1, 0]
    assert mixed.windows.tolist() == [0, 0, 1, 0, 1, 2]
    assert mixed.labels.dtype == mixed.windows.dtype == np.int64
    for array in (mixed.labels, mixed.windows):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_an_empty_set_has_empty_arrays() -> None:
    empty = SequenceSet(())
    assert (len(empty), empty.texts, empty.families) == (0, (), ())
    assert empty.labels.shape == empty.windows.shape == (0,)


def test_the_digest_is_of_the_texts_alone() -> None:
    made = make_sequences(["even"], per_family=2, length=2)
    assert made.digest == hashlib.sha256(b'["2, 4","6, 8"]').hexdigest()
    assert made.digest == make_sequences(["multiples:k=2"], per_family=2, length=2).digest
    other = make_sequences(["even"], per_family=2, length=2, text_format=TextFormat("; "))
    assert made.digest != other.digest
    assert made == make_sequences(["even"], per_family=2, length=2)


@pytest.mark.slow
@given(st.lists(integers, min_size=1, max_size=30), separators())
def test_numbers_are_readable_back(terms: list[int], separator: str) -> None:
    assert numbers_in(TextFormat(separator)(IntegerSequence("any", 0, tuple(terms)))) == terms


@pytest.mark.slow
@given(st.lists(integers, min_size=1, max_size=30), separators(), st.integers(1, 200))
def test_texts_hold_as_many_whole_terms_as_fit(terms: list[int], separator: str, max_chars: int) -> None:
    assume(len(str(terms[0])) <= max_chars)
    text = TextFormat(separator, max_chars)(IntegerSequence("any", 0, tuple(terms)))
    kept = numbers_in(text)
    assert kept == terms[: len(kept)]
    assert len(text) <= max_chars
    if len(kept) < len(terms):
        assert len(text) + len(separator) + len(str(terms[len(kept)])) > max_chars


def test_a_text_is_cut_before_it_is_built() -> None:
    class Unprintable(int):
        def __str__(self) -> str:
            raise AssertionError("a term beyond the cut was written")

    terms = (*range(10, 20), Unprintable(5))
    assert TextFormat(", ", 14)(IntegerSequence("any", 0, terms)) == "10, 11, 12, 13"


def test_a_first_term_that_does_not_fit_is_refused() -> None:
    with pytest.raises(BadChoice, match="first term of powers_of_2 has 13 characters and a text at most 12"):
        TextFormat(", ", 12)(IntegerSequence("powers_of_2", 40, (2**40,)))


@pytest.mark.parametrize("separator", [",", " ", "\n", "\t", ", and ", "·", " | ", "、", "<br>", "|" * 20])
def test_separators_that_are_allowed(separator: str) -> None:
    assert numbers_in(TextFormat(separator)(IntegerSequence("any", 0, (1, -2, 30)))) == [1, -2, 30]


@pytest.mark.parametrize(
    "separator",
    [
        "",
        "x" * 21,
        ",1",
        "²",
        "٣",
        "-",
        " − ",
        "\r\n",
        "\0",
        "\x1b[2J",
        "\u202e",
        "\u200b",
        "\ud800",
        "," * 10**6,
        None,
        7,
    ],
)
def test_separators_that_are_refused(separator: str) -> None:
    with pytest.raises(BadChoice, match="A separator has") as caught:
        TextFormat(separator)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("max_chars", "error"),
    [(0, BadChoice), (-1, BadChoice), (1.5, BadChoice), (True, BadChoice), (LIMITS.text_chars + 1, TooLarge)],
)
def test_longest_texts_that_are_refused(max_chars: int, error: type[NumembedError]) -> None:
    with pytest.raises(error, match="The longest text is"):
        TextFormat(", ", max_chars)


@pytest.mark.parametrize(
    ("choice", "error", "words"),
    [
        ({"length": -1}, BadChoice, "The number of terms per sequence is at least 1, got -1"),
        ({"length": 0}, BadChoice, "at least 1, got 0"),
        ({"length": 2.0}, BadChoice, "whole number"),
        ({"length": True}, BadChoice, "whole number"),
        ({"length": LIMITS.length + 1}, TooLarge, "at most 2,000, got 2,001"),
        ({"per_family": 10**6}, TooLarge, "The number of sequences per family is at most 2,000, got 1,000,000"),
        ({"per_family": "4"}, BadChoice, "whole number"),
        ({"per_family": None}, BadChoice, "whole number"),
        ({"first_window": -1}, BadChoice, "The first window is at least 0"),
        ({"first_window": 10**9}, TooLarge, "The first window is at most 100,000"),
        ({"per_family": 2_000, "families": FAMILIES.names[:11]}, TooLarge, "in all is at most 20,000, got 22,000"),
        ({"families": ["primes"] * 61}, TooLarge, "The number of families is at most 60, got 61"),
        ({"families": []}, BadChoice, "at least one family"),
        ({"families": "primes"}, BadChoice, "list of at least one family"),
        ({"families": ["prims"]}, UnknownName, "Did you mean 'primes'"),
        ({"families": ["primes", "factorials"], "first_window": 1_000}, TooLarge, "Factorials: terms up to 50,199"),
    ],
)
def test_what_is_refused_before_computing(
    choice: dict[str, Any], error: type[NumembedError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def computed(*arguments: object) -> tuple[int, ...]:
        raise AssertionError("terms were computed before the refusal")

    monkeypatch.setattr(Family, "terms", computed)
    with pytest.raises(error, match=words):
        make_sequences(**({"families": PAPER} | choice))


def test_each_family_is_generated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def terms(one: Family, start: int, count: int) -> tuple[int, ...]:
        calls.append((one.name, start, count))
        return tuple(range(count))

    monkeypatch.setattr(Family, "terms", terms)
    make_sequences(["recaman", "odd"], per_family=3, length=10, first_window=2)
    assert calls == [("recaman", 20, 30), ("odd", 20, 30)]


def test_numbers_are_read_in_ascii_only() -> None:
    assert numbers_in("x12y-3 4.5 ٣ ² −6 1_000") == [12, -3, 4, 5, 6, 1, 0]
    assert numbers_in("") == numbers_in("- and -") == []
    assert numbers_in("007") == [7]


def test_endless_numbers_are_refused_in_words() -> None:
    with pytest.raises(TooLarge, match="at most 4,000 digits, got one of 100,000"):
        numbers_in("1" * 100_000)
    with pytest.raises(TooLarge, match="at most 4,000 digits"):
        TextFormat()(IntegerSequence("any", 0, (10**5_000,)))
