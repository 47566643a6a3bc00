"""What a set of results says, in sentences made from its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from numembed.core.wording import decimal
from numembed.models.baselines import BASELINES
from numembed.studies.evidence import NO_REFERENCES, best_baseline
from numembed.studies.reference_scores import ReferenceScores
from numembed.studies.results import ModelResult
from numembed.studies.standing import (
    APART,
    AS_CHANCE,
    DIFFER,
    EQUAL,
    LESS,
    MORE,
    PARTLY,
    Standing,
    beside_baseline,
    standings,
)

_NOTHING = "No score is defined here: a score needs at least two families with two sequences."
_STRONGER = (AS_CHANCE, DIFFER, PARTLY, APART)


def headline(results: Sequence[ModelResult], references: ReferenceScores = NO_REFERENCES, *, families: int = 0) -> str:
    """Return one to three plain sentences: do the families lie apart, and does a trivial baseline do as well?

    Of several models p is Holm's, and the one that scores highest is not called the best: that takes redrawn windows.
    ``families`` is their number, to say how many sequences would be enough where there are too few.
    """
    models = [one for one in standings(results, families=families) if not one.result.model.is_baseline]
    ranked = sorted((one for one in models if not math.isnan(one.score.value)), key=lambda one: -one.score.value)
    best = best_baseline(results, references)
    sentences = [_first(ranked), *_others(ranked)] if ranked else [one.sentence for one in models[:1]]
    if best is not None:
        sentences.append(_baseline(ranked[0] if ranked else None, best, references))
    return " ".join(sentences) or _NOTHING


def _first(ranked: Sequence[Standing]) -> str:
    """Return what may be said of the model with the highest silhouette."""
    first, count = ranked[0], len(ranked)
    return (
        first.sentence if count == 1 else f"Of {count} models, {first.name} scores highest: {first.rule.says(first)}."
    )


def _others(ranked: Sequence[Standing]) -> list[str]:
    """Return a sentence about models of which more may be said than of the one that scores highest."""
    first, *lower = ranked
    more = [one for one in lower if _strength(one) > max(_strength(first), _STRONGER.index(AS_CHANCE))]
    if not more:
        return []
    if len(more) == 1:
        return [f"With {more[0].name}, which scores lower, {more[0].rule.says(more[0])}."]
    return [f"Of {len(more)} models that score lower, more can be said: see the table."]


def _strength(one: Standing) -> int:
    return _STRONGER.index(one.word) if one.word in _STRONGER else -1


def _baseline(first: Standing | None, best: tuple[str, float], references: ReferenceScores) -> str:
    """Return how the best trivial baseline compares with the model that scores highest."""
    title, value = best
    does = next((str(entry.facts["does"]) for entry in BASELINES if entry.title == title), f"the baseline {title}")
    says = {
        "": f"The best trivial baseline is {does}, with {decimal(value)}.",
        LESS: f"{does[0].upper()}{does[1:]} separates the families better ({decimal(value)}).",
        EQUAL: f"{does[0].upper()}{does[1:]} does about as well ({decimal(value)}).",
        MORE: f"No trivial baseline scores as high; the best is {does}, with {decimal(value)}.",
    }
    return says[beside_baseline(first, references, value)[0] if first else ""]
