"""How the score of a model changes when its texts are changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numembed.studies.examination import Examination

if TYPE_CHECKING:
    from numembed.examinations.registry import Implementation
    from numembed.examinations.stress.compute import Stress


def _implementation() -> Implementation[Stress]:
    from numembed.examinations.registry import Implementation
    from numembed.examinations.stress import compute, rows, text

    return Implementation(compute.Stress, compute.stress, text.sentence, rows.rows)


EXAMINATION = Examination(
    "stress",
    verb="stress",
    help="Change the sequences in many ways and print what that does to the score.",
    title="Stress tests of {}",
    page="pages/robustness.py",
    implementation=_implementation,
)
