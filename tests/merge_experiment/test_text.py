"""The verdict on a merging experiment: with intervals, and as JSON and back."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from numembed.merge_experiment.comparisons import comparisons_of
from numembed.merge_experiment.experiment import ExperimentResult
from numembed.merge_experiment.results import Candidate, TrainedAdapter
from numembed.merge_experiment.text import seen_sentences, smallest_seen, verdict
from numembed.models.adapters.recipe import Reading
from tests.merge_experiment.bases import made_path, small_experiment
from tests.merge_experiment.made import made_experiment, made_result


def _result(tiny_model: Path) -> ExperimentResult:
    asked = small_experiment(tiny_model, paths=("lora", "soup"))
    kept, apart = (1.0, 0.9, 0.8, 0.7, 0.6), (0.2, 0.6, 1.0, 1.2, 1.3)
    rows = {
        path.id: made_path(path.id, kept[: len(path.values)], apart[: len(path.values)])
        for path in asked.drawn
        if path.name != "base"
    }
    base = [replace(candidate, path="base") for candidate in made_path("base", (1.0,), (0.2,))]
    placed = {path.id: path.values for path in asked.drawn}
    candidates = [
        replace(candidate, at=at) for name, row in rows.items() for candidate, at in zip(row, placed[name], strict=True)
    ]
    candidates = [
        replace(candidate, splits=dict.fromkeys(asked.splits, candidate.splits["paper"]))
        for candidate in (*base, *candidates)
    ]
    readings = (Reading(0, 0, None, 0.1), Reading(0, 4, 2.0, 0.2))
    return ExperimentResult(
        asked, asked.base, (TrainedAdapter(0, 4, "/a", "d", readings),), tuple(candidates), training=readings
    )


def test_what_was_found_comes_back_from_its_json(tiny_model: Path) -> None:
    found = _result(tiny_model)
    found = replace(found, comparisons=comparisons_of(found))
    text = json.dumps(found.as_json(), allow_nan=False)
    again = ExperimentResult.from_json(json.loads(text))
    assert (
        again.as_json() == found.as_json() and again.experiment == found.experiment and again.adapters == found.adapters
    )
    assert [candidate.at for candidate in again.path("lora-0")] == [0, 0.5, 1, 1.5] and len(again.of("lora")) == 2
    assert math.isnan(again.candidates[0].splits["paper"].p) and again.training == found.training


def test_the_verdict_speaks_of_the_gain_with_its_interval(tiny_model: Path) -> None:
    found = _result(tiny_model)
    trade, *held = verdict(replace(found, comparisons=comparisons_of(found)))
    assert trade.startswith("Adapting raised the silhouette of the paper's 24 sequences (by 0.") and "2 seeds" in trade
    assert len(held) == 1 and "Soup and LoRA differ" in held[0]
    nothing = replace(
        found, candidates=tuple(replace(candidate, splits=found.candidates[0].splits) for candidate in found.candidates)
    )
    assert "did not surely change" in verdict(nothing)[0]
    assert verdict(replace(found, candidates=())) == ()
    decoder = replace(
        found,
        candidates=tuple(
            replace(candidate, retention=replace(candidate.retention, lm_loss=1.5 if candidate.path == "base" else 3.0))
            for candidate in found.candidates
        ),
    )
    assert "language model" not in " ".join(verdict(found))
    assert verdict(decoder)[1] == (
        "As a language model the base is worse with these adapters: its next-token loss on texts of new families "
        "went from 1.50 to 3.00 nats, 3.00 to 3.00 over the seeds; other seeds may differ."
    )


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ((3.0,), "is worse with this adapter: "),
        ((1.0, 1.2), "is better with these adapters: "),
        ((1.0, 3.0), "is not consistently changed by these adapters: "),
        ((2.9, 3.0, 3.1), "the adapted base is worse (by 1.50 ± 0.25 nats over 3 seeds, on these texts): "),
        ((1.51, 1.6, 3.0), "is not significantly changed (by 0.54 ± 2.08 nats over 3 seeds, on these texts): "),
    ],
)
def test_a_decoders_loss_has_its_interval_or_is_for_its_adapters_only(losses: tuple[float, ...], expected: str) -> None:
    found = made_result(made_experiment(seeds=range(len(losses)), paths=("lora",)))
    at = {f"lora-{seed}": loss for seed, loss in enumerate(losses)} | {"base": 1.5}
    candidates = (
        replace(candidate, retention=replace(candidate.retention, lm_loss=at[candidate.path]))
        for candidate in found.candidates
    )
    (sentence,) = (
        one for one in verdict(replace(found, candidates=tuple(candidates))) if one.startswith("As a language model")
    )
    assert expected in sentence and sentence.endswith("; other seeds may differ.") == (len(losses) < 3)


def test_an_effect_of_adapting_that_was_not_seen_has_its_smallest_size() -> None:
    result, wobble = made_result(), tuple(0.1 + 0.001 * (i % 2) for i in range(24))
    assert not any("silhouette" in one for one in seen_sentences(result)), "the made adapters raise it"

    def flat(candidate: Candidate) -> Candidate:
        own = {name: replace(one, silhouette=0.1, without=wobble) for name, one in candidate.splits.items()}
        return replace(candidate, splits=own)

    nothing = replace(result, candidates=tuple(flat(one) if one.path != "base" else one for one in result.candidates))
    base = nothing.base_candidate
    assert base is not None
    level = {name: replace(one, silhouette=0.1, without=(0.1,) * 24) for name, one in base.splits.items()}
    kept = tuple(replace(one, splits=level) if one.path == "base" else one for one in nothing.candidates)
    (seen,) = [one for one in seen_sentences(replace(nothing, candidates=kept)) if "silhouette" in one]
    assert seen.startswith("This design would have seen a change of the silhouette of about 0.0")


def test_a_comparison_has_the_smallest_difference_that_it_would_have_seen() -> None:
    compared = [replace(one, low=-0.1, high=0.1, p=0.5) for one in made_result().comparisons]
    alone = [smallest_seen(one, [one]) for one in compared]
    assert alone == pytest.approx([2.802 / 1.96 * 0.1] * len(compared), rel=1e-3)
    assert len(compared) > 1 and all((smallest_seen(one, compared) or 0) > 0.143 for one in compared)
    assert all(smallest_seen(replace(one, low=math.nan), compared) is None for one in compared)
