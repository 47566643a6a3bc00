from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numembed.core.errors import CheckFailed, ModelUnavailable
from numembed.models.catalogue.entries import Row
from numembed.models.catalogue.names import CATALOGUE
from numembed.models.embedding import refuse_failed
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.spec import Loading, LocalWeights, ModelSpec
from tests import architectures as made_of
from tests.architectures import ARCHITECTURES, GRITLM_PROMPT, NAMES, PUBLISHED, Architecture

TEXTS = ["1, 2, 3, 4", "7, 7", "10, 200, 3000, 40000, 5", "1, 1, 2, 3, 5, 8, 13, 21, 34", "-12, 0.5"]
SAME, OTHER = 1e-5, 1e-2
Folder = Callable[[str], Path]
Matrix = Any


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Where the tiny model of a name is; each is written once."""
    root = tmp_path_factory.mktemp("architectures")

    @functools.cache
    def written(name: str) -> Path:
        return (made_of.published if name in PUBLISHED else made_of.build)(name, root / name)

    return written


def _ours(folder: Path, loading: Loading = Loading(), prompt: str = "") -> SentenceEncoder:
    weights = LocalWeights(str(folder), digest="x" * 64)
    return SentenceEncoder(ModelSpec(folder.name, weights, prompt=prompt, loading=loading), folder)


def _library(folder: Path, **options: Any) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True, **options)


def _naive(folder: Path, prompt: str = "", **options: Any) -> Matrix:
    return _library(folder, **options).encode(TEXTS, prompt=prompt)


def _by_hand(
    made: Architecture, *, before: str = "", after: str = "", prompt: str = "", bidirectional: bool | None = None
) -> Matrix:
    """Vectors of TEXTS from the model in memory, one text at a time: tokens, attention and pooling all written out.

    The tokenizer's own ends are taken where neither ``before`` nor ``after`` is given.
    """
    import torch

    model = made_of.in_memory(made).base_model
    tokenizer, modules = made.tokenizer(), made_of.heads(made)
    rows = []
    for text in TEXTS:
        ids, skip = _tokens(tokenizer, prompt + text, before, after), 0
        if not made.pool_prompt and prompt:
            skip = len(_tokens(tokenizer, prompt, before, ""))
        seen = torch.ones(len(ids), len(ids), dtype=torch.bool)
        if not (made.bidirectional if bidirectional is None else bidirectional):
            seen = seen.tril()
        mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo().min)[None, None]
        with torch.no_grad():
            hidden = model(torch.tensor([ids]), attention_mask=mask).last_hidden_state[0]
            row = {"mean": hidden[skip:].mean(0), "cls": hidden[0], "lasttoken": hidden[-1]}[made.pooling]
            for module in modules:
                row = module.linear(row) if hasattr(module, "linear") else row
        rows.append((row / row.norm() if made.normalize else row).numpy())
    return np.stack(rows)


def _tokens(tokenizer: Any, text: str, before: str, after: str) -> list[int]:
    if not before and not after:
        ids: list[int] = tokenizer.encode(text).ids
        return ids
    bare: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return [tokenizer.token_to_id(t) for t in before.split()] + bare + [tokenizer.token_to_id(t) for t in after.split()]


def _apart(one: Matrix, other: Matrix) -> float:
    """The largest difference between two sets of vectors."""
    return float(np.abs(one - other).max())


def _least_apart(one: Matrix, other: Matrix) -> float:
    """The largest difference of the text for which it is smallest."""
    return float(np.abs(one - other).max(axis=1).min())


# ---- as they should be ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_vectors_are_those_of_the_library_itself(folder: Folder, name: str) -> None:
    vectors = _ours(folder(name)).encode(TEXTS)
    assert _apart(vectors, _naive(folder(name))) <= SAME and len(np.unique(vectors, axis=0)) == len(TEXTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_vectors_are_those_of_the_model_before_it_was_saved(folder: Folder, name: str) -> None:
    made = ARCHITECTURES[name]
    right = _by_hand(made)
    assert _apart(_ours(folder(name)).encode(TEXTS), right) <= SAME
    assert _apart(_by_hand(made, bidirectional=not made.bidirectional), right) > OTHER  # else attention is not seen


SIDES = [
    (name, side)
    for name, made in ARCHITECTURES.items()
    for side in ("left", "right")
    if (made.model_type, side) != ("bert", "left")  # BERT counts its positions from the left edge, padding included
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "side"), SIDES)
def test_padding_on_either_side_changes_nothing(folder: Folder, name: str, side: str) -> None:
    encoder = _ours(folder(name))
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    tokenizer = encoder.model.tokenizer
    tokenizer.padding_side = side
    mask = np.array(tokenizer(TEXTS, padding=True)["attention_mask"])
    assert mask[1, 0] == (side == "right") and mask[1, -1] == (side == "left")
    assert _apart(encoder.encode(TEXTS), alone) <= SAME


@pytest.mark.slow
def test_bert_padded_on_its_left_is_found_out(folder: Folder, tmp_path: Path) -> None:
    spoilt = shutil.copytree(folder("bert-mean"), tmp_path / "spoilt")
    config = json.loads((spoilt / "tokenizer_config.json").read_text())
    (spoilt / "tokenizer_config.json").write_text(json.dumps(config | {"padding_side": "left"}))
    encoder = _ours(spoilt)
    assert _apart(encoder.encode(TEXTS), _by_hand(ARCHITECTURES["bert-mean"])) > OTHER and not encoder.check.ok


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_vectors_have_length_one_where_the_folder_says_so(folder: Folder, name: str) -> None:
    lengths = np.linalg.norm(_ours(folder(name)).encode(TEXTS), axis=1)
    assert np.allclose(lengths, 1, atol=SAME) == ARCHITECTURES[name].normalize


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_first_token_feels_the_last_one_only_where_attention_goes_both_ways(folder: Folder, name: str) -> None:
    encoder = _ours(folder(name))
    ids = encoder.token_ids(["1, 2, 3, 4", "1, 2, 3, 5"])
    assert len(ids[0]) == len(ids[1]) and sum(a != b for a, b in zip(*ids, strict=True)) == 1
    first, other = (encoder.token_vectors(text)[0] for text in ("1, 2, 3, 4", "1, 2, 3, 5"))
    assert (_apart(first, other) > 1e-3) == ARCHITECTURES[name].bidirectional
    assert ARCHITECTURES[name].bidirectional or _apart(first, other) <= SAME


@pytest.mark.parametrize("name", [name for name, made in ARCHITECTURES.items() if made.pooling == "lasttoken"])
def test_a_text_whose_last_token_counts_ends_with_the_end_of_text(folder: Folder, name: str) -> None:
    encoder = _ours(folder(name))
    eos = encoder.model.tokenizer.eos_token_id
    assert {ids[-1] for ids in encoder.token_ids(TEXTS)} == {eos} and eos is not None


@pytest.mark.parametrize(
    ("name", "loading"),
    [
        ("qwen3-causal-lasttoken", Loading()),
        ("gemma2-causal-lasttoken", Loading()),
        ("e5-mistral", Loading(add_bos=True, add_eos=True)),
        ("gte-qwen2", Loading(add_eos=True, causal=False)),
    ],
)
def test_a_text_that_is_cut_keeps_its_end(folder: Folder, name: str, loading: Loading) -> None:
    spec = ModelSpec(name, LocalWeights(str(folder(name)), "x" * 64), max_tokens=12, loading=loading)
    encoder = SentenceEncoder(spec, folder(name))
    (ids,) = encoder.token_ids([", ".join(map(str, range(100)))])
    assert len(ids) == 12 and ids[-1] == encoder.model.tokenizer.eos_token_id


@pytest.mark.parametrize("name", [name for name, made in ARCHITECTURES.items() if made.prompts])
def test_a_stored_prompt_survives_and_is_pooled_as_the_folder_says(folder: Folder, name: str) -> None:
    made = ARCHITECTURES[name]
    assert _library(folder(name)).prompts.items() >= made.prompts.items()
    prompt = next(iter(made.prompts.values()))
    vectors = _ours(folder(name), prompt=prompt).encode(TEXTS)
    assert _apart(vectors, _by_hand(made, prompt=prompt)) <= SAME
    assert _apart(vectors, _by_hand(made)) > OTHER


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_found_wrong_in_a_right_folder(folder: Folder, name: str) -> None:
    check = _ours(folder(name)).check
    assert check.ok, check.sentence


def test_a_model_is_written_the_same_every_time(folder: Folder, tmp_path: Path) -> None:
    for name in ("xlm-roberta", "gemma3-text-bidir"):
        again = made_of.build(name, tmp_path / name)
        files = sorted(file.relative_to(again) for file in again.rglob("*") if file.is_file())
        assert files and all((again / file).read_bytes() == (folder(name) / file).read_bytes() for file in files)


# ---- as they are published --------------------------------------------------------------------------------------


def test_e5_mistral_needs_both_its_ends(folder: Folder) -> None:
    where, right = folder("e5-mistral"), _by_hand(PUBLISHED["e5-mistral"], before="<s>", after="</s>")
    assert _least_apart(_naive(where), right) > OTHER  # its last digit alone decides
    assert _least_apart(_naive(where, processor_kwargs={"add_eos_token": True}), right) > OTHER  # that takes <s> away
    assert _least_apart(_ours(where, Loading(add_eos=True)).encode(TEXTS), right) > OTHER
    encoder = _ours(where, Loading(add_bos=True, add_eos=True))
    assert _apart(encoder.encode(TEXTS), right) <= SAME and encoder.check.ok, encoder.check.sentence
    assert not _ours(where).check.ok


@pytest.mark.parametrize("bidirectional", [True, False], ids=["7B", "1.5B read as causal"])
def test_gte_qwen2_needs_its_end_and_its_direction(folder: Folder, bidirectional: bool) -> None:
    where = folder("gte-qwen2")
    right = _by_hand(PUBLISHED["gte-qwen2"], after="<|endoftext|>", bidirectional=bidirectional)
    assert _least_apart(_naive(where), right) > OTHER
    with_end = _naive(where, processor_kwargs={"add_eos_token": True})
    assert (_least_apart(with_end, right) > OTHER) == bidirectional  # the end alone leaves it causal
    encoder = _ours(where, Loading(add_eos=True, causal=not bidirectional))
    assert _apart(encoder.encode(TEXTS), right) <= SAME and encoder.check.ok, encoder.check.sentence
    without_end = _ours(where, Loading(causal=not bidirectional))
    assert _least_apart(without_end.encode(TEXTS), right) > OTHER and not without_end.check.ok


def test_the_librarys_own_switch_for_the_direction_does_nothing(folder: Folder) -> None:
    where, end = folder("gte-qwen2"), {"add_eos_token": True}
    switched = _naive(where, processor_kwargs=end, config_kwargs={"is_causal": False})
    assert _apart(switched, _naive(where, processor_kwargs=end)) <= SAME


@pytest.mark.slow
def test_gritlm_is_pooled_and_read_as_its_makers_do(folder: Folder) -> None:
    where, right = folder("gritlm"), _by_hand(PUBLISHED["gritlm"], before="<s>", prompt=GRITLM_PROMPT)
    naive = _library(where)
    assert [type(module).__name__ for module in naive] == ["Transformer", "Pooling"]
    assert naive[1].pooling_mode == "lasttoken"  # a guess from the class in config.json
    assert _least_apart(naive.encode(TEXTS, prompt=GRITLM_PROMPT, normalize_embeddings=True), right) > OTHER
    recipe = Loading(causal=False, pooling="mean", pool_prompt=False, normalize=True)
    encoder = _ours(where, recipe, GRITLM_PROMPT)
    assert _apart(encoder.encode(TEXTS), right) <= SAME and encoder.check.ok, encoder.check.sentence
    for wrong in (
        Loading(pooling="mean", pool_prompt=False, normalize=True),
        Loading(causal=False, pooling="mean", normalize=True),
        Loading(causal=False, pooling="lasttoken", normalize=True),
    ):
        assert _least_apart(_ours(where, wrong, GRITLM_PROMPT).encode(TEXTS), right) > OTHER
    assert not _ours(where).check.ok


def test_nemotron_reads_both_ways(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    where, right = folder("nemotron"), _by_hand(PUBLISHED["nemotron"])
    encoder = _ours(where, Loading(causal=False))
    assert _apart(encoder.encode(TEXTS), right) <= SAME and encoder.check.ok, encoder.check.sentence
    for switch in ({}, {"is_causal": False}):
        assert _least_apart(_naive(where, config_kwargs={"model_type": "llama"} | switch), right) > OTHER
    with monkeypatch.context() as patch:
        patch.delitem(CONFIG_MAPPING._extra_content, "llama_bidirec", raising=False)  # as where nobody has taught it
        with pytest.raises(ValueError, match="custom code"):
            _naive(where)


def test_nomic_moe_without_its_experts_is_refused(folder: Folder) -> None:
    import torch

    where, drawn = folder("nomic-moe"), []
    for seed in (0, 1):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            naive = _library(where)  # loads, and only a log line tells
        assert not any("expert" in name for name, _ in naive.named_parameters())
        drawn.append(naive.encode(TEXTS))
    assert _least_apart(*drawn) > 100 * SAME  # the layers that are missing were made up
    code = "nomic-ai/nomic-bert-2048@" + "0123456789" * 4
    with pytest.raises(ModelUnavailable):  # that code is not on this machine
        _ours(where, Loading(remote_code=code, needs_parameter="expert"))
    with pytest.raises(ModelUnavailable, match="without its part 'expert'"):
        _ours(where, Loading(needs_parameter="expert"))
    with pytest.raises(CheckFailed, match="initialised at random"):
        refuse_failed(_ours(where).check)


def test_gte_runs_from_the_mirror_only(folder: Folder) -> None:
    original, mirror = folder("gte-new"), folder("gte-mirror")
    assert (original / "model.safetensors").read_bytes() == (mirror / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match="trust_remote_code"):
        _naive(original)
    with pytest.raises(ModelUnavailable, match="program code"):
        _ours(original)
    encoder, right = _ours(mirror), _by_hand(PUBLISHED["gte-mirror"])
    assert _apart(encoder.encode(TEXTS), right) <= SAME and encoder.check.ok, encoder.check.sentence
    assert _apart(_naive(mirror), right) <= SAME


# ---- by the catalogue's own recipes -----------------------------------------------------------------------------

BY_ROW = {  # the tiny model that stands for each of the paper's fourteen; nomic's program code is not here
    "EmbeddingGemma-300M": "gemma3-text-bidir",
    "gte-multilingual-base": "gte-mirror",
    "gte-large-en-v1.5": "gte-cls-no-normalize",
    "multilingual-e5-large": "xlm-roberta",
    **dict.fromkeys([f"Qwen3-Embedding-{size}" for size in ("0.6B", "4B", "8B")], "qwen3-causal-lasttoken"),
    **dict.fromkeys([f"gte-Qwen2-{size}-instruct" for size in ("1.5B", "7B")], "gte-qwen2"),
    "GritLM-7B": "gritlm",
    "e5-mistral-7b-instruct": "e5-mistral",
    "llama-embed-nemotron-8b": "nemotron",
    "bge-multilingual-gemma2": "gemma2-causal-lasttoken",
}
SMOLLM2 = {name: "smollm2" for name in CATALOGUE if name.startswith("SmolLM2-")}


def _by_row(row: Row, where: Path, prompt: str, **changes: Any) -> SentenceEncoder:
    weights = LocalWeights(str(where), digest="x" * 64)
    spec = ModelSpec(row.name, weights, prompt=prompt, dtype=row.dtype, loading=row.loading)
    return SentenceEncoder(replace(spec, **changes), where, facts=replace(row, dimension=made_of.HIDDEN))


def test_every_model_of_the_paper_has_its_tiny_one() -> None:
    assert {row.name for row in CATALOGUE.values() if row.paper_name} == {*BY_ROW, "nomic-embed-text-v2-moe"}


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_ROW | SMOLLM2)
def test_the_check_agrees_with_the_facts_of_a_row_loaded_by_its_recipe(folder: Folder, name: str) -> None:
    row, where = CATALOGUE[name], folder((BY_ROW | SMOLLM2)[name])
    for prompt in ("", *list(row.prompts.values())[:1]):
        check = _by_row(row, where, prompt).check
        assert check.ok, (prompt, check.sentence)
        judged = {finding.name for finding in check.findings if finding.ok}
        assert judged >= {"weights", "attention", "pooling", "batches", "dimension"}
        assert ("last token" in judged) == bool(row.ends_with_eos or row.pooling == "lasttoken")
        assert ("unit length" in judged) == row.normalizes
    other = "causal" if row.attention == "bidirectional" else "bidirectional"
    left_as_published = where.name in ("gte-qwen2", "gritlm")  # whose folders read from left to right
    wrong = row if left_as_published else replace(row, attention=other)
    assert not _by_row(wrong, where, "", loading=replace(row.loading, causal=None)).check.ok


@pytest.mark.parametrize("name", ["SmolLM2-135M", "SmolLM2-1.7B"])
def test_a_decoder_without_padding_gives_a_text_one_vector_alone_and_in_a_batch(folder: Folder, name: str) -> None:
    assert len(SMOLLM2) == 6
    row, where, apart = CATALOGUE[name], folder("smollm2"), 1e-5 if name == "SmolLM2-135M" else 2e-2  # in bfloat16
    assert not (where / "modules.json").exists() and "pad_token" not in (where / "tokenizer_config.json").read_text()
    encoder = _by_row(row, where, "")
    together = encoder.encode(TEXTS)
    assert _apart(together, np.concatenate([encoder.encode([text]) for text in TEXTS])) <= apart
    assert _apart(together, _by_hand(PUBLISHED["smollm2"])) <= apart and encoder.check.ok, encoder.check.sentence
    ended = _by_row(row, where, "", loading=replace(row.loading, pooling="lasttoken", add_eos=True))
    assert [ids[-1] for ids in ended.token_ids(TEXTS)] == [ended.model.tokenizer.eos_token_id] * len(TEXTS)
    assert _apart(ended.encode(TEXTS), np.concatenate([ended.encode([text]) for text in TEXTS])) <= apart
