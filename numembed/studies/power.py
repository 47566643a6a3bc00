"""What the permutation test of a score would have seen."""

from __future__ import annotations

import math

from numembed.analysis.inference.power import sd_above, smallest_beyond
from numembed.analysis.scores import Score
from numembed.core.significance import LEVEL
from numembed.studies.evidence import Evidence


def smallest_silhouette(score: Score | Evidence, *, models: int = 1) -> float | None:
    """Return the smallest true silhouette that the free permutation test would have found in four cases of five.

    From the band that holds 95% of shuffled families. Of several ``models`` that are judged together each has its part
    of the level. None where nothing was shuffled, or where so few sequences cannot be significant.
    Of shuffles within windows no band is stored, so this says nothing about them.
    """
    if score.chance_mean is None or (score.least_p or 0) * max(1, models) > LEVEL:
        return None
    sd = sd_above(score.chance_mean, score.chance_high)
    return None if math.isnan(sd) else smallest_beyond(score.chance_mean, sd, comparisons=models)
