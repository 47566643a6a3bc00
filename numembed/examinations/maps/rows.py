"""How far the maps of a model can be trusted, as plain rows."""

from __future__ import annotations

from dataclasses import asdict

from numembed.examinations.maps.compute import Maps
from numembed.examinations.registry import Answer, Row


def rows(answer: Answer[Maps]) -> list[Row]:
    """Return all numbers as rows; ``part`` says what each belongs to. Points stand in the order of the sequences."""
    found = answer.found
    names = ("n", "dimension", "twins", "scatter", "chance_mean", "chance_low", "chance_high", "p")
    space = {"part": "space", "silhouette": found.space} | {name: getattr(found, name) for name in names}
    pictures = [("drawn", one) for one in found.drawn] + [("noise", one) for one in found.noise]
    return [
        space,
        *({"part": "map", **asdict(one)} for one in found.maps),
        *({"part": "seeds", **asdict(one)} for one in found.seeds),
        *({"part": part, **asdict(one)} for part, one in pictures),
    ]
