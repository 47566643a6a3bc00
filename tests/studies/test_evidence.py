"""The evidence behind a table: from real runs of baselines and a tiny model."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numembed.analysis.inference.power import smallest_difference
from numembed.analysis.scores import EVIDENCE_UP_TO, SILHOUETTE, Score, ScoreKind, score_all
from numembed.core.errors import BadChoice, Cancelled
from numembed.core.serialization import as_plain, from_plain
from numembed.core.settings import LIMITS, Settings
from numembed.core.significance import holm
from numembed.export import scores_csv
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.spec import ModelSpec
from numembed.paper.protocol import paper_study
from numembed.runs.study_run import Outcome, run
from numembed.storage.vectors import VectorStore
from numembed.studies.evidence import evidence_of, evidence_rows
from numembed.studies.pairs import compared, pairs_of
from numembed.studies.reference_scores import ReferenceScores
from numembed.studies.results import ModelResult, ResultStore
from numembed.studies.stored import stored_results
from numembed.studies.study import Study
from tests.offline import OFFLINE

Run = Callable[..., Outcome]


@pytest.fixture
def carry_out(settings: Settings) -> Iterator[Run]:
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        loaded = LoadedModel(OFFLINE)

        def carry(study: Study, **more: object) -> Outcome:
            return run(study, vectors=vectors, results=results, loaded=loaded, settings=settings, **more)  # type: ignore[arg-type]

        carry.results = results  # type: ignore[attr-defined]
        yield carry


def _study(*models: str, designs: int = 0) -> Study:
    return Study(("even", "odd", "primes"), tuple(map(model, models)), per_family=3, length=10, designs=designs)


@pytest.mark.slow
def test_every_silhouette_carries_its_evidence(carry_out: Run) -> None:
    (result,) = carry_out(paper_study("last_digits")).results
    score = result.score("silhouette", "families")
    assert score.p is not None and score.p < 0.001 and score.z is not None and score.z > 5
    assert score.p_within is not None and score.p_within < 0.01
    assert score.low is not None and score.high is not None and score.low < score.value < score.high
    assert from_plain(Score, as_plain(score)) == score
    index = result.score("davies_bouldin", "families")
    assert index.p is not None and index.p < 0.001 and index.z is not None and index.z < -2 and index.low is None
    assert index.p_within is not None and index.p_within < 0.01 and from_plain(Score, as_plain(index)) == index
    assert all(other.z is None for other in result.scores if other.labels == "kmeans")  # KMeans chose its own groups


@pytest.mark.slow
def test_many_sequences_have_no_slow_evidence() -> None:
    rows = EVIDENCE_UP_TO + 1
    matrix = np.random.default_rng(0).standard_normal((rows, 2)).astype(np.float32)
    labels = np.arange(rows) % 2
    scores, _ = score_all(matrix, labels, model="m", windows=labels, permutations=5)
    assert scores[0].z is None and scores[0].low is None and scores[0].p is not None


@pytest.mark.slow
def test_redrawn_windows_are_scored_for_every_model_and_kept(carry_out: Run, tiny_model: Path) -> None:
    study = _study("last_digits", str(tiny_model), designs=4)
    stages: list[tuple[str, int]] = []
    outcome = carry_out(study, report=lambda index, stage, done, total, note: stages.append((stage, done)))
    assert not outcome.errors and ("redraw", 3) in stages
    found = stored_results(study, carry_out.results)  # type: ignore[attr-defined]
    for result in found:
        assert result is not None and {len(values) for values in result.designs.values()} == {4}
        assert set(result.designs) == {score.kind for score in result.scores}
        values = result.designs[SILHOUETTE]
        assert len(set(values)) > 1 and all(-1 <= value <= 1 for value in values)
    stages.clear()
    carry_out(study, report=lambda index, stage, done, total, note: stages.append((stage, done)))
    assert {stage for stage, _ in stages} == {"done"}  # nothing is computed twice


@pytest.mark.slow
def test_a_study_without_designs_shows_those_that_are_there(carry_out: Run) -> None:
    carry_out(_study("last_digits", designs=30))
    (plain,) = stored_results(_study("last_digits"), carry_out.results)  # type: ignore[attr-defined]
    assert plain is not None and len(plain.designs[SILHOUETTE]) == 30
    (other,) = stored_results(replace(_study("last_digits"), seed=7), carry_out.results)  # type: ignore[attr-defined]
    assert other is None


@pytest.mark.slow
def test_redrawing_can_be_cancelled(carry_out: Run) -> None:
    def stop(index: int, stage: str, done: int, total: int, note: str) -> None:
        if (stage, done) == ("redraw", 2):
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        carry_out(_study("last_digits", designs=5), report=stop)


@pytest.mark.parametrize("designs", [-1, LIMITS.designs + 1, 2.0, "3", True])
def test_a_number_of_designs_that_cannot_be_is_refused(designs: object) -> None:
    with pytest.raises(BadChoice, match="redrawn 0 to 200 times"):
        replace(_study("last_digits"), designs=designs)


def _result(name: str, value: float, p: float, designs: list[float], *, baseline: bool = False) -> ModelResult:
    spec = model("last_digits") if baseline else ModelSpec(name, model("all-MiniLM-L6-v2").weights)
    score = Score(name, "silhouette", "families", value, p=p)
    return ModelResult(
        replace(spec, name=name),
        3,
        (score,),
        np.repeat(np.arange(6), 4),
        designs={SILHOUETTE: tuple(designs)},
    )


def test_p_values_of_a_table_are_adjusted_together_and_baselines_do_not_count() -> None:
    table = [_result("a", 0.3, 0.01, []), _result("count", 0.6, 0.001, [], baseline=True), _result("b", 0.1, 0.04, [])]
    a, count, b = evidence_of(table)
    assert (a.p_holm, count.p_holm, b.p_holm) == (0.02, None, 0.04)
    assert a.gain == pytest.approx(-0.3) and count.gain is None and a.best_baseline == "count"
    assert a.redrawn is None and a.designs == 0


def test_pairs_are_compared_over_the_same_designs() -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, 30)
    low, high = (noise + 0.1).tolist(), (noise + 0.2 + np.random.default_rng(1).normal(0, 0.005, 30)).tolist()
    table = [
        _result("low", 0.1, 0.1, low),
        _result("high", 0.2, 0.1, high),
        _result("count", 0.6, 0.1, high, baseline=True),
    ]
    (sentence,) = compared(table, families=6)
    assert sentence.startswith("high is above low by 0.10 to 0.10") or sentence.startswith("high is above low by 0.1")
    same = (noise + np.random.default_rng(2).normal(0, 0.02, 30)).tolist()
    (told,) = compared([_result("one", 0, 0.1, noise.tolist()), _result("two", 0, 0.1, same)], families=6)
    assert "are not distinguishable at this size." in told
    assert "sequences per family might tell them apart" in told or "more sequences would be needed" in told


def test_how_many_sequences_are_needed_does_not_depend_on_how_many_groups_kmeans_found() -> None:
    noise, other = np.random.default_rng(0).normal(0, 0.02, (2, 30))
    table = [_result("one", 0, 0.1, (noise + 0.006).tolist()), _result("two", 0, 0.1, other.tolist())]
    fewer = [replace(one, clusters=np.repeat(np.arange(2), 12)) for one in table]
    (told,) = compared(table, families=6)
    assert "sequences per family might tell them apart" in told and compared(fewer, families=6) == (told,)


def test_every_pair_is_judged_together_and_one_that_cannot_be_compared_says_why() -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, 30)
    shifted = [(noise + np.random.default_rng(i).normal(0, 0.01, 30) + i / 10).tolist() for i in range(3)]
    table = [_result(name, i / 10, 0.1, shifted[i]) for i, name in enumerate("abc")]
    pairs = pairs_of([*table, _result("count", 0.6, 0.1, shifted[0], baseline=True)], families=6)
    assert [(one.first, one.second) for one in pairs] == [("c", "b"), ("c", "a"), ("b", "a")]
    assert all(one.distinguishable and one.low < one.difference < one.high and one.designs == 30 for one in pairs)
    assert [one.p_holm for one in pairs] == list(holm([one.p for one in pairs]))
    apart = float(np.subtract(shifted[2], shifted[1]).std(ddof=1))
    assert pairs[0].smallest_seen == smallest_difference(apart, 30, comparisons=3) == pairs[0].as_row()["smallest_seen"]
    few = pairs_of([table[2], _result("few", 0.0, 0.1, shifted[0][:5]), _result("none", -0.1, 0.1, [])], families=6)
    assert [math.isnan(one.difference) and one.p_holm is None for one in few] == [True] * 3
    assert few[0].sentence == (
        "c and few cannot be compared: c has the scores of 30 and few has the scores of 5 redrawn designs; "
        "redraw the windows of both the same number of times."
    )
    assert len(compared([table[2], _result("few", 0.0, 0.1, shifted[0][:5])], families=6)) == 1
    assert pairs_of([_result("a", 0, 0.5, []), _result("b", 0, 0.5, [])], families=6) == ()


def test_a_pair_that_only_stands_out_alone_is_not_claimed() -> None:
    table = [_result(str(i), 0, 0.5, np.random.default_rng(i).normal(0, 0.02, 30).tolist()) for i in range(12)]
    alone = [one for one in pairs_of(table, families=6) if abs(one.low) + abs(one.high) == abs(one.low + one.high)]
    assert alone and not any(one.distinguishable for one in alone)
    assert all(one.sentence.endswith("when all 66 pairs are judged together.") for one in alone)


@pytest.mark.slow
def test_one_table_holds_the_evidence_of_every_score(carry_out: Run) -> None:
    study = _study("digit_counts", "log_magnitude", designs=4)
    outcome = carry_out(study)
    rows = evidence_rows(study, outcome.results, outcome.references)
    assert len(rows) == 12 and all(list(row) == list(rows[0]) for row in rows)
    for row, score in zip(rows, (score for one in outcome.results for score in one.scores), strict=True):
        assert (row["model"], row["metric"], row["labels"], row["value"]) == (
            score.model,
            score.metric,
            score.labels,
            score.value,
        )
        assert (row["seed"], row["designs"]) == (0, 4) and row["design"].startswith(
            "even, odd, primes: 3 windows of 10"
        )
        assert row["redrawn_low"] < row["redrawn_high"] and row["redrawn_sd"] > 0 and row["best_baseline"]
        assert (row["p"] is not None) == (score.labels == "families")
        assert score.labels == "families" or row["note"].startswith(("KMeans chose", "already adjusted for chance"))
    lines = list(csv.DictReader(io.StringIO(scores_csv(study, outcome.results, outcome.references))))
    for line, row in zip(lines, rows, strict=True):
        assert {name: "" if value is None else str(value) for name, value in row.items()} == line


def test_a_gain_is_better_above_nothing_whatever_the_metric() -> None:
    references = ReferenceScores({"count": {SILHOUETTE: 0.6, ScoreKind("davies_bouldin", "families"): 1.0}})
    one = _result("a", 0.7, 0.1, [])
    one = replace(one, scores=(*one.scores, Score("a", "davies_bouldin", "families", 0.8)))
    kinds = (SILHOUETTE, ScoreKind("davies_bouldin", "families"))
    gains = [evidence_of([one], references, kind)[0].gain for kind in kinds]
    assert gains == [pytest.approx(0.1), pytest.approx(0.2)]


def test_null_data_claim_no_difference() -> None:
    claims = 0
    for seed in range(200):
        a, b = np.random.default_rng(seed).normal(0, 0.02, (2, 30)).tolist()
        (told,) = compared([_result("a", 0, 0.5, a), _result("b", 0, 0.5, b)], families=6)
        claims += "is above" in told
    assert claims / 200 <= 0.08


@pytest.mark.slow
def test_the_bundled_model_on_the_papers_sequences(carry_out: Run) -> None:
    study = replace(paper_study("all-MiniLM-L6-v2", "last_digits"), designs=12)
    model_result, _ = carry_out(study).results
    score = model_result.score("silhouette", "families")
    assert score.value == pytest.approx(-0.0922, abs=5e-4) and score.chance_mean == pytest.approx(-0.109, abs=0.004)
    assert score.p is not None and 0.15 < score.p < 0.22
    assert score.p_within is not None and 0.03 < score.p_within < 0.09
    values = np.array((stored_results(study, carry_out.results)[0] or model_result).designs[SILHOUETTE])  # type: ignore[attr-defined]
    assert 0.01 < values.std(ddof=1) < 0.035
    found = evidence_of(stored_results(study, carry_out.results))[0]  # type: ignore[attr-defined,arg-type]
    assert found.gain is not None and found.gain == pytest.approx(-0.0922 - 0.6446, abs=2e-3)
    assert found.redrawn is not None and not math.isnan(found.redrawn.low)
