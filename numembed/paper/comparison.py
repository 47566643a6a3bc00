"""What the paper's Table 2 is compared with: facts about its models, chance and baselines, pairs, and our own runs."""

from __future__ import annotations

import functools
import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from numembed.analysis.inference.estimates import quantile
from numembed.analysis.metrics import davies_bouldin, silhouette
from numembed.analysis.scores import SILHOUETTE, ScoreKind
from numembed.core.wording import decimal, signed
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
    """A silhouette and a Davies–Bouldin index to compare others with, with the 95% band, NaN without one."""

    name: str
    silhouette: float
    davies_bouldin: float
    silhouette_band: tuple[float, float] = (math.nan, math.nan)
    davies_bouldin_band: tuple[float, float] = (math.nan, math.nan)


REDRAWN_SD = 0.02
"""Standard deviation of a silhouette over 30 redrawn choices of windows, measured for all-MiniLM-L6-v2 only."""

FEWEST_DESIGNS = 10
"""From this many redrawn choices of windows on, a run's own standard deviation counts instead."""

CHANCE = Level("all-MiniLM-L6-v2", -0.109, 3.18, (-0.141, -0.060), (2.60, 3.77))
"""Scores of shuffled families on the paper's sequences, measured for this model; every model has its own."""

DIGITS_KMEANS = 0.29
"""The silhouette of ten counts of digits by the groups that KMeans finds in them, measured with this program."""


def redrawing_margin(*lines: PublishedScore, comparisons: int = 1) -> float:
    """Return what redrawing the windows explains of one score, or of the gap of two, over so many comparisons."""
    deviations = (REDRAWN_SD if line.redrawn_sd is None else line.redrawn_sd for line in lines)
    return quantile(comparisons) * math.hypot(*deviations)


def decided_below(gap: float, *lines: PublishedScore, comparisons: int = 1) -> float:
    """Return the spread (SD) of redrawn windows below which ``gap`` exceeds :func:`redrawing_margin`.

    The spread is that of the lines where none was measured; 0 where the gap never exceeds it, infinity where it does
    whatever that spread is.
    """
    known = sum(line.redrawn_sd**2 for line in lines if line.redrawn_sd is not None)
    assumed = sum(line.redrawn_sd is None for line in lines)
    left = (gap / quantile(comparisons)) ** 2 - known if gap > 0 else 0.0
    if left <= 0:
        return 0.0
    return math.sqrt(left / assumed) if assumed else math.inf


Pair = tuple[PublishedScore, PublishedScore]  # of models, of which the second should score higher


@dataclass(frozen=True)
class Counted:
    """Pairs of models of which the second should score higher."""

    against: int  # in which the first does
    clear: int  # by more than redrawing the windows explains
    ahead: bool  # in all of them the second does, by more than that
    beyond: str  # that margin in words


def against_others(table: Sequence[PublishedScore], word: str) -> list[Pair]:
    """Return every pair of another model and one with ``word`` in its name."""
    named = [line for line in table if word in line.model.casefold()]
    return list(itertools.product([line for line in table if line not in named], named))


def excess(pair: Pair) -> float:
    """Return by how much the first of a pair, which should score lower, scores higher."""
    return pair[0].silhouette_families - pair[1].silhouette_families


def counted(pairs: Sequence[Pair]) -> Counted:
    """Return how many pairs contradict a claim, and how many of them clearly."""
    margins = [redrawing_margin(*pair, comparisons=max(len(pairs), 1)) for pair in pairs]
    gaps = list(zip(map(excess, pairs), margins, strict=True))
    measured = any(line.redrawn_sd is not None for pair in pairs for line in pair)
    known = (
        f"by more than {decimal(max(margins, default=0))}, which is more than redrawing the windows explains in the "
    )
    return Counted(
        sum(gap > 0 for gap, _ in gaps),
        sum(gap > margin for gap, margin in gaps),
        all(gap < -margin for gap, margin in gaps),
        "by more than redrawing the windows explains" if measured else f"{known}only model measured",
    )


