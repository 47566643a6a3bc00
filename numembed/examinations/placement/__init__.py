"""Where a text of one's own falls among the sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numembed.studies.examination import Examination

if TYPE_CHECKING:
    from numembed.examinations.placement.compute import Placement
    from numembed.examinations.registry import Implementation


def _implementation() -> Implementation[Placement]:
    from numembed.examinations.placement import compute, rows, text
    from numembed.examinations.registry import Implementation

    return Implementation(compute.Placement, compute.placement, text.sentence, rows.rows)


EXAMINATION = Examination(
    "landing",
    verb="land",
    help="Show where your own text falls among the sequences.",
    title="Where a text lands in {}",
    page="pages/explain.py",
    implementation=_implementation,
    options=("query", "separator"),
)
