"""How far the scores of a table may be trusted: p values together, redrawn windows, gains over baselines, pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from numembed.analysis.inference import intervals
from numembed.analysis.inference.power import smallest_difference
from numembed.analysis.scores import SILHOUETTE, ScoreKind
from numembed.core.serialization import as_plain
from numembed.core.significance import LEVEL, holm
from numembed.core.wording import listed
from numembed.studies.reference_scores import ReferenceScores
from numembed.studies.results import ModelResult, Reading
from numembed.studies.standing import Standing, beside_baseline, standings
from numembed.studies.study import Study, design_of

NO_REFERENCES = ReferenceScores()


@dataclass(frozen=True)
class Evidence:
    """What stands behind one score of one model; None where nobody knows yet, or where the note says why not."""

    model: str
    is_baseline: bool
    metric: str
    labels: str
    value: float
    chance_mean: float | None  # of shuffled families, with the band that holds 95% of them
    chance_low: float | None
    chance_high: float | None
    z: float | None  # standard deviations above what shuffled families score
    p: float | None
    p_holm: float | None  # across the models of the table; baselines do not count
    p_within: float | None
    low: float | None  # jackknife over sequences
    high: float | None
    redrawn: intervals.Interval | None  # where another design's score falls
    redrawn_sd: float | None  # of the designs' scores
    designs: int
    gain: float | None  # over the best baseline: above 0 is better, whatever the metric
    best_baseline: str
    best_baseline_value: float | None
    random_weights: float | None  # what the same architecture scores with random weights
    note: str = ""
    least_p: float | None = None  # that so few sequences can have: above 0.05 nothing can be concluded
    least_p_within: float | None = None
    p_within_holm: float | None = None  # p_within across the models of the table
    word: str = ""  # for the families, by the table of conditions; of the silhouette with the families only
    sentence: str = ""
    beside_baseline: str = ""  # "less", "about as well" or "more"; "" where no interval of the difference is known
    baseline_difference: intervals.Difference | None = None  # from the best baseline, with its interval
    reading: Reading | None = None  # how much of the texts the model reads
    within_mean: float | None = None  # of families shuffled inside each window only, with the band that holds 95%
    within_low: float | None = None
    within_high: float | None = None

    def as_row(self) -> dict[str, Any]:
        """Return it flat, for the command line and files; None where there is nothing."""
        redrawn = self.redrawn
        tests = ("p", "chance_mean", "chance_low", "chance_high", "z", "p_holm", "p_within")
        names = ("model", "metric", "labels", "value", *tests, "least_p", "least_p_within", "low", "high")
        row = {name: getattr(self, name) for name in names}
        row |= {"redrawn_low": redrawn and redrawn.low, "redrawn_high": redrawn and redrawn.high}
        row |= {"redrawn_sd": self.redrawn_sd, "designs": self.designs, "best_baseline": self.best_baseline or None}
        rest = {name: getattr(self, name) for name in ("best_baseline_value", "gain", "random_weights", "note")}
        row |= rest | {
            "p_within_holm": self.p_within_holm,
            "word": self.word or None,
            "sentence": self.sentence or None,
        }
        difference, reading = self.baseline_difference, self.reading
        row |= {"beside_baseline": self.beside_baseline or None, "gain_low": difference and difference.low}
        row |= {"gain_high": difference and difference.high, "texts_cut": reading and reading.cut}
        row |= {"numbers_read": reading and reading.read, "numbers": reading and reading.numbers}
        row |= {name: getattr(self, name) for name in ("within_mean", "within_low", "within_high")}
        plain: dict[str, Any] = as_plain(row)
        return plain


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


def evidence_of(
    results: Sequence[ModelResult],
    references: ReferenceScores = NO_REFERENCES,
    scores: ScoreKind = SILHOUETTE,
    *,
    families: int = 0,
) -> tuple[Evidence, ...]:
    """Return the evidence of one score of each model, in their order, where a model has that score.

    Gains are over the best of all baselines that are known. ``families`` is their number, for the sentence where there
    are too few sequences.
    """
    pairs = [(result, score) for result in results for score in result.scores if score.kind == scores]
    adjusted = holm([None if result.model.is_baseline else score.p for result, score in pairs])
    within = holm([None if result.model.is_baseline else score.p_within for result, score in pairs])
    best_name, best = best_baseline(results, references, scores) or ("", None)
    judged = standings([result for result, _ in pairs], families=families) if scores == SILHOUETTE else ()
    rows = []
    for at, (result, score) in enumerate(pairs):
        redrawn = result.designs.get(scores, ())
        gain = None if best is None or result.model.is_baseline else scores.sign * (score.value - best)
        rows.append(
            Evidence(
                result.model.name,
                result.model.is_baseline,
                *scores,
                score.value,
                score.chance_mean,
                score.chance_low,
                score.chance_high,
                score.z,
                score.p,
                adjusted[at],
                score.p_within,
                score.low,
                score.high,
                intervals.redrawing_interval(redrawn) if redrawn else None,
                float(np.std(redrawn, ddof=1)) if len(redrawn) > 1 else None,
                len(redrawn),
                gain,
                best_name,
                best,
                references.random_weights_score(result.model.name, scores),
                score.note or scores.untested,
                score.least_p,
                score.least_p_within,
                within[at],
                reading=result.reading,
                within_mean=score.within_mean,
                within_low=score.within_low,
                within_high=score.within_high,
                **(_said(judged[at], references, best) if judged else {}),
            )
        )
    return tuple(rows)


def _said(one: Standing, references: ReferenceScores, best: float | None) -> dict[str, Any]:
    """Return the word and the sentence of a silhouette, and how it compares with the best baseline."""
    said = {"word": one.word, "sentence": one.sentence}
    if best is None or one.result.model.is_baseline:
        return said
    compared_with, difference = beside_baseline(one, references, best)
    return said | {"beside_baseline": compared_with, "baseline_difference": difference}


def best_baseline(
    results: Sequence[ModelResult], references: ReferenceScores, scores: ScoreKind = SILHOUETTE
) -> tuple[str, float] | None:
    """Return the title and score of the best of all baselines, those of the table where no others are known."""
    if known := references.best(scores):
        return known
    own = {
        result.model.name: {score.kind: score.value for score in result.scores}
        for result in results
        if result.model.is_baseline
    }
    return ReferenceScores({name: values for name, values in own.items() if scores in values}).best(scores)


def evidence_rows(
    study: Study, results: Sequence[ModelResult], references: ReferenceScores = NO_REFERENCES
) -> list[dict[str, Any]]:
    """Return every score of every model with its evidence, seed and design: what page, command line and files show."""
    kinds = list(dict.fromkeys(score.kind for result in results for score in result.scores))
    many = len(study.families)
    evidence = {
        (one.model, kind): one for kind in kinds for one in evidence_of(results, references, kind, families=many)
    }
    of = {"seed": study.seed, "design": design_of(study)}
    return [
        evidence[result.model.name, kind].as_row() | of
        for result in results
        for kind in kinds
        if (result.model.name, kind) in evidence
    ]


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
