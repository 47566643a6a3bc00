"""How far the maps of a model can be trusted, as plain rows."""

from __future__ import annotations

from dataclasses import asdict

from numembed.examinations.maps.compute import Maps
from numembed.examinations.registry import Answer, Row


def rows(answer: Answer[Maps]) -> list[Row]:
    """Return all numbers as rows; ``part`` says what each belongs to. Points stand in the order of the sequences."""
    result = answer.found
    names = ("n", "dimension", "twins", "scatter", "chance_mean", "chance_low", "chance_high", "p")
    space = {"part": "space", "silhouette": result.space} | {name: getattr(result, name) for name in names}
    pictures = [("drawn", one) for one in result.drawn] + [("noise", one) for one in result.noise]
    return [
        space,
        *({"part": "map", **asdict(one)} for one in result.maps),
        *({"part": "seeds", **asdict(one)} for one in result.seeds),
        *({"part": part, **asdict(one)} for part, one in pictures),
    ]
