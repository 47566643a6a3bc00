"""How far our runs agree with the paper, in words that go by the redrawn windows there are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from numembed.core.wording import decimal, signed
from numembed.paper.published import TABLE_2, PublishedScore, published
from numembed.studies.evidence import evidence_of
from numembed.studies.results import ModelResult


def redrawn_here(result: ModelResult) -> tuple[float, float] | None:
    """Return where other windows would score here; None where they were not redrawn."""
    (known,) = evidence_of([result])
    if known.redrawn is None or math.isnan(known.redrawn.low):
        return None
    return known.redrawn.low, known.redrawn.high


def agreement(lines: Sequence[PublishedScore], shared: Sequence[tuple[ModelResult, PublishedScore]]) -> str:
    """Return in a sentence or two how far our runs are from the paper, or where other models stand among its own."""
    if shared:
        away = {line.model: line.silhouette_families - _printed(line) for _, line in shared}
        result, widest = max(shared, key=lambda pair: abs(away[pair[1].model]))
        return (
            f"{len(shared)} of the paper's {len(TABLE_2)} models {'has' if len(shared) == 1 else 'have'} been run "
            f"here; the largest difference is {signed(away[widest.model])}, of {widest.model}. "
            f"{_explained(redrawn_here(result), _printed(widest))}"
        )
    best = max(lines, key=lambda line: line.silhouette_families)
    above = sum(line.silhouette_families > best.silhouette_families for line in TABLE_2)
    return (
        f"None of the paper's {len(TABLE_2)} models has been run here so far; {best.model}, which was, scores "
        f"{decimal(best.silhouette_families)}, below {above} of them."
    )


def _printed(line: PublishedScore) -> float:
    published_score = published(line.model)
    return math.nan if published_score is None else published_score.silhouette_families


def _explained(redrawn: tuple[float, float] | None, theirs: float) -> str:
    if redrawn is None:
        return "Whether that is more than redrawing the windows explains cannot be determined before they are redrawn."
    inside = redrawn[0] <= theirs <= redrawn[1]
    return f"That is {'no more' if inside else 'more'} than redrawing the windows explains."


def how_judged(own: Sequence[ModelResult]) -> str:
    """Return what stands behind the differences: of how many runs the windows were redrawn."""
    known = sum(redrawn_here(result) is not None for result in own)
    if not known:
        return "No windows have been redrawn yet, so a difference is reported, not tested."
    if known < len(own):
        return (
            f"The windows of {known} of {len(own)} runs were redrawn; the other differences are reported, not tested."
        )
    return "A difference counts where the paper's value lies outside."
