"""Other ways to find groups: other clusterers, other numbers of groups, other seeds. What do all of them follow?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np

from numembed.analysis.clusters.agreement import Agreement, ranked_agreement
from numembed.analysis.clusters.attributes import ATTRIBUTES, attributes_and_reasons
from numembed.analysis.clusters.clusterers import CLUSTERERS, NumberOfClusters, best_k, default_seeds
from numembed.analysis.clusters.neighbours import refuse_larger
from numembed.analysis.clusters.null_reference import LARGEST, TWINS, StandingOut, standing_out
from numembed.analysis.metrics import Distance, silhouette, undefined_reason
from numembed.core.arrays import Labels, Matrix
from numembed.core.serialization import with_nan, without_nan
from numembed.core.significance import LEVEL, holm
from numembed.core.wording import decimal, listed, signed
from numembed.examinations.registry import EXAMINATIONS, Bench
from numembed.models.encoders.tokens import count_tokens
from numembed.studies.study import Study

NAME = "grouping"
KS = range(2, 13)
_FACTORS = ("family", "window")


@dataclass(frozen=True)
class Factor:
    """How far the groups of one clusterer match an attribute; NaN where undefined."""

    ari: float
    ami: float
    p: float  # adjusted after Holm: for all ways and both factors, or for all attributes of one way


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

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values; None for NaN."""
        found: dict[str, Any] = without_nan(asdict(self))
        return found

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Grouping:
        """Return what :meth:`as_json` described."""
        known = with_nan(plain)
        factors = ("family", "window", "most")
        ways = tuple(Way(**one | {name: Factor(**one[name]) for name in factors}) for one in known["ways"])
        return cls(**known | {"ways": ways, "steps": tuple(Step(**one) for one in known["steps"])})


@EXAMINATIONS.register("Other ways of grouping", asks="Do other clusterers, numbers of groups and seeds say the same?")
def grouping(bench: Bench) -> dict[str, Any]:
    """Other clusterers, from 2 to 12 groups, and how much KMeans depends on its seed."""
    study, sequences = bench.study, bench.study.sequences
    refuse_larger(len(sequences), "Other ways of grouping")
    counted = count_tokens(bench.spec, sequences.texts, bench.settings)
    attributes, _ = attributes_and_reasons(sequences, token_counts=counted.counts if counted else None)
    return examine(bench.matrix, attributes, study, tell=bench.tell).as_json()


def examine(
    matrix: Matrix, attributes: dict[str, Labels], study: Study, *, tell: Callable[[int, int], None]
) -> Grouping:
    """Return what other ways of grouping find in ``matrix`` (n, d); ``tell(done, total)`` may raise Cancelled."""
    families, n, distance = len(study.sequences.families), len(matrix), cast(Distance, study.distance)
    ks, seeds = sorted({*KS, families} - {0, 1}), default_seeds(n)
    parts = (len(CLUSTERERS), len(ks) * seeds, len(ks) * TWINS if n <= LARGEST else 0)
    tell(0, sum(parts))
    ways = []
    for number, entry in enumerate(CLUSTERERS, start=1):
        labels = entry.function(matrix, families, study.seed)
        ways.append(_way(entry.name, matrix, labels, attributes, distance=distance, seed=study.seed))
        tell(number, sum(parts))
    tried = best_k(
        matrix, ks, distance=distance, progress=lambda done, total, note: tell(parts[0] + done, sum(parts))
    )  # fmt: skip
    beside = standing_out(
        matrix, ks, [step.silhouette for step in tried], distance=distance, seed=study.seed,
        progress=lambda done, total, note: tell(sum(parts[:2]) + done, sum(parts)),
    )  # fmt: skip
    best = ks[beside.best] if beside.best >= 0 else 0
    return Grouping(_adjusted(ways), _steps(tried, beside), families, seeds, best, beside.p)


def sentence_of(found: Grouping) -> str:
    """Return in three sentences whether ways and seeds agree, and whether any groups stand out."""
    return " ".join(filter(None, (ways_sentence(found), seeds_sentence(found), steps_sentence(found))))


