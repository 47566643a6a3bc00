"""How far the scores of a table may be trusted: p values together, redrawn windows, gains over baselines, pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numembed.analysis.inference import intervals
from numembed.analysis.scores import SILHOUETTE, ScoreKind
from numembed.core.serialization import as_plain
from numembed.core.significance import holm
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
    smallest_seen: float | None = None  # true silhouette that the test that counts finds in four cases of five
    seen: str = ""  # that in words, where no more than chance was seen

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
        row |= {name: getattr(self, name) for name in ("within_mean", "within_low", "within_high", "smallest_seen")}
        plain: dict[str, Any] = as_plain(row)
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
    said = {"word": one.word, "sentence": one.sentence, "smallest_seen": one.smallest_seen, "seen": one.seen}
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
