"""Other ways to find groups: other clusterers, other numbers of groups, other seeds. What do all of them follow?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from numembed.analysis.clusters.agreement import Agreement, ranked_agreement
from numembed.analysis.clusters.attributes import attributes
from numembed.analysis.clusters.clusterers import CLUSTERERS, NumberOfClusters, best_k, default_seeds
from numembed.analysis.clusters.neighbours import refuse_larger
from numembed.analysis.clusters.null_reference import LARGEST, REFERENCES, StandingOut, standing_out
from numembed.analysis.metrics import silhouette
from numembed.analysis.preparation import Distance, undefined_reason
from numembed.core.arrays import Labels, Matrix
from numembed.core.significance import holm
from numembed.examinations.registry import ExaminationContext
from numembed.models.encoders.tokens import count_tokens
from numembed.studies.study import Study

KS = range(2, 13)
FACTORS = ("family", "window")


@dataclass(frozen=True)
class Factor:
    """How far the groups of one clusterer match an attribute; NaN where undefined."""

    ari: float
    ami: float
    p: float  # adjusted after Holm: for all ways and both factors, or for all attributes of one way
    null_mean: float = math.nan  # of the shuffles' ARI
    null_sd: float = math.nan


@dataclass(frozen=True)
class Way:
    """One way of grouping and what its groups follow."""

    name: str  # of CLUSTERERS
    groups: int
    left_out: int  # sequences that it takes for noise
    family: Factor
    window: Factor
    attribute: str  # that its groups agree with most; "" where none is defined
    most: Factor  # with that attribute
    silhouette: float  # of its groups, without what is left out
    note: str = ""


@dataclass(frozen=True)
class Step:
    """KMeans with k groups."""

    k: int
    silhouette: float
    stability: float  # mean adjusted Rand index over pairs of seeds: 1 the same groups each time
    answers: int  # different ones over the seeds
    noise_low: float  # silhouettes of KMeans on shapeless vectors of the same spread
    noise_high: float
    note: str = ""


@dataclass(frozen=True)
class Grouping:
    """What other ways of grouping find. NaN where undefined."""

    ways: tuple[Way, ...]
    steps: tuple[Step, ...]
    families: int
    seeds: int
    best: int  # the number of groups that stands out furthest from shapeless vectors; 0 where undefined
    best_p: float  # that any number of groups stands out as far by chance


def grouping(context: ExaminationContext) -> Grouping:
    """Return what is found with other clusterers, from 2 to 12 groups, and how much KMeans depends on its seed."""
    study, sequences = context.study, context.study.sequences
    refuse_larger(len(sequences), "Other ways of grouping")
    counted = count_tokens(context.spec, sequences.texts, context.settings)
    kinds = attributes(sequences, token_counts=counted.counts if counted else None)
    return examine(context.matrix, kinds, study, progress=context.progress)


def examine(
    matrix: Matrix, attributes: dict[str, Labels], study: Study, *, progress: Callable[[int, int], None]
) -> Grouping:
    """Return what other ways of grouping find in ``matrix`` (n, d); ``progress(done, total)`` may raise Cancelled."""
    families, n, distance = len(study.sequences.families), len(matrix), cast(Distance, study.distance)
    ks, seeds = sorted({*KS, families} - {0, 1}), default_seeds(n)
    parts = (len(CLUSTERERS), len(ks) * seeds, len(ks) * REFERENCES if n <= LARGEST else 0)
    progress(0, sum(parts))
    ways = ways_of(matrix, attributes, study, progress=lambda done: progress(done, sum(parts)))
    tried = best_k(
        matrix, ks, distance=distance, progress=lambda done, total, note: progress(parts[0] + done, sum(parts))
    )
    beside = standing_out(
        matrix,
        ks,
        [step.silhouette for step in tried],
        distance=distance,
        seed=study.seed,
        progress=lambda done, total, note: progress(sum(parts[:2]) + done, sum(parts)),
    )
    best = ks[beside.best] if beside.best >= 0 else 0
    return Grouping(ways, _steps(tried, beside), families, seeds, best, beside.p)


def ways_of(
    matrix: Matrix, attributes: dict[str, Labels], study: Study, *, progress: Callable[[int], None] = lambda done: None
) -> tuple[Way, ...]:
    """Return what the groups of every clusterer follow; ``progress(done)`` may raise Cancelled."""
    families, ways = len(study.sequences.families), []
    for number, entry in enumerate(CLUSTERERS, start=1):
        labels = entry.function(matrix, families, study.seed)
        distance = cast(Distance, study.distance)
        ways.append(_way(entry.name, matrix, labels, attributes, distance=distance, seed=study.seed))
        progress(number)
    return _adjusted(ways)


def _way(
    name: str, matrix: Matrix, labels: Labels, attributes: dict[str, Labels], *, distance: Distance, seed: int
) -> Way:
    agreements = ranked_agreement(labels, attributes, seed=seed)
    by_name = {one.attribute: one for one in agreements}
    kept = labels >= 0
    groups = len(np.unique(labels[kept]))
    most = next((one for one in agreements if one.ari == one.ari), None)
    reason = undefined_reason(matrix[kept], labels[kept], distance=distance) if kept.any() else "finds no groups"
    together = dict(zip(by_name, holm([one.p for one in agreements]), strict=True))
    return Way(
        name,
        groups,
        int((~kept).sum()),
        _factor(by_name.get("family")),
        _factor(by_name.get("window")),
        most.attribute if most else "",
        _factor(most, together[most.attribute] if most else None),
        math.nan if reason else silhouette(matrix[kept], labels[kept], distance=distance),
        reason,
    )


def _factor(one: Agreement | None, p: float | None = None) -> Factor:
    if one is None:
        return Factor(math.nan, math.nan, math.nan)
    return Factor(one.ari, one.ami, one.p if p is None else p, one.null_mean, one.null_sd)


def _adjusted(ways: Sequence[Way]) -> tuple[Way, ...]:
    """Return the ways with the p of family and window adjusted together, so that a sentence may speak of all."""
    ps = iter(holm([getattr(way, name).p for way in ways for name in FACTORS]))
    texts = []
    for way in ways:
        family, window = (
            replace(one, p=math.nan if p is None else p)
            for one, p in zip((way.family, way.window), (next(ps), next(ps)), strict=True)
        )
        texts.append(Way(**vars(way) | {"family": family, "window": window}))
    return tuple(texts)


def _steps(tried: Sequence[NumberOfClusters], beside: StandingOut) -> tuple[Step, ...]:
    return tuple(
        Step(one.k, one.silhouette, one.stability, one.groupings, low, high, one.note)
        for one, low, high in zip(tried, beside.low.tolist(), beside.high.tolist(), strict=True)
    )
