"""How far the scores of a table may be trusted: p values together, redrawn windows, gains over baselines, pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from numembed.analysis.intervals import (
    Difference,
    Interval,
    paired_difference,
    redrawing_interval,
    sequences_needed,
)
from numembed.analysis.scores import Score
from numembed.analysis.significance import holm
from numembed.floors import SILHOUETTE, Floors
from numembed.results import ModelResult

NO_FLOORS = Floors()


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
    gain: float | None  # over the best baseline
    best_baseline: str
    floor: float | None  # what that baseline scores
    twin: float | None  # what the same architecture scores with random weights


def evidence_of(results: Sequence[ModelResult], floors: Floors = NO_FLOORS) -> tuple[Evidence, ...]:
    """Return the evidence of each model, in their order; gains are over the best of all baselines that are known."""
    firsts = [result.score("silhouette", "families") for result in results]
    pairs = list(zip(results, firsts, strict=True))
    adjusted = holm([None if result.model.is_baseline else score.p for result, score in pairs])
    best_name, best = best_baseline(results, floors) or ("", None)
    found = []
    for result, score, p_holm in zip(results, firsts, adjusted, strict=True):
        redrawn = result.designs.get(SILHOUETTE, ())
        gain = None if best is None or result.model.is_baseline else score.value - best
        found.append(
            Evidence(
                result.model.name, result.model.is_baseline, score.value, score.low, score.high,
                redrawing_interval(redrawn) if redrawn else None, len(redrawn),
                score.p, p_holm, score.p_within, score.z, gain, best_name, best, floors.twin(result.model.name),
            )
        )  # fmt: skip
    return tuple(found)


def best_baseline(results: Sequence[ModelResult], floors: Floors) -> tuple[str, float] | None:
    """Return the title and silhouette of the best of all baselines, those of the table where no others are known."""
    if known := floors.best():
        return known
    scores = [result.score("silhouette", "families") for result in results if result.model.is_baseline]
    best = max((score for score in scores if not math.isnan(score.value)), key=lambda s: s.value, default=None)
    return (best.model, best.value) if best else None


def score_rows(scores: Sequence[Score], floors: Floors = NO_FLOORS) -> list[dict[str, Any]]:
    """Return each score as JSON values, beside the best baseline and the same architecture with random weights."""
    rows = []
    for score in scores:
        name = f"{score.metric} {score.labels}"
        title, value = floors.best(name) or (None, None)
        twin = floors.twin(score.model, name)
        against = {"best_baseline": title, "best_baseline_value": value, "random_weights": twin}
        rows.append(score.as_json() | {key: known for key, known in against.items() if known is not None})
    return rows


def redrawn_intervals(result: ModelResult) -> dict[str, Interval]:
    """Return by "metric labels" where the scores of one more choice of windows fall; {} where none was redrawn."""
    defined = {name: [v for v in values if not math.isnan(v)] for name, values in result.designs.items()}
    return {name: redrawing_interval(values) for name, values in defined.items()}


def compared(results: Sequence[ModelResult], *, families: int) -> tuple[str, ...]:
    """Return a sentence for each model against the next one below it, over the same redrawn windows.

    Baselines are left out. Where two cannot be told apart it says how many sequences per family might do it.
    """
    known = [r for r in results if not r.model.is_baseline and len(r.designs.get(SILHOUETTE, ())) >= 3]
    ranked = sorted(known, key=lambda r: -sum(r.designs[SILHOUETTE]) / len(r.designs[SILHOUETTE]))
    sentences = []
    for upper, lower in pairwise(ranked):
        a, b = upper.designs[SILHOUETTE], lower.designs[SILHOUETTE]
        if len(a) != len(b):
            continue
        difference = paired_difference(a, b)
        sentences.append(
            difference.sentence(upper.model.name, lower.model.name)
            + _needed(upper.clusters.size // families, difference, a, b)
        )
    return tuple(sentences)


def _needed(per_family: int, difference: Difference, a: Sequence[float], b: Sequence[float]) -> str:
    if difference.distinguishable or difference.note:
        return ""
    mean = sum(a) / len(a) - sum(b) / len(b)
    spread = math.sqrt(sum((x - y - mean) ** 2 for x, y in zip(a, b, strict=True)) / (len(a) - 1))
    count = sequences_needed(mean, spread, max(1, per_family), designs=len(a))
    if count is None:
        return " If they differ at all, more sequences would be needed than are computed here."
    return f" About {count:,} sequences per family might tell them apart."
