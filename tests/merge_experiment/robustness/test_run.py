"""Robustness across merges on a tiny model: stopped, continued, stored, and found again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from numembed.cli import main
from numembed.core.errors import Cancelled
from numembed.core.settings import read_settings
from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment, stored_experiment
from numembed.merge_experiment.robustness.plan import encoded_texts, named_models
from numembed.merge_experiment.run import experiment_rows
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.spec import ModelSpec
from numembed.storage.vectors import VectorStore
from numembed.studies.results import ResultStore
from tests.merge_experiment.bases import RECIPE, small_experiment
from tests.merge_experiment.robustness.cases import fewer_changes
from tests.merge_experiment.test_run import Place, Untouched

pytestmark = pytest.mark.slow
_LOADED: list[str] = []  # keys of the models that the continued run loaded
_TABLES = ("robustness.csv", "robustness_comparisons.csv")


class Noting(LoadedModel):
    """It notes which models are loaded."""

    def get(self, spec: ModelSpec, *more: Any, **options: Any) -> Any:  # type: ignore[override]
        _LOADED.append(spec.stored.key)
        return super().get(spec, *more, **options)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A home; only some changes are tried."""
    home = tmp_path_factory.mktemp("home")
    settings = replace(read_settings({**os.environ, "NUMEMBED_HOME": str(home)}), prewarm=False)
    with (
        VectorStore(settings.cache_db) as vectors,
        ResultStore(settings.app_db) as results,
        pytest.MonkeyPatch.context() as patch,
    ):
        fewer_changes(patch)
        yield Place(settings, vectors, results)


@pytest.fixture(scope="module")
def asked(tiny_model: Path) -> MergeExperiment:
    recipe = replace(RECIPE, stages=1)
    plain = small_experiment(tiny_model, paths=("lora", "soup", "slerp_base"), recipe=recipe)
    return replace(plain, robustness=True)


@pytest.fixture(scope="module")
def plain(place: Place, asked: MergeExperiment) -> ExperimentResult:
    return place.run(asked.plain)


@pytest.fixture(scope="module")
def first(place: Place, plain: ExperimentResult) -> dict[str, int]:
    """How many vectors each model has before robustness is asked."""
    return {one.key: one.vectors for one in place.vectors.models()}


@pytest.fixture(scope="module")
def stopped_at(place: Place, asked: MergeExperiment, first: dict[str, int]) -> dict[str, int]:
    """How many vectors each model had when a run was cancelled while the third model encoded."""
    row = experiment_rows(asked).index("Robustness")

    def report(number: int, stage: str, done: int, total: int, note: str) -> None:
        known = {one.key: one.vectors for one in place.vectors.models()}
        grown = [key for key, count in known.items() if count > first.get(key, 0)]
        if number == row and done >= 2 and len(grown) >= 2 * 2 + 1:  # prompts have keys of their own
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        place.run(asked, report=report)
    return {one.key: one.vectors for one in place.vectors.models()}


@pytest.fixture(scope="module")
def found(place: Place, asked: MergeExperiment, stopped_at: dict[str, int]) -> ExperimentResult:
    return place.run(asked, loaded=Noting(place.settings))


def test_after_a_stop_nothing_that_is_stored_is_computed_again(
    place: Place, asked: MergeExperiment, stopped_at: dict[str, int], found: ExperimentResult
) -> None:
    after = {one.key: one.vectors for one in place.vectors.models()}
    assert len(after) > len(stopped_at) and all(after[key] >= count for key, count in stopped_at.items())
    done = {one.model.stored.key for name in ("base", "lora-0") for one in found.path(name) if one.at == 1}
    assert len(done) == 2 and _LOADED and not done & set(_LOADED), "two models were scored whole before the stop"
    again = place.run(asked, loaded=Untouched(place.settings))
    assert again.robustness == found.robustness and {one.key: one.vectors for one in place.vectors.models()} == after


def test_no_model_encodes_more_than_was_said(
    place: Place, asked: MergeExperiment, first: dict[str, int], found: ExperimentResult
) -> None:
    texts, _ = encoded_texts(asked)
    assert found.robustness is not None
    models = len(found.robustness.models)
    assert models == len(named_models(found)) == 1 + 2 + 1 + 2 + 2
    encoded = sum(one.vectors for one in place.vectors.models()) - sum(first.values())
    assert models * texts / 2 < encoded <= models * texts


