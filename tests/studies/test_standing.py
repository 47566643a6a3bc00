"""The word and the sentence for constructed vectors: what they say must hold of how the vectors were made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numembed.analysis.scores import SILHOUETTE, Score
from numembed.core.arrays import Matrix
from numembed.models.catalogue.names import model
from numembed.studies.evidence import evidence_of
from numembed.studies.headline import headline
from numembed.studies.reference_scores import ReferenceScores
from numembed.studies.results import FamilySilhouette, ModelResult, SilhouetteDetail
from numembed.studies.standing import (
    APART,
    AS_CHANCE,
    DIFFER,
    EQUAL,
    LESS,
    MORE,
    PARTLY,
    RULES,
    TOO_FEW,
    UNDEFINED,
    WORDS,
    beside_baseline,
    standings,
)
from tests.studies.judged import design, judged, study_of

STUDY = study_of()
LABELS, WINDOWS = design(STUDY)
WIDTH = 32


def noise(seed: int = 0, n: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, WIDTH)) / np.sqrt(WIDTH)


def centres(count: int, size: float, seed: int = 100) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, WIDTH))
    return size * drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def said_of(matrix: np.ndarray, folder: Path) -> tuple[str, str]:
    result = judged(STUDY, matrix.astype(np.float32), folder)
    (one,) = standings([result], families=6)
    assert headline([result], families=6) == one.sentence
    assert [evidence.word for evidence in evidence_of([result], families=6)] == [one.word]
    return one.word, one.sentence


def test_families_that_a_window_effect_hides_are_never_said_to_be_chance(tmp_path: Path) -> None:
    """F1: separable in each window, with windows three times as far apart: the free test has no power at all."""
    word, sentence = said_of(noise() / 4 + centres(6, 1)[LABELS] + centres(4, 4, 7)[WINDOWS], tmp_path)
    assert word == DIFFER
    assert sentence.startswith("With it, the families differ but do not lie apart (silhouette −0.")
    assert "p < 0.001 within windows; p " in sentence and sentence.endswith(" over all windows).")


def test_families_that_differ_in_spread_only_do_not_lie_apart(tmp_path: Path) -> None:
    """F2 a: one centre, six spreads."""
    word, sentence = said_of(noise() * 3.0 ** LABELS[:, None], tmp_path)
    assert word == DIFFER and "do not lie apart" in sentence


def test_two_groups_of_families_that_are_alike_do_not_lie_apart(tmp_path: Path) -> None:
    """F2 b: two groups of three families each; inside a group no family can be told from another."""
    word, _ = said_of(noise() + centres(2, 2)[LABELS // 3], tmp_path)
    assert word == DIFFER


def test_one_family_apart_is_named_and_the_others_too(tmp_path: Path) -> None:
    """F2 c: one family lies apart, five are noise."""
    word, sentence = said_of(noise(3) + np.where(LABELS[:, None] == 3, centres(1, 3), 0), tmp_path)
    assert word == PARTLY
    assert "some families lie apart: Primes; this was not seen for Consecutive numbers" in sentence


def test_equal_vectors_do_not_lie_apart(tmp_path: Path) -> None:
    """F2 d: 20 of 24 vectors are equal."""
    matrix = np.where((LABELS == 5)[:, None], noise() * 3, noise()[:1])
    assert said_of(matrix, tmp_path)[0] in (DIFFER, PARTLY)
    assert "the families lie apart" not in said_of(matrix, tmp_path)[1]


def test_vectors_that_are_equal_up_to_rounding_have_no_word_but_undefined(tmp_path: Path) -> None:
    """F12: a constant with a pattern below the last bit of single precision."""
    word, sentence = said_of(0.18 + 3e-8 * (LABELS[:, None] % 2) * np.ones(WIDTH), tmp_path)
    assert (word, sentence) == (UNDEFINED, "With it, no score is defined: all vectors are equal.")


def test_families_far_apart_are_said_to_lie_apart(tmp_path: Path) -> None:
    word, sentence = said_of(noise() / 3 + centres(6, 2)[LABELS], tmp_path)
    assert word == APART
    assert sentence.startswith("With it, the families lie apart (silhouette 0.") and "p < 0.001)" in sentence


def test_noise_is_chance(tmp_path: Path) -> None:
    word, sentence = said_of(noise(1), tmp_path)
    assert word == AS_CHANCE and sentence.startswith("With it, no more than chance was seen (silhouette ")


@pytest.mark.parametrize(("families", "windows"), [(2, 6), (3, 3), (4, 3), (4, 4), (6, 2), (6, 3)])
def test_few_windows_leave_families_far_apart_their_word(families: int, windows: int, tmp_path: Path) -> None:
    """Shuffles within few windows cannot bring the p of one of several families below the level."""
    study = study_of(families, windows)
    labels, _ = design(study)
    matrix = noise(0, len(labels)) / 4 + centres(families, 3)[labels]
    (one,) = standings([judged(study, matrix.astype(np.float32), tmp_path)], families=families)
    assert one.word == APART
    assert one.families_untestable == ("too few sequences to test each family alone" in one.sentence)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("families", "windows", "models", "enough"), [(2, 2, 1, 6), (2, 4, 1, 6), (2, 6, 4, 8), (3, 2, 1, 3), (2, 3, 9, 9)]
)
def test_too_few_sequences_say_how_many_would_be_enough(
    families: int, windows: int, models: int, enough: int, tmp_path: Path
) -> None:
    matrix = centres(families, 3)[design(study_of(families, windows))[0]]
    for count, few in ((windows, True), (enough - 1, True), (enough, False)):
        study = study_of(families, count)
        labels, _ = design(study)
        matrix = (noise(0, len(labels)) / 9 + centres(families, 3)[labels]).astype(np.float32)
        result = judged(study, matrix, tmp_path / str(count), permutations=9_999)
        table = [replace(result, model=replace(result.model, name=f"m{at}")) for at in range(models)]
        one = standings(table, families=families)[0]
        assert (one.word == TOO_FEW) == few, (count, one.sentence)
        assert (f"; {enough} of each family would be enough" in one.sentence) == few


def _with(value: float, *, without: np.ndarray | None = None, redrawn: np.ndarray | None = None) -> ModelResult:
    spec = replace(model("all-MiniLM-L6-v2"), name="it")
    score = Score("it", *SILHOUETTE, value, p=0.4, p_within=0.3, least_p=1e-4, least_p_within=1e-4)
    detail = None if without is None else SilhouetteDetail((), tuple(without.tolist()))
    designs = {} if redrawn is None else {SILHOUETTE: tuple(redrawn.tolist())}
    return ModelResult(spec, 3, (score,), np.arange(6) % 2, detail=detail, designs=designs)


SPREAD = np.random.default_rng(0).normal(size=24)


@pytest.mark.parametrize(
    ("difference", "word", "told"),
    [
        (0.0, EQUAL, "Counting last digits does about as well (0.20)."),
        (-1e-10, EQUAL, "Counting last digits does about as well (0.20)."),
        (-0.3, LESS, "Counting last digits separates the families better (0.20)."),
        (0.3, MORE, "No trivial baseline scores as high; the best is counting last digits, with 0.20."),
    ],
)
@pytest.mark.parametrize("redrawn", [False, True])
def test_a_baseline_does_better_only_beyond_the_interval(
    difference: float, word: str, told: str, redrawn: bool
) -> None:
    """F3: 0.2000 beside 0.2000000001 is no difference; over redrawn windows if there are any, else by the jackknife."""
    best = 0.2 + 0.001 * SPREAD
    own = best + difference + 0.001 * SPREAD[::-1]
    baselines = {"Last digits": {SILHOUETTE: 0.2}}
    if redrawn:
        result = _with(0.2 + difference, redrawn=own - own.mean() + 0.2 + difference)
        references = ReferenceScores(baselines, best_redrawn=tuple((best - best.mean() + 0.2).tolist()))
    else:
        result = _with(0.2 + difference, without=own)
        references = ReferenceScores(baselines, best_without=tuple(best.tolist()))
    assert beside_baseline(standings([result])[0], references, 0.2)[0] == word
    assert headline([result], references).endswith(told)


def test_nothing_is_said_of_a_difference_whose_interval_is_unknown() -> None:
    references = ReferenceScores({"Last digits": {SILHOUETTE: 0.9}})
    assert beside_baseline(standings([_with(0.2)])[0], references, 0.9) == ("", None)
    assert headline([_with(0.2)], references).endswith("The best trivial baseline is counting last digits, with 0.90.")


def test_a_stored_result_without_its_families_claims_none_of_them() -> None:
    result = _with(0.4)
    result = replace(result, scores=(replace(result.scores[0], p_within=0.001),))
    (one,) = standings([result])
    assert one.word == DIFFER and "which of them lie apart was not computed" in one.sentence


def test_families_are_adjusted_for_their_number() -> None:
    tests = [FamilySilhouette(name, 0.5, p, 1e-4, True) for name, p in (("even", 0.03), ("odd", 0.04))]
    result = replace(_with(0.4), detail=SilhouetteDetail(tuple(tests)))
    result = replace(result, scores=(replace(result.scores[0], p_within=0.001),))
    assert standings([result])[0].word == DIFFER
    assert "for no single one is it certain that it lies apart" in standings([result])[0].sentence
    clear = replace(result, detail=SilhouetteDetail((replace(tests[0], p=0.02), tests[1])))
    assert standings([clear])[0].word == APART
    below = replace(result, detail=SilhouetteDetail((replace(tests[0], p=0.02), replace(tests[1], value=-0.1))))
    assert standings([below])[0].word == PARTLY


def test_every_model_has_one_of_the_words() -> None:
    assert {rule.word for rule in RULES} == set(WORDS)


@pytest.mark.slow
def test_noise_is_seldom_more_than_chance(tmp_path: Path) -> None:
    """Twelve tables of four models of noise: p is adjusted over the models of each."""
    claims = 0
    for round_ in range(12):
        matrices: list[Matrix] = [noise(1000 + 4 * round_ + at).astype(np.float32) for at in range(4)]
        table = [
            judged(STUDY, one, tmp_path, name=f"n{round_}m{at}", permutations=499) for at, one in enumerate(matrices)
        ]
        claims += any(one.word not in (AS_CHANCE, TOO_FEW) for one in standings(table))
    assert claims <= 3