def source_of_variation(lines: Sequence[PublishedScore]) -> str:
    """Return in one sentence how it is known how much these scores vary with the windows."""
    known = [line for line in lines if line.redrawn_sd is not None]
    if not known:
        return "The interval assumes that both vary as much as all-MiniLM-L6-v2, the only model measured so far."
    if len(known) == len(lines):
        return "How much each varies was measured here, by redrawing its windows."
    return "Where windows were not redrawn here, a model is assumed to vary as much as all-MiniLM-L6-v2."


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
    """Return what was run here on the paper's sequences: every catalogue model with a runs result."""
    study = _paper_sequences()
    runs = (stored_result(study, model(row.name), results) for row in CATALOGUE.values() if not row.refused)
    return tuple(
        result
        for result in runs
        if result is not None and not any(math.isnan(result.score(*kind).value) for kind in PRINTED)
    )


def own_line(result: ModelResult) -> PublishedScore:
    """Return a result as a line like those of Table 2, under the paper's name where it has one."""
    row = CATALOGUE.get(result.model.name)
    values = (result.score(*kind).value for kind in PRINTED)
    name, first = row.paper_name or row.name if row else result.model.name, result.score(*SILHOUETTE)
    scores = [value for value in result.designs.get(SILHOUETTE, ()) if not math.isnan(value)]
    varies = statistics.stdev(scores) if len(scores) >= FEWEST_DESIGNS else None
    line = PublishedScore(name, *values)
    return replace(line, chance_low=first.chance_low, chance_high=first.chance_high, redrawn_sd=varies)


def redrawn_interval(result: ModelResult) -> tuple[float, float] | None:
    """Return where 95% of other choices of windows would score here; None where they were not redrawn."""
    redrawn = evidence_of([result])[0].redrawn
    return None if redrawn is None or math.isnan(redrawn.low) else (redrawn.low, redrawn.high)


def agreement(lines: Sequence[PublishedScore], shared: Sequence[tuple[ModelResult, PublishedScore]]) -> str:
    """Return in a sentence or two how far our runs are from the paper, or how other models rank among its own."""
    if not shared:
        best = max(lines, key=lambda line: line.silhouette_families)
        above = sum(line.silhouette_families > best.silhouette_families for line in TABLE_2)
        return (
            f"None of the paper's {len(TABLE_2)} models has been run here so far; {best.model}, which was run, scores "
            f"{decimal(best.silhouette_families)}, below {above} of them."
        )
    printed = {line.model: line.silhouette_families for line in TABLE_2}
    away = {line.model: line.silhouette_families - printed[line.model] for _, line in shared}
    result, widest = max(shared, key=lambda pair: abs(away[pair[1].model]))
    interval = redrawn_interval(result)
    explained = "Whether redrawing the windows explains that cannot be determined before they are redrawn."
    if interval is not None:
        inside = interval[0] <= printed[widest.model] <= interval[1]
        explained = f"That is {'no more' if inside else 'more'} than redrawing the windows explains."
    return (
        f"{len(shared)} of the paper's {len(TABLE_2)} models {'has' if len(shared) == 1 else 'have'} been run "
        f"here; the largest difference is {signed(away[widest.model])}, of {widest.model}. {explained}"
    )


def model_rows(own: Sequence[ModelResult]) -> list[dict[str, Any]]:
    """Return the paper's Table 2 and our runs, one row for each model; None where one side has no value.

    ``inside`` says whether the paper's silhouette lies in the interval of our run over other windows.
    """
    ours = {own_line(result).model: result for result in own}
    names = list(dict.fromkeys([line.model for line in TABLE_2] + list(ours)))
    return [_model_row(name, published(name), ours.get(name)) for name in names]


def _model_row(name: str, printed: PublishedScore | None, result: ModelResult | None) -> dict[str, Any]:
    theirs = {f"paper_{field}": getattr(printed, field, None) for field in _FIELDS}
    line, evidence = (None, None) if result is None else (own_line(result), evidence_of([result])[0])
    row = {"part": "model", "model": name} | theirs | {field: getattr(line, field, None) for field in _FIELDS}
    interval = redrawn_interval(result) if result is not None else None
    low, high = interval or (None, None)
    return row | {
        "difference": line.silhouette_families - printed.silhouette_families if printed and line else None,
        "redrawn_low": low,
        "redrawn_high": high,
        "designs": evidence.designs if evidence else None,
        "inside": interval[0] <= printed.silhouette_families <= interval[1] if printed and interval else None,
        "p": result.score(*SILHOUETTE).p if result else None,
    }


@functools.cache
def _paper_sequences() -> Study:
    return paper_study("all-MiniLM-L6-v2")


@functools.cache
def _rows_by_line_name() -> dict[str, Row]:
    return {row.paper_name or row.name: row for row in CATALOGUE.values()}
