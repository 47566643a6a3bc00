"""The named models of an experiment under every change: embedded through the store, scored, each model stored whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from numembed.analysis.inference.intervals import leave_one_out
from numembed.analysis.metrics import silhouette
from numembed.analysis.preparation import Distance, undefined_reason
from numembed.core.arrays import Matrix
from numembed.core.errors import TooLarge
from numembed.core.serialization import as_plain
from numembed.core.settings import Settings
from numembed.merge_experiment.experiment import ExperimentResult
from numembed.merge_experiment.robustness.comparisons import Measured, changes_of, differences_of
from numembed.merge_experiment.robustness.plan import NamedPlace, Plan, named_models, plan_of
from numembed.merge_experiment.robustness.results import LINE, NamedModel, Robustness, Variant
from numembed.merge_experiment.robustness.text import sentences_of
from numembed.merge_experiment.scoring import CandidateScorer, candidate_title, let_pass
from numembed.models.embedding import embed, refuse_failed
from numembed.models.spec import ModelSpec
from numembed.sequences.perturbations.trials import Trial
from numembed.sequences.sets import SequenceSet
from numembed.studies.keys import examination_key
from numembed.studies.trial_vectors import TrialVectors, fetched

_VERSION = "1"  # grows when other numbers come out of the same vectors
_DIGITS = 7  # of stored scores without a sequence
Scores = dict[str, Any]  # of one model, as they are stored


@dataclass(frozen=True)
class _Source:
    """One named model and what gives its vectors; batches are stored as they come, so that a stop loses none."""

    scorer: CandidateScorer
    spec: ModelSpec

    @property
    def settings(self) -> Settings:
        return self.scorer.settings

    def vectors(self, sequences: SequenceSet, spec: ModelSpec) -> Matrix:
        scorer = self.scorer
        values = embed(
            spec,
            sequences,
            store=scorer.vectors,
            loaded=scorer.loaded,
            judge=refuse_failed if spec.weights == scorer.base.weights else let_pass,
            progress=lambda done, total, stage: scorer.alive(),
        )
        return values.matrix


def robustness_of(
    result: ExperimentResult,
    scorer: CandidateScorer,
    *,
    at: Callable[[int, int], None],
    block: Callable[[str], AbstractContextManager[None]],
) -> Robustness | None:
    """Return the robustness of the named models of a scored experiment; None where not even one could be scored.

    ``at`` hears how many models are done, of how many. ``block`` is the part of one model, by its title: where it
    fails, the model's row is left out, because other seeds' would be another mean.
    """
    plan, places = plan_of(result.experiment), named_models(result)
    done: list[tuple[NamedPlace, Scores]] = []
    for number, place in enumerate(places):
        at(number, len(places))
        with block(title_of(place)):
            done.append((place, _scores(scorer, place, plan)))
    failed = {place.row for place in places} - _whole(places, [place for place, _ in done])
    return summed_up(result, plan, [one for one in done if one[0].row not in failed])


def _whole(places: Sequence[NamedPlace], done: Sequence[NamedPlace]) -> set[str]:
    """Return the rows of which every model is done."""
    return {one.row for one in done} - {one.row for one in places if one not in done}


def summed_up(result: ExperimentResult, plan: Plan, scored: Sequence[tuple[NamedPlace, Scores]]) -> Robustness | None:
    """Return what the scores of the named models show; a variant that has no score for one counts for none."""
    if not scored:
        return None
    notes = [next(filter(None, column), "") for column in zip(*(one["notes"] for _, one in scored), strict=True)]
    counted = [number for number, note in enumerate(notes) if not note]
    late = iter(notes)
    variants = tuple(one if one.note else replace(one, note=next(late)) for one in plan.variants)
    models, measured = [], []
    for place, scores in scored:
        after = [scores["after"][number] for number in counted]
        without = [scores["without"][number] for number in counted]
        models.append(
            NamedModel(
                place.row,
                title_of(place),
                place.path.id,
                place.at,
                place.retention,
                scores["before"],
                tuple(after),
                _against_chance(result, place, plan.split),
            )
        )
        measured.append(
            Measured(
                place.row,
                place.seed,
                scores["before"],
                np.array(scores["without_before"]),
                np.array(after, dtype=np.float64),
                np.array(without, dtype=np.float64).reshape(len(after), len(plan.plain)),
            )
        )
    kept: tuple[Variant, ...] = tuple(one for one in variants if not one.note)
    found = Robustness(plan.split, variants, tuple(models), changes_of(measured, kept), differences_of(measured, kept))
    return replace(found, sentences=sentences_of(found))


def title_of(place: NamedPlace) -> str:
    """Return what a table calls a named model."""
    title = candidate_title(place.path, place.at)
    return f"Straight line at equal retention: {title}" if place.row == LINE else title


def _against_chance(result: ExperimentResult, place: NamedPlace, split: str) -> float:
    """Return the smaller p of a scored model against shuffled families; NaN for one between scored points."""
    known = [one.splits[split] for one in result.path(place.path.id) if one.at == place.at and split in one.splits]
    ps = [p for one in known for p in (one.p, one.p_within) if math.isfinite(p)]
    return min(ps, default=math.nan)


def _scores(scorer: CandidateScorer, place: NamedPlace, plan: Plan) -> Scores:
    """Return the scores of one named model as JSON values, computed where they are not stored."""
    spec = scorer.spec(place.path, place.at)
    tried = [[one.name, dict(one.options), one.sequences.digest] for one in plan.trials]
    key = examination_key(
        "ladder robustness", spec, plan.plain, version=_VERSION, distance=scorer.experiment.distance, tried=tried
    )
    scores = scorer.results.get(key)
    if scores is None:
        scores = _scored(scorer, spec, plan)
        scorer.results.put(key, scores)
    return scores


def _scored(scorer: CandidateScorer, spec: ModelSpec, plan: Plan) -> Scores:
    rows, distance = fetched(_Source(scorer, spec), [plan.plain], [plan.trials]), scorer.experiment.distance
    plain = rows.matrix(plan.plain, prompt=spec.prompt, precision=spec.precision)
    before, without, note = _silhouette(plain, plan.plain, distance)
    if note:
        raise TooLarge(f"Before anything is changed, the score is undefined: {note}.")
    each = []
    for trial in plan.trials:
        scorer.alive()
        try:
            each.append(_silhouette(_changed(rows, spec, trial), trial.sequences, distance))
        except TooLarge as error:  # a text that the model cannot read
            each.append((math.nan, [], str(error)))
    after, left_out, notes = (list(column) for column in zip(*each, strict=True)) if each else ([], [], [])
    scores: Scores = as_plain(
        {"before": before, "without_before": without, "after": after, "without": left_out, "notes": notes}
    )
    return scores


def _changed(rows: TrialVectors[_Source], spec: ModelSpec, trial: Trial) -> Matrix:
    """Return the vectors of a trial, (n, d)."""
    options = {"prompt": spec.prompt, "precision": spec.precision}
    if trial.change is not None:
        options[trial.change.field] = trial.change.value
    return rows.matrix(trial.sequences, **options)


def _silhouette(matrix: Matrix, sequences: SequenceSet, distance: str) -> tuple[float, list[float], str]:
    """Return the silhouette of the families, it without each sequence in turn, and why there is none."""
    labels, of = sequences.labels, cast(Distance, distance)
    if reason := undefined_reason(matrix, labels, distance=of):
        return math.nan, [], reason
    without = leave_one_out(matrix, labels, distance=of)
    if not np.isfinite(without).all():
        return math.nan, [], "without one of the sequences the score is undefined"
    return silhouette(matrix, labels, distance=of), np.round(without, _DIGITS).tolist(), ""
