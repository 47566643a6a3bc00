"""Several p values judged together."""

from __future__ import annotations

import math

from numembed.core.significance import holm


def test_what_is_unknown_takes_no_part_in_the_adjustment() -> None:
    first, unknown, none, second = holm([0.02, math.nan, None, 0.03])
    assert (first, none, second) == (0.04, None, 0.04) and unknown is not None and math.isnan(unknown)
