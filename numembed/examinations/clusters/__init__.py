"""What the clusters of a model encode, and whether other ways of grouping say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numembed.studies.examination import Examination

if TYPE_CHECKING:
    from numembed.examinations.clusters.grouping import Grouping
    from numembed.examinations.registry import Implementation


def _implementation() -> Implementation[Grouping]:
    from numembed.examinations.clusters import grouping, rows, text
    from numembed.examinations.registry import Implementation

    return Implementation(grouping.Grouping, grouping.grouping, text.sentence, rows.rows)


EXAMINATION = Examination(
    "grouping",
    verb="explain",
    help="Say what the clusters of each model encode.",
    title="Other ways of grouping {}",
    page="pages/explain.py",
    implementation=_implementation,
    with_explanation=True,
)
