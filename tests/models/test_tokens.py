from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from numembed.models.catalogue import model
from numembed.models.spec import ModelSpec
from numembed.models.tokens import TokenCount, count_tokens, max_tokens
from numembed.paper import paper_study
from tests import tiny


def _spec(folder: Path) -> ModelSpec:
    return model(str(folder))


def test_the_bundled_model_reads_the_papers_sequences_whole() -> None:
    counted = count_tokens(model("all-MiniLM-L6-v2"), ["2, 4, 6, 8", *paper_study().sequences.texts])
    assert counted is not None and counted.counts[0] == 9  # [CLS] 2 , 4 , 6 , 8 [SEP]
    assert counted.max_tokens == 256 and counted.truncated == 0 and max(counted.counts) <= 151


def test_texts_beyond_the_window_are_counted_whole() -> None:
    long = ", ".join(str(number) for number in range(1_000_000, 1_000_100))
    counted = count_tokens(model("all-MiniLM-L6-v2"), ["1, 2", long])
    assert counted is not None and counted.counts[1] > 300 and counted.truncated == 1


def test_the_prompt_and_the_specs_own_limit_count(tiny_model: Path) -> None:
    plain = count_tokens(_spec(tiny_model), ["1, 2, 3", "44"])
    assert plain == TokenCount((7, 3), 256)
    asked = count_tokens(replace(_spec(tiny_model), prompt="12, ", max_tokens=5), ["1, 2, 3", "44"])
    assert asked == TokenCount((9, 5), 5) and asked.truncated == 1


def test_no_texts(tiny_model: Path) -> None:
    assert count_tokens(_spec(tiny_model), []) == TokenCount((), 256)


@pytest.mark.parametrize("reference", ["owner/name", "/no/such/folder", "last_digits"])
def test_what_is_not_here_is_not_counted(reference: str) -> None:
    assert count_tokens(model(reference), ["1, 2"]) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"model": 1}'])
def test_files_that_cannot_be_read_are_no_crash(tiny_model: Path, tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(tiny_model, folder)
    (folder / "sentence_bert_config.json").write_bytes(content)
    assert count_tokens(_spec(folder), ["1, 2"]) == TokenCount((5,), tiny.POSITIONS)
    (folder / "tokenizer.json").write_bytes(content)
    assert count_tokens(_spec(folder), ["1, 2"]) is None


def test_the_window_is_what_the_nearest_file_says(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_model, folder)
    assert max_tokens(folder) == 256
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": None}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 10**30}))
    assert max_tokens(folder) == tiny.POSITIONS
    (folder / "config.json").unlink()
    assert max_tokens(folder) is None


def test_a_static_model_reads_everything(tmp_path: Path) -> None:
    folder = tiny.write_static_model(tmp_path / "static")
    counted = count_tokens(_spec(folder), ["1, 2", ", ".join(map(str, range(1_000)))])
    assert counted is not None and counted.max_tokens is None and counted.truncated == 0
