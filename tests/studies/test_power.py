"""What the permutation test of a silhouette would have seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from numembed.analysis.inference.power import smallest_beyond
from numembed.analysis.scores import Score
from numembed.models.catalogue.names import model
from numembed.studies.results import ModelResult
from numembed.studies.standing import standings

SCORE = Score("m", "silhouette", "families", -0.01, p=0.4, chance_mean=-0.05, chance_low=-0.09, chance_high=-0.01)


def smallest(score: Score, *, models: int = 1) -> float | None:
    spec = replace(model("all-MiniLM-L6-v2"), name="m")
    table = [ModelResult(replace(spec, name=f"m{at}"), 3, (score,), np.zeros(1, np.int64)) for at in range(models)]
    return standings(table)[0].smallest_seen


def test_the_smallest_silhouette_comes_from_the_band_of_the_test_that_counts() -> None:
    least = smallest(SCORE)
    assert least == pytest.approx(smallest_beyond(-0.05, 0.04 / 1.96), rel=1e-3)
    assert least is not None and SCORE.chance_high is not None and least > SCORE.chance_high
    assert (smallest(SCORE, models=10) or 0) > least
    within = replace(SCORE, p_within=0.3, within_mean=-0.1, within_low=-0.11, within_high=-0.09)
    assert smallest(within) == pytest.approx(smallest_beyond(-0.1, 0.01 / 1.96), rel=1e-3)


def test_nothing_is_promised_where_nothing_could_be_seen() -> None:
    assert smallest(replace(SCORE, chance_mean=None)) is None
    assert smallest(replace(SCORE, chance_high=None)) is None
    assert smallest(replace(SCORE, least_p=0.1)) is None
    assert smallest(replace(SCORE, least_p=0.01)) is not None
    assert smallest(replace(SCORE, least_p=0.01), models=6) is None
    assert smallest(replace(SCORE, p_within=0.3)) is None, "stored before the band within windows was"
