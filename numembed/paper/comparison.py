"""What stands beside the paper's Table 2: facts about its models, levels to hold it against, and our own lines."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from numembed.analysis.inference.estimates import quantile
from numembed.analysis.metrics import davies_bouldin, silhouette
from numembed.analysis.scores import SILHOUETTE, ScoreKind
from numembed.models.baselines import BASELINES
from numembed.models.catalogue.entries import Row
from numembed.models.catalogue.names import CATALOGUE, model
from numembed.paper.protocol import paper_study
from numembed.paper.published import TABLE_2, PublishedScore, published
from numembed.studies.evidence import evidence_of
from numembed.studies.results import ModelResult, ResultStore
from numembed.studies.stored import stored_result
from numembed.studies.study import Study

FIRST_MAP = 3  # Figures 3 to 16 are the maps of Table 2's models, in its order
KINDS = {  # how a chart calls the families of models
    "encoder": "encoder",
    "llm": "language model",
    "lora": "language model + LoRA",
    "souping": "souping",
    "slerp": "SLERP",
    "static": "static",
    "scratch": "made here",
}
PRINTED = tuple(
    ScoreKind(metric, labels) for labels in ("families", "kmeans") for metric in ("silhouette", "davies_bouldin")
)
"""The scores that Table 2 prints, in the order of its columns."""

_FIELDS = tuple(f"{kind.metric}_{kind.labels}" for kind in PRINTED)
_HEAVY = ("char_ngrams",)  # needs scikit-learn, which the web process never imports


@dataclass(frozen=True)
class Level:
    """A silhouette and a Davies–Bouldin index to hold others against, with the 95% band, NaN without one."""

    name: str
    silhouette: float
    davies_bouldin: float
    silhouette_band: tuple[float, float] = (math.nan, math.nan)
    davies_bouldin_band: tuple[float, float] = (math.nan, math.nan)


REDRAWN_SD = 0.02
"""What redrawing the windows moves a silhouette: the standard deviation over 30 designs, of all-MiniLM-L6-v2 alone."""

FEWEST_DESIGNS = 10
"""From so many redrawn windows on, a run's own standard deviation counts instead."""

CHANCE = Level("all-MiniLM-L6-v2", -0.109, 3.18, (-0.141, -0.060), (2.60, 3.77))
"""What shuffled families score with the paper's sequences, measured for this model; every model has its own."""

DIGITS_KMEANS = 0.29
"""The silhouette of ten counts of digits by the groups that KMeans finds in them, measured with this program."""


def redrawing_margin(*lines: PublishedScore, comparisons: int = 1) -> float:
    """Return what redrawing the windows explains of one score, or of the gap of two, over so many comparisons."""
    moved = (REDRAWN_SD if line.redrawn_sd is None else line.redrawn_sd for line in lines)
    return quantile(comparisons) * math.hypot(*moved)


@functools.cache
def baseline_levels() -> tuple[Level, ...]:
    """Return the trivial baselines on the paper's sequences, best silhouette first; computed here, in milliseconds."""
    sequences = paper_study("last_digits").sequences
    levels = []
    for entry in BASELINES:
        if entry.name not in _HEAVY and not entry.facts.get("chance"):
            matrix = entry.function(sequences.texts)
            values = silhouette(matrix, sequences.labels), davies_bouldin(matrix, sequences.labels)
            levels.append(Level(entry.title, *values))
    return tuple(sorted(levels, key=lambda level: -level.silhouette))


def facts_of_line(line: PublishedScore) -> Row | None:
    """Return the catalogue's facts about a line's model, under the paper's name for it or ours."""
    return _rows_by_line_name().get(line.model)


def size_of(line: PublishedScore) -> float:
    """Return how many million parameters a line's model has; 0 where that is not known."""
    facts = facts_of_line(line)
    return facts.parameters_millions if facts else 0.0


def figure_number(line: PublishedScore) -> int:
    """Return which figure of the paper is the map of a line of Table 2.

    >>> figure_number(TABLE_2[13])
    16
    """
    return FIRST_MAP + TABLE_2.index(line)


def own_results(results: ResultStore) -> tuple[ModelResult, ...]:
    """Return what was run here on the paper's sequences: every catalogue model with a stored result."""
    study = _paper_sequences()
    stored = (stored_result(study, model(row.name), results) for row in CATALOGUE.values() if not row.refused)
    return tuple(
        result
        for result in stored
        if result is not None and not any(math.isnan(result.score(*kind).value) for kind in PRINTED)
    )


def own_line(result: ModelResult) -> PublishedScore:
    """Return a result as a line like those of Table 2, under the paper's name where it has one."""
    row = CATALOGUE.get(result.model.name)
    values = (result.score(*kind).value for kind in PRINTED)
    name, first = row.paper_name or row.name if row else result.model.name, result.score(*SILHOUETTE)
    low, high, moved = first.chance_low, first.chance_high, _redrawn_sd(result)
    return replace(PublishedScore(name, *values), chance_low=low, chance_high=high, redrawn_sd=moved)


def _redrawn_sd(result: ModelResult) -> float | None:
    values = [value for value in result.designs.get(SILHOUETTE, ()) if not math.isnan(value)]
    return statistics.stdev(values) if len(values) >= FEWEST_DESIGNS else None


def model_rows(own: Sequence[ModelResult]) -> list[dict[str, Any]]:
    """Return the paper's Table 2 beside what was run here, one row a model; None where one side has nothing.

    ``inside`` says whether the paper's silhouette lies where other windows of our run would score.
    """
    ours = {own_line(result).model: result for result in own}
    names = list(dict.fromkeys([line.model for line in TABLE_2] + list(ours)))
    return [_model_row(name, published(name), ours.get(name)) for name in names]


def _model_row(name: str, printed: PublishedScore | None, result: ModelResult | None) -> dict[str, Any]:
    theirs = {f"paper_{field}": getattr(printed, field, None) for field in _FIELDS}
    line, score = (None, None) if result is None else (own_line(result), result.score(*SILHOUETTE))
    row = {"part": "model", "model": name} | theirs | {field: getattr(line, field, None) for field in _FIELDS}
    redrawn = evidence_of([result])[0] if result is not None else None
    span = redrawn.redrawn if redrawn is not None else None
    low, high = (None, None) if span is None or math.isnan(span.low) else (span.low, span.high)
    return row | {
        "difference": line.silhouette_families - printed.silhouette_families if printed and line else None,
        "redrawn_low": low,
        "redrawn_high": high,
        "designs": redrawn.designs if redrawn else None,
        "inside": low <= printed.silhouette_families <= high
        if printed and low is not None and high is not None
        else None,
        "p": score.p if score else None,
    }


@functools.cache
def _paper_sequences() -> Study:
    return paper_study("all-MiniLM-L6-v2")


@functools.cache
def _rows_by_line_name() -> dict[str, Row]:
    return {row.paper_name or row.name: row for row in CATALOGUE.values()}
