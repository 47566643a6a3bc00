"""Redrawn designs: the same families and sizes, other windows, the same for every family."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from numembed.core.errors import BadChoice, NumembedError, TooLarge, UnknownName
from numembed.sequences.families.family import Family, family
from numembed.sequences.sets import IntegerSequence, SequenceSet, TextFormat, make_sequences, redrawn, window_starts

PAPER = ["consecutive", "even", "odd", "primes", "recaman", "composites"]
WITH_OPTIONS = ["multiples:k=7", "residues:modulus=9,remainder=4", "random_sorted:seed=3", "primes"]


@pytest.mark.parametrize("families", [PAPER, WITH_OPTIONS])
def test_every_design_has_the_same_families_sizes_and_format(families: list[str]) -> None:
    made = make_sequences(families, per_family=3, length=20, text_format=TextFormat("; "))
    designs = redrawn(made, 5)
    assert len(designs) == 5
    for design in designs:
        assert design.families == made.families
        assert design.labels.tolist() == made.labels.tolist()
        assert design.windows.tolist() == made.windows.tolist()
        assert design.text_format == made.text_format
        assert all(text.count("; ") == 19 for text in design.texts)
        for item in design.items:
            assert item.terms == family(item.family).terms(item.offset, 20)


def test_all_families_of_a_design_begin_at_the_same_places() -> None:
    for design in redrawn(make_sequences(PAPER), 10):
        starts = [[item.offset for item in design.items if item.family == name] for name in PAPER]
        assert all(one == starts[0] for one in starts)
        assert all(after - before >= 50 for before, after in pairwise(starts[0]))
        assert starts[0][0] >= 0 and starts[0][-1] <= 1_000


def test_a_design_depends_on_the_seed_and_its_number_alone() -> None:
    made = make_sequences(PAPER, per_family=2)
    ten = redrawn(made, 10, seed=3)
    assert redrawn(made, 10, seed=3) == ten
    assert redrawn(made, 4, seed=3) == ten[:4]
    assert [item.offset for item in redrawn(make_sequences(["odd"], per_family=2), 3, seed=3)[2].items] == [
        item.offset for item in ten[2].items[:2]
    ]
    everything = {design.digest for seed in range(5) for design in redrawn(made, 10, seed=seed)}
    assert len(everything) == 50


def test_redrawing_a_redrawn_design_or_far_windows_gives_the_same() -> None:
    made = make_sequences(PAPER)
    expected = redrawn(made, 3)
    assert redrawn(expected[1], 3) == expected
    assert redrawn(make_sequences(PAPER, first_window=100), 3) == expected


def test_rows_keep_their_order_whatever_it_is() -> None:
    made = make_sequences(["odd", "primes"], per_family=3, length=5)
    mixed = SequenceSet(tuple(made.items[i] for i in (4, 0, 1, 3, 5)))  # also: one window fewer of one family
    for design in redrawn(mixed, 5):
        starts = [item.offset for item in design.items]
        assert [item.family for item in design.items] == [item.family for item in mixed.items]
        assert starts[0] == starts[1] and starts[2] == starts[3] and starts[0] < starts[2] < starts[4]


@given(st.integers(1, 12), st.integers(1, 60), st.integers(0, 500), st.integers(0, 9), st.integers(0, 9))
def test_windows_never_overlap_or_leave_their_range(
    windows: int, length: int, more: int, seed: int, design: int
) -> None:
    furthest = (windows - 1) * length + more
    starts = window_starts(windows, length, furthest, seed=seed, design=design)
    assert len(starts) == windows
    assert starts[0] >= 0 and starts[-1] <= furthest
    assert all(after - before >= length for before, after in pairwise(starts))


def test_every_choice_of_places_is_equally_likely() -> None:
    found = Counter(window_starts(2, 2, 4, seed=0, design=design) for design in range(3_000))
    assert set(found) == {(0, 2), (0, 3), (0, 4), (1, 3), (1, 4), (2, 4)}
    assert chisquare(list(found.values())).pvalue > 0.001


def test_a_single_window_begins_anywhere() -> None:
    found = [window_starts(1, 50, 1_000, seed=0, design=design)[0] for design in range(1_500)]
    assert kstest(np.array(found), "uniform", args=(0, 1_001)).pvalue > 0.01
    assert min(found) < 10 and max(found) > 990


def test_the_tightest_places_are_the_windows_side_by_side() -> None:
    made = make_sequences(["odd"])
    assert redrawn(made, 2, furthest=150) == (made, made)
    with pytest.raises(BadChoice, match="4 windows of 50 terms need first terms from 0 to at least 150, got 149"):
        redrawn(made, 2, furthest=149)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3_000))
def test_finite_families_are_refused_by_their_end_and_not_by_chance(furthest: int) -> None:
    made = make_sequences(["powers_of_2", "factorials"], per_family=1, length=20)
    if furthest + 19 <= family("factorials").last_term:
        assert len(redrawn(made, 3, furthest=furthest)) == 3
    else:
        with pytest.raises(TooLarge, match=r"Factorials: terms up to .* were requested"):
            redrawn(made, 3, furthest=furthest)


@pytest.mark.parametrize(
    ("choice", "error", "words"),
    [
        ({"count": 0}, BadChoice, "The number of designs is at least 1"),
        ({"count": 834}, TooLarge, "The number of designs is at most 833"),
        ({"seed": -1}, BadChoice, "The seed is at least 0"),
        ({"seed": 2**31}, TooLarge, "The seed is at most"),
        ({"furthest": -1}, BadChoice, "The furthest first term is at least 0"),
        ({"furthest": 10**6}, TooLarge, "The furthest first term is at most 100,000"),
        ({"furthest": 1.5}, BadChoice, "whole number"),
    ],
)
def test_what_is_refused_before_computing(
    choice: dict[str, Any], error: type[NumembedError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_sequences(PAPER)

    def computed(*arguments: object) -> tuple[int, ...]:
        raise AssertionError("terms were computed before the refusal")

    monkeypatch.setattr(Family, "terms", computed)
    with pytest.raises(error, match=words):
        redrawn(made, **choice)


def test_changed_sequences_are_not_quietly_replaced_by_plain_ones() -> None:
    made = make_sequences(["odd", "primes"], per_family=2, length=5)
    shuffled = replace(made, items=(replace(made.items[0], terms=(9, 7, 5, 3, 1)), *made.items[1:]))
    written = replace(made, written=("one, three",) * 4)
    for changed in (shuffled, written):
        with pytest.raises(BadChoice, match="these sequences were changed"):
            redrawn(changed)
    with pytest.raises(UnknownName, match="mine"):
        redrawn(SequenceSet((IntegerSequence("mine", 0, (1, 2, 3)),)))
    with pytest.raises(BadChoice, match="at least one family"):
        redrawn(SequenceSet(()))
