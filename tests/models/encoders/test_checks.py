"""What the check of a loaded model finds, on models that are right and on models that were spoilt on purpose."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers.processors import TemplateProcessing

from numembed.core.errors import BadChoice
from numembed.core.serialization import as_plain, from_plain
from numembed.models.catalogue.entries import Row
from numembed.models.catalogue.names import CATALOGUE, model
from numembed.models.encoders.checks import check_model, check_vectors
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.interface import ModelCheck
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.resolve import resolve
from numembed.models.spec import Loading
from tests import architectures, tiny
from tests.offline import OFFLINE

FACTS = replace(
    CATALOGUE["all-MiniLM-L6-v2"], dimension=tiny.HIDDEN, pooling="mean", attention="bidirectional", normalizes=True
)
FACTS_OF_GTE = replace(CATALOGUE["gte-Qwen2-7B-instruct"], dimension=tiny.HIDDEN)


def _check(folder: Path, facts: Row | None = None, loading: Loading = Loading()) -> ModelCheck:
    spec = replace(resolve(model(str(folder)), OFFLINE), loading=loading)
    return SentenceEncoder(spec, folder, facts=facts).check


def _finding(check: ModelCheck, name: str) -> bool | None:
    return next(finding.ok for finding in check.findings if finding.name == name)


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_model, folder)
    return folder


def _change(file: Path, **entries: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


@pytest.mark.slow
def test_the_bundled_model_passes_in_every_point() -> None:
    check = LoadedModel(OFFLINE).get(model("all-MiniLM-L6-v2")).check
    assert check.ok and {finding.name for finding in check.findings if finding.ok} >= {
        "weights",
        "attention",
        "pooling",
        "batches",
        "dimension",
        "unit length",
    }
    assert (
        "All weights were loaded from the files" in check.sentence and from_plain(ModelCheck, as_plain(check)) == check
    )


def test_what_nobody_has_stated_is_reported_and_not_judged(tiny_model: Path) -> None:
    check = _check(tiny_model)
    assert check.ok and _finding(check, "attention") is None and _finding(check, "dimension") is None
    assert _finding(check, "unit length") is True  # its folder has a module for it


@pytest.mark.parametrize(
    ("facts", "name", "sentence"),
    [
        ({"dimension": 384}, "dimension", "A vector has 32 dimensions, but 384 are stated"),
        ({"attention": "causal"}, "attention", "It reads in both directions, but it should be causal"),
        ({"pooling": "cls"}, "pooling", "by mean pooling, but cls is stated"),
        ({"ends_with_eos": True, "pooling": "lasttoken"}, "pooling", "lasttoken is stated"),
    ],
)
def test_facts_that_do_not_hold_are_found(tiny_model: Path, facts: dict[str, Any], name: str, sentence: str) -> None:
    assert _check(tiny_model, FACTS).ok
    check = _check(tiny_model, replace(FACTS, **facts))
    assert not check.ok and _finding(check, name) is False and sentence in check.sentence


def test_a_text_that_must_end_and_is_not_read_there_is_reported_in_other_words(
    tiny_model: Path, tmp_path: Path
) -> None:
    facts, endless = replace(FACTS, ends_with_eos=True), tiny.wordpiece()
    endless.post_processor = TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 2)])
    assert _check(tiny_model, facts).ok
    check = _check(tiny.write_model(tmp_path / "endless", tokenizer=endless), facts)
    assert not check.ok and "end every text with an end-of-text token" in check.sentence
    assert "only the last digit" not in check.sentence


def test_weights_that_are_missing_were_made_up(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors.pop("encoder.layer.1.output.dense.weight")
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    check = _check(copy)
    assert _finding(check, "weights") is False and "initialised at random" in check.sentence
    assert "encoder.layer.1.output.dense.weight" in check.sentence


def test_weights_that_are_left_out_are_found(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["encoder.layer.2.output.dense.weight"] = tensors["encoder.layer.1.output.dense.weight"].copy()
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    assert "not loaded" in _check(copy).sentence


@pytest.mark.parametrize("unused", ["pooler.dense.weight", "cls.predictions.bias", "lm_head.weight"])
def test_heads_that_no_vector_passes_do_not_matter(copy: Path, unused: str) -> None:
    tensors = load_file(copy / "model.safetensors")
    if unused in tensors:
        tensors.pop(unused)
    else:
        tensors[unused] = np.zeros(3, dtype=np.float32)
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    assert _check(copy).ok


def test_vectors_that_are_not_of_length_one_although_promised(copy: Path) -> None:
    modules = json.loads((copy / "modules.json").read_text())
    (copy / "modules.json").write_text(json.dumps(modules[:2]))
    assert _check(copy).ok  # nobody promised
    check = _check(copy, FACTS)
    assert _finding(check, "unit length") is False and "not 1" in check.sentence
    assert _check(copy, FACTS, Loading(normalize=True)).ok


def test_a_folder_that_names_no_pooling_is_not_guessed_silently(copy: Path) -> None:
    (copy / "modules.json").unlink()
    check = _check(copy)
    assert _finding(check, "pooling") is False and "pooling=mean" in check.sentence
    assert _check(copy, loading=Loading(pooling="mean")).ok


@pytest.mark.parametrize(
    ("recipe", "ok"), [({}, False), ({"add_eos": True}, False), ({"add_bos": True, "add_eos": True}, True)]
)
def test_tokens_that_the_tokenizer_is_set_to_add_must_be_there(
    tmp_path: Path, recipe: dict[str, bool], ok: bool
) -> None:
    folder = architectures.published("e5-mistral", tmp_path / "e5")
    check = _check(folder, loading=Loading(**recipe))
    assert check.ok is ok, check.sentence
    if not recipe:
        assert "end-of-text" in check.sentence


@pytest.mark.parametrize("causal", [True, False])
def test_the_direction_that_was_requested_is_the_one_that_counts(tmp_path: Path, causal: bool) -> None:
    folder = architectures.published("gte-qwen2", tmp_path / "gte")
    check = _check(folder, FACTS_OF_GTE, Loading(add_eos=True, causal=causal))
    assert _finding(check, "attention") is True


def test_a_switch_that_does_nothing_is_found(tmp_path: Path) -> None:
    folder = architectures.build("gemma3-text-bidir", tmp_path / "gemma")
    check = _check(folder, loading=Loading(causal=True))  # Gemma has another switch
    assert _finding(check, "attention") is False and "should be causal" in check.sentence


def _longer(vectors: np.ndarray) -> np.ndarray:
    return vectors * 1.5


@pytest.mark.parametrize(
    ("change", "unit", "ok"), [(_longer, True, False), (_longer, False, None), (np.copy, True, True)]
)
def test_vectors_are_held_against_what_is_promised(
    change: Callable[[np.ndarray], np.ndarray], unit: bool, ok: bool | None
) -> None:
    vectors = np.eye(3, 4, dtype=np.float32)
    findings = check_vectors(change(vectors), dimension=4, unit=unit)
    assert [finding.ok for finding in findings] == [True, ok]


def test_a_batch_that_changes_its_rows_is_found(tiny_model: Path) -> None:
    encoder = SentenceEncoder(resolve(model(str(tiny_model)), OFFLINE), tiny_model)
    right = encoder.encode

    def mixed(texts: list[str]) -> np.ndarray:
        rows = right(texts)
        return rows if len(texts) == 1 else rows[::-1].copy()

    encoder.encode = mixed  # type: ignore[method-assign,assignment]
    check = check_model(encoder, None)
    assert _finding(check, "batches") is False and "different vector in a batch" in check.sentence


def test_a_static_model_has_no_direction(tmp_path: Path) -> None:
    check = _check(tiny.write_static_model(tmp_path / "static"))
    assert check.ok and "attention" not in {finding.name for finding in check.findings}


@pytest.mark.parametrize("row", [row for row in CATALOGUE.values() if row.paper_name], ids=lambda row: row.name)
def test_each_of_the_papers_models_is_requested_by_its_recipe(row: Row) -> None:
    spec = model(row.name)
    assert spec.loading == row.loading and spec.dtype == row.dtype and spec.prompt == ""
    if row.pooling == "lasttoken" and row.loading.add_eos:
        assert row.ends_with_eos
    if row.attention and spec.loading.causal is not None:
        assert spec.loading.causal is (row.attention == "causal")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in architectures.NAMES if name != "static"])
def test_the_direction_of_every_architecture_is_reported(tmp_path: Path, name: str) -> None:
    folder = architectures.build(name, tmp_path / "model")
    told = next(finding.sentence for finding in _check(folder).findings if finding.name == "attention")
    assert told == ("It reads from left to right." if "causal" in name else "It reads in both directions.")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("max_tokens=2", "max_tokens=2 leaves no room for any number: .* puts 2 tokens of its own around each text"),
        ("eos=yes", "copy eos=yes has no part that eos= could change. Leave eos= out."),
        ("bos=yes", "copy bos=yes has no part that bos= could change"),
    ],
)
def test_an_option_that_cannot_be_carried_out_is_refused(copy: Path, options: str, sentence: str) -> None:
    with pytest.raises(BadChoice, match=sentence):
        LoadedModel(OFFLINE).get(resolve(model(f"{copy} {options}"), OFFLINE))


@pytest.mark.slow
@pytest.mark.parametrize("option", ["attention=causal", "pooling=mean", "max_tokens=9", "eos=yes"])
def test_a_table_of_token_vectors_has_nothing_that_these_options_change(tmp_path: Path, option: str) -> None:
    folder = tiny.write_static_model(tmp_path / "table")
    with pytest.raises(BadChoice, match=f"table {option} has no part that {option.partition('=')[0]}= could change"):
        LoadedModel(OFFLINE).get(resolve(model(f"{folder} {option}"), OFFLINE))


@pytest.mark.parametrize(
    ("vectors", "name", "sentence"),
    [
        (np.zeros((2, 4)), "zero", "All its vectors are zero"),
        (np.full((2, 4), [[1], [1 + 1e-7]]), "same", "All texts get the same vector"),
        (np.full((2, 4), [[1], [1.001]]), "", ""),
        (np.array([[0, 0.0], [0, 1]]), "", ""),
    ],
)
def test_vectors_that_tell_no_text_from_another(vectors: np.ndarray, name: str, sentence: str) -> None:
    wrong = [one for one in check_vectors(vectors.astype("f4"), dimension=None, unit=None) if one.ok is False]
    assert [one.name for one in wrong] == ([name] if name else []) and all(sentence in one.sentence for one in wrong)


def test_a_vector_of_a_token_that_sees_nothing_is_the_same_for_all(tmp_path: Path) -> None:
    folder = architectures.build("gemma2-causal-lasttoken", tmp_path / "gemma")
    assert _check(folder).ok
    check = _check(folder, loading=Loading(pooling="cls"))  # it reads from left to right
    assert _finding(check, "same") is False and "All texts get the same vector" in check.sentence


def test_a_layer_of_zeros_is_found(tmp_path: Path) -> None:
    folder = architectures.build("gemma3-text-bidir", tmp_path / "gemma")
    file = next(folder.glob("2_Dense/*.safetensors"))
    save_file({name: one * 0 for name, one in load_file(file).items()}, file, metadata={"format": "pt"})
    assert _finding(_check(folder), "zero") is False
