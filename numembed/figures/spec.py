"""A figure as the text that a browser gets: converted once, shown often."""

from __future__ import annotations

import json
from typing import Any

import plotly.io
from plotly.basedatatypes import BaseFigure


def spec_of(figure: BaseFigure) -> str:
    """Return the figure as JSON, its arrays in base64."""
    return str(plotly.io.to_json(figure, validate=False))


class SpecFigure(BaseFigure):  # type: ignore[misc]
    """A figure that is shown as its ``spec`` says: nothing is checked or converted again."""

    def __init__(self, spec: str) -> None:
        object.__setattr__(self, "_spec", spec)

    def to_dict(self) -> dict[str, Any]:
        """Return what the text holds: new values at each call, which the caller may change."""
        made: dict[str, Any] = json.loads(self._spec)
        return made
