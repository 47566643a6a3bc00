"""Runs an experiment: trains or finds adapters, scores every candidate, and stores results as they come."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from numembed.core.errors import AcceleratorLost, Cancelled, NumembedError, StoreFull
from numembed.core.progress import DONE, ENCODE, LOAD, PROJECT, REDRAW, SCORE, Report, Row, Stage, unreported
from numembed.core.settings import Settings
from numembed.core.wording import percent
from numembed.merge_experiment.comparisons import comparisons_of
from numembed.merge_experiment.experiment import (
    REDRAWING,
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
from numembed.merge_experiment.scoring import CandidateScorer
from numembed.merge_experiment.text import verdict
from numembed.merge_experiment.training import adapters_folder, still_there, train
from numembed.models.adapters.saved import SavedAdapter, adapters_in
from numembed.models.merging.folders import rounded_away
from numembed.storage.vectors import VectorStore
from numembed.studies.results import ResultStore
from numembed.studies.stored import pin

if TYPE_CHECKING:
    from numembed.models.encoders.encoder import LoadedModel

_FIRST_ROW, _LAST_ROW = "Training", "Angles and maps"  # of progress, without redrawn windows
_ENDING = (Cancelled, StoreFull, AcceleratorLost)  # they end the whole run, not one candidate
_log = logging.getLogger(__name__)


def experiment_rows(experiment: MergeExperiment) -> tuple[str, ...]:
    """Return the names of the rows of progress of a run of ``experiment``, in order."""
    plain = (_FIRST_ROW, *(KINDS[name].title for name in experiment.paths), _LAST_ROW)
    return (*plain, REDRAWING) if experiment.designs else plain


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
    says so. Windows are redrawn last, if ``experiment`` has ``designs``.

    Raises Cancelled, StoreFull and what training raises; what was stored before stays.
    """
    plain = replace(experiment, designs=0)
    base = pin(experiment.base, results, settings, progress=Row(report, 0))
    folder, earlier = adapters_folder(experiment.recipe, base, settings), stored_experiment(plain, results)
    reusable = earlier is not None and earlier.complete and earlier.base == base and still_there(earlier, folder)
    if earlier is not None and reusable:
        trained = adapters_in(folder, earlier.experiment.recipe)
    else:
        trained = train(plain, base, folder, results, loaded, settings, report)
    position = _Position(report)
    adapters = {(one.seed, one.step): one.weights for one in trained}
    runnable = _of_seeds(plain, {seed for seed, _ in adapters})
    scorer = CandidateScorer(runnable, base, adapters, vectors, results, loaded, settings, position.report_again)
    if earlier is not None and reusable:
        for row in range(len(experiment_rows(plain))):
            report(row, DONE, 1, 1, "")
        result = earlier
    else:
        result = _run_paths(plain, scorer, trained, position)
    return _with_redrawn(experiment, result, scorer, position) if experiment.designs else result


def _run_paths(
    experiment: MergeExperiment, scorer: CandidateScorer, trained: tuple[SavedAdapter, ...], position: _Position
) -> ExperimentResult:
    """Return the result of an experiment whose adapters are trained; it is stored path by path."""
    runnable, base, results = scorer.experiment, scorer.base, scorer.results
    families = {name: tuple(item.family for item in one.items) for name, one in scorer.texts.splits.items()}
    adapters = tuple(
        TrainedAdapter(one.seed, one.step, one.weights.path, one.weights.digest, one.readings) for one in trained
    )
    result = ExperimentResult(runnable, base, adapters, families=families)
    for row, name in enumerate(experiment.paths, start=1):
        for candidates in _candidates(scorer, name, position.at_row(row)):
            result = replace(result, candidates=(*result.candidates, *candidates))
            results.put(experiment_key(experiment), result.as_json())
        position.end()
    result = _with_measures(scorer, result, position.at_row(len(experiment.paths) + 1))
    if runnable != experiment:
        results.put(experiment_key(runnable), result.as_json())  # as which its models are saved
        result = replace(result, sentences=(_left_out(experiment, runnable), *result.sentences))
    results.put(experiment_key(experiment), result.as_json())
    position.end()
    return result


