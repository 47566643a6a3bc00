"""How far the scores of a table may be trusted: p values together, redrawn windows, gains over baselines, pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from numembed.analysis.intervals import (
    Difference,
    Interval,
    paired_difference,
    redrawing_interval,
    sequences_needed,
)
from numembed.analysis.significance import holm
from numembed.results import ModelResult

_SILHOUETTE = "silhouette families"


@dataclass(frozen=True)
class Evidence:
    """What stands behind one model's silhouette; None where nobody knows yet."""

    model: str
    is_baseline: bool
    value: float
    low: float | None  # jackknife over sequences
    high: float | None
    redrawn: Interval | None  # where another design's score falls
    designs: int
    p: float | None
    p_holm: float | None  # across the models of the table; baselines do not count
    p_within: float | None
    z: float | None
    gain: float | None  # over the best baseline of the table
    best_baseline: str


def evidence_of(results: Sequence[ModelResult]) -> tuple[Evidence, ...]:
    """Return the evidence of each model, in their order."""
    firsts = [result.score("silhouette", "families") for result in results]
    pairs = list(zip(results, firsts, strict=True))
    adjusted = holm([None if result.model.is_baseline else score.p for result, score in pairs])
    baselines = [score for result, score in pairs if result.model.is_baseline]
    best = max((score for score in baselines if not math.isnan(score.value)), key=lambda s: s.value, default=None)
    found = []
    for result, score, p_holm in zip(results, firsts, adjusted, strict=True):
        redrawn = result.designs.get(_SILHOUETTE, ())
        gain = None if best is None or result.model.is_baseline else score.value - best.value
        found.append(
            Evidence(
                result.model.name, result.model.is_baseline, score.value, score.low, score.high,
                redrawing_interval(redrawn) if redrawn else None, len(redrawn),
                score.p, p_holm, score.p_within, score.z, gain, best.model if best else "",
            )
        )  # fmt: skip
    return tuple(found)


def compared(results: Sequence[ModelResult]) -> tuple[str, ...]:
    """Return a sentence for each model against the next one below it, over the same redrawn windows.

    Baselines are left out. Where two cannot be told apart it says how many sequences per family might do it.
    """
    known = [r for r in results if not r.model.is_baseline and len(r.designs.get(_SILHOUETTE, ())) >= 3]
    ranked = sorted(known, key=lambda r: -sum(r.designs[_SILHOUETTE]) / len(r.designs[_SILHOUETTE]))
    sentences = []
    for upper, lower in pairwise(ranked):
        a, b = upper.designs[_SILHOUETTE], lower.designs[_SILHOUETTE]
        if len(a) != len(b):
            continue
        difference = paired_difference(a, b)
        sentences.append(difference.sentence(upper.model.name, lower.model.name) + _needed(upper, difference, a, b))
    return tuple(sentences)


def _needed(result: ModelResult, difference: Difference, a: Sequence[float], b: Sequence[float]) -> str:
    if difference.distinguishable or difference.note:
        return ""
    per_family = max(1, result.clusters.size // max(1, len(set(result.clusters.tolist()))))
    mean = sum(a) / len(a) - sum(b) / len(b)
    spread = math.sqrt(sum((x - y - mean) ** 2 for x, y in zip(a, b, strict=True)) / (len(a) - 1))
    count = sequences_needed(mean, spread, per_family, designs=len(a))
    if count is None:
        return " If they differ at all, more sequences would be needed than are computed here."
    return f" About {count:,} sequences per family might tell them apart."
