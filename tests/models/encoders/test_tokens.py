from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, pre_tokenizers

from numembed.core.errors import ModelUnavailable
from numembed.models.catalogue.names import model
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.encoders.tokens import TokenCount, count_tokens, max_tokens, refuse_endless
from numembed.models.resolve import resolve
from numembed.models.spec import Loading, ModelSpec
from numembed.paper.protocol import paper_study
from tests import architectures, tiny
from tests.offline import OFFLINE


def _spec(folder: Path) -> ModelSpec:
    return model(str(folder))


def _count(spec: ModelSpec, texts: Sequence[str], **more: Any) -> TokenCount | None:
    return count_tokens(spec, texts, OFFLINE, **more)


def test_the_bundled_model_reads_the_papers_sequences_whole() -> None:
    counted = _count(model("all-MiniLM-L6-v2"), ["2, 4, 6, 8", *paper_study().sequences.texts])
    assert counted is not None and counted.counts[0] == 9  # [CLS] 2 , 4 , 6 , 8 [SEP]
    assert counted.max_tokens == 256 and counted.truncated == 0 and max(counted.counts) <= 151
    assert counted.numbers == (4, *[50] * 24) == counted.numbers_read


def test_the_pieces_of_a_text_are_reported_with_the_special_tokens_by_name() -> None:
    counted = _count(model("all-MiniLM-L6-v2"), ["2, 123456789", "7"], pieces_of=1)
    assert counted is not None and len(counted.pieces) == 1
    (pieces,) = counted.pieces
    assert pieces[:3] == ("[CLS]", "2", ",") and pieces[-1] == "[SEP]" and "".join(pieces[3:-1]) == "123456789"
    tokens = len(pieces) - 5 + 2  # without [CLS] [SEP] and the comma, and the second text's one
    assert counted.digits_per_token == pytest.approx((1 + 9 + 1) / (tokens + 1))
    assert counted.tokens_per_number == pytest.approx((tokens + 1) / 3)


def test_texts_beyond_the_window_are_counted_whole() -> None:
    long = ", ".join(str(number) for number in range(1_000_000, 1_000_100))
    counted = _count(model("all-MiniLM-L6-v2"), ["1, 2", long])
    assert counted is not None and counted.counts[1] > 300 and counted.truncated == 1
    assert counted.numbers == (2, 100) and counted.numbers_read[0] == 2


@pytest.mark.slow
@pytest.mark.parametrize("limit", [4, 5, 9, 60, 300])
def test_the_numbers_that_are_read_are_those_before_the_cut(tiny_model: Path, limit: int) -> None:
    spec = replace(_spec(tiny_model), max_tokens=limit)
    text = ", ".join(str(7 ** (n % 9)) for n in range(60))
    counted, encoder = _count(spec, [text]), Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
    encoder.enable_truncation(limit)
    end = max(end for _, end in encoder.encode(text).offsets)
    read = text[:end].rstrip(", ").count(",") + 1
    if text[end : end + 1].isdigit():  # the last one is cut in two
        read -= 1
    assert counted is not None and counted.numbers_read == (min(read, 60),)


def test_the_prompt_and_the_specs_own_limit_count(tiny_model: Path) -> None:
    plain = _count(_spec(tiny_model), ["1, 2, 3", "44"])
    assert plain is not None and (plain.counts, plain.max_tokens, plain.numbers) == ((7, 3), 256, (3, 1))
    asked = _count(replace(_spec(tiny_model), prompt="12, ", max_tokens=5), ["1, 2, 3", "44"])
    assert asked is not None and asked.counts == (9, 5) and asked.truncated == 1
    assert asked.numbers_read == (1, 1)  # [CLS] 12 , 1 [SEP]: of five tokens the prompt takes two
    tokens = _count(replace(_spec(tiny_model), loading=Loading(add_bos=True, add_eos=True)), ["1"])
    assert tokens is not None and tokens.counts == (3,)  # this tokenizer sets both already


def test_no_texts(tiny_model: Path) -> None:
    counted = _count(_spec(tiny_model), [])
    assert counted is not None and counted.counts == () and counted.max_tokens == 256


@pytest.mark.parametrize("reference", ["owner/name", "/no/such/folder", "last_digits"])
def test_what_is_not_here_is_not_counted(reference: str) -> None:
    assert _count(model(reference), ["1, 2"]) is None


