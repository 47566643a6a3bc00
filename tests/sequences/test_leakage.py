"""What gives families away: known answers, the paper's set, and what chance gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from numembed.core.errors import TooLarge
from numembed.core.significance import holm
from numembed.figures.leakage import clue_figure, shared_figure
from numembed.paper.protocol import PAPER_FAMILIES
from numembed.sequences.leakage import MOST_ROWS, Clue, leakage
from numembed.sequences.matching import matched
from numembed.sequences.sets import IntegerSequence, SequenceSet, TextFormat, make_sequences

PAPER = make_sequences(PAPER_FAMILIES)


def _set(**terms: tuple[tuple[int, ...], ...]) -> SequenceSet:
    items = (IntegerSequence(name, 0, one) for name, rows in terms.items() for one in rows)
    return SequenceSet(tuple(items))


def _clue(sequences: SequenceSet, name: str, **options: object) -> Clue:
    return next(clue for clue in leakage(sequences, **options).clues if clue.name == name)  # type: ignore[arg-type]


def test_on_the_papers_set_23_pairs_share_20_of_their_50_numbers() -> None:
    found = leakage(PAPER)
    assert len(found.pairs) == 23  # science.md
    assert all(PAPER.labels[one] != PAPER.labels[other] for one, other in found.pairs)
    assert found.families == PAPER_FAMILIES
    assert "23 pairs of sequences of different families share at least 20 of their numbers." in found.sentences


def test_shared_numbers_are_counted_once_and_divided_by_the_smaller_family() -> None:
    found = leakage(_set(even=((2, 4, 4), (6, 2, 8)), primes=((2, 3, 5), (7, 2, 2))))
    assert found.shared.tolist() == [[4, 1], [1, 4]] and found.share.tolist() == [[1, 0.25], [0.25, 1]]
    assert found.repeated.tolist() == [1, 1]
    assert found.sentences[0] == "Even numbers and Primes have the most in common: 1 of 4 numbers."
    assert "repeat each other's numbers" in found.sentences[-1] and "Even numbers, Primes" in found.sentences[-1]


def test_only_what_the_models_read_is_counted() -> None:
    cut = make_sequences(["consecutive", "even"], per_family=1, length=50, text_format=TextFormat(", ", 7))
    assert cut.texts == ("1, 2, 3", "2, 4, 6")
    assert leakage(cut).shared.tolist() == [[3, 1], [1, 3]]


def test_without_shared_numbers_it_says_so() -> None:
    found = leakage(matched(PAPER, ["numbers"]))
    assert found.sentences[0] == "No number occurs in two families." and not found.pairs
    assert found.shared.sum() == found.shared.trace()


def test_a_number_that_tells_all_families_names_all_and_one_that_tells_none_guesses() -> None:
    rows = {"even": 1, "odd": 3, "primes": 5, "squares": 7}
    apart = _set(**{name: tuple((10**digits,) * 3 for _ in range(5)) for name, digits in rows.items()})
    clue = _clue(apart, "magnitude")
    assert (clue.named, clue.tried, clue.guessing, clue.overlap) == (20, 20, 5, 0) and clue.p <= 0.002
    assert clue.sentence == (
        "Magnitude alone names the family in 20 of 20 cases; guessing, in 5. That is better than chance (p 0.002)."
    )
    same = _set(**dict.fromkeys(rows, ((100, 100),) * 5))
    clue = _clue(same, "length")
    assert (clue.named, clue.guessing, clue.overlap, clue.p) == (pytest.approx(5), 5, 1, 1)
    assert "That is no better than chance" in clue.sentence


def test_the_magnitude_is_the_power_of_ten_of_the_median_of_any_integer() -> None:
    values = _clue(_set(even=((10, 1_000, 100_000), (-100, -100, 5)), odd=((0,), (10**3_999,))), "magnitude").values
    assert values.tolist() == pytest.approx([3, 2, 0, 3_999])


def test_tokens_are_a_clue_where_they_are_counted() -> None:
    assert [clue.name for clue in leakage(PAPER).clues] == ["magnitude", "length"]
    clue = _clue(PAPER, "tokens", token_counts=np.repeat(np.arange(6) * 10, 4).tolist())
    assert clue.named == 24 and clue.p <= 0.002


@pytest.mark.parametrize("sequences", [make_sequences(["odd"]), make_sequences(["odd", "even"], per_family=1)])
def test_nothing_is_claimed_without_a_test(sequences: SequenceSet) -> None:
    clue = _clue(sequences, "length")
    assert clue.tried == 0 and "nothing can be concluded" in clue.sentence


def test_an_empty_set_and_one_too_large_give_an_answer_in_words() -> None:
    assert leakage(SequenceSet(())).pairs == ()
    with pytest.raises(TooLarge, match="Up to 500 sequences are compared"):
        leakage(make_sequences(["odd"], per_family=MOST_ROWS + 1, length=1))


def test_all_clues_are_judged_together() -> None:
    counts = np.random.default_rng(3).integers(0, 100, len(PAPER)).tolist()
    clues = leakage(PAPER, token_counts=counts).clues
    assert [clue.p_holm for clue in clues] == pytest.approx(holm([clue.p for clue in clues]))
    weak = replace(clues[0], p=0.03, p_holm=0.09)
    assert "That is no better than chance (p 0.090)" in weak.sentence


def test_too_few_sequences_are_said_to_be_too_few() -> None:
    """Two families in two windows: half of all shuffles name as many, whatever the numbers are."""
    few = make_sequences(["odd", "factorials"], per_family=2)
    for clue in leakage(few).clues:
        assert clue.least_p > 0.05 and "There are too few sequences for a significance test" in clue.sentence
    for clue in leakage(PAPER).clues:
        assert clue.least_p <= 0.05 and "too few" not in clue.sentence


@pytest.mark.slow
def test_p_is_uniform_where_the_number_means_nothing() -> None:
    rng = np.random.default_rng(0)
    ps = [
        _clue(make_sequences(["odd", "even", "primes"], length=2), "tokens", token_counts=counts).p
        for counts in rng.integers(0, 1_000_000, (120, 12)).tolist()
    ]
    assert np.mean(np.array(ps) <= 0.05) <= 0.12
    assert 0.4 < np.mean(ps) < 0.65


def test_the_same_sequences_leak_the_same() -> None:
    one, other = leakage(PAPER), leakage(PAPER)
    assert [clue.p for clue in one.clues] == [clue.p for clue in other.clues]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    "families", [["primes"], ["primes", "odd"], list(PAPER_FAMILIES), [f"multiples:k={k}" for k in range(4, 44)]]
)
def test_pictures_are_drawn_of_any_number_of_families(families: list[str], theme: str) -> None:
    sequences = make_sequences(families, per_family=2, length=10)
    found = leakage(sequences)
    heat = shared_figure(found, theme=theme)
    assert heat.layout.template.layout.to_plotly_json() == {} and len(heat.data[0].z) == len(families)
    assert all(value is None for row, values in enumerate(heat.data[0].z) for value in list(values)[row:])
    assert (heat.data[0].text is not None) == (len(families) <= 12)
    strip = clue_figure(found.clues[0], sequences, theme=theme)
    assert len(strip.data) == 2 * len(families) and "#00000" not in strip.to_json()
