"""Runs an experiment: trains or finds adapters, scores every candidate, and stores results as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from numembed.core.errors import ModelUnavailable
from numembed.core.progress import DONE, ENCODE, FAILED, LOAD, PROJECT, REDRAW, SCORE, Report, Row, Stage, unreported
from numembed.core.settings import Settings
from numembed.core.wording import percent
from numembed.merge_experiment.comparisons import comparisons_of
from numembed.merge_experiment.experiment import (
    REDRAWING,
    ROBUSTNESS,
    ExperimentResult,
    MergeExperiment,
    experiment_key,
    stored_experiment,
)
from numembed.merge_experiment.paths import KINDS, possible
from numembed.merge_experiment.redrawn import (
    first_designs,
    named_places,
    redrawn_split,
    redrawn_text,
    redrawn_texts,
    summed_up,
)
from numembed.merge_experiment.results import Candidate, Redrawn, TrainedAdapter
from numembed.merge_experiment.robustness.scoring import robustness_of
from numembed.merge_experiment.scoring import CandidateScorer, candidate_title
from numembed.merge_experiment.text import seen_sentences, verdict
from numembed.merge_experiment.training import adapters_folder, in_numbers, still_there, train
from numembed.models.adapters.saved import SavedAdapter, adapters_in
from numembed.models.merging.folders import rounded_away
from numembed.storage.vectors import VectorStore
from numembed.studies.parts import Failure, Gap, gap_sentences, part
from numembed.studies.results import ResultStore
from numembed.studies.stored import pin

if TYPE_CHECKING:
    from numembed.models.encoders.loaded import LoadedModel

_FIRST_ROW, _LAST_ROW = "Training", "Angles and maps"  # of progress, without redrawn windows


def experiment_rows(experiment: MergeExperiment) -> tuple[str, ...]:
    """Return the names of the rows of progress of a run of ``experiment``, in order."""
    plain = (_FIRST_ROW, *(KINDS[name].title for name in experiment.paths), _LAST_ROW)
    asked = ((ROBUSTNESS, experiment.robustness), (REDRAWING, experiment.designs))
    return (*plain, *(row for row, is_asked in asked if is_asked))


def run_experiment(
    experiment: MergeExperiment,
    *,
    vectors: VectorStore,
    results: ResultStore,
    loaded: LoadedModel,
    settings: Settings,
    report: Report = unreported,
) -> ExperimentResult:
    """Run ``experiment`` and return its results; stored results of earlier runs are used.

    The rows of ``report`` are :func:`experiment_rows`. Merged models are made in memory, never on disk. A candidate
    that cannot be scored is left out, and so is a seed whose training fails: the result is then of the other seeds, and
    says so. What is asked afterwards comes last: the robustness of the named models, then redrawn windows.

    Raises Cancelled, StoreFull and what training raises; what was stored before stays.
    """
    plain = experiment.plain
    pinned = pin(experiment.base, results, settings, progress=Row(report, 0))
    recipe, base = in_numbers(experiment.recipe, pinned, settings)
    folder, earlier = adapters_folder(recipe, pinned, settings), stored_experiment(plain, results)
    reusable = earlier is not None and earlier.complete and earlier.base == base and still_there(earlier, folder)
    if earlier is None or not reusable:
        earlier = None
    position, why = _Position(report), ""
    if earlier is not None and not earlier.gaps:
        trained = adapters_in(folder, earlier.experiment.recipe)
    else:
        trained, why = train(plain, pinned, folder, results, loaded, settings, report)
    adapters = {(one.seed, one.step): one.weights for one in trained}
    runnable = _of_seeds(plain, {seed for seed, _ in adapters})
    scorer = CandidateScorer(runnable, base, adapters, vectors, results, loaded, settings, position.report_again)
    if earlier is not None and not earlier.gaps:
        for row in range(len(experiment_rows(plain))):
            report(row, DONE, 1, 1, "")
        result = _measured_anew(experiment, earlier, scorer, position)
    else:
        known = earlier if earlier is not None and earlier.experiment == runnable else None
        result = _run_paths(plain, scorer, trained, position, why, known)
    gaps: list[Gap] = []
    if experiment.robustness:
        result = _with_robustness(experiment, result, scorer, position, gaps)
    if experiment.designs:
        result = _with_redrawn(experiment, result, scorer, position)
    return replace(result, gaps=(*result.gaps, *gap_sentences(gaps)))  # stored without: they are others' gaps


def _run_paths(
    experiment: MergeExperiment,
    scorer: CandidateScorer,
    trained: tuple[SavedAdapter, ...],
    position: _Position,
    why: str,
    known: ExperimentResult | None,
) -> ExperimentResult:
    """Return the result of an experiment whose adapters are trained; it is stored path by path.

    ``why`` is what kept seeds from being trained; what was asked of ``known`` afterwards is kept.
    """
    runnable, base, results = scorer.experiment, scorer.base, scorer.results
    families = {name: tuple(item.family for item in one.items) for name, one in scorer.texts.splits.items()}
    adapters = tuple(
        TrainedAdapter(one.seed, one.step, one.weights.path, one.weights.digest, one.readings) for one in trained
    )
    result, gaps = ExperimentResult(runnable, base, adapters, families=families), list[Gap]()
    if known is not None:
        result = replace(result, redrawn=known.redrawn, redrawn_sentences=known.redrawn_sentences)
        result = replace(result, robustness=known.robustness)
    for row, name in enumerate(experiment.paths, start=1):
        before = len(result.candidates)
        for candidates in _candidates(scorer, name, position.at_row(row), gaps):
            result = replace(result, candidates=(*result.candidates, *candidates), reference=scorer.reference)
            results.put(experiment_key(experiment), result.as_json())
        position.end(FAILED if name in runnable.paths and len(result.candidates) == before else DONE)
    result = _with_measures(scorer, result, position.at_row(len(experiment.paths) + 1), gaps)
    result = replace(result, gaps=gap_sentences(gaps))
    if runnable != experiment:
        results.put(experiment_key(runnable), result.as_json())  # as which its models are saved
        left_out = _left_out(experiment, runnable, scorer.settings.redact(why))
        result = replace(result, sentences=(left_out, *result.sentences))
        result = replace(result, gaps=(left_out, *result.gaps)) if why else result
    results.put(experiment_key(experiment), result.as_json())
    position.end()
    return result


def _measured_anew(
    experiment: MergeExperiment, earlier: ExperimentResult, scorer: CandidateScorer, position: _Position
) -> ExperimentResult:
    """Return a stored result; one whose retention an earlier version measured on sentences that the base does not tell
    apart has it measured anew, with what follows from it."""
    if earlier.measured_on.kind != "unmeasured":
        return earlier
    gaps, result = list[Gap](), earlier
    with _part("retention", scorer, gaps):
        candidates, paths = [], {path.id: path for path in scorer.experiment.drawn}
        for number, candidate in enumerate(earlier.candidates):
            position.at(ENCODE, number, len(earlier.candidates))
            candidates.append(scorer.with_retention(candidate, scorer.spec(paths[candidate.path], candidate.at)))
        result = replace(earlier, candidates=tuple(candidates), reference=scorer.reference)
        result = replace(result, comparisons=comparisons_of(result))
        left_out = earlier.sentences[:1] if earlier.experiment != replace(experiment, designs=0) else ()
        result = replace(result, sentences=(*left_out, *verdict(result), *_rounding(scorer, result)))
        result = replace(result, redrawn_sentences=redrawn_text(result))
        scorer.results.put(experiment_key(experiment), result.as_json())
    return replace(result, gaps=(*result.gaps, *gap_sentences(gaps)))


def _of_seeds(experiment: MergeExperiment, seeds: set[int]) -> MergeExperiment:
    """Return ``experiment`` with only these seeds, and the paths for which they are enough."""
    recipe = replace(experiment.recipe, seeds=tuple(seed for seed in experiment.recipe.seeds if seed in seeds))
    return replace(
        experiment, recipe=recipe, paths=tuple(name for name in experiment.paths if name in possible(recipe))
    )


def _left_out(experiment: MergeExperiment, runnable: MergeExperiment, why: str) -> str:
    lost = [str(seed) for seed in experiment.recipe.seeds if seed not in runnable.recipe.seeds]
    many = f"Seeds {', '.join(lost)} are" if len(lost) > 1 else f"Seed {lost[0]} is"
    if why:
        return f"{many} left out. {why}"
    return f"{many} left out: training diverged to numbers that are not finite. A lower learning rate may help."


def _with_robustness(
    experiment: MergeExperiment,
    result: ExperimentResult,
    scorer: CandidateScorer,
    position: _Position,
    gaps: list[Gap],
) -> ExperimentResult:
    """Return the result with the robustness of its named models, which is stored; ``gaps`` hears what failed."""
    position.at_row(experiment_rows(experiment).index(ROBUSTNESS))
    found = None
    with _part("robustness", scorer, gaps):
        found = robustness_of(
            result,
            scorer,
            at=lambda done, total: position.at(ENCODE, done, total),
            block=lambda title: _part("robustness", scorer, gaps, title),
        )
    if found is not None:
        result = replace(result, robustness=found)
        scorer.results.put(experiment_key(experiment), result.as_json())
    position.end(FAILED if found is None else DONE)
    return result


def _with_redrawn(
    experiment: MergeExperiment, result: ExperimentResult, scorer: CandidateScorer, position: _Position
) -> ExperimentResult:
    """Return the result with its named points scored on redrawn windows, stored where there are more than before."""
    position.at_row(len(experiment_rows(experiment)) - 1)
    known = [one.designs for one in result.redrawn]
    if not known or min(known) < experiment.designs:
        gaps: list[Gap] = []
        with _part("redrawn windows", scorer, gaps):
            result = replace(result, redrawn=tuple(_redrawn(experiment, scorer, position, gaps)))
            result = replace(result, redrawn_sentences=redrawn_text(result))
            scorer.results.put(experiment_key(experiment), result.as_json())
        result = replace(result, gaps=(*result.gaps, *gap_sentences(gaps)))  # stored without: they are others' gaps
    result = replace(result, redrawn=first_designs(result.redrawn, experiment.designs))
    position.end(DONE if result.redrawn else FAILED)
    return replace(result, redrawn_sentences=redrawn_text(result))


def _part(what: str, scorer: CandidateScorer, gaps: list[Gap], model: str = "") -> AbstractContextManager[None]:
    """Return the block of one part of an experiment; where it fails, ``gaps`` says so and the rest goes on."""
    return part(
        f"{what} of {model}" if model else what, scorer.settings, lambda why: gaps.append(Gap(what, model, why.reason))
    )


def _redrawn(
    experiment: MergeExperiment, scorer: CandidateScorer, position: _Position, gaps: list[Gap]
) -> Iterator[Redrawn]:
    """Yield the scores of each row's named point on redrawn windows; a model that cannot be scored is left out."""
    runnable = replace(scorer.experiment, designs=experiment.designs)
    designs, places, split = redrawn_texts(runnable), named_places(runnable), redrawn_split(runnable.recipe.split)
    done: dict[str, list[tuple[float, ...]]] = {}
    for number, (path, at) in enumerate(places):
        position.at(REDRAW, number, len(places))
        with _part("scores on redrawn windows", scorer, gaps, candidate_title(path, at)):
            done.setdefault(path.name, []).append(scorer.on_designs(path, at, designs))
    for (name, at), count in Counter((path.name, at) for path, at in places).items():
        if len(done.get(name, ())) == count:  # other seeds' would be another mean
            yield summed_up(name, at, split, done[name])


