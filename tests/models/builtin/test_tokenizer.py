"""The tokenizer of our own models, as transformers reads it from its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numembed.models.builtin.files import INNER, LAST, SPECIAL, UNKNOWN, vocabulary, write_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return _read(tmp_path_factory.mktemp("tokenizer"), "last")


def _read(folder: Path, ends: Any) -> Any:
    from transformers import AutoTokenizer

    write_tokenizer(folder, ends=ends, max_tokens=512)
    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)


def _tokens(tokenizer: Any, text: str) -> list[str]:
    found: list[str] = tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])
    return found


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("12345", ["12", "▁345"]),
        ("2, 3, 5", ["2", "3", "5"]),
        ("999, 1000, 1001", ["999", "1", "▁000", "1", "▁001"]),
        ("1000000", ["1", "▁000", "▁000"]),
        ("-1234, -5", ["-", "1", "▁234", "-", "5"]),
        ("007, 00, 0012", ["007", "00", "0", "▁012"]),
        ("1,2", ["1", ",", "2"]),
        ("1;\n2", ["1", ";", UNKNOWN, "2"]),
        ("a prime", list("a prime")),
        ("é√▁345", [UNKNOWN, UNKNOWN, UNKNOWN, "345"]),
        ("", []),
    ],
)
def test_a_text_is_these_tokens_and_its_end(tokenizer: Any, text: str, tokens: list[str]) -> None:
    assert _tokens(tokenizer, text) == [*tokens, LAST]


@given(st.lists(st.integers(-(10**40), 10**40), min_size=1, max_size=8))
def test_numbers_of_any_size_come_back_whole(tokenizer: Any, numbers: list[int]) -> None:
    *tokens, last = _tokens(tokenizer, ", ".join(map(str, numbers)))
    assert last == LAST and UNKNOWN not in tokens
    begins = [at for at, token in enumerate(tokens) if token[0] != INNER and (at == 0 or tokens[at - 1] != "-")]
    pieces = [tokens[at:end] for at, end in zip(begins, [*begins[1:], len(tokens)], strict=True)]
    assert [int("".join(piece).replace(INNER, "")) for piece in pieces] == numbers


def test_a_number_of_thousands_of_digits_is_read_in_groups(tokenizer: Any) -> None:
    tokens = _tokens(tokenizer, "12" + "345" * 1_333)
    assert tokens == ["12", *["▁345"] * 1_333, LAST]


def test_the_encoder_marks_the_beginning_and_the_decoder_the_end(tmp_path: Path, tokenizer: Any) -> None:
    (tmp_path / "first").mkdir()
    first = _read(tmp_path / "first", "first")
    assert _tokens(first, "7, 8") == ["[CLS]", "7", "8"] and _tokens(first, "") == ["[CLS]"]
    assert tokenizer(["1", "1, 2, 3"], padding=True)["attention_mask"] == [[1, 1, 0, 0], [1, 1, 1, 1]]


def test_the_files_hold_no_program_code(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, ends="first", max_tokens=256)
    assert {file.name for file in tmp_path.iterdir()} == {"tokenizer.json", "tokenizer_config.json"}
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert "auto_map" not in config and config["model_max_length"] == 256


def test_every_token_has_one_number_and_the_padding_is_zero() -> None:
    known = vocabulary()
    assert sorted(known.values()) == list(range(len(known))) and 2_000 < len(known) < 2_500
    assert [known[token] for token in SPECIAL] == [0, 1, 2, 3]
