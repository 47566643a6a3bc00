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
from numembed.studies.results import FamilySilhouette, ModelResult, SilhouetteDetail


def _result(
    name: str, value: float, p: float | None, *, least_p: float = 0.0001, baseline: bool = False
) -> ModelResult:
    spec = model("last_digits") if baseline else ModelSpec(name, model("all-MiniLM-L6-v2").weights)
    score = Score(name, "silhouette", "families", value, p=p, least_p=least_p)
    apart = tuple(FamilySilhouette(one, value, 0.001, 0.0001, False) for one in ("even", "odd"))
    return ModelResult(replace(spec, name=name), 3, (score,), np.arange(6) % 2, detail=SilhouetteDetail(apart))


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
            "With low, no more than chance was seen (silhouette −0.09, p 0.18). The best trivial baseline is counting "
            "last digits, with 0.64.",
        ),
        ([CLEAR], "With clear, the families lie apart (silhouette 0.31, p < 0.001)."),
        (
            [LOW, CLEAR],
            "Of 2 models, clear scores highest: the families lie apart (silhouette 0.31, p < 0.001 among 2 models).",
        ),
        (
            [LOW, _result("lucky", 0.02, 0.03), DIGITS],
            "Of 2 models, lucky scores highest: no more than chance was seen (silhouette 0.02, p 0.060 among 2 models)."
            " The best trivial baseline is counting last digits, with 0.64.",
        ),
        (
            [_result("loud", 0.4, 0.3), CLEAR],
            "Of 2 models, loud scores highest: no more than chance was seen (silhouette 0.40, p 0.30 among 2 models). "
            "With clear, which scores lower, the families lie apart (silhouette 0.31, p < 0.001 among 2 models).",
        ),
        (
            [_result("loud", 0.4, 0.3), CLEAR, replace(CLEAR, model=replace(CLEAR.model, name="clear 2"))],
            "Of 3 models, loud scores highest: no more than chance was seen (silhouette 0.40, p 0.30 among 3 models). "
            "Of 2 models that score lower, more can be said: see the table.",
        ),
        (
            [_result("few", 0.97, 0.33, least_p=1 / 3)],
            "With few, there are too few sequences to tell whether the families lie apart (silhouette 0.97; p cannot "
            "be below 0.33 here).",
        ),
        (
            [_result("few", 0.97, 0.03, least_p=0.029), LOW],
            "Of 2 models, few scores highest: there are too few sequences to tell whether the families lie apart "
            "(silhouette 0.97; p cannot be below 0.058 here).",
        ),
        (
            [replace(CLEAR, scores=(replace(CLEAR.scores[0], value=-0.1, p=0.4, p_within=0.001),))],
            "With clear, the families differ but do not lie apart (silhouette −0.10, p 0.001 within windows; p 0.40 "
            "over all windows).",
        ),
        (
            [replace(CLEAR, scores=(replace(CLEAR.scores[0], p=0.001, p_within=0.4),))],
            "With clear, no more than chance was seen (silhouette 0.31, p 0.40 within windows; p 0.001 over all "
            "windows).",
        ),
        ([DIGITS], "The best trivial baseline is counting last digits, with 0.64."),
        (
            [replace(LOW, scores=(replace(LOW.scores[0], value=math.nan, p=None, note="all vectors are equal"),))],
            "With low, no score is defined: all vectors are equal.",
        ),
        ([], "No score is defined here: a score needs at least two families with two sequences."),
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
        claimed = any(f"families {how}" in headline(table) for how in ("lie", "differ"))
        claims += claimed or "more can be said" in headline(table)
        assert claimed == any(one.p_holm is not None and one.p_holm <= 0.05 for one in evidence_of(table))
    assert claims <= 7, f"one in twenty by chance, and room for the luck of {rounds} draws: {claims}"


def test_two_families_of_two_are_too_few_however_far_apart() -> None:
    labels = np.array([0, 0, 1, 1])
    told = headline([_scored("it", np.array([[0.0], [0.1], [9.0], [9.1]]), labels)], families=2)
    assert told.startswith(
        "With it, there are too few sequences to tell whether the families lie apart (silhouette 0.99; p cannot be "
        "below 0.33 here; 4 of each family would be enough)"
    )
