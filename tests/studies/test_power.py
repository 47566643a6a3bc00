"""What the permutation test of a score would have seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from numembed.analysis.inference.power import smallest_beyond
from numembed.analysis.scores import Score
from numembed.studies.power import smallest_silhouette

SCORE = Score("m", "silhouette", "families", -0.01, p=0.4, chance_mean=-0.05, chance_low=-0.09, chance_high=-0.01)


def test_the_smallest_silhouette_comes_from_the_band_of_the_shuffles() -> None:
    least = smallest_silhouette(SCORE)
    assert least == pytest.approx(smallest_beyond(-0.05, 0.04 / 1.96), rel=1e-3)
    assert least is not None and SCORE.chance_high is not None and least > SCORE.chance_high
    assert (smallest_silhouette(SCORE, models=10) or 0) > least


def test_nothing_is_promised_where_nothing_could_be_seen() -> None:
    assert smallest_silhouette(replace(SCORE, chance_mean=None)) is None
    assert smallest_silhouette(replace(SCORE, chance_high=None)) is None
    assert smallest_silhouette(replace(SCORE, least_p=0.1)) is None
    assert smallest_silhouette(replace(SCORE, least_p=0.01)) is not None
    assert smallest_silhouette(replace(SCORE, least_p=0.01), models=6) is None
