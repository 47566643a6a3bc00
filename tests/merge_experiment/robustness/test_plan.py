"""What robustness across merges computes: its models at equal retention, its changes, and its cost beforehand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from numembed.core.errors import BadChoice
from numembed.examinations.stress.compute import texts_of
from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment, experiment_key
from numembed.merge_experiment.results import Candidate
from numembed.merge_experiment.robustness.plan import encoded_texts, most_texts, named_models, places_of, plan_of
from numembed.merge_experiment.robustness.results import CHANGES, LINE
from numembed.merge_experiment.run import experiment_rows
from numembed.models.adapters.recipe import Recipe
from numembed.models.catalogue.names import model
from numembed.sequences.perturbations.terms import PERTURBATIONS
from numembed.sequences.splits import Split, split_called
from numembed.studies.study import Study
from tests.merge_experiment.made import made_result

USUAL = MergeExperiment(paths=("lora", "soup", "slerp_base"), points=4)


@pytest.fixture(scope="module")
def scored() -> ExperimentResult:
    return made_result(USUAL)


def _kept(result: ExperimentResult, path: str, kept: dict[float, float]) -> ExperimentResult:
    """Return the result with other retentions on one path."""

    def changed(one: Candidate) -> Candidate:
        if one.path != path or one.at not in kept:
            return one
        return replace(one, retention=replace(one.retention, spearman=kept[one.at]))

    return replace(result, candidates=tuple(map(changed, result.candidates)))


def test_the_request_is_part_of_the_jobs_key_and_of_no_stored_one() -> None:
    asked = replace(USUAL, robustness=True)
    assert MergeExperiment.from_json(asked.to_json()) == asked and asked.key != USUAL.key
    assert "robustness" not in USUAL.as_dict() and experiment_key(asked) == experiment_key(USUAL)
    assert asked.title.endswith(", robustness") and asked.plain == USUAL
    both = replace(asked, designs=3)
    assert experiment_rows(both) == (*experiment_rows(USUAL), "Robustness", "Redrawn windows")
    with pytest.raises(BadChoice, match="Robustness is true or false"):
        replace(USUAL, robustness=1)  # type: ignore[arg-type]


def test_the_named_models_are_those_of_the_experiment(scored: ExperimentResult) -> None:
    places = named_models(scored)
    assert [one.row for one in places] == ["base", *["lora"] * 3, "soup", *["slerp_base"] * 3, *[LINE] * 3]
    assert {(one.row, one.at) for one in places if one.row != LINE} == {
        ("base", 1.0), ("lora", 1.0), ("soup", 1.0), ("slerp_base", 0.5)
    }  # fmt: skip
    assert [one.seed for one in places if one.row in ("lora", LINE)] == [0, 1, 2] * 2
    assert [(one.seed, one.path.id) for one in places if one.row in ("base", "soup")] == [
        (None, "base"),
        (None, "soup"),
    ]
    assert len(places_of(USUAL)) == len(places)
    single = MergeExperiment(recipe=Recipe(seeds=(0,)), paths=("lora", "slerp_base"))
    assert [row for row, _ in places_of(single)] == ["base", "lora", "slerp_base", LINE]
    without = MergeExperiment(paths=("lora", "slerp"))
    assert {row for row, _ in places_of(without)} == {"base", "lora"}


def test_the_straight_line_lies_where_it_retains_as_much_as_slerp(scored: ExperimentResult) -> None:
    arcs = {one.seed: one for one in named_models(scored) if one.row == "slerp_base"}
    path = {0.0: 1.0, 0.5: 0.95, 1.0: 0.85, 1.5: 0.6}
    for kept, at, there in (
        (0.9, 0.75, 0.9),  # half-way between two scored ones
        (0.9504, 0.5, 0.95),  # a scored one is near enough
        (0.7, 1.3, 0.7),
    ):
        moved = _kept(_kept(scored, "lora-1", path), "slerp_base-1", {0.5: kept})
        line = next(one for one in named_models(moved) if one.row == LINE and one.seed == 1)
        assert (line.at, line.retention) == (pytest.approx(at), there) and line.path.id == "lora-1"
    turning = _kept(scored, "lora-1", {0.0: 1.0, 0.5: 0.8, 1.0: 0.9, 1.5: 0.7})
    line = next(
        one for one in named_models(_kept(turning, "slerp_base-1", {0.5: 0.85})) if one.row == LINE and one.seed
    )
    assert line.at == pytest.approx(0.375), "nearest to the base"
    for never in (0.5, math.nan):
        places = named_models(_kept(_kept(scored, "lora-1", path), "slerp_base-1", {0.5: never}))
        assert [one.seed for one in places if one.row == LINE] == [0, 2]
    assert arcs[1].retention == next(one for one in scored.path("slerp_base-1") if one.at == 0.5).retention.spearman


@pytest.mark.slow
@pytest.mark.parametrize("training", ["others", "paper"])
def test_it_costs_at_most_the_stress_test_times_the_models(training: str) -> None:
    asked = MergeExperiment(recipe=Recipe(split=split_called(training)))
    plain = plan_of(asked).plain
    sizes = {list(plain.labels).count(label) for label in set(plain.labels.tolist())}
    study = Study(plain.families, (model("last_digits"),), per_family=max(sizes), length=10)
    texts, characters = encoded_texts(asked)
    assert 0 < texts <= most_texts(plain) <= texts_of(study) and characters > texts


@pytest.mark.slow
def test_what_says_nothing_of_a_model_is_left_out_with_why() -> None:
    plan = plan_of(MergeExperiment())
    assert plan.split == "paper" and {one.group for one in plan.variants} == set(CHANGES)
    assert [one.name for one in plan.trials] == [one.perturbation for one in plan.variants if not one.note]
    why = {one.perturbation: one.note for one in plan.variants if one.note}
    assert why["digits_masked"].startswith("Texts become equal")
    assert "primes_or_not" not in {one.perturbation for one in plan.variants}, "other families"
    assert not {one.perturbation for one in plan.variants} & {
        entry.name for entry in PERTURBATIONS if entry.facts["group"] == "scoring"
    }
    for trial in plan.trials:
        assert trial.change is not None or trial.sequences.texts != plan.plain.texts
        assert len(set(trial.sequences.texts)) == len(plan.plain)
    asked = MergeExperiment(model("all-MiniLM-L6-v2 prompt='query: '"))
    prompts = [one for one in plan_of(asked).variants if one.perturbation == "prompt" and one.note]
    assert [one.options for one in prompts] == [{"prompt": "query: "}] and prompts[0].note.startswith("Nothing changes")


@pytest.mark.slow
def test_windows_that_training_reads_under_another_name_are_left_out() -> None:
    split = Split(training=("multiples:k=2", "lucky"), reserved=((1_000, 1_200), (0, 201)))
    plan = plan_of(MergeExperiment(recipe=Recipe(split=split)))
    notes = {one.note for one in plan.variants if one.perturbation == "first_term"}
    assert any(note.startswith("Training reads these terms of Even") for note in notes)
