"""How every figure of the Merge page is drawn: made once for all visitors who see the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numembed.merge_experiment.experiment import LadderResult
from ui.shared.figure import figure


def chart(
    found: LadderResult,
    name: str,
    draw: Callable[[str], Any],
    alt: str,
    *,
    choices: tuple[object, ...] = (),
    still: bool = False,
) -> None:
    """Draw the figure that ``draw`` makes for a theme; ``choices`` are what decides it beside what was found."""
    key = (
        found.ladder.key,
        *(one.digest for one in found.adapters),
        len(found.arms),
        len(found.maps),
        found.complete,
        found.redrawn_sentences,
    )
    figure(draw, name, alt, by=(*choices, *key), still=still, file="merge")
