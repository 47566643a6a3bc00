"""A library's words in our sentences: readable, in one line, without the paths of this machine."""

from __future__ import annotations

import pytest

from numembed.core.errors import reason_of


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "No file named model.safetensors in directory /srv/models/mine.",
            "No file named model.safetensors in directory mine.",
        ),
        ("can't open '/home/me/my models/config.json'", "can't open 'config.json'"),
        ("can't open C:\\Users\\me\\config.json now", "can't open config.json now"),
        ("bert-base/uncased has 3/4 of it", "bert-base/uncased has 3/4 of it"),
        ("see https://example.org/help?token=abc for\n\n  more words", "see for more words"),
    ],
)
def test_a_reason_is_one_line_and_shows_of_a_path_only_its_last_part(said: str, told: str) -> None:
    assert reason_of(OSError(said)) == told


def test_a_reason_that_means_nothing_alone_names_its_kind() -> None:
    assert reason_of(KeyError("sentence_lengths")) == "KeyError: 'sentence_lengths'"
    assert reason_of(AssertionError()) == "AssertionError"


def test_a_long_reason_is_cut_and_odd_ones_cost_no_time() -> None:
    assert len(reason_of(RuntimeError("word " * 1_000))) <= 240
    for odd in ("/a" * 100_000, "'/" + "a " * 100_000, "\\" * 100_000):
        assert len(reason_of(RuntimeError(odd))) <= 240
