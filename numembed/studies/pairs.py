"""Which of two models separates the families better, over the same redrawn windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from numembed.analysis.inference import intervals
from numembed.analysis.inference.power import smallest_difference
from numembed.analysis.scores import SILHOUETTE
from numembed.core.serialization import as_plain
from numembed.core.significance import LEVEL, holm
from numembed.core.wording import listed
from numembed.studies.results import ModelResult
from numembed.studies.study import Study, design_of


@dataclass(frozen=True)
class Pair:
    """How far the silhouettes of one model lie above those of another over the same designs; NaN where undefined."""

    first: str
    second: str
    difference: float
    low: float  # 95%
    high: float
    p: float  # two-sided
    p_holm: float | None  # across all pairs
    designs: int
    distinguishable: bool  # by the interval and by p across all pairs
    needed: int | None  # sequences per family that might tell them apart; None where unknown or not needed
    sentence: str
    note: str = ""
    smallest_seen: float | None = None  # true difference that this comparison finds in four cases of five

    def as_row(self) -> dict[str, Any]:
        """Return it as JSON values."""
        plain: dict[str, Any] = as_plain(vars(self))
        return plain


def pair_rows(study: Study, results: Sequence[ModelResult]) -> list[dict[str, Any]]:
    """Return every pair of models with its difference, seed and design."""
    of = {"seed": study.seed, "design": design_of(study)}
    return [pair.as_row() | of for pair in pairs_of(results, families=len(study.families))]


def pairs_of(results: Sequence[ModelResult], *, families: int) -> tuple[Pair, ...]:
    """Return every pair of models, the better first, over the same redrawn windows; baselines are left out.

    () where the windows of no model were redrawn.
    """
    models = sorted((one for one in results if not one.model.is_baseline), key=lambda one: -_level(one))
    if not any(_silhouettes(one) for one in models):
        return ()
    couples = list(combinations(models, 2))
    differences = [_difference(first, second) for first, second in couples]
    adjusted = holm([None if one.note else one.p for one in differences])
    return tuple(
        _pair(first, second, difference, p_holm, len(couples), families)
        for (first, second), difference, p_holm in zip(couples, differences, adjusted, strict=True)
    )


def compared(results: Sequence[ModelResult], *, families: int) -> tuple[str, ...]:
    """Return a sentence for each model against the next one below it, over the same redrawn windows.

    Baselines are left out. Where two cannot be determined apart it says how many sequences per family might do it, and
    where they cannot be compared, why.
    """
    neighbours: dict[str, Pair] = {}
    for pair in pairs_of(results, families=families):
        neighbours.setdefault(pair.first, pair)
    return tuple(pair.sentence for pair in neighbours.values())


def _silhouettes(result: ModelResult) -> Sequence[float]:
    return result.designs.get(SILHOUETTE, ())


def _level(result: ModelResult) -> float:
    known = [value for value in _silhouettes(result) if not math.isnan(value)]
    value = float(np.mean(known)) if known else result.score(*SILHOUETTE).value
    return -math.inf if math.isnan(value) else value


def _difference(first: ModelResult, second: ModelResult) -> intervals.Difference:
    a, b = _silhouettes(first), _silhouettes(second)
    if len(a) == len(b) > 0:
        return intervals.paired_difference(a, b)
    text = listed([f"{one.model.name} has the scores of {len(_silhouettes(one))}" for one in (first, second)])
    note = f"{text} redrawn designs; redraw the windows of both the same number of times"
    return intervals.Difference(math.nan, math.nan, math.nan, math.nan, False, note)


def _pair(
    first: ModelResult,
    second: ModelResult,
    difference: intervals.Difference,
    p_holm: float | None,
    pairs: int,
    families: int,
) -> Pair:
    sure = difference.distinguishable and p_holm is not None and p_holm <= LEVEL
    count = None if difference.note or difference.distinguishable else _needed(first, second, families)
    return Pair(
        first.model.name,
        second.model.name,
        difference.mean,
        difference.low,
        difference.high,
        difference.p,
        p_holm,
        len(_silhouettes(first)),
        sure,
        count,
        _text(first, second, difference, count, pairs, sure=sure),
        difference.note,
        None if difference.note else _smallest_seen(first, second, pairs),
    )


def _text(
    first: ModelResult,
    second: ModelResult,
    difference: intervals.Difference,
    needed: int | None,
    pairs: int,
    *,
    sure: bool,
) -> str:
    sentence = difference.sentence(first.model.name, second.model.name)
    if difference.note or sure:
        return sentence
    if difference.distinguishable:
        names = f"{first.model.name} and {second.model.name}"
        return f"{names} are not distinguishable at this size when all {pairs} pairs are judged together."
    if needed is None:
        return f"{sentence} If they differ at all, more sequences would be needed than are computed here."
    return f"{sentence} About {needed:,} sequences per family might tell them apart."


def _smallest_seen(first: ModelResult, second: ModelResult, pairs: int) -> float | None:
    """Return the smallest difference of two models that all pairs, judged together, would have shown."""
    apart = np.subtract(_silhouettes(first), _silhouettes(second))
    return smallest_difference(float(np.std(apart, ddof=1)), len(apart), comparisons=pairs)


def _needed(first: ModelResult, second: ModelResult, families: int) -> int | None:
    """Return how many sequences per family might tell two models apart."""
    a, b = _silhouettes(first), _silhouettes(second)
    per_family = max(1, first.clusters.size // max(1, families))
    apart = np.subtract(a, b)
    return intervals.sequences_needed(float(np.mean(apart)), float(np.std(apart, ddof=1)), per_family, designs=len(a))
