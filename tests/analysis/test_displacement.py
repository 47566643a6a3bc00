"""What a perturbation does to vectors: known answers, and a false-positive rate that is kept."""

from __future__ import annotations

import numpy as np
import pytest

from numembed.analysis.inference.intervals import leave_one_out
from numembed.analysis.metrics import silhouette
from numembed.analysis.similarity import NORMALISATIONS, gaps, normalised, paired_jackknife, relatives
from numembed.core.arrays import Labels, Matrix

LABELS = np.repeat(np.arange(6), 4)
ROWS = np.array([[3, 4], [0, 0], [6, 8]], dtype=np.float32)


def _cloud(seed: int, *, apart: float = 0.0, d: int = 16) -> Matrix:
    random = np.random.default_rng(seed)
    return (apart * np.eye(6, d)[LABELS] + random.standard_normal((24, d))).astype(np.float32)


def test_vectors_are_normalised_as_the_name_says() -> None:
    assert np.allclose(normalised(ROWS, "unit length"), [[0.6, 0.8], [0, 0], [0.6, 0.8]])
    assert np.allclose(normalised(ROWS, "centred").mean(axis=0), 0)
    wide = np.concatenate([_cloud(0), np.full((24, 1), 0.1, dtype=np.float32)], axis=1)
    spread = normalised(wide, "standardised")
    assert np.allclose(spread.std(axis=0)[:-1], 1, atol=1e-5) and np.allclose(spread.mean(axis=0), 0, atol=1e-5)
    assert not spread[:, -1].any(), "a constant coordinate stays 0"
    with pytest.raises(ValueError, match="unit length, centred, standardised, got 'upside down'"):
        normalised(ROWS, "upside down")
    assert all(normalised(ROWS, how).dtype == np.float32 for how in NORMALISATIONS)


def test_gaps_are_the_distances_of_pairs() -> None:
    assert np.allclose(gaps(ROWS, np.zeros_like(ROWS)), [5, 0, 10])
    turned = np.array([[4, -3], [1, 0], [-6, -8]], dtype=np.float32)
    assert np.allclose(gaps(ROWS, turned, distance="cosine"), [1, 1, 2])  # a zero vector is at distance 1 of all
    assert np.allclose(gaps(ROWS * 1e-20, ROWS * 2e-20), [5e-20, 0, 1e-19], rtol=1e-6)


def test_relatives_are_the_nearest_of_the_same_and_of_other_families() -> None:
    line = np.array([[0], [1], [1.5], [10]], dtype=np.float32)
    own, other = relatives(line, np.array([0, 0, 1, 2]))
    assert np.allclose(own, [1, 1, np.nan, np.nan], equal_nan=True)
    assert np.allclose(other, [1.5, 0.5, 0.5, 8.5])
    assert np.isnan(relatives(line, np.zeros(4, dtype=np.int64))[1]).all()


def test_the_jackknife_of_a_change_is_that_of_its_pseudo_values() -> None:
    before, after = _cloud(0, apart=3), _cloud(1, apart=1)
    change, ours = _change(before, after, LABELS)
    pseudo = []
    for row in range(24):
        kept = np.arange(24) != row
        without = silhouette(after[kept], LABELS[kept]) - silhouette(before[kept], LABELS[kept])
        pseudo.append(24 * change - 23 * without)
    half = 2.0687 * np.std(pseudo, ddof=1) / np.sqrt(24)  # Student's t with 23 degrees of freedom
    assert (ours.low, ours.high) == pytest.approx((change - half, change + half), abs=1e-4)
    assert ours.mean == change and ours.distinguishable and 0.01 < ours.p < 0.05


def test_an_unchanged_score_is_no_change_and_an_undefined_one_says_why() -> None:
    one = _cloud(0)
    left = leave_one_out(one, LABELS)
    assert paired_jackknife(3e-7, left, left + 1e-7).p == 1.0
    assert paired_jackknife(3e-7, left, left + 1e-7).mean == 0.0
    assert paired_jackknife(0.1, left[:2], left[:2]).note == "needs at least 3 sequences"
    assert "undefined" in paired_jackknife(0.1, left, np.where(np.arange(24) == 3, np.nan, left)).note


@pytest.mark.slow
@pytest.mark.parametrize("apart", [0, 2, 4])
def test_changes_that_are_chance_are_rarely_called_more(apart: float) -> None:
    pairs = [(_cloud(2 * seed, apart=apart, d=6), _cloud(2 * seed + 1, apart=apart, d=6)) for seed in range(150)]
    found = [_change(before, after, LABELS)[1] for before, after in pairs]
    assert sum(one.distinguishable for one in found) <= 10  # 5% would be 7 or 8
    assert sum(one.p <= 0.001 for one in found) <= 1


def test_a_change_that_is_none_of_chance_is_found() -> None:
    assert _change(_cloud(0, apart=8), _cloud(1), LABELS)[1].p < 1e-6


def _change(before: Matrix, after: Matrix, labels: Labels):  # type: ignore[no-untyped-def]
    change = silhouette(after, labels) - silhouette(before, labels)
    return change, paired_jackknife(change, leave_one_out(before, labels), leave_one_out(after, labels))
