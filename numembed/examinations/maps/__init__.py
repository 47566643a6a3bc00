"""How far the maps of a model can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numembed.studies.examination import Examination

if TYPE_CHECKING:
    from numembed.examinations.maps.compute import Maps
    from numembed.examinations.registry import Implementation


def _implementation() -> Implementation[Maps]:
    from numembed.examinations.maps import compute, rows, text
    from numembed.examinations.registry import Implementation

    return Implementation(compute.Maps, compute.maps, text.sentence, rows.rows)


EXAMINATION = Examination(
    "maps",
    verb="maps",
    help="Say how far the maps can be trusted.",
    title="How true the maps of {} are",
    page="pages/maps.py",
    implementation=_implementation,
)