def test_each_named_model_is_scored_under_every_change(found: ExperimentResult, plain: ExperimentResult) -> None:
    robust = found.robustness
    assert robust is not None and robust.split == "paper" and robust.groups == tuple(dict.fromkeys(robust.groups))
    assert len(robust.counted) == 7 and all(len(one.after) == len(robust.counted) for one in robust.models)
    for one in robust.models:
        known = [c for c in plain.path(one.path) if c.at == one.at]
        assert not known or one.before == pytest.approx(known[0].splits["paper"].silhouette)
    base = robust.of("base")[0]
    assert len(set(base.after)) == 7, "changes change the score"
    assert len(robust.differences) == 7 * len(robust.groups)
    line = [one for one in robust.differences if one.b == "straight_line"]
    others = [one for one in robust.differences if (one.a, one.b) == ("slerp_base", "lora")]
    assert max(abs(one.difference) for one in line) < max(abs(one.difference) for one in others), "nearly one model"
    assert {one.over for one in robust.differences} == {"24 sequences"} and "holds up" not in robust.sentences[-1]


def test_it_is_stored_with_the_experiment_which_stays_as_it_was(
    place: Place, asked: MergeExperiment, plain: ExperimentResult, found: ExperimentResult
) -> None:
    stored = stored_experiment(asked.plain, place.results)
    assert stored is not None and stored.robustness == found.robustness and stored.gaps == ()
    assert replace(stored, robustness=None) == plain
    assert place.run(asked.plain, loaded=Untouched(place.settings)).robustness == found.robustness
    older = {name: value for name, value in plain.as_json().items() if name != "robustness"}
    assert ExperimentResult.from_json(older) == plain, "an experiment of before"


def test_the_command_line_prints_lists_and_writes_it(
    place: Place,
    asked: MergeExperiment,
    found: ExperimentResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NUMEMBED_HOME", str(place.settings.home))
    saved = tmp_path / "saved.json"
    saved.write_text(asked.plain.to_json())
    assert found.robustness is not None
    assert main(["ladder", "--experiment", str(saved), "--robustness", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert printed.err == "" and "Robustness: how far each kind of change moves the silhouette" in printed.out
    assert all(sentence in printed.out for sentence in found.robustness.sentences)
    assert main(["ladder", "--experiment", str(saved), "--robustness", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    changes = [row["robustness"] for row in rows if "robustness" in row]
    assert {row["model"] for row in changes} == {"Base", "LoRA", "Soup", "SLERP to the base", "Straight line"}
    compared = [row["robustness_comparison"] for row in rows if "robustness_comparison" in row]
    assert len(compared) == 7 * 6 and all(row["low"] <= row["difference"] <= row["high"] for row in compared)
    assert {"verdict": found.robustness.sentences[0]} in rows
    files = {name: (tmp_path / "out" / name).read_text().splitlines() for name in _TABLES}
    assert files["robustness.csv"][0].startswith("model,title,path,at,change_of,split,perturbation,variant,retention")
    assert len(files["robustness.csv"]) == 1 + len(found.robustness.models) * len(found.robustness.variants)
    assert len(files["robustness_comparisons.csv"]) == 1 + len(compared)
    assert files["robustness_comparisons.csv"][0].endswith("over,smallest_seen,sd,sequences,seed_sd,seeds")
    everything = json.loads((tmp_path / "out" / "found.json").read_text())
    assert ExperimentResult.from_json(everything).robustness == found.robustness


def test_a_model_that_cannot_be_scored_leaves_its_row_out_and_the_next_run_tries_again(
    place: Place, asked: MergeExperiment, found: ExperimentResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numembed.core.errors import ModelUnavailable
    from numembed.merge_experiment.robustness import scoring

    scored = scoring._scores

    def failing(scorer, at, plan):  # type: ignore[no-untyped-def]
        if at.path.id == "slerp_base-1":
            raise ModelUnavailable("It is gone.")
        return scored(scorer, at, plan)

    monkeypatch.setattr(scoring, "_scores", failing)
    partly = place.run(asked)
    assert partly.robustness is not None and partly.robustness.rows == ("base", "lora", "soup", "straight_line")
    assert "robustness of SLERP to the base, seed 1, t = 0.5" in " ".join(partly.gaps)
    monkeypatch.undo()
    assert place.run(asked).robustness == found.robustness
