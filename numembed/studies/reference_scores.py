"""What a score is to be held against: the trivial baselines, and the same architecture with random weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from numembed.analysis.inference.intervals import leave_one_out
from numembed.analysis.metrics import silhouette
from numembed.analysis.preparation import Distance
from numembed.analysis.scores import EVIDENCE_UP_TO, SILHOUETTE, ScoreKind, plain_scores
from numembed.core.arrays import Matrix
from numembed.core.serialization import as_plain, from_plain
from numembed.models.baselines import BASELINES
from numembed.models.catalogue.names import random_init
from numembed.models.spec import ModelSpec
from numembed.studies.keys import baselines_key, best_baseline_key, made_key, plain_key
from numembed.studies.parts import kept_reason
from numembed.studies.results import ResultStore, complete
from numembed.studies.study import USUAL_DESIGNS, Study, redrawings

Scores = Mapping[ScoreKind, float]  # NaN where undefined
RANDOM_INIT_UP_TO = 1_000_000_000  # parameters; a larger model is loaded a second time only on request


@dataclass(frozen=True)
class ReferenceScores:
    """The scores of every trivial baseline by its title, and of each model with random weights by its name."""

    baselines: Mapping[str, Scores] = field(default_factory=dict)
    random_weights: Mapping[str, Scores] = field(default_factory=dict)
    without_random_weights: Mapping[str, str] = field(default_factory=dict)  # why a model's are missing, by its name
    best_without: tuple[float, ...] = ()  # the best baseline's silhouette without each sequence in turn
    best_redrawn: tuple[float, ...] = ()  # and on each redrawn set of windows

    def best(self, scores: ScoreKind = SILHOUETTE) -> tuple[str, float] | None:
        """Return the best baseline's title and value, or None where none is known or defined."""
        known = [(name, value[scores]) for name, value in self.baselines.items() if not math.isnan(value[scores])]
        return max(known, key=lambda one: scores.sign * one[1], default=None)

    def random_weights_score(self, model: str, scores: ScoreKind = SILHOUETTE) -> float | None:
        """Return what the model's architecture scores with random weights, or None where nobody knows."""
        value = self.random_weights.get(model, {}).get(scores, math.nan)
        return None if math.isnan(value) else value


def stored_references(study: Study, pinned: Sequence[ModelSpec], results: ResultStore) -> ReferenceScores:
    """Return what earlier runs left for the study's sequences and some resolved models."""
    scores = {spec.name: _random_init_scores(study, spec, results) for spec in pinned}
    untrained = {spec.name: random_init(spec) for spec in pinned if not scores[spec.name]}
    reasons = {name: kept_reason(results, random_init_key(study, one)) for name, one in untrained.items() if one}
    known = ReferenceScores(
        _baselines(study, results),
        {name: own for name, own in scores.items() if own},
        {name: reason for name, reason in reasons.items() if reason},
    )
    if (best := _best(known)) is None:
        return known
    redrawn = (_series(study, best, count, results) for count in dict.fromkeys((study.designs, USUAL_DESIGNS)) if count)
    without = _series(study, best, 0, results)
    return replace(known, best_without=without, best_redrawn=next(filter(None, redrawn), ()))


def score_baselines(study: Study, results: ResultStore) -> None:
    """Score every trivial baseline on the study's sequences, unless that is stored or there are very many.

    The best is also scored without each sequence in turn and on redrawn windows, to compare models with it. Every run
    begins with this, so it also keeps that a large study is run: before, pages do not make its sequences.
    """
    if study.large and results.get(made_key(study)) is None:
        results.put(made_key(study), {"texts": study.texts})
    if len(study.sequences) > EVIDENCE_UP_TO:
        return
    if not _baselines(study, results):
        scores = {}
        for entry in BASELINES:
            if not entry.facts.get("chance"):
                scores[entry.title] = _plain(entry.function(study.sequences.texts), study)
        results.put(_baselines_key(study), scores)
    _score_best(study, results)


def _score_best(study: Study, results: ResultStore) -> None:
    if (best := _best(ReferenceScores(_baselines(study, results)))) is None:
        return
    of = {"distance": cast(Distance, study.distance)}
    if not _series(study, best, 0, results):
        matrix = BASELINES[best].function(study.sequences.texts)
        values = leave_one_out(matrix, study.sequences.labels, **of)
        results.put(best_baseline_key(study, best, 0), {"values": as_plain(values.tolist())})
    if study.designs and not _series(study, best, study.designs, results):
        scores = [
            silhouette(BASELINES[best].function(design.texts), design.labels, **of)
            for design in redrawings(study, study.designs)
        ]
        results.put(best_baseline_key(study, best, study.designs), {"values": as_plain(scores)})


def _best(references: ReferenceScores) -> str | None:
    """Return the name of the baseline with the highest silhouette."""
    best = references.best()
    return next((entry.name for entry in BASELINES if best and entry.title == best[0]), None)


def _series(study: Study, best: str, designs: int, results: ResultStore) -> tuple[float, ...]:
    stored = results.get(best_baseline_key(study, best, designs)) or {"values": ()}
    return from_plain(tuple[float, ...], stored["values"])


def score_random_init(
    study: Study, spec: ModelSpec, parameters: int | None, vectors: Callable[[ModelSpec], Matrix], results: ResultStore
) -> None:
    """Score a resolved model's architecture with random weights, unless it has none or it or the study is large."""
    untrained = random_init(spec)
    large = parameters is None or parameters > RANDOM_INIT_UP_TO or len(study.sequences) > EVIDENCE_UP_TO
    if untrained is None or large or _random_init_scores(study, spec, results):
        return
    results.put(random_init_key(study, untrained), _plain(vectors(untrained), study))


def _plain(matrix: Matrix, study: Study) -> dict[str, float | None]:
    scores = plain_scores(matrix, study.sequences.labels, distance=cast(Distance, study.distance), seed=study.seed)
    return {str(kind): None if math.isnan(value) else value for kind, value in scores.items()}


def _read(mapping: Mapping[str, float | None]) -> Scores:
    return {kind: math.nan if value is None else value for kind, value in complete(mapping).items()}


def _baselines(study: Study, results: ResultStore) -> dict[str, Scores]:
    stored = {name: _read(scores) for name, scores in (results.get(_baselines_key(study)) or {}).items()}
    return stored if all(stored.values()) else {}


def _random_init_scores(study: Study, spec: ModelSpec, results: ResultStore) -> Scores:
    untrained = random_init(spec)
    return {} if untrained is None else _read(results.get(random_init_key(study, untrained)) or {})


def _baselines_key(study: Study) -> str:
    return baselines_key(study.sequences, distance=study.distance, seed=study.seed)


def random_init_key(study: Study, untrained: ModelSpec) -> str:
    """Return the key of the scores of an architecture with random weights."""
    return plain_key(untrained, study.sequences, distance=study.distance, seed=study.seed)
