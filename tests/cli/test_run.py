"""Runs from the command line: what is printed and written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from numembed.paper.protocol import paper_study
from numembed.studies.study import Study
from tests import tiny
from tests.cli.calls import SMALL, Call, calls


@pytest.mark.slow
def test_run_prints_one_score_a_line_and_nothing_else(call: Call) -> None:
    answer = call("run", "--models", "last_digits", "string_length", *SMALL, "--json")
    assert answer.code == 0 and answer.err == ""
    assert [set(row) >= {"model", "metric", "labels", "value"} for row in answer.rows] == [True] * 12
    assert {row["model"] for row in answer.rows} == {"Last digits", "String length"}
    assert {(row["metric"], row["labels"]) for row in answer.rows} == {
        ("silhouette", "families"),
        ("davies_bouldin", "families"),
        ("silhouette", "kmeans"),
        ("davies_bouldin", "kmeans"),
        ("ari", "kmeans"),
        ("ami", "kmeans"),
    }
    assert all(isinstance(row["value"], float) for row in answer.rows)


def test_undefined_scores_are_null_with_their_reason(call: Call) -> None:
    answer = call("run", "--models", "last_digits", "--families", "even", "--per-family", 2, "--length", 5, "--json")
    row = next(row for row in answer.rows if row["metric"] == "silhouette" and row["labels"] == "families")
    assert answer.code == 0 and row["value"] is None and row["note"].startswith("needs 2 to n")


@pytest.mark.slow
def test_run_without_json_is_a_table(call: Call) -> None:
    answer = call("run", "--models", "last_digits", *SMALL)
    lines = answer.out.splitlines()
    columns = ["model", "metric", "labels", "value", "p", "p_within", "word", "best_baseline_value", "random_weights"]
    assert lines[0].startswith("The best trivial baseline is counting ")
    assert answer.code == 0 and lines[1].split() == columns and len(lines) == 8
    row = r"Last digits +silhouette +families +0\.\d{4} +0\.\d{4} +0\.\d{4} +too few +0\.\d{4} +–$"
    assert re.match(row, lines[2])


@pytest.mark.slow
def test_texts_that_a_model_cuts_are_reported_wherever_its_score_stands(
    call: Call, tiny_model: Path, tmp_path: Path
) -> None:
    asked = ("run", "--models", f"{tiny_model} max_tokens=16", "last_digits", *SMALL, "--out", tmp_path)
    answer = call(*asked, "--json")
    own = [row for row in answer.rows if row["model"].startswith("tiny")]
    assert {row["texts_cut"] for row in own} == {6}
    assert all(0 < row["numbers_read"] < row["numbers"] == 10 for row in own)
    assert {row["texts_cut"] for row in answer.rows if row["model"] == "Last digits"} == {None}
    told = f"reads 6 of 6 texts only in part: of one it reads {own[0]['numbers_read']} of 10 numbers"
    assert told in answer.err and told in call(*asked).err
    header, first = ((tmp_path / "scores.csv").read_text().splitlines())[:2]
    assert dict(zip(header.split(","), first.split(","), strict=False))["model"].startswith("tiny")
    assert "texts_cut" in header
    whole = call("run", "--models", tiny_model, *SMALL, "--json")
    assert {row["texts_cut"] for row in whole.rows} == {0} and "only in part" not in whole.err


@pytest.mark.slow
def test_a_saved_study_gives_the_numbers_of_the_same_study_to_the_last_digit(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("last_digits", "random_vectors", "char_ngrams")
    file = tmp_path / "study.json"
    file.write_text(paper_study(*names).to_json(), encoding="utf-8")
    from_paper = call("run", "--study", "paper", "--models", *names, "--json")
    monkeypatch.setenv("NUMEMBED_HOME", str(tmp_path / "another home"))
    from_file = call("run", "--study", file, "--json")
    assert from_file.code == from_paper.code == 0 and len(from_file.rows) == 18
    assert from_file.out == from_paper.out


def test_what_is_named_replaces_what_the_study_says(call: Call, tmp_path: Path) -> None:
    file, out = tmp_path / "study.json", tmp_path / "out"
    file.write_text(paper_study("last_digits").to_json())
    options = ("--families", "odd", "even", "squares", "--per-family", 1, "--length", 3, "--first-window", 2)
    answer = call(
        "run", "--study", file, *options, "--separator", " ", "--distance", "cosine", "--seed", 9, "--out", out
    )
    assert answer.code == 0
    study = Study.from_json((out / "study.json").read_text())
    assert (study.families, study.per_family, study.length, study.first_window) == (("odd", "even", "squares"), 1, 3, 2)
    assert (study.text_format.separator, study.distance, study.seed) == (" ", "cosine", 9)
    assert [spec.name for spec in study.models] == ["Last digits"]


@pytest.mark.slow
def test_out_writes_three_files(call: Call, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    answer = call("run", "--models", "last_digits", "digit_counts", *SMALL, "--out", out, "--json")
    assert answer.code == 0 and sorted(file.name for file in out.iterdir()) == ["maps.html", "scores.csv", "study.json"]
    lines = (out / "scores.csv").read_text().splitlines()
    assert lines[0].startswith("model,metric,labels,value") and len(lines) == 13
    assert float(lines[1].split(",")[3]) == answer.rows[0]["value"]
    page = (out / "maps.html").read_text()
    assert page.startswith("<!doctype html>") and "Plotly.newPlot" in page
    again = call("run", "--study", out / "study.json", "--json")
    assert again.out == answer.out


@pytest.mark.slow
def test_redrawn_designs_and_pairs_are_reported_and_written(call: Call, tiny_model: Path, tmp_path: Path) -> None:
    models = (tiny_model, f"{tiny_model} dim=8", "last_digits")
    asked = ("run", "--models", *models, *SMALL, "--designs", 4)
    answer = call(*asked, "--json", "--out", tmp_path)
    *scores, pair = answer.rows
    assert answer.code == 0 and len(scores) == 18
    for row in scores:
        assert row["designs"] == 4 and row["redrawn_low"] < row["value"] + 1 and row["redrawn_sd"] >= 0
        assert {"low", "high", "redrawn_high", "p_holm", "p_within", "z", "chance_mean", "gain", "seed"} <= set(row)
    assert scores[0]["p_holm"] >= scores[0]["p"] and scores[0]["random_weights"] is not None
    assert {pair["first"], pair["second"]} == {"tiny", "tiny dim=8"} and pair["designs"] == 4
    assert pair["p_holm"] == pair["p"] and pair["low"] < pair["difference"] < pair["high"] and pair["sentence"]
    assert (tmp_path / "pairs.csv").read_text().splitlines()[1].startswith(pair["first"])
    plain = call(*asked).out.splitlines()
    assert plain[1].split()[-4:] == ["redrawn_low", "redrawn_high", "redrawn_sd", "designs"]
    assert plain[-1] == pair["sentence"]


@pytest.mark.slow
def test_models_that_break_while_they_load_or_run_are_one_line_too(home: Path, nan_model: Path, tmp_path: Path) -> None:
    torn = tiny.write_model(tmp_path / "torn")
    with (torn / "model.safetensors").open("r+b") as file:
        file.truncate(2_000)
    lost = tiny.write_model(tmp_path / "lost")
    (lost / "config.json").unlink()
    answers, _ = calls(*(("run", "--models", folder, *SMALL, "--json") for folder in (nan_model, torn, lost)))
    sentences = ("broken returned numbers that are not finite", "of 'torn' is damaged", "lost could not be")
    for answer, sentence in zip(answers, sentences, strict=True):
        assert (answer.code, answer.out, answer.err.count("\n")) == (1, "", 1)
        assert answer.err.startswith("numembed: ") and sentence in answer.err
