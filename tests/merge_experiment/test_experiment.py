"""What a merging experiment is: its JSON, its key, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from numembed.core.errors import BadChoice, TooLarge
from numembed.merge_experiment.experiment import MergeExperiment, is_experiment
from numembed.merge_experiment.paths import possible
from numembed.models.catalogue.names import model
from numembed.studies.study import Study
from tests.merge_experiment.bases import RECIPE, small_experiment


def test_an_experiment_is_restored_from_its_json(tiny_model: Path) -> None:
    for asked in (
        MergeExperiment(),
        small_experiment(tiny_model),
        small_experiment(tiny_model, seed=7, distance="cosine", points=5),
    ):
        again = MergeExperiment.from_json(asked.to_json())
        assert again == asked and again.key == asked.key and is_experiment(asked.to_json())


def test_what_matters_changes_the_key(tiny_model: Path) -> None:
    asked = small_experiment(tiny_model)
    others = [
        replace(asked, points=5),
        replace(asked, seed=1),
        replace(asked, distance="cosine"),
        replace(asked, paths=("lora",)),
        replace(asked, recipe=replace(asked.recipe, steps=5)),
        MergeExperiment(),
    ]
    assert len({one.key for one in (asked, *others)}) == 7


def test_paths_that_need_more_seeds_or_stages_are_left_out_or_refused() -> None:
    alone = replace(RECIPE, seeds=(3,), stages=1)
    assert set(possible(alone)) == {"base", "lora", "slerp_base", "norm_matched_base"}
    assert MergeExperiment(recipe=alone).paths == ("base", "lora", "slerp_base", "norm_matched_base")
    with pytest.raises(BadChoice, match="needs more seeds or stages"):
        MergeExperiment(recipe=alone, paths=("slerp",))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"points": 2}, "3 to 41 points"),
        ({"points": 11.0}, "points"),
        ({"seed": -1}, "seed"),
        ({"distance": "taxi"}, "distance is one of"),
        ({"paths": ("nowhere",)}, "no path 'nowhere'"),
        ({"base": model("last_digits")}, "cannot be adapted"),
        ({"base": model("all-MiniLM-L6-v2 weights=random")}, "cannot be adapted"),
    ],
)
def test_invalid_experiments_are_refused(changes: dict[str, object], expected: str) -> None:
    with pytest.raises(BadChoice, match=expected):
        MergeExperiment(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"ladder": []}', '{"ladder": {"points": "x"}}', '{"ladder": {"a": 1}}'),
        *('{"ladder": {"base": 3}}', '{"ladder": {"recipe": {}}}', '{"ladder": {"paths": 1}}'),
    ],
)
def test_text_that_is_no_experiment_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(BadChoice):
        MergeExperiment.from_json(text)


def test_experiments_and_studies_are_not_confused() -> None:
    with pytest.raises(BadChoice, match="no entry 'ladder'"):
        Study.from_json(MergeExperiment().to_json())
    with pytest.raises(TooLarge):
        MergeExperiment.from_json(" " * 20_001)
