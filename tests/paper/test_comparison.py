"""Runs made here beside the paper's: found under its names, held against their own levels, printed and drawn."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import astuple, replace
from pathlib import Path

import pytest

from numembed.analysis.metrics import davies_bouldin, silhouette
from numembed.analysis.scores import SILHOUETTE, score_all
from numembed.cli import main
from numembed.core.settings import Settings
from numembed.models.baselines import BASELINES
from numembed.models.catalogue.names import CATALOGUE, model
from numembed.paper.claims import CLAIMS, judged
from numembed.paper.comparison import (
    CHANCE,
    DIGITS_KMEANS,
    baseline_levels,
    facts_of_line,
    model_rows,
    own_line,
    own_results,
    size_of,
)
from numembed.paper.judging import FAILS, FEW, HOLDS, OPEN
from numembed.paper.protocol import paper_study
from numembed.paper.published import TABLE_2, PublishedScore
from numembed.studies.keys import result_key
from numembed.studies.results import ModelResult, ResultStore

JUDGE = {claim.name: claim.judge for claim in CLAIMS}


# levels


def test_the_baselines_are_those_of_scikit_learn() -> None:
    sequences = paper_study("last_digits").sequences
    found = {level.name: level for level in baseline_levels()}
    assert baseline_levels()[0].name == "Last digits" and found["Last digits"].silhouette == pytest.approx(
        0.645, abs=0.001
    )
    for name in ("last_digits", "first_differences", "digit_counts", "log_magnitude", "string_length"):
        matrix, level = BASELINES[name].function(sequences.texts), found[BASELINES[name].title]
        assert level.silhouette == pytest.approx(silhouette(matrix, sequences.labels), abs=1e-4)
        assert level.davies_bouldin == pytest.approx(davies_bouldin(matrix, sequences.labels), rel=1e-3)


def test_the_stated_score_of_kmeans_on_digits_is_right() -> None:
    sequences = paper_study("digit_counts").sequences
    scores, _ = score_all(
        BASELINES["digit_counts"].function(sequences.texts), sequences.labels, model="", permutations=9
    )
    assert scores[2].value == pytest.approx(DIGITS_KMEANS, abs=0.005)


@pytest.mark.slow
def test_the_stated_chance_level_of_the_bundled_model_is_right(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--models", "all-MiniLM-L6-v2", "--json"]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    low, high = CHANCE.silhouette_band
    assert (first["chance_mean"], first["chance_low"], first["chance_high"]) == pytest.approx(
        (CHANCE.silhouette, low, high), abs=0.005
    )


# what was run here


def store_as_run(settings: Settings, *lines: PublishedScore) -> None:
    """Put results with the numbers of ``lines`` where a run would have left them."""
    names = {row.paper_name or row.name: row.name for row in CATALOGUE.values()}
    study = paper_study("last_digits")
    scored, clusters = score_all(
        BASELINES["last_digits"].function(study.sequences.texts), study.sequences.labels, model="", permutations=9
    )
    with ResultStore(settings.app_db) as results:
        for line in lines:
            spec = model(names[line.model])
            values = astuple(line)[1:5]
            scores = [
                replace(score, model=spec.name, value=value) for score, value in zip(scored, values, strict=False)
            ]
            found = ModelResult(spec, 10, (*scores, *scored[4:]), clusters)
            results.put_model_result(result_key(study, spec), found)


def test_own_runs_are_found_under_the_papers_names(settings: Settings) -> None:
    pinned = [line for line in TABLE_2 if (row := facts_of_line(line)) is not None and model(row.name).resolved]
    assert len(pinned) >= 2
    store_as_run(settings, *pinned)
    with ResultStore(settings.app_db) as results:
        own = [own_line(result) for result in own_results(results)]
    assert [replace(line, chance_low=None, chance_high=None) for line in own] == pinned
    assert all(line.chance_low is not None and line.redrawn_sd is None for line in own)


def test_negative_scores_are_compared_with_the_chance_level_of_their_own_run() -> None:
    own = [replace(line, silhouette_families=-0.10, chance_low=-0.09, chance_high=0.0) for line in TABLE_2[:3]]
    verdict = JUDGE["negative"](own)
    assert verdict.sentence.startswith(
        "3 of 3 scores are negative, none of them in the range of shuffled families. The chance"
    )
    assert CHANCE.name not in verdict.sentence and "its own vectors" in verdict.detail and verdict.low is None
    assert (
        "3 of 3 scores are negative, 1 of them"
        in JUDGE["negative"]([*own[:2], replace(own[2], chance_low=-0.2)]).sentence
    )
    mixed = JUDGE["negative"]([*own[:2], replace(own[2], chance_low=None, chance_high=None)])
    assert "3 of 3 scores are negative, 1 of them" in mixed.sentence and "Those without" in mixed.detail


def test_gaps_of_own_runs_are_compared_with_their_own_redrawn_windows() -> None:
    lines = sorted(TABLE_2, key=size_of)
    wide = [replace(line, silhouette_families=0.3 - 0.1 * (i == 0), redrawn_sd=0.5) for i, line in enumerate(lines)]
    narrow = [replace(line, silhouette_families=0.03 * (i == 0), redrawn_sd=0.0005) for i, line in enumerate(lines)]
    assert JUDGE["monotonic"](TABLE_2).word == FAILS == JUDGE["monotonic"](narrow).word
    assert JUDGE["monotonic"](wide).word == OPEN and JUDGE["above_half"](wide).word == OPEN
    assert "by more than redrawing the windows explains." in JUDGE["monotonic"](narrow).sentence
    plain_best = JUDGE["best_model"](TABLE_2)
    own_best = JUDGE["best_model"]([replace(line, redrawn_sd=0.0005) for line in TABLE_2])
    assert plain_best.word == OPEN and own_best.word == HOLDS and "measured here" in own_best.detail


def test_the_command_prints_every_claim_with_its_verdicts(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["paper", "--json"]) == 0
    rows = [json.loads(line, parse_constant=pytest.fail) for line in capsys.readouterr().out.splitlines()]
    models = [row for row in rows if row["part"] == "model"]
    assert [row["model"] for row in models] == [line.model for line in TABLE_2]
    assert [row["paper_silhouette_families"] for row in models] == [line.silhouette_families for line in TABLE_2]
    assert {row["silhouette_families"] for row in models} == {row["inside"] for row in models} == {None}
    rows = [row for row in rows if row["part"] == "claim"]
    assert [row["name"] for row in rows] == list(JUDGE)
    assert [row["table_2"]["word"] for row in rows] == [verdict.word for verdict in judged(TABLE_2)]
    of = {row["name"]: row["table_2"] for row in rows}
    assert of["above_half"]["flips_at"] == pytest.approx(0.0651, abs=1e-4) and of["best_model"]["as_printed"] is True
    assert [one["metric"] for one in of["backbone"]["metrics"]] == ["silhouette", "davies_bouldin"]
    assert main(["paper"]) == 0
    assert of["above_half"]["spread"] in capsys.readouterr().out
    assert {row["here"]["word"] for row in rows} == {FEW}
    assert main(["paper"]) == 0
    printed = capsys.readouterr().out
    assert all(claim.question in printed and claim.quotation in printed for claim in CLAIMS)


@pytest.mark.parametrize(("away", "inside"), [(0.0, True), (0.5, False)])
def test_our_value_is_compared_with_the_papers(settings: Settings, away: float, inside: bool) -> None:
    line = next(one for one in TABLE_2 if (row := facts_of_line(one)) is not None and model(row.name).resolved)
    store_as_run(settings, line)
    with ResultStore(settings.app_db) as results:
        (own,) = own_results(results)
    values = tuple(line.silhouette_families + away + shift for shift in (-0.01, 0.0, 0.01))
    row = next(one for one in model_rows([replace(own, designs={SILHOUETTE: values})]) if one["designs"])
    assert row["model"] == line.model and row["inside"] is inside and row["designs"] == 3
    assert row["silhouette_families"] == line.silhouette_families == row["paper_silhouette_families"]
    assert row["difference"] == 0 and row["redrawn_low"] < values[1] < row["redrawn_high"]
    assert model_rows([own])[0].keys() == row.keys() and len(model_rows([own])) == len(TABLE_2)


def test_the_claims_need_nothing_heavy(home: Path) -> None:
    script = (
        "import sys\nfrom numembed.paper.claims import judged\nfrom numembed.paper.published import TABLE_2\n"
        "judged(TABLE_2)\n"
        "print([name for name in ('torch', 'sklearn', 'scipy', 'pandas', 'plotly') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=240)
    assert done.stdout.strip() == "[]"