def _with_pattern(folder: Path, pattern: str) -> ModelSpec:
    chosen = tiny.wordpiece()
    chosen.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    return _spec(tiny.write_model(folder, tokenizer=chosen))


@pytest.mark.slow
def test_a_tokenizer_that_never_ends_is_stopped(tmp_path: Path) -> None:
    folder = tmp_path / "endless"
    spec, text = _with_pattern(folder, "1*1*1*1*1*x"), " ".join(["1" * 60] * 3_000) + "x"
    assert _count(spec, [text], patience_seconds=3) is None
    with pytest.raises(ModelUnavailable, match="tokenizer of endless took longer than 3 s"):
        refuse_endless(spec, [text], folder, seconds=3)
    refuse_endless(spec, ["2, 3"], folder, seconds=30)  # it is only slow where the pattern goes wrong


@pytest.mark.slow
def test_a_tokenizer_is_watched_from_the_first_text_on(tmp_path: Path) -> None:
    """It gives up in the check already, and with an error that would end the worker."""
    spec = resolve(_with_pattern(tmp_path / "wild", "(([0-9, ]+)+)+x"), OFFLINE)
    with pytest.raises(ModelUnavailable, match="tokenizer of wild failed"):
        LoadedModel(OFFLINE).get(spec)


@pytest.mark.slow
def test_the_reported_limit_is_the_encoders(tmp_path: Path) -> None:
    for folder in (tiny.write_model(tmp_path / "bert"), architectures.build("xlm-roberta", tmp_path / "roberta")):
        (folder / "sentence_bert_config.json").write_text("{}")
        (folder / "tokenizer_config.json").write_text(
            (folder / "tokenizer_config.json").read_text().replace("512", "9999")
        )
        for asked in (None, 100, 1_000_000):
            spec = replace(resolve(model(str(folder)), OFFLINE), max_tokens=asked)
            encoder = LoadedModel(OFFLINE).get(spec)
            assert isinstance(encoder, SentenceEncoder)
            assert max_tokens(folder, requested=asked) == encoder.model.max_seq_length, (folder.name, asked)
    table = tiny.write_static_model(tmp_path / "table")
    (table / "tokenizer_config.json").write_text('{"model_max_length": 512}')
    assert max_tokens(table) is None


def test_what_a_tokenizer_has_read_in_time_is_not_checked_again(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, texts = _spec(tiny_model), ["2, 3, 5", "7, 11"]
    refuse_endless(spec, texts, tiny_model)
    monkeypatch.setattr(sys, "executable", "/nothing")  # the process that would read them
    refuse_endless(spec, texts, tiny_model)
    with pytest.raises(FileNotFoundError):
        refuse_endless(spec, ["8, 13"], tiny_model)


@pytest.mark.slow
def test_a_tokenizer_that_gives_up_is_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "wild"
    spec = _with_pattern(folder, "((1+)+)+x")
    assert _count(spec, ["1" * 40]) is None
    with pytest.raises(ModelUnavailable, match="tokenizer of wild failed"):
        refuse_endless(spec, ["1" * 40], folder)


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"model": 1}'])
def test_files_that_cannot_be_read_are_no_crash(tiny_model: Path, tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(tiny_model, folder)
    (folder / "sentence_bert_config.json").write_bytes(content)
    counted = _count(_spec(folder), ["1, 2"])
    assert counted is not None and (counted.counts, counted.max_tokens) == ((5,), tiny.POSITIONS)
    (folder / "tokenizer.json").write_bytes(content)
    assert _count(_spec(folder), ["1, 2"]) is None


def test_the_window_is_what_the_nearest_file_says(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_model, folder)
    assert max_tokens(folder) == 256
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 10**9}))
    assert max_tokens(folder) == tiny.POSITIONS  # a limit of a billion tokens is none
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": None}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 10**30}))
    assert max_tokens(folder) == tiny.POSITIONS
    (folder / "config.json").unlink()
    assert max_tokens(folder) is None


def test_a_static_model_reads_everything(tmp_path: Path) -> None:
    folder = tiny.write_static_model(tmp_path / "static")
    counted = _count(_spec(folder), ["1, 2", ", ".join(map(str, range(1_000)))])
    assert counted is not None and counted.max_tokens is None and counted.truncated == 0
