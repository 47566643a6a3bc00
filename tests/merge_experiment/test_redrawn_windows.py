from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from numembed.core.errors import BadChoice
from numembed.figures.merge.plane import plane_figure
from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment, experiment_key
from numembed.merge_experiment.redrawn import (
    USUAL_DESIGNS,
    first_designs,
    named_places,
    redrawn_split,
    redrawn_text,
    redrawn_texts,
    summed_up,
)
from numembed.merge_experiment.run import experiment_rows
from numembed.models.adapters.recipe import Recipe
from numembed.sequences.splits import NEW, PAPER, Split, leaks_of, split_called
from tests.merge_experiment.made import made_result


def with_redrawn(result: ExperimentResult, designs: int = USUAL_DESIGNS) -> ExperimentResult:
    """Return the result with made-up scores on redrawn windows: adapters 0.2 above the base, the merges equal."""
    easy = 0.1 * np.random.default_rng(1).standard_normal(designs)  # some windows are easier, for every model

    def row(name: str, apart: float) -> list[list[float]]:
        own = np.random.default_rng(len(name)).standard_normal((3, designs)) * 0.01
        return (easy + apart + own).tolist()  # type: ignore[no-any-return]

    apart = {"base": 0.0, "lora": 0.2, "linear": 0.15, "slerp": 0.15}
    places = {path.name: at for path, at in named_places(result.experiment)}
    found = tuple(summed_up(name, places[name], "paper", row(name, gap)) for name, gap in apart.items())
    result = replace(result, redrawn=found)
    return replace(result, redrawn_sentences=redrawn_text(result))


def test_designs_are_part_of_the_job_key_and_not_of_the_result_key() -> None:
    asked = MergeExperiment(designs=7)
    assert MergeExperiment.from_json(asked.to_json()) == asked and asked.key != MergeExperiment().key
    assert experiment_key(asked) == experiment_key(MergeExperiment()) and asked.title.endswith(", 7 times redrawn")
    assert experiment_rows(asked) == (*experiment_rows(MergeExperiment()), "Redrawn windows")
    for wrong in (-1, 201, 1.0, True):
        with pytest.raises(BadChoice, match="redrawn 0 to 200 times"):
            MergeExperiment(designs=wrong)  # type: ignore[arg-type]


def test_the_texts_are_the_papers_families_elsewhere_design_by_design() -> None:
    asked = MergeExperiment(designs=3)
    texts, plain = redrawn_texts(asked), Split().evaluations["paper"]
    assert len(texts) == 3 * len(plain) and texts.families == plain.families
    assert [item.family for item in texts.items] == [item.family for item in plain.items] * 3
    assert len({item.offset for item in texts.items}) == 3 * 4
    assert redrawn_texts(replace(asked, designs=5)).items[: len(texts)] == texts.items


def test_where_training_reads_the_papers_families_new_ones_are_redrawn() -> None:
    recipe = Recipe(split=split_called("paper"))
    assert redrawn_split(recipe.split) == "new" and redrawn_split(Split()) == "paper"
    assert redrawn_texts(MergeExperiment(recipe=recipe, designs=1)).families == recipe.split.new
    mixed = Split(training=(PAPER[0], "lucky", "happy"), reserved=((1_000, 1_200), (0, 200)))
    assert redrawn_split(mixed) == "new"


def test_windows_that_training_reads_under_another_name_are_refused() -> None:
    split = Split(training=("multiples:k=2", "lucky"), reserved=((1_000, 1_200), (0, 201)), new=NEW)
    assert not leaks_of(split)
    with pytest.raises(BadChoice, match=r"Windows cannot be redrawn here: training reads the terms of"):
        redrawn_texts(MergeExperiment(recipe=Recipe(split=split), designs=3))


def test_named_places_are_half_way_and_the_adapters_taken_once() -> None:
    places = {path.id: at for path, at in named_places(MergeExperiment())}
    assert places["base"] == places["lora-2"] == places["soup"] == places["karcher"] == 1
    assert places["slerp-0-1"] == places["linear-0-1"] == places["slerp_base-0"] == 0.5
    assert all(at in path.values for path, at in named_places(MergeExperiment(points=4)))


@pytest.mark.slow
def test_what_windows_have_in_common_cancels_in_the_sentences() -> None:
    found = with_redrawn(made_result())
    gain, arc = found.redrawn_sentences
    assert gain.startswith(
        "Over 10 redrawn choices of windows (instead of the paper's 24 sequences), the adapters separate better than "
        "the base by 0.2"
    )
    assert "SLERP at t = 0.5 and the soup of two seeds differ by 0.0" in arc and "no significant difference" in arc
    assert all("for these adapters. Their retention is " in one for one in (gain, arc))
    base = next(one for one in found.redrawn if one.name == "base")
    margin = float(gain.split(" ± ")[1].split(" ")[0])
    assert base.high - base.low > 10 * margin, "one score moves with the windows far more than the difference"
    few = with_redrawn(made_result(), 2)
    assert math.isnan(few.redrawn[0].low) and "an interval needs more choices" in few.redrawn_sentences[0]


def test_fewer_designs_are_the_first_ones() -> None:
    found = with_redrawn(made_result())
    cut = first_designs(found.redrawn, 4)
    assert [one.designs for one in cut] == [4] * 4 and cut[1].means == found.redrawn[1].means[:4]
    assert cut[1].low != found.redrawn[1].low and first_designs(found.redrawn, 10) == found.redrawn


@pytest.mark.slow
def test_they_come_back_from_json_and_stand_in_the_plane_where_one_asks_how_sure() -> None:
    found = with_redrawn(made_result())
    again = ExperimentResult.from_json(json.loads(json.dumps(found.as_json(), allow_nan=False)))
    assert again.redrawn == found.redrawn and again.redrawn_sentences == found.redrawn_sentences
    bars = [trace for trace in plane_figure(found, "paper", sure=True).data if "redrawn" in (trace.hovertemplate or "")]
    known = {one.name: one for one in found.redrawn}
    assert [bar.legendgroup for bar in bars] == ["lora", "linear", "slerp", "base"]
    for bar in bars:
        one = known[bar.legendgroup]
        assert bar.y[0] == pytest.approx(one.mean) and bar.y[0] + bar.error_y.array[0] == pytest.approx(one.high)
    for choices in ({"split": "later", "sure": True}, {"split": "paper"}):
        traces = plane_figure(found, **choices).data  # type: ignore[arg-type]
        assert not any("redrawn" in (trace.hovertemplate or "") for trace in traces)


@pytest.mark.slow
def test_a_difference_too_small_to_write_down_is_no_finding() -> None:
    found = with_redrawn(made_result())
    known = {one.name: one for one in found.redrawn}
    nearly = tuple(tuple(value + 2e-4 + at * 1e-6 for at, value in enumerate(row)) for row in known["linear"].values)
    (sentence,) = redrawn_text(replace(found, redrawn=(known["linear"], replace(known["slerp"], values=nearly))))
    assert "), SLERP at t = 0.5 and the soup of two seeds differ by less than 0.001" in sentence
    assert found.redrawn_sentences[1].startswith("On the same windows, ")
