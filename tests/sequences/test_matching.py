"""What every registered matching promises; a new one is tested the moment it is registered."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import chain, combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numembed.core.errors import BadChoice, NumembedError, UnknownName
from numembed.paper.protocol import PAPER_FAMILIES
from numembed.sequences.families.family import FAMILIES, family
from numembed.sequences.matching import MATCHINGS, matched, matching_sentence
from numembed.sequences.perturbations.terms import perturb
from numembed.sequences.sets import IntegerSequence, SequenceSet, TextFormat, make_sequences, redrawn

PAPER = make_sequences(PAPER_FAMILIES)
SETS = {
    "the paper's": PAPER,
    "redrawn": redrawn(PAPER, 1, seed=5)[0],
    "with options": make_sequences(["multiples:k=7", "residues:modulus=9", "random_sorted:seed=3"], length=20),
    "one sequence": make_sequences(["primes"], per_family=1, length=12),
    "single numbers": make_sequences(["primes", "recaman"], per_family=3, length=1, first_window=20),
    "other separator, cut": make_sequences(["squares", "odd"], text_format=TextFormat(" ; ", 90)),
    "in no order": SequenceSet(tuple(PAPER.items[row] for row in np.random.default_rng(1).permutation(24))),
    "empty": SequenceSet(()),
}
NAMES = MATCHINGS.names
COMBINATIONS = [names for count in range(len(NAMES) + 1) for names in combinations(NAMES, count)]
EVERY = pytest.mark.parametrize("names", COMBINATIONS, ids="+".join)


def _numbers(sequences: SequenceSet) -> list[set[int]]:
    """The numbers of each family."""
    found: list[set[int]] = [set() for _ in sequences.families]
    for item, label in zip(sequences.items, sequences.labels.tolist(), strict=True):
        found[label] |= set(item.terms)
    return found


def _places(sequences: SequenceSet, name: str) -> list[tuple[int, int]]:
    """Where the windows of a family whose terms grow begin and end, counted in its own terms."""
    own = [item for item in sequences.items if item.family == name]
    known = {term: place for place, term in enumerate(family(name).terms(0, 20_000))}
    return sorted((known[item.terms[0]], known[item.terms[-1]]) for item in own)


def _text(sequences: SequenceSet, names: list[str]) -> str:
    """What a person is told, "" where the sequences are matched."""
    try:
        return "" if len(matched(sequences, names)) == len(sequences) else "rows are lost"
    except NumembedError as error:
        return str(error)


def test_the_three_stand_in_their_order() -> None:
    assert NAMES[:3] == ("magnitude", "numbers", "length")


@pytest.mark.parametrize("entry", MATCHINGS, ids=NAMES)
def test_title_help_and_meaning_are_given(entry: Any) -> None:
    assert entry.title[0].isupper() and entry.summary.endswith(".") and len(entry.summary) < 130
    assert re.fullmatch(r"If the score [^.]*\.", entry.facts["meaning"])
    assert entry.title.lower() in matching_sentence([entry.name])


@EVERY
@pytest.mark.parametrize("kind", SETS)
def test_rows_stay_rows_and_equal_sets_give_equal_sets(names: tuple[str, ...], kind: str) -> None:
    before = SETS[kind]
    after = matched(before, names)
    assert [item.family for item in after.items] == [item.family for item in before.items]
    assert after.families == before.families and after.text_format == before.text_format
    assert (after.labels == before.labels).all() and (after.windows == before.windows).all()
    assert all(item.terms for item in after.items) and after.written is None
    if "length" not in names:
        assert [len(item.terms) for item in after.items] == [len(item.terms) for item in before.items]
    assert after == matched(before, names[::-1]), "the order of the registry, whatever the order of the names"


@EVERY
@pytest.mark.parametrize("kind", SETS)
def test_terms_are_those_of_the_family_in_its_order(names: tuple[str, ...], kind: str) -> None:
    for item in matched(SETS[kind], names).items:
        terms = family(item.family).terms(item.offset, 3_000)
        assert item.terms[0] == terms[0], "the offset is that of the first term"
        rest = iter(terms)
        assert all(term in rest for term in item.terms)


@EVERY
@pytest.mark.parametrize("kind", SETS)
def test_every_combination_keeps_what_each_part_promises(names: tuple[str, ...], kind: str) -> None:
    before, after = SETS[kind], matched(SETS[kind], names)
    if "numbers" in names:
        assert max(Counter(chain(*_numbers(after))).values(), default=1) == 1, "no number in two families"
    for name in set(after.families) - {"recaman"}:
        assert all(end < start for (_, end), (start, _) in pairwise(_places(after, name))), "windows overlap"
    if "length" in names:
        uncut = matched(before, [name for name in names if name != "length"])
        shortest = min(map(len, uncut.texts), default=0)
        assert all(len(text) <= shortest or text.isdecimal() for text in after.texts)


def test_without_a_matching_nothing_changes() -> None:
    assert matched(PAPER, ()) is PAPER


def test_unknown_names_and_rewritten_texts_are_refused_in_words() -> None:
    with pytest.raises(UnknownName, match=r"No matching is called 'lenght'\. Did you mean 'length'\?"):
        matched(PAPER, ["lenght"])
    with pytest.raises(BadChoice, match="rewritten already"):
        matched(perturb(PAPER, "number_words"), ["length"])


@pytest.mark.parametrize("kind", SETS)
def test_families_without_shared_numbers_are_left_alone_by_numbers(kind: str) -> None:
    once = matched(SETS[kind], ["numbers"])
    assert matched(once, ["numbers"]) == once
    apart = make_sequences(["even", "odd"])
    assert matched(apart, ["numbers"]) == apart


def test_magnitudes_begin_at_one_value_and_no_further_than_they_must() -> None:
    after = matched(PAPER, ["magnitude"])
    starts = np.array([item.terms[0] for item in after.items]).reshape(6, 4)
    growing = [row for row, name in enumerate(after.families) if name != "recaman"]
    assert (np.ptp(starts[growing], axis=0) <= [1, 1, 1, 3]).all()
    assert (starts.min(axis=0) == [4, 241, 563, 883]).all(), "composites begin at 4; then prime 53, 103 and 153"
    slow = make_sequences(["multiples:k=3", "multiples:k=5"], per_family=2, length=10)
    assert [item.terms[0] for item in matched(slow, ["magnitude"]).items] == [6, 57, 5, 55]


def test_magnitude_takes_the_median_where_windows_have_room() -> None:
    items = [
        IntegerSequence(name, 0, family(name).terms(at, 5)) for name, at in (("odd", 50), ("even", 9), ("primes", 0))
    ]
    items = [replace(item, offset=at) for item, at in zip(items, (50, 9, 0), strict=True)]
    after = matched(SequenceSet(tuple(items)), ["magnitude"])
    assert [item.terms[0] for item in after.items] == [21, 20, 23], "the median of 101, 20 and 2"


@pytest.mark.parametrize("seed", range(3))
def test_all_matchings_hold_for_every_redrawn_design(seed: int) -> None:
    for design in redrawn(PAPER, 10, seed=seed):
        after = matched(design, NAMES)
        assert max(Counter(chain(*_numbers(after))).values()) == 1
        assert len(set(after.texts)) == 24 and np.ptp([len(text) for text in after.texts]) <= 12


@pytest.mark.parametrize("reference", FAMILIES.names)
def test_every_family_is_matched_or_refused_in_a_sentence(reference: str) -> None:
    before = make_sequences(list(dict.fromkeys(["primes", "even", reference])), per_family=3, length=20)
    assert len(matched(before, ["numbers", "length"])) == len(before)
    assert re.fullmatch(r"|[^:]+: .* cannot be matched\. Leave .{,200}\.", _text(before, ["magnitude"]))


def test_a_family_that_never_gets_there_is_named_with_what_to_do() -> None:
    with pytest.raises(BadChoice) as told:
        matched(make_sequences([*PAPER_FAMILIES, "digit_sums"]), ["magnitude"])
    assert str(told.value) == (
        "Digit sums: within the first 100,000 terms it does not reach 241, where a window of Primes begins, so "
        "magnitudes cannot be matched. Leave one of the two out, choose earlier windows, or do not match the magnitude."
    )
    with pytest.raises(BadChoice, match="does not reach a number of 70 digits, where a window of Factorials begins"):
        matched(make_sequences([*PAPER_FAMILIES, "factorials"]), ["magnitude"])


def test_hopeless_searches_end_early(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    real = FAMILIES["totient"].function

    def counted(start: int) -> Any:
        for term in real(start):
            read.append(term)
            yield term

    object.__setattr__(FAMILIES["totient"], "function", counted)
    try:
        with pytest.raises(BadChoice, match="Euler's totient"):
            matched(make_sequences(["totient", "powers_of_2"]), ["magnitude"])
    finally:
        object.__setattr__(FAMILIES["totient"], "function", real)
    assert len(read) < 10_000


def test_families_of_few_values_repeat_their_own_and_run_out_in_words() -> None:
    two = make_sequences(["random_uniform:high=2", "random_uniform:high=2,seed=1"])
    after = matched(two, ["numbers"])
    assert [len(numbers) for numbers in _numbers(after)] == [1, 1]
    three = ["random_uniform:high=2", "random_uniform:high=2,seed=1", "random_uniform:high=2,seed=2"]
    with pytest.raises(BadChoice, match=r"Random 1 to 2 \(seed 2\): the first [\d,]+ terms hold too few numbers"):
        matched(make_sequences(three), ["numbers"])


def test_a_finite_family_that_ends_is_refused_in_words() -> None:
    last = make_sequences(["powers_of_2", "geometric:ratio=2"], per_family=1, length=3, first_window=4428)
    with pytest.raises(BadChoice, match="Powers of 2: the first 13,288 terms hold too few numbers"):
        matched(last, ["numbers"])


def test_equal_families_under_two_names_share_their_numbers_fairly() -> None:
    after = matched(make_sequences(["even", "multiples:k=2"], per_family=2, length=3), ["numbers"])
    assert after.texts == ("2, 6, 10", "14, 18, 22", "4, 8, 12", "16, 20, 24")


def test_the_longest_prefix_that_fits_is_kept_and_at_least_one_term() -> None:
    after = matched(make_sequences(["powers_of_2", "even"], per_family=2, length=20), ["length"])
    shortest = min(map(len, make_sequences(["powers_of_2", "even"], per_family=2, length=20).texts))
    for item, text in zip(after.items, after.texts, strict=True):
        following = family(item.family).terms(item.offset + len(item.terms), 1)[0]
        assert len(text) <= shortest
        assert len(item.terms) == 20 or len(f"{text}, {following}") > shortest
    far = matched(make_sequences(["consecutive", "factorials"], per_family=1, length=2, first_window=30), ["length"])
    assert [len(item.terms) for item in far.items] == [2, 1]


@pytest.mark.slow
@settings(max_examples=60)
@given(
    names=st.lists(st.sampled_from(NAMES), unique=True),
    families=st.lists(
        st.sampled_from([*PAPER_FAMILIES, "multiples:k=2", "squares", "random_uniform:high=3", "evil", "prime_gaps"]),
        min_size=1,
        max_size=5,
        unique=True,
    ),
    per_family=st.integers(1, 4),
    length=st.integers(1, 30),
    first=st.integers(0, 5),
    layout=st.builds(TextFormat, st.sampled_from([", ", ",", "; ", "\n"]), st.sampled_from([12, 60, 20_000])),
)
def test_any_set_is_matched_or_refused_in_a_sentence(
    names: list[str], families: list[str], per_family: int, length: int, first: int, layout: TextFormat
) -> None:
    before = make_sequences(families, per_family=per_family, length=length, first_window=first, text_format=layout)
    if told := _text(before, names):
        assert re.fullmatch(r"[A-Z].{20,400}\.", told)
        return
    after = matched(before, names)
    assert after.labels.tolist() == before.labels.tolist()
    if "numbers" in names:
        assert max(Counter(chain(*_numbers(after))).values()) == 1
