from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from numembed.analysis.similarity import (
    agreement_interval,
    agreements_without,
    cka,
    grades_agreement,
    paraphrase_margin,
    shift_shares,
    similarities,
    similarity_agreement,
)


def _drawn(n: int, d: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def _turn(d: int, seed: int) -> NDArray[np.float64]:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0]


def test_vectors_that_share_nothing_score_nearly_one_biased_and_nothing_debiased() -> None:
    pairs = [(_drawn(24, 1_024, seed), _drawn(24, 1_024, 1_000 + seed)) for seed in range(40)]
    biased = [cka(one, other, debiased=False) for one, other in pairs]
    debiased = [cka(one, other) for one, other in pairs]
    assert np.mean(biased) == pytest.approx(0.98, abs=0.01)
    assert abs(np.mean(debiased)) < 4 * np.std(debiased) / math.sqrt(len(debiased)) + 0.005
    assert max(map(abs, debiased)) < 0.2


@pytest.mark.parametrize("debiased", [True, False])
def test_turned_and_scaled_vectors_are_the_same_to_cka(debiased: bool) -> None:
    one = _drawn(30, 16, 0)
    other = (one @ _turn(16, 1) * 7 + 3).astype(np.float32)
    assert cka(one, other, debiased=debiased) == pytest.approx(1, abs=1e-5)


def test_the_debiased_cka_is_the_naive_sum_over_distinct_rows() -> None:
    one, other = _drawn(7, 3, 0), _drawn(7, 4, 1)

    def hsic(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        """The U-statistic written out: the mean over four distinct rows (Song 2012)."""
        n, total, count = len(a), 0.0, 0
        for i in range(n):
            for j in range(n):
                for q in range(n):
                    for r in range(n):
                        if len({i, j, q, r}) == 4:
                            total += a[i, j] * (b[i, j] + b[q, r] - 2 * b[i, q])
                            count += 1
        return total / count

    kernels = [m.astype(np.float64) @ m.T.astype(np.float64) for m in (one, other)]
    wanted = hsic(*kernels) / math.sqrt(hsic(kernels[0], kernels[0]) * hsic(kernels[1], kernels[1]))
    assert cka(one, other) == pytest.approx(wanted, abs=1e-6)


def test_what_cannot_be_compared_is_nan() -> None:
    assert math.isnan(cka(_drawn(3, 4, 0), _drawn(3, 4, 1)))
    assert math.isnan(cka(np.ones((9, 4), np.float32), _drawn(9, 4, 1)))
    assert math.isnan(similarity_agreement(np.ones((9, 4), np.float32), _drawn(9, 4, 1)))
    assert math.isnan(paraphrase_margin(_drawn(4, 3, 0), []))
    assert all(map(math.isnan, shift_shares(_drawn(4, 3, 0), _drawn(4, 3, 0), (1, 2))))
    with pytest.raises(ValueError, match="same texts"):
        cka(_drawn(5, 4, 0), _drawn(6, 4, 1))
    with pytest.raises(ValueError, match="same texts"):
        similarity_agreement(_drawn(5, 4, 0), _drawn(6, 4, 1))


def test_agreement_is_scipys_spearman_of_all_pairs() -> None:
    from scipy.stats import spearmanr

    one = _drawn(20, 8, 0)
    other = one + 0.7 * _drawn(20, 8, 1)
    wanted = spearmanr(similarities(one), similarities(other)).statistic
    assert similarity_agreement(one, other) == pytest.approx(wanted, abs=1e-6)


@given(st.integers(0, 1_000), st.floats(0.1, 10))
def test_agreement_with_a_turned_and_scaled_self_is_one_and_symmetric(seed: int, scale: float) -> None:
    one, other = _drawn(12, 6, seed), _drawn(12, 6, seed + 1)
    assert similarity_agreement(one, (one @ _turn(6, seed) * scale).astype(np.float32)) > 0.999
    assert similarity_agreement(one, other) == pytest.approx(similarity_agreement(other, one))


def test_graded_pairs_agree_where_the_order_of_their_cosines_is_that_of_the_grades() -> None:
    angles = np.radians([0, 80, 0, 40, 0, 10])
    matrix = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    rows = [(0, 1), (2, 3), (4, 5)]
    for grades, agreement in (((0, 3, 5), 1.0), ((5, 3, 0), -1.0), ((3, 0, 5), 0.5)):
        graded = [(*pair, float(grade)) for pair, grade in zip(rows, grades, strict=True)]
        assert grades_agreement(matrix, graded) == pytest.approx(agreement)
    assert math.isnan(grades_agreement(matrix, [(0, 1, 2.0)] * 2))
    assert math.isnan(grades_agreement(matrix, [(*pair, 2.0) for pair in rows])), "all grades are equal"
    zero = np.zeros((6, 2), dtype=np.float32)
    assert math.isnan(grades_agreement(zero, [(*pair, float(place)) for place, pair in enumerate(rows)]))


def test_the_margin_is_the_difference_of_two_means() -> None:
    angle = np.deg2rad([0, 60, 90, 90])
    matrix = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    others = [math.cos(math.radians(degrees)) for degrees in (90, 90, 30, 30, 0)]
    assert paraphrase_margin(matrix, [(1, 0)]) == pytest.approx(0.5 - sum(others) / 5, abs=1e-6)


def test_a_common_push_lies_in_one_direction_and_noise_in_many() -> None:
    before = _drawn(40, 20, 0)
    push = before + np.float32(0.3) * np.eye(20, dtype=np.float32)[3]
    assert shift_shares(before, push, (1, 2)) == pytest.approx((1, 1), abs=1e-5)
    first, all_of_it = shift_shares(before, before + _drawn(40, 20, 1), (1, 20))
    assert first < 0.3 and all_of_it == pytest.approx(1)


@pytest.mark.parametrize(("n", "digits"), [(4, 9), (5, 1), (30, 9), (30, 1), (37, 0)])
def test_each_text_left_out_gives_what_a_plain_loop_gives(n: int, digits: int) -> None:
    """Few digits make many pairs equally alike."""
    one, other = (np.round(_drawn(n, 3, seed), digits) for seed in (0, 1))
    one[0] = 1.0  # a text whose cosines are not those of a zero row
    plain = [similarity_agreement(np.delete(one, i, 0), np.delete(other, i, 0)) for i in range(n)]
    np.testing.assert_allclose(agreements_without(one, other), plain, atol=1e-12)


def test_an_interval_is_nothing_wide_where_no_order_changes_and_undefined_where_the_agreement_is() -> None:
    one = _drawn(20, 8, 0)
    assert agreement_interval(one, one * 3) == (1.0, 1.0)
    alike = np.ones((20, 8), dtype=np.float32)
    assert all(map(math.isnan, agreement_interval(one, alike)))
    assert all(map(math.isnan, agreement_interval(one[:3], one[:3])))
    with pytest.raises(ValueError, match="come in pairs"):
        agreement_interval(one, one[:10])


@pytest.mark.slow
@pytest.mark.parametrize("noise", [1.0, 3.0])
def test_the_interval_of_some_texts_holds_the_agreement_of_all(noise: float) -> None:
    rng = np.random.default_rng(0)
    every = rng.standard_normal((1_000, 12)) @ rng.standard_normal((12, 24))
    other = every + 3 * noise * rng.standard_normal((1_000, 24))
    whole, held, drawn = similarity_agreement(every, other), 0, 100
    for _ in range(drawn):
        chosen = rng.choice(1_000, 60, replace=False)
        low, high = agreement_interval(every[chosen], other[chosen])
        assert low < high
        held += low <= whole <= high
    assert held >= 0.88 * drawn
