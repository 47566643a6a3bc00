"""Pairs of models of a table: which scores higher, and by more than another choice of windows would move them?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from numembed.core.wording import decimal
from numembed.paper.comparison import redrawing_margin
from numembed.paper.published import PublishedScore


@dataclass(frozen=True)
class Counted:
    """Pairs of models of which the second should score higher."""

    against: int  # in which the first does
    clear: int  # by more than redrawing the windows explains
    ahead: bool  # in all of them the second does, by more than that
    beyond: str  # how that is told


def against_others(table: Sequence[PublishedScore], word: str) -> list[tuple[PublishedScore, PublishedScore]]:
    """Return every pair of another model and one with ``word`` in its name."""
    named = [line for line in table if word in line.model.casefold()]
    return list(itertools.product([line for line in table if line not in named], named))


def lost(pair: tuple[PublishedScore, PublishedScore]) -> float:
    """Return by how much the first of a pair, which should score lower, scores higher."""
    return pair[0].silhouette_families - pair[1].silhouette_families


def counted(pairs: Sequence[tuple[PublishedScore, PublishedScore]]) -> Counted:
    """Return how many pairs go against a claim, and how many of them clearly."""
    gaps = list(map(lost, pairs))
    margins = [redrawing_margin(*pair, comparisons=max(len(pairs), 1)) for pair in pairs]
    held = list(zip(gaps, margins, strict=True))
    measured = any(line.redrawn_sd is not None for pair in pairs for line in pair)
    least = decimal(max(margins, default=0))
    beyond = f"by more than {least}, beyond what redrawing the windows explains in the one model "
    return Counted(
        sum(gap > 0 for gap in gaps),
        sum(gap > margin for gap, margin in held),
        all(gap < -margin for gap, margin in held),
        "by more than redrawing the windows explains" if measured else f"{beyond}measured",
    )


def moved(lines: Sequence[PublishedScore]) -> str:
    """Return in one sentence how it is known how far other windows move these scores."""
    known = [line for line in lines if line.redrawn_sd is not None]
    if not known:
        return "The interval assumes that both vary as much as all-MiniLM-L6-v2, the only model measured so far."
    if len(known) == len(lines):
        return "How much each varies was measured here, by redrawing its windows."
    return "Where windows were not redrawn here, a model is assumed to vary as much as all-MiniLM-L6-v2."
