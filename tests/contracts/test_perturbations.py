"""What every registered perturbation promises; a new one is tested the moment it is registered."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from numembed.analysis.metrics import silhouette
from numembed.core.errors import BadChoice, TooLarge, UnknownName
from numembed.models.baselines import BASELINES
from numembed.models.spec import ModelSpec
from numembed.paper.protocol import PAPER_FAMILIES
from numembed.sequences.families.family import FAMILIES, family
from numembed.sequences.perturbations.terms import GROUPS, PERTURBATIONS, Change, change_of, perturb, variants
from numembed.sequences.perturbations.text import in_words
from numembed.sequences.sets import IntegerSequence, SequenceSet, TextFormat, make_sequences, numbers_in

PAPER = make_sequences(PAPER_FAMILIES)
SETS = {
    "the paper's": PAPER,
    "with options": make_sequences(["multiples:k=7", "random_uniform:seed=3,high=9000", "residues:modulus=9"]),
    "one sequence": make_sequences(["random_uniform:high=90000"], per_family=1, length=12),
    "single numbers": make_sequences(["primes", "recaman"], per_family=3, length=1, first_window=20),
    "two of each, far away": make_sequences(["squares", "odd"], per_family=2, length=30, first_window=40),
    "in no order": SequenceSet(tuple(PAPER.items[row] for row in np.random.default_rng(1).permutation(24))),
    "empty": SequenceSet(()),
}
VARIANTS = [(entry.name, options) for entry in PERTURBATIONS for options in variants(entry.name)]
EVERY = pytest.mark.parametrize(("name", "options"), VARIANTS, ids=lambda value: str(value)[:40])
OF_TEXTS = [entry.name for entry in PERTURBATIONS if not entry.facts.get("field")]
RANDOM = [entry.name for entry in PERTURBATIONS if entry.facts.get("random")]


def _paper(name: str, seed: int = 0, **options: Any) -> SequenceSet:
    return perturb(PAPER, name, seed=seed, **options)


def _score(baseline: str, sequences: SequenceSet) -> float:
    return silhouette(BASELINES[baseline].function(sequences.texts), sequences.labels)


def test_each_group_has_its_perturbations() -> None:
    assert {entry.facts["group"] for entry in PERTURBATIONS} == set(GROUPS)
    assert len(PERTURBATIONS) >= 24


@pytest.mark.parametrize("entry", PERTURBATIONS, ids=PERTURBATIONS.names)
def test_title_help_and_meaning_are_given(entry: Any) -> None:
    assert entry.title[0].isupper() and entry.summary.endswith((".", "…"))
    assert re.fullmatch(r"If the scores?\b.*\.", entry.facts["meaning"])
    assert bool(entry.facts.get("random")) == ("seed" in inspect.signature(entry.function).parameters)
    assert bool(entry.facts.get("field")) == (entry.facts["group"] in ("model", "scoring"))


@EVERY
@pytest.mark.parametrize("kind", SETS)
def test_rows_are_kept(name: str, options: dict[str, Any], kind: str) -> None:
    before = SETS[kind]
    if name == "magnitude_matched" and "random_uniform:high=90000" not in before.families:
        before = replace(before, items=tuple(item for item in before.items if "random" not in item.family))
    after = perturb(before, name, **options)
    assert len(after) == len(after.texts) == len(before)
    assert all(text.strip() for text in after.texts)
    if name != "length":
        assert [len(item.terms) for item in after.items] == [len(item.terms) for item in before.items]
    if PERTURBATIONS[name].facts.get("other_families"):
        assert set(after.families) <= {"primes", "composites"}
    else:
        assert [item.family for item in after.items] == [item.family for item in before.items]
        assert after.families == before.families
        assert (after.labels == before.labels).all() and (after.windows == before.windows).all()


@EVERY
def test_texts_repeat_with_their_seed_and_differ_from_the_original(name: str, options: dict[str, Any]) -> None:
    after = _paper(name, **options)
    assert after == _paper(name, **options) and after.texts == _paper(name, **options).texts
    assert (after.texts != PAPER.texts) == (name in OF_TEXTS)
    if name in RANDOM:
        assert len({_paper(name, seed, **options).texts for seed in range(3)}) == 3
    else:
        assert after.texts == _paper(name, 1, **options).texts


@EVERY
@pytest.mark.parametrize("reference", ["fibonacci", "factorials", "random_sorted:seed=5"])
def test_other_kinds_of_families_are_perturbed_or_refused_in_words(
    name: str, options: dict[str, Any], reference: str
) -> None:
    before = make_sequences([reference], per_family=2)
    if (name, reference) == ("first_term", "factorials") and options["start"] > 1_400:
        with pytest.raises(TooLarge, match="available up to term"):
            perturb(before, name, **options)
        return
    after = perturb(before, name, **options)
    assert all(after.texts) and len(after) == 2
    assert max(map(len, after.texts)) <= before.text_format.max_chars


@pytest.mark.parametrize("name", OF_TEXTS)
def test_the_original_is_left_as_it_was(name: str) -> None:
    before = make_sequences(PAPER_FAMILIES)
    perturb(before, name)
    assert before == PAPER and before.texts == PAPER.texts


def test_wrong_options_are_refused_with_a_reason() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'order_shuffled'"):
        _paper("order_shufled")
    with pytest.raises(BadChoice, match=r"First term moved has no option 'begin'\. Known: start"):
        _paper("first_term", begin=3)
    with pytest.raises(BadChoice, match="start takes a whole number from 0"):
        _paper("first_term", start=-1)
    with pytest.raises(BadChoice, match="to takes one of 2, 16"):
        _paper("base", to=3)
    with pytest.raises(BadChoice, match="The seed is"):
        _paper("order_shuffled", -1)
    with pytest.raises(BadChoice, match="rewritten already"):
        perturb(_paper("number_words"), "order_shuffled")
    with pytest.raises(BadChoice, match=r"Random 1 to 1000 .* reaches 4,000"):
        perturb(make_sequences(["random_uniform"]), "magnitude_matched")
    with pytest.raises(TooLarge, match="Factorials: terms up to"):
        perturb(make_sequences(["factorials"]), "first_term", start=1_400)
    with pytest.raises(TooLarge, match="number of terms in all"):
        perturb(SequenceSet(PAPER.items * 100), "length", terms=2_000)


def test_what_changes_of_the_model_is_a_field_of_it() -> None:
    known = {field.name for field in fields(ModelSpec)}
    for name, options in VARIANTS:
        change = change_of(name, **options)
        assert (change is None) == (name in OF_TEXTS)
        if change is not None:
            assert change.value == next(iter(options.values()))
            assert change.field in (known if change.target == "model" else {"distance", "normalisation", "seed"})
            assert perturb(PAPER, name, **options) is PAPER
    assert change_of("prompt") == Change("model", "prompt", "query: ")
    assert change_of("kmeans_seed", kmeans_seed=7) == Change("scoring", "seed", 7)


def test_rewritten_texts_are_what_their_help_says() -> None:
    one = SequenceSet((IntegerSequence("primes", 0, (127, 7, -30, 105)),))
    expected = {
        "separator": "127 7 -30 105",
        "brackets": "[127, 7, -30, 105]",
        "leading_zeros": "000127, 000007, -000030, 000105",
        "base": "1111111, 111, -11110, 1101001",
        "number_words": "one hundred twenty-seven, seven, minus thirty, one hundred five",
        "last_digit_removed": "12, 0, -3, 10",
        "first_digit_removed": "27, 0, 0, 5",
        "digits_masked": "###, #, -##, ###",
        "last_digit_masked": "12#, #, -3#, 10#",
        "last_digits_only": "7, 7, 0, 5",
        "order_reversed": "105, -30, 7, 127",
        "order_sorted": "-30, 7, 105, 127",
    }
    assert {name: perturb(one, name).texts[0] for name in expected} == expected
    assert perturb(one, "base", to=16).texts == ("7f, 7, -1e, 69",)
    assert sorted(numbers_in(perturb(one, "order_shuffled").texts[0])) == [-30, 7, 105, 127]


@pytest.mark.parametrize(("max_chars", "words"), [(10, "one; two"), (30, "one; two; three; four; five")])
def test_rewritten_texts_are_cut_at_whole_numbers(max_chars: int, words: str) -> None:
    tight = make_sequences(["consecutive"], per_family=1, length=50, text_format=TextFormat("; ", max_chars))
    for name in OF_TEXTS:
        text = perturb(tight, name).texts[0]
        assert len(text) <= max_chars
    assert perturb(tight, "number_words").texts == (words,)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (1, "one"),
        (10, "ten"),
        (11, "eleven"),
        (13, "thirteen"),
        (19, "nineteen"),
        (20, "twenty"),
        (21, "twenty-one"),
        (40, "forty"),
        (99, "ninety-nine"),
        (100, "one hundred"),
        (101, "one hundred one"),
        (115, "one hundred fifteen"),
        (342, "three hundred forty-two"),
        (1_000, "one thousand"),
        (1_001, "one thousand one"),
        (7_020, "seven thousand twenty"),
        (10_000, "ten thousand"),
        (12_345, "twelve thousand three hundred forty-five"),
        (100_000, "one hundred thousand"),
        (1_000_000, "one million"),
        (1_000_050, "one million fifty"),
        (999_999, "nine hundred ninety-nine thousand nine hundred ninety-nine"),
        (2_000_300_000, "two billion three hundred thousand"),
        (10**12, "one trillion"),
        (-8, "minus eight"),
        (10**33 + 4, "one decillion four"),
        (10**36, "one " + " ".join(["zero"] * 36)),
    ],
)
def test_number_words_are_spelled_right(number: int, words: str) -> None:
    assert in_words(number) == words


def test_no_two_numbers_share_their_words() -> None:
    numbers = [*range(3_000), *(7**power for power in range(2, 60))]
    spelled = {in_words(number) for number in numbers}
    assert len(spelled) == len(set(numbers))
    assert not any("  " in words or words != words.strip() for words in spelled)


def test_moved_windows_hold_the_familys_own_terms() -> None:
    moved = _paper("first_term", start=500)
    assert [item.offset for item in moved.items] == [500, 550, 600, 650] * 6
    for after in (moved, _paper("magnitude_matched"), _paper("length", terms=100), _paper("length", terms=5)):
        for item in after.items:
            assert item.terms == family(item.family).terms(item.offset, len(item.terms))


def test_windows_of_any_place_keep_their_distances_when_moved() -> None:
    items = tuple(IntegerSequence("primes", at, family("primes").terms(at, 5)) for at in (40_000, 3, 100))
    moved = perturb(SequenceSet(items), "first_term", start=10)
    assert [item.offset for item in moved.items] == [40_007, 10, 107]
    assert moved.items[0].terms == family("primes").terms(40_007, 5)


def test_interleaved_windows_share_out_the_same_terms() -> None:
    dealt = _paper("interleaved")
    for at in range(0, 24, 4):
        before, after = PAPER.items[at : at + 4], dealt.items[at : at + 4]
        assert sorted(sum((i.terms for i in before), ())) == sorted(sum((i.terms for i in after), ()))
    assert dealt.items[1].terms[:3] == (2, 6, 10)


def test_matched_windows_begin_near_one_value() -> None:
    matched = _paper("magnitude_matched", value=1_000)
    for item, window in zip(matched.items, matched.windows.tolist(), strict=True):
        roughly = 1.2 if item.family == "recaman" else 1.02  # it jumps there by a quarter of its size
        assert 1 <= item.terms[0] / (1_000 * (window + 1)) <= roughly
        if item.family != "recaman":
            assert item.terms[0] == min(item.terms)


@pytest.mark.parametrize("terms", [5, 20, 100, 200])
def test_windows_of_another_length_do_not_overlap(terms: int) -> None:
    for at, item in enumerate(_paper("length", terms=terms).items):
        assert len(item.terms) == terms
        assert item.offset == max(50, terms) * (at % 4)


def test_the_composites_look_like_the_primes_but_are_none() -> None:
    control = _paper("primes_or_not")
    assert control.labels.tolist() == [0] * 12 + [1] * 12
    flat = [number for item in control.items[:12] for number in item.terms]
    assert flat == list(family("primes").terms(0, 600))
    known = set(family("composites").terms(0, 6_000))
    for prime, composite in zip(control.items[:12], control.items[12:], strict=True):
        assert set(composite.terms) <= known and list(composite.terms) == sorted(set(composite.terms))
        assert sorted(term % 10 for term in prime.terms) == sorted(term % 10 for term in composite.terms)
        assert abs(np.median(prime.terms) - np.median(composite.terms)) < 60
    assert abs(_score("last_digits", control)) < 0.1  # it cannot tell them; the families' own were at 0.645


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.5, 1.0])
def test_a_share_of_the_terms_is_corrupted(share: float) -> None:
    for before, after in zip(PAPER.items, _paper("corrupted", share=share).items, strict=True):
        pairs = list(zip(before.terms, after.terms, strict=True))
        assert sum(one != other for one, other in pairs) == max(1, round(50 * share))
        assert all(len(str(one)) == len(str(other)) for one, other in pairs)


def test_written_texts_stand_in_for_the_formatted_ones() -> None:
    words = replace(PAPER, written=("a",) * 24)
    assert words.texts == ("a",) * 24 and words != PAPER
    assert words.digest == hashlib.sha256(json.dumps(["a"] * 24, separators=(",", ":")).encode()).hexdigest()
    assert (words.labels == PAPER.labels).all()
    assert replace(words, written=None) == PAPER
    with pytest.raises(ValueError, match="24 sequences need as many written texts, got 1"):
        replace(PAPER, written=("a",))


def test_last_digits_are_all_that_the_last_digit_baseline_reads() -> None:
    assert _score("last_digits", PAPER) == pytest.approx(0.645, abs=0.002)
    assert _score("last_digits", _paper("last_digit_removed")) == pytest.approx(-0.178, abs=0.02)
    assert _score("last_digits", _paper("last_digits_only")) == pytest.approx(0.645, abs=0.002)
    assert 0.5 < _score("last_digits", _paper("magnitude_matched")) < 0.66


@pytest.mark.parametrize("seed", range(5))
def test_shuffling_destroys_differences_and_spares_last_digits(seed: int) -> None:
    shuffled = _paper("order_shuffled", seed)
    assert _score("last_digits", shuffled) == pytest.approx(0.645, abs=0.002)
    assert _score("first_differences", PAPER) == pytest.approx(0.548, abs=0.002)
    assert -0.14 < _score("first_differences", shuffled) < 0.0


def test_removing_last_digits_leaves_the_density_behind() -> None:
    assert _score("first_differences", _paper("last_digit_removed")) == pytest.approx(0.78, abs=0.02)


@pytest.mark.parametrize("reference", FAMILIES.names)
def test_every_family_is_matched_in_magnitude_or_refused_in_words(reference: str) -> None:
    before = make_sequences([reference], per_family=2, length=20)
    if reference in ("prime_gaps", "digit_sums", "divisor_counts", "collatz_steps"):
        with pytest.raises(BadChoice, match="reaches 1,000, so its magnitude cannot be matched"):
            perturb(before, "magnitude_matched", value=500)
        return
    first, second = perturb(before, "magnitude_matched", value=500).items
    assert first.terms[0] >= 500 and second.terms[0] >= 1_000