def ways_sentence(found: Grouping) -> str:
    """Return in one sentence what the ways of grouping follow, claiming no more than the shuffles allow."""
    ways = [way for way in found.ways if way.family.ari == way.family.ari or way.window.ari == way.window.ari]
    if not ways:
        return "No way of grouping finds groups that could follow family or window here."
    followed = [_followed(way) for way in ways]
    counts = {name: followed.count(name) for name in ("window", "family", "")}
    if counts[""] == len(ways):
        return f"None of {len(ways)} ways of grouping follows the family or the window better than chance."
    for name, other in (("window", "family"), ("family", "window")):
        if counts[name] == len(ways):
            every = "Every way of grouping" if len(ways) == len(found.ways) else "Every way that finds groups here"
            return f"{every} follows the {name} more than the {other}."
    told = [
        f"{counts[name]} follow{'s' * (counts[name] == 1)} the {name} more than the {other}"
        for name, other in (("window", "family"), ("family", "window"))
        if counts[name]
    ]
    rest = f"{counts['']} follow{'s' * (counts[''] == 1)} neither better than chance" if counts[""] else ""
    return f"Of {len(ways)} ways of grouping, {listed([*told, *filter(None, [rest])])}."


def seeds_sentence(found: Grouping) -> str:
    """Return in one sentence how far KMeans depends on its seed, with as many groups as families."""
    step = next((step for step in found.steps if step.k == found.families), None)
    if step is None or step.stability != step.stability or found.seeds < 2:
        return ""
    if step.answers == 1:
        return f"With {step.k} groups, {found.seeds} seeds of KMeans all give the same answer."
    return (
        f"With {step.k} groups, {found.seeds} seeds of KMeans give {step.answers} different answers; two of them agree "
        f"to {decimal(step.stability)} on average, where 1 is the same answer."
    )


def steps_sentence(found: Grouping) -> str:
    """Return in one sentence whether any number of groups stands out from vectors without groups."""
    step = next((step for step in found.steps if step.k == found.best), None)
    if step is None or found.best_p != found.best_p:
        return ""
    first, last = found.steps[0].k, found.steps[-1].k
    if found.best_p > LEVEL:
        return f"No number of groups from {first} to {last} stands out from shapeless vectors of the same spread."
    return (
        f"{step.k} groups stand out most: their silhouette is {signed(step.silhouette)}, and at most "
        f"{signed(step.noise_high)} in shapeless vectors of the same spread."
    )


def rows_of(found: Grouping) -> list[dict[str, Any]]:
    """Return all numbers as rows; ``part`` says what each belongs to."""
    ways = [
        {"part": "way", "name": way.name, "groups": way.groups, "left_out": way.left_out}
        | {f"{factor}_{name}": value for factor in _FACTORS for name, value in asdict(getattr(way, factor)).items()}
        | {"most": way.attribute, **{f"most_{name}": value for name, value in asdict(way.most).items()}}
        | {"silhouette": way.silhouette, "note": way.note}
        for way in found.ways
    ]
    steps = [{"part": "k", "name": f"KMeans, {step.k} groups", **asdict(step)} for step in found.steps]
    best = {"part": "best", "name": f"{found.best} groups" if found.best else "", "groups": found.best,
            "p": found.best_p, "families": found.families, "seeds": found.seeds}  # fmt: skip
    return [without_nan(row) for row in (*ways, *steps, best)]


def title_of(way: Way) -> str:
    """Return the clusterer's name as people read it."""
    return CLUSTERERS[way.name].title


def most_of(way: Way) -> str:
    """Return the title of the attribute that a way agrees with most, or ""."""
    return ATTRIBUTES[way.attribute].title if way.attribute else ""


def _followed(way: Way) -> str:
    """Return "family", "window" or "" for neither: the one with the better agreement of those above chance."""
    sure = {
        name: factor.ari
        for name, factor in (("window", way.window), ("family", way.family))
        if factor.p <= LEVEL and factor.ari > 0
    }
    return max(sure, key=lambda name: sure[name], default="")


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
    return Factor(one.ari, one.ami, one.p if p is None else p)


def _adjusted(ways: Sequence[Way]) -> tuple[Way, ...]:
    """Return the ways with the p of family and window adjusted together, so that a sentence may speak of all."""
    ps = iter(holm([getattr(way, name).p for way in ways for name in _FACTORS]))
    told = []
    for way in ways:
        family, window = (
            Factor(one.ari, one.ami, math.nan if p is None else p)
            for one, p in zip((way.family, way.window), (next(ps), next(ps)), strict=True)
        )
        told.append(Way(**vars(way) | {"family": family, "window": window}))
    return tuple(told)


def _steps(tried: Sequence[NumberOfClusters], beside: StandingOut) -> tuple[Step, ...]:
    return tuple(
        Step(one.k, one.silhouette, one.stability, one.groupings, low, high, one.note)
        for one, low, high in zip(tried, beside.low.tolist(), beside.high.tolist(), strict=True)
    )
