"""What training sees and what it is judged by stay apart, and what leaks is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numembed.core.errors import BadChoice, TooLarge, UnknownName
from numembed.paper.protocol import PAPER_FAMILIES, paper_study
from numembed.sequences.families.family import family
from numembed.sequences.splits import (
    NEW,
    OTHERS,
    PAPER,
    Split,
    apart_at,
    overlaps,
    sentences,
    split_called,
    training_batch,
)

SPLITS = [split_called("others"), split_called("paper")]
EACH = pytest.mark.parametrize("split", SPLITS, ids=["others", "paper"])


def test_the_paper_is_the_papers_and_stays_unseen_by_default() -> None:
    assert PAPER == PAPER_FAMILIES and set(OTHERS).isdisjoint(PAPER) and set(NEW).isdisjoint({*OTHERS, *PAPER})
    assert len(Split().training) == 12
    assert Split().evaluations["paper"].texts == paper_study("last_digits").sequences.texts


@pytest.mark.slow
@EACH
@given(st.integers(0, 2**31 - 1), st.integers(0, 10_000), st.integers(4, 60))
def test_no_training_sequence_holds_a_reserved_term_and_every_family_in_it_has_company(
    split: Split, seed: int, step: int, size: int
) -> None:
    batch = training_batch(split, size=size, seed=seed, step=step)
    assert len(batch) == size
    for item in batch.items:
        end = item.offset + len(item.terms)
        assert split.shortest <= len(item.terms) <= split.longest
        assert split.first <= item.offset <= split.furthest
        assert all(end <= low or high <= item.offset for low, high in split.reserved)
        assert item.terms == family(item.family).terms(item.offset, len(item.terms))
    counts = [batch.labels.tolist().count(label) for label in range(len(batch.families))]
    assert min(counts) >= 2


def test_a_batch_depends_on_seed_and_step_alone_and_pairs_come_in_twos() -> None:
    split = split_called("others")
    one = training_batch(split, size=24, seed=3, step=7)
    assert one == training_batch(split, size=24, seed=3, step=7)
    assert one != training_batch(split, size=24, seed=3, step=8) != training_batch(split, size=24, seed=4, step=7)
    assert training_batch(split, size=24, seed=0, step=0, pairs=True).labels.tolist() == [i // 2 for i in range(24)]


def test_small_numbers_are_drawn_as_often_as_large_ones() -> None:
    split = split_called("others")
    offsets = [item.offset for step in range(60) for item in training_batch(split, size=24, seed=0, step=step).items]
    below = sum(offset < 70 for offset in offsets) / len(offsets)  # the square root of 5,000
    assert 0.4 < below < 0.6


def test_sequences_begin_farther_apart_with_every_step() -> None:
    found = [apart_at(step, 10, (1.5, 6.0)) or 0 for step in range(1, 11)]
    assert found == sorted(found) and found[-1] == pytest.approx(6) and 1.5 < found[0] < 2
    assert found[5] / found[4] == pytest.approx(found[9] / found[8])


@pytest.mark.parametrize("name", ["others", "paper"])
def test_sequences_that_begin_near_one_another_do_so_everywhere_outside_the_reserved_bands(name: str) -> None:
    split, middles = split_called(name), []
    for step in range(80):
        batch = training_batch(split, size=24, seed=0, step=step, apart=1.5)
        starts = [item.offset + 1 for item in batch.items]
        assert max(starts) <= 1.5**2 * min(starts) + 2 * split.longest + 3, "indices are rounded down"
        assert len({(item.family, item.terms) for item in batch.items}) > 18, "hardly two are the same"
        for item in batch.items:
            end = item.offset + len(item.terms)
            assert all(end <= low or high <= item.offset for low, high in split.reserved)
        middles.append(sorted(starts)[len(starts) // 2])
    assert min(middles) < 300 and max(middles) > 3_000
    assert training_batch(split, size=24, seed=0, step=0, apart=1.5) != training_batch(split, size=24, seed=0, step=0)


@pytest.mark.parametrize(
    ("changed", "numbers"),
    [
        ({"training": PAPER}, "first of Consecutive numbers: 1, 2, 3, 4"),
        ({"training": ("multiples:k=2", "lucky")}, r"Even numbers \(they are terms of Multiples of 2 too\): 2, 4, 6"),
        ({"new": ("triangular", "lucky")}, "200 numbers of the evaluation 'new'.*Lucky numbers: 1, 3, 7, 9"),
        ({"new": ("evil", "residues:remainder=3"), "training": ("lucky", "residues:remainder=3")}, "3, 7, 11, 15"),
    ],
)
def test_a_split_that_leaks_is_refused_with_the_numbers(changed: dict, numbers: str) -> None:
    with pytest.raises(BadChoice, match=numbers):
        Split(**changed)


def test_numbers_that_stand_in_both_but_never_in_a_row_are_no_leak() -> None:
    split = Split(training=("residues:remainder=0", "lucky"), new=("residues:modulus=8,remainder=4", "evil"))
    shared = next(one.shared for one in overlaps(split) if one.evaluation == "new")
    assert shared >= 200


def test_a_band_that_is_reserved_in_part_leaks_the_rest() -> None:
    with pytest.raises(BadChoice, match=r"Consecutive numbers: 151, 152, 153"):
        replace(split_called("paper"), reserved=((1_000, 1_200), (0, 150)))


@EACH
def test_what_is_shared_is_counted_as_sets_would(split: Split) -> None:
    found = {one.evaluation: one for one in overlaps(split)}
    shown = {
        term for name in split.training for low, high in split.spans for term in family(name).terms(low, high - low)
    }
    paper = {term for item in split.evaluations["paper"].items for term in item.terms}
    assert found["paper"].numbers == len(paper) == 541 and found["paper"].shared == len(paper & shown)
    assert dict(found["new"].by_family).keys() == set(split.training)
    assert found["sentences"].numbers == found["sentences"].share == 0


def test_a_split_survives_its_record() -> None:
    for split in SPLITS:
        assert Split.from_dict(split.as_dict()) == split


@pytest.mark.parametrize(
    "changed",
    [
        {"training": ("even",)},
        {"shortest": 20},
        {"reserved": ()},
        {"reserved": ((5, 5),)},
        {"reserved": ((1_010, 1_300),)},
        {"reserved": ((1_000, 1_100),)},
        {"reserved": ((0, 10_000),)},
        {"first": -1},
    ],
)
def test_what_cannot_be_drawn_is_refused(changed: dict) -> None:
    with pytest.raises((BadChoice, TooLarge)):
        replace(split_called("others"), **changed)


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(UnknownName, match="others, paper"):
        split_called("mine")


def test_the_sentences_are_ordinary_and_come_in_pairs() -> None:
    found = sentences()
    assert 110 <= len(found.texts) == len(set(found.texts)) and not any(c.isdigit() for t in found.texts for c in t)
    assert len(found.paraphrases) >= 30 and len(found.graded) >= 20
    assert found.texts[found.paraphrases[0][0]] == "The bakery opens before sunrise."
    assert {grade for *_, grade in found.graded} == {0, 1, 2, 3, 4, 5}
    one, other, grade = found.graded[-1]
    assert (found.texts[one], grade) == ("His shoes are too tight.", 0) and other == one + 1
    used = [i for pair in found.paraphrases for i in pair] + [i for *pair, _ in found.graded for i in pair]
    assert len(used) == len(set(used)) and max(used) < len(found.texts)
