"""How every figure of the Merge page is drawn: made once for all visitors who see the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numembed.merge_experiment.experiment import ExperimentResult
from ui.shared.figure import figure


def chart(
    result: ExperimentResult,
    name: str,
    draw: Callable[[str], Any],
    alt: str,
    *,
    choices: tuple[object, ...] = (),
    still: bool = False,
) -> None:
    """Draw the figure that ``draw`` makes for a theme; ``choices`` are what decides it beside what was found."""
    key = (
        result.experiment.key,
        *(one.digest for one in result.adapters),
        len(result.candidates),
        len(result.maps),
        result.complete,
        result.redrawn_sentences,
    )
    figure(draw, name, alt, by=(*choices, *key), still=still, file="merge")
