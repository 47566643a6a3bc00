"""What a score is to be held against: the trivial baselines, and the same architecture with random weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from numembed.analysis.preparation import Distance
from numembed.analysis.scores import EVIDENCE_UP_TO, SILHOUETTE, ScoreKind, plain_scores
from numembed.core.arrays import Matrix
from numembed.models.baselines import BASELINES
from numembed.models.catalogue.names import random_init
from numembed.models.spec import ModelSpec
from numembed.studies.keys import baselines_key, plain_key
from numembed.studies.parts import kept_reason
from numembed.studies.results import ResultStore, complete
from numembed.studies.study import Study

Scores = Mapping[ScoreKind, float]  # NaN where undefined
RANDOM_INIT_UP_TO = 1_000_000_000  # parameters; a larger model is loaded a second time only on request


@dataclass(frozen=True)
class ReferenceScores:
    """The scores of every trivial baseline by its title, and of each model with random weights by its name."""

    baselines: Mapping[str, Scores] = field(default_factory=dict)
    random_weights: Mapping[str, Scores] = field(default_factory=dict)
    without_random_weights: Mapping[str, str] = field(default_factory=dict)  # why a model's are missing, by its name

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
    return ReferenceScores(
        _baselines(study, results),
        {name: own for name, own in scores.items() if own},
        {name: reason for name, reason in reasons.items() if reason},
    )


def score_baselines(study: Study, results: ResultStore) -> None:
    """Score every trivial baseline on the study's sequences, unless that is stored or there are very many."""
    if len(study.sequences) > EVIDENCE_UP_TO or _baselines(study, results):
        return
    scores = {}
    for entry in BASELINES:
        if not entry.facts.get("chance"):
            scores[entry.title] = _plain(entry.function(study.sequences.texts), study)
    results.put(_baselines_key(study), scores)


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
