"""What the stress tests found, as plain rows."""

from __future__ import annotations

from dataclasses import asdict

from numembed.examinations.registry import Answer, Row
from numembed.examinations.stress.compute import Stress, variant_of
from numembed.sequences.perturbations.terms import PERTURBATIONS

_SAME = "Nothing changes here: it is so already."
_NUMBERS = (
    "value",
    "change",
    "low",
    "high",
    "p",
    "p_holm",
    "chance",
    "p_chance",
    "z_within",
    "p_within",
    "ari",
    "drift",
    "ratio",
    "repeated",
)


def rows(answer: Answer[Stress]) -> list[Row]:
    """Return all numbers as rows: the plain score, then every variant."""
    return [plain_row(answer.found), *rows_of(answer.found)]


def rows_of(stress: Stress) -> list[Row]:
    """Return one flat row a variant, for tables and files; None where undefined."""
    rows = []
    for one in stress.tried:
        entry = PERTURBATIONS[one.perturbation]
        texts = {
            "perturbation": one.perturbation,
            "title": entry.title,
            "group": entry.facts["group"],
            "variant": variant_of(one),
            "options": one.options,
        }
        numbers = {name: getattr(one, name) for name in _NUMBERS} | {"ratios": list(one.ratios)}
        note = one.note or (_SAME if one.same else "")
        rows.append(texts | numbers | {"note": note, "meaning": entry.facts["meaning"]})
    return rows


def plain_row(stress: Stress) -> Row:
    """Return everything about the score before anything is changed as one flat row."""
    first = {"perturbation": "plain", "title": "Nothing changed", "designs": stress.designs}
    return first | {"distance": stress.distance} | asdict(stress.plain)
