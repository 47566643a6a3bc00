"""The short form of the experiment, which is usual for large models; the full one keeps its keys."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from numembed.merge_experiment.experiment import MergeExperiment, recipe_for
from numembed.merge_experiment.paths import SHORT, USUAL
from numembed.merge_experiment.run import _rounding
from numembed.merge_experiment.text import verdict
from numembed.models.adapters.recipe import Recipe
from numembed.models.builtin.models import usual_recipe
from numembed.models.catalogue.names import model
from numembed.sequences.splits import Split, split_called
from tests.merge_experiment.made import made_result


def test_a_large_model_takes_few_short_steps_and_the_short_form() -> None:
    base = model("smollm2")
    recipe = usual_recipe(base)
    assert (recipe.rank, recipe.batch, recipe.steps, recipe.seeds, recipe.stages) == (8, 16, 24, (0, 1), 2)
    assert (recipe.split.shortest, recipe.split.longest) == (8, 12) and recipe.numbers == "auto"
    assert recipe.targets == ("q_proj", "k_proj", "v_proj", "o_proj")
    experiment = MergeExperiment(base, recipe_for(base, split_called("others")), points=3)
    assert set(experiment.paths) == set(SHORT) and experiment.splits == ("reserved", "paper")
    assert MergeExperiment.from_json(experiment.to_json()) == experiment
    full = MergeExperiment(base, recipe_for(base, split_called("others"), brief=False))
    assert set(full.paths) == set(USUAL) and full.splits == ("later", "reserved", "paper", "new")


def test_what_is_new_is_left_out_of_older_keys() -> None:
    assert "numbers" not in Recipe().as_dict() and "brief" not in Split().as_dict()
    assert Recipe(numbers="auto").settled(bfloat16=True).numbers == "bfloat16"
    assert Recipe(numbers="auto").settled(bfloat16=False) == Recipe()


def test_the_loss_of_a_decoder_names_the_texts_that_it_is_measured_on() -> None:
    base, split = model("smollm2"), split_called("others")
    said = []
    for brief in (True, False):
        result = made_result(MergeExperiment(base, recipe_for(base, split, brief=brief), ("lora",)))
        candidates = tuple(
            replace(one, retention=replace(one.retention, lm_loss=1.5 if one.path == "base" else 3.0))
            for one in result.candidates
        )
        said += [
            one for one in verdict(replace(result, candidates=candidates)) if one.startswith("As a language model")
        ]
    short, full = said
    assert "its next-token loss on the paper's 24 sequences went from 1.50 to 3.00 nats" in short
    assert "its next-token loss on texts of new families went from 1.50 to 3.00 nats" in full


@pytest.mark.parametrize(("asked", "remedy"), [("float32", "The scores are of what is left."), ("bfloat16", "float32")])
def test_what_is_rounded_away_has_the_remedy_that_helps(
    monkeypatch: pytest.MonkeyPatch, asked: str, remedy: str
) -> None:
    """Where the recipe settled the format, dtype=float32 behind the base's name would change nothing."""
    monkeypatch.setattr("numembed.merge_experiment.run.rounded_away", lambda adapted, dtype: 0.24)
    base = replace(model("smollm2"), dtype=asked)
    result = made_result(MergeExperiment(base, recipe_for(base, split_called("others")), ("lora",)))
    weights = SimpleNamespace(adapted=dict.fromkeys((one.seed, one.step) for one in result.adapters))
    scorer = SimpleNamespace(base=replace(base, dtype="bfloat16"), weights=weights)
    (sentence,) = _rounding(scorer, result)  # type: ignore[arg-type]
    assert "loaded in bfloat16, which loses 24% of the adapters' update to rounding. " in sentence
    assert remedy in sentence.rpartition("rounding. ")[2]
