"""Number texts for retention: of families that a split neither trains nor scores, and the same for equal splits."""

from __future__ import annotations

import pytest

from numembed.sequences.families.family import family
from numembed.sequences.number_texts import LONGEST_TEXT, free_families, number_texts
from numembed.sequences.splits import PAPER, Split, leaking, sentences, split_called

DOUBLING = Split(training=("lucky", "geometric:ratio=2"), new=("triangular", "evil"), furthest=900)


@pytest.mark.parametrize("split", [split_called("others"), split_called("paper"), DOUBLING], ids=str)
def test_no_number_text_is_trained_or_scored(split: Split) -> None:
    chosen = number_texts(split)
    used = {family(name).name for name in (*split.training, *split.new, *PAPER)}
    assert not used & {family(name).name for name in chosen.families}
    assert not any(leaking(item, name, split) for item in chosen.items for name in split.training)
    scored = {text for one in split.evaluations.values() for text in one.texts}
    assert len(set(chosen.texts)) == len(chosen) == len(sentences().texts) and not scored & set(chosen.texts)
    assert max(map(len, chosen.texts)) <= LONGEST_TEXT and len(chosen.families) >= 20
    assert number_texts(Split.from_dict(split.as_dict())).texts == chosen.texts


def test_a_family_with_the_terms_of_one_that_is_trained_is_left_out() -> None:
    assert "powers_of_2" in free_families(DOUBLING) and "powers_of_2" not in number_texts(DOUBLING).families
    assert "powers_of_2" in number_texts(split_called("others")).families