class _Position:
    """How far a run is; reported again whenever work goes on, so that a cancel request takes effect."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._row, self._stage, self._done, self._total = 0, LOAD, 0, 1

    def at_row(self, row: int) -> _Position:
        self._row = row
        return self

    def at(self, stage: Stage, done: int, total: int) -> None:
        self._stage, self._done, self._total = stage, done, total
        self.report_again()

    def report_again(self) -> None:
        self._report(self._row, self._stage, self._done, self._total, "")

    def end(self, stage: Stage = DONE) -> None:
        self.at(stage, 1, 1)


def _candidates(
    scorer: CandidateScorer, name: str, position: _Position, gaps: list[Gap]
) -> Iterator[tuple[Candidate, ...]]:
    """Yield the candidates of each path of a row of KINDS; one that cannot be scored is left out, but for the base."""
    drawn = [path for path in scorer.experiment.drawn if path.name == name]
    done, total = 0, sum(len(path.values) for path in drawn)
    for path in drawn:
        candidates = []
        for at in path.values:
            position.at(ENCODE, done, total)
            scored = part(scorer.base.name, scorer.settings, partial(_refuse, scorer.base.name))
            with scored if name == "base" else _part("scores", scorer, gaps, candidate_title(path, at)):
                candidates.append(scorer.candidate(path, at))
            done += 1
        yield tuple(candidates)


def _refuse(base: str, why: Failure) -> None:
    raise ModelUnavailable(why.of_model(base, alone=True))


def _with_measures(
    scorer: CandidateScorer, result: ExperimentResult, position: _Position, gaps: list[Gap]
) -> ExperimentResult:
    """Return the result with what is measured of all candidates together."""
    measures: tuple[tuple[str, Stage, Callable[[ExperimentResult], dict[str, Any]]], ...] = (
        ("angles between the weights", SCORE, lambda known: {"straight": scorer.straight()}),
        ("shares of the shift", SCORE, lambda known: {"dominance": scorer.dominance(known)}),
        ("maps", PROJECT, lambda known: {"maps": tuple(scorer.maps(known))}),
        ("comparisons", SCORE, lambda known: {"comparisons": comparisons_of(known)}),
        ("verdict", SCORE, lambda known: {"sentences": (*verdict(known), *_rounding(scorer, known))}),
        ("what would have been seen", SCORE, lambda known: {"seen": seen_sentences(known)}),
    )
    for number, (what, stage, measured) in enumerate(measures):
        position.at(stage, number, len(measures))
        with _part(what, scorer, gaps):
            result = replace(result, **measured(result))
    return replace(result, complete=True)


def _rounding(scorer: CandidateScorer, result: ExperimentResult) -> tuple[str, ...]:
    """Return a sentence where the number format of the base rounds the adapters' update."""
    recipe, dtype = result.experiment.recipe, scorer.base.dtype
    shares = [rounded_away(scorer.weights.adapted[seed, recipe.steps], dtype) for seed in recipe.seeds]
    if not any(shares):
        return ()
    asked = result.experiment.base.dtype == dtype  # else the recipe of a large model says it
    remedy = "With dtype=float32 behind its name nothing is lost." if asked else "The scores are of what is left."
    lost = f"which loses {percent(max(shares))} of the adapters' update to rounding"
    return (f"The base is loaded in {dtype}, {lost}. {remedy}",)
