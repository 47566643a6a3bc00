"""What a set of results says, in sentences made from its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from numembed.evidence import NO_FLOORS, best_baseline
from numembed.floors import Floors
from numembed.results import ModelResult

_LEVEL = 0.05


def headline(results: Sequence[ModelResult], floors: Floors = NO_FLOORS) -> str:
    """Return one or two plain sentences: does a model keep the families apart, and does a baseline do better?"""
    models = [result for result in results if not result.model.is_baseline and _separation(result) is not None]
    best, floor = max(models, key=_rank, default=None), best_baseline(results, floors)
    sentences = []
    if best is not None:
        score = best.score("silhouette", "families")
        how = "better than chance" if score.p is not None and score.p <= _LEVEL else "no better than chance"
        among = f"Of {len(models)} models, {best.model.name}" if len(models) > 1 else best.model.name
        apart = "keeps the families apart best, and" if len(models) > 1 else "keeps the families apart"
        verb = " does so " if len(models) > 1 else " "
        sentences.append(f"{among} {apart}{verb}{how} (silhouette {_signed(score.value)}, p {_p(score.p)}).")
    if floor is not None:
        name, value = floor
        beats = best is not None and value > _rank(best)
        says = "A trivial baseline does better" if beats else "The best trivial baseline stays below"
        if best is None:
            says = "The best baseline"
        sentences.append(f"{says}: {name}, with {_signed(value)}.")
    return " ".join(sentences) or "No score is defined here: a score needs at least two families with two sequences."


def _separation(result: ModelResult) -> float | None:
    value = result.score("silhouette", "families").value
    return None if value != value else value


def _rank(result: ModelResult) -> float:
    return result.score("silhouette", "families").value


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "below 0.001" if value < 0.001 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"
