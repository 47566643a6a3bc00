"""Whether a model knows the families, or only these sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numembed.studies.examination import Examination

if TYPE_CHECKING:
    from numembed.examinations.generalisation.result import Generalisation
    from numembed.examinations.registry import Implementation


def _implementation() -> Implementation[Generalisation]:
    from numembed.examinations.generalisation import compute, result, rows, text
    from numembed.examinations.registry import Implementation

    return Implementation(result.Generalisation, compute.generalisation, text.sentence, rows.rows)


EXAMINATION = Examination(
    "probes",
    verb="probe",
    help="Say whether families and attributes can be predicted from the vectors, also on unseen ones.",
    title="What {} generalises",
    page="pages/generalise.py",
    implementation=_implementation,
)
