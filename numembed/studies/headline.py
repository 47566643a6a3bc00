"""What a set of results says, in sentences made from its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from numembed.core.significance import LEVEL, holm
from numembed.core.wording import decimal, p_text, p_value
from numembed.studies.evidence import NO_REFERENCES, best_baseline
from numembed.studies.reference_scores import ReferenceScores
from numembed.studies.results import ModelResult

_NOTHING = "No score is defined here: a score needs at least two families with two sequences."


@dataclass(frozen=True)
class _Standing:
    """A model's silhouette, and p among shuffled families as adjusted for all models of the table."""

    result: ModelResult
    value: float
    p: float | None
    least_p: float  # adjusted too

    @property
    def name(self) -> str:
        return self.result.model.name

    @property
    def sure(self) -> bool:
        """True where it is better than chance, all models looked at together."""
        return self.p is not None and self.p <= LEVEL


def headline(results: Sequence[ModelResult], references: ReferenceScores = NO_REFERENCES) -> str:
    """Return one to three plain sentences: does a model keep the families apart, and does a baseline do better?

    Of several models p is Holm's, and the one that scores highest is not called the best: that takes redrawn windows.
    """
    ranked = _ranked(results)
    best = best_baseline(results, references)
    sentences = [_first(ranked), *_others(ranked)] if ranked else []
    if best is not None:
        name, value = best
        says = "A trivial baseline scores higher" if ranked and value > ranked[0].value else "The best baseline"
        if ranked and value <= ranked[0].value:
            says = "The best trivial baseline scores lower"
        sentences.append(f"{says}: {name}, with {decimal(value)}.")
    return " ".join(sentences) or _NOTHING


def _ranked(results: Sequence[ModelResult]) -> list[_Standing]:
    """Return the models that have a silhouette, the highest first."""
    pairs = [(result, result.score("silhouette", "families")) for result in results if not result.model.is_baseline]
    defined = [(result, score) for result, score in pairs if score.value == score.value]
    adjusted = holm([score.p for _, score in defined])
    standings = [
        _Standing(result, score.value, p, min(1.0, len(defined) * (score.least_p or 0)))
        for (result, score), p in zip(defined, adjusted, strict=True)
    ]
    return sorted(standings, key=lambda one: -one.value)


def _first(ranked: Sequence[_Standing]) -> str:
    """Return what may be said of the model with the highest silhouette."""
    first, count = ranked[0], len(ranked)
    text = f"silhouette {decimal(first.value)}, {p_text(first.p)}{f' among {count} models' if count > 1 else ''}"
    few = not first.sure and first.least_p > LEVEL
    if count == 1:
        if few:
            return f"There are too few sequences to tell whether {first.name} separates the families ({_few(first)})."
        how = "better" if first.sure else "no better"
        return f"{first.name} separates the families {how} than chance ({text})."
    head = f"Of {count} models, {first.name}"
    if few:
        return f"{head} scores highest, but there are too few sequences to tell it from chance ({_few(first)})."
    if not first.sure:
        return f"{head} scores highest, but separates the families no better than chance ({text})."
    return f"{head} scores highest, and separates the families better than chance ({text})."


def _others(ranked: Sequence[_Standing]) -> list[str]:
    """Return a sentence about models that are better than chance where the one that scores highest is not."""
    sure = [one for one in ranked if one.sure]
    if ranked[0].sure or not sure:
        return []
    if len(sure) > 1:
        return [f"{len(sure)} models that score lower are better than chance."]
    return [
        f"{sure[0].name}, which scores lower, is better than chance ({p_text(sure[0].p)} among {len(ranked)} models)."
    ]


def _few(one: _Standing) -> str:
    return f"silhouette {decimal(one.value)}; p cannot be below {p_value(one.least_p)} here"
