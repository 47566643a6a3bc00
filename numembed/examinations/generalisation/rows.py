"""How far a model's knowledge of the families reaches, as plain rows."""

from __future__ import annotations

from dataclasses import asdict

from numembed.examinations.generalisation.result import Far, Generalisation
from numembed.examinations.registry import Answer, Row


def rows(answer: Answer[Generalisation]) -> list[Row]:
    """Return all numbers as rows; ``part`` says what each belongs to."""
    result = answer.found
    parts = [("near windows", result.near), *((f"from term {far.start:,}", far.probes) for far in result.far)]
    parts += [("unseen families", result.unseen), ("one attribute", result.single)]
    first: Row = {"part": "sequences", "families": result.families, "windows": result.windows}
    probed = ({"part": part} | asdict(probe) for part, probes in parts for probe in probes)
    return [first, *map(_far_row, result.far), *probed]


def _far_row(far: Far) -> Row:
    left_out = "; ".join(f"{title} ({reason})" for title, reason in far.left_out)
    numbers = {"start": far.start, "families": far.families, "left_out": left_out, "note": far.note}
    return {"part": f"from term {far.start:,}"} | numbers