def _of_seeds(experiment: MergeExperiment, seeds: set[int]) -> MergeExperiment:
    """Return ``experiment`` with only these seeds, and the paths for which they are enough."""
    recipe = replace(experiment.recipe, seeds=tuple(seed for seed in experiment.recipe.seeds if seed in seeds))
    return replace(
        experiment, recipe=recipe, paths=tuple(name for name in experiment.paths if name in possible(recipe))
    )


def _left_out(experiment: MergeExperiment, runnable: MergeExperiment) -> str:
    lost = [str(seed) for seed in experiment.recipe.seeds if seed not in runnable.recipe.seeds]
    many = f"Seeds {', '.join(lost)} are" if len(lost) > 1 else f"Seed {lost[0]} is"
    return f"{many} left out: training diverged to numbers that are not finite. A lower learning rate may help."


def _with_redrawn(
    experiment: MergeExperiment, result: ExperimentResult, scorer: CandidateScorer, position: _Position
) -> ExperimentResult:
    """Return the result with its named points scored on redrawn windows, stored where there are more than before."""
    position.at_row(len(experiment_rows(experiment)) - 1)
    known = [one.designs for one in result.redrawn]
    if not known or min(known) < experiment.designs:
        result = replace(result, redrawn=tuple(_redrawn(experiment, scorer, position)))
        result = replace(result, redrawn_sentences=redrawn_text(result))
        scorer.results.put(experiment_key(experiment), result.as_json())
    result = replace(result, redrawn=first_designs(result.redrawn, experiment.designs))
    position.end()
    return replace(result, redrawn_sentences=redrawn_text(result))


def _redrawn(experiment: MergeExperiment, scorer: CandidateScorer, position: _Position) -> Iterator[Redrawn]:
    """Yield the scores of each row's named point on redrawn windows; a model that cannot be scored is left out."""
    runnable = replace(scorer.experiment, designs=experiment.designs)
    designs, places, split = redrawn_texts(runnable), named_places(runnable), redrawn_split(runnable.recipe.split)
    done: dict[str, list[tuple[float, ...]]] = {}
    for number, (path, at) in enumerate(places):
        position.at(REDRAW, number, len(places))
        try:
            done.setdefault(path.name, []).append(scorer.on_designs(path, at, designs))
        except _ENDING:
            raise
        except NumembedError:
            _log.info("no redrawn windows for %s at %s", path.id, at, exc_info=True)
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

    def end(self) -> None:
        self.at(DONE, 1, 1)


def _candidates(scorer: CandidateScorer, name: str, position: _Position) -> Iterator[tuple[Candidate, ...]]:
    """Yield the candidates of each path of a row of KINDS."""
    drawn = [path for path in scorer.experiment.drawn if path.name == name]
    done, total = 0, sum(len(path.values) for path in drawn)
    for path in drawn:
        candidates = []
        for at in path.values:
            position.at(ENCODE, done, total)
            try:
                candidates.append(scorer.candidate(path, at))
            except _ENDING:
                raise
            except NumembedError:  # such as a merge that is not finite: the other candidates say more than none
                if name == "base":
                    raise
                _log.info("no candidate %s at %s", path.id, at, exc_info=True)
            done += 1
        yield tuple(candidates)


def _with_measures(scorer: CandidateScorer, result: ExperimentResult, position: _Position) -> ExperimentResult:
    """Return the result with what is measured of all candidates together."""
    position.at(SCORE, 0, 4)
    result = replace(result, straight=scorer.straight())
    position.at(SCORE, 1, 4)
    result = replace(result, dominance=scorer.dominance(result))
    position.at(PROJECT, 2, 4)
    result = replace(result, maps=tuple(scorer.maps(result)))
    position.at(SCORE, 3, 4)
    result = replace(result, comparisons=comparisons_of(result))
    sentences = (*verdict(result), *_rounding(scorer, result))
    return replace(result, sentences=sentences, complete=True)


def _rounding(scorer: CandidateScorer, result: ExperimentResult) -> tuple[str, ...]:
    """Return a sentence where the number format of the base rounds the adapters' update."""
    last = [(seed, result.experiment.recipe.steps) for seed in result.experiment.recipe.seeds]
    shares = [rounded_away(scorer.weights.adapted[one], scorer.base.dtype) for one in last]
    if not any(shares):
        return ()
    return (
        f"The base is loaded in {scorer.base.dtype}, which loses {percent(max(shares))} of the adapters' update to "
        "rounding. With dtype=float32 behind its name nothing is lost.",
    )
