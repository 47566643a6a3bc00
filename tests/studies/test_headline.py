"""The sentence over a table of scores: exact words, and silence where the numbers hold nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from numembed.analysis.inference.permutation_test import permutation_test, smallest_p
from numembed.analysis.scores import Score
from numembed.models.catalogue.names import model
from numembed.models.spec import ModelSpec
from numembed.studies.evidence import evidence_of
from numembed.studies.headline import headline
from numembed.studies.results import ModelResult


def _result(
    name: str, value: float, p: float | None, *, least_p: float = 0.0001, baseline: bool = False
) -> ModelResult:
    spec = model("last_digits") if baseline else ModelSpec(name, model("all-MiniLM-L6-v2").weights)
    score = Score(name, "silhouette", "families", value, p=p, least_p=least_p)
    return ModelResult(replace(spec, name=name), 3, (score,), np.arange(6) % 2)


def _scored(name: str, matrix: np.ndarray, labels: np.ndarray) -> ModelResult:
    found = permutation_test(matrix.astype(np.float32), labels, permutations=399)
    return _result(name, found.observed, found.p, least_p=smallest_p(labels))


DIGITS = _result("Last digits", 0.64, 0.0001, baseline=True)
LOW, CLEAR = _result("low", -0.09, 0.18), _result("clear", 0.31, 0.0001)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            [LOW, DIGITS],
            "low separates the families no better than chance (silhouette −0.09, p 0.18). A trivial baseline scores "
            "higher: Last digits, with 0.64.",
        ),
        ([CLEAR], "clear separates the families better than chance (silhouette 0.31, p < 0.001)."),
        (
            [LOW, CLEAR],
            "Of 2 models, clear scores highest, and separates the families better than chance (silhouette 0.31, p "
            "< 0.001 among 2 models).",
        ),
        (
            [LOW, _result("lucky", 0.02, 0.03), DIGITS],
            "Of 2 models, lucky scores highest, but separates the families no better than chance (silhouette 0.02, p "
            "0.060 among 2 models). A trivial baseline scores higher: Last digits, with 0.64.",
        ),
        (
            [_result("loud", 0.4, 0.3), CLEAR],
            "Of 2 models, loud scores highest, but separates the families no better than chance (silhouette 0.40, p "
            "0.30 among 2 models). clear, which scores lower, is better than chance (p < 0.001 among 2 models).",
        ),
        (
            [_result("few", 0.97, 0.33, least_p=1 / 3)],
            "There are too few sequences to tell whether few separates the families (silhouette 0.97; p cannot be "
            "below 0.33 here).",
        ),
        (
            [_result("few", 0.97, 0.03, least_p=0.029), LOW],
            "Of 2 models, few scores highest, but there are too few sequences to tell it from chance (silhouette 0.97; "
            "p cannot be below 0.058 here).",
        ),
        ([DIGITS], "The best baseline: Last digits, with 0.64."),
        (
            [replace(LOW, scores=(replace(LOW.scores[0], value=math.nan, p=None),))],
            "No score is defined here: a score needs at least two families with two sequences.",
        ),
    ],
)
def test_the_sentence_over_a_table(table: list[ModelResult], told: str) -> None:
    assert headline(table) == told


@pytest.mark.slow
def test_ten_models_of_noise_are_seldom_claimed_to_keep_the_families_apart() -> None:
    claims, rounds = 0, 60
    labels = np.arange(18) // 3
    for seed in range(rounds):
        drawn = np.random.default_rng(seed)
        table = [_scored(f"m{i}", drawn.normal(size=(len(labels), 4)), labels) for i in range(10)]
        claimed = any(f"{how} better than chance" in headline(table) for how in ("families", "is", "are"))
        claims += claimed
        assert claimed == any(one.p_holm is not None and one.p_holm <= 0.05 for one in evidence_of(table))
    assert claims <= 7, f"one in twenty by chance, and room for the luck of {rounds} draws: {claims}"


def test_two_families_of_two_are_too_few_however_far_apart() -> None:
    labels = np.array([0, 0, 1, 1])
    told = headline([_scored("it", np.array([[0.0], [0.1], [9.0], [9.1]]), labels)])
    assert told.startswith("There are too few sequences to tell whether it separates the families (silhouette 0.99")
