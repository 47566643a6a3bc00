"""Carries out a ladder: adapters are trained or found, every arm is scored, and all of it is stored as it comes."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path as Folder
from typing import TYPE_CHECKING

from numembed.core.errors import AcceleratorLost, Cancelled, NumembedError, StoreFull, TrainingFailed
from numembed.core.progress import (
    DONE,
    ENCODE,
    LOAD,
    PROJECT,
    REDRAW,
    SCORE,
    Report,
    Row,
    Stage,
    stage_called,
    unreported,
)
from numembed.core.serialization import canonical_json
from numembed.core.settings import Settings
from numembed.core.wording import percent
from numembed.merge_experiment.comparisons import comparisons_of
from numembed.merge_experiment.experiment import REDRAWING, Ladder, LadderResult, ladder_key, stored_ladder
from numembed.merge_experiment.paths import KINDS, possible
from numembed.merge_experiment.redrawn import (  # fmt: skip
    first_designs,
    named_places,
    redrawn_split,
    redrawn_texts,
    redrawn_told,
    summed_up,
)
from numembed.merge_experiment.results import Arm, Redrawn, TrainedAdapter
from numembed.merge_experiment.scoring import Scorer
from numembed.merge_experiment.text import verdict
from numembed.models.adapters.recipe import Reading, Recipe
from numembed.models.adapters.saved import SavedAdapter, adapters_in
from numembed.models.merging.folders import rounded_away
from numembed.models.spec import ModelSpec
from numembed.storage.vectors import VectorStore
from numembed.studies.pinning import pin
from numembed.studies.results import ResultStore

if TYPE_CHECKING:
    from numembed.models.encoders.encoder import LoadedModel

TRAINING, LOOKS = "Training", "Angles and maps"  # the first row of progress and the last of a plain ladder
_ENDING = (Cancelled, StoreFull, AcceleratorLost)  # they end the whole run, not one arm
_TOLD_SECONDS = 1.0  # between two snapshots of a training
_NOTES = {"waiting": "another program trains the same adapters"}
_LIBRARIES = ("torch", "transformers", "sentence-transformers", "peft")
_log = logging.getLogger(__name__)


def ladder_rows(ladder: Ladder) -> tuple[str, ...]:
    """Return the names of what a run of ``ladder`` reports on, in order."""
    plain = (TRAINING, *(KINDS[name].title for name in ladder.paths), LOOKS)
    return (*plain, REDRAWING) if ladder.designs else plain


def adapters_folder(recipe: Recipe, base: ModelSpec, settings: Settings) -> Folder:
    """Return where the adapters of a recipe on the pinned ``base`` lie; those of other seeds lie beside them."""
    plain = {name: value for name, value in recipe.as_dict().items() if name != "seeds"}
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}  # others would not go on from there
    told = canonical_json({"base": base.stored.key, "recipe": plain, "versions": versions})
    return settings.home / "adapters" / hashlib.sha256(told.encode()).hexdigest()[:20]


def run_ladder(
    ladder: Ladder,
    *,
    vectors: VectorStore,
    results: ResultStore,
    loaded: LoadedModel,
    settings: Settings,
    report: Report = unreported,
) -> LadderResult:
    """Carry out ``ladder`` and return what was found; what earlier runs have left is not done again.

    The rows of ``report`` are :func:`ladder_rows`.

    Merged models are made in memory, never on disk. An arm that cannot be scored is left out and the others go on, and
    so is a seed whose training fails: the result is then the ladder of the other seeds, and says so. Its windows are
    redrawn after that, where ``ladder`` asks for it.

    Raises Cancelled, StoreFull and what training raises; what was stored before stays.
    """
    asked = replace(ladder, designs=0)
    base = pin(ladder.base, results, settings, progress=Row(report, 0))
    place, known = adapters_folder(ladder.recipe, base, settings), stored_ladder(asked, results)
    there = known is not None and known.complete and known.base == base.as_dict() and _still_there(known, place)
    if known is not None and there:
        trained = adapters_in(place, known.ladder.recipe)
    else:
        trained = _train(asked, base, place, results, loaded, settings, report)
    place_of = _Place(report)
    adapters = {(one.seed, one.step): one.weights for one in trained}
    climbed = _of_seeds(asked, {seed for seed, _ in adapters})
    scorer = Scorer(climbed, base, adapters, vectors, results, loaded, settings, place_of.tell)
    if known is not None and there:
        for row in range(len(ladder_rows(asked))):
            report(row, DONE, 1, 1, "")
        result = known
    else:
        result = _climbed(asked, scorer, trained, place_of)
    return _with_redrawn(ladder, result, scorer, place_of) if ladder.designs else result


def _climbed(ladder: Ladder, scorer: Scorer, trained: tuple[SavedAdapter, ...], place_of: _Place) -> LadderResult:
    """Return the whole result of a ladder whose adapters are trained; what is there so far is stored path by path."""
    climbed, base, results = scorer.ladder, scorer.base, scorer.results
    families = {name: tuple(item.family for item in one.items) for name, one in scorer.texts.splits.items()}
    result = LadderResult(climbed, base.as_dict(), tuple(map(_described, trained)), families=families)
    for row, name in enumerate(ladder.paths, start=1):
        for arms in _arms(scorer, name, place_of.at_row(row)):
            result = replace(result, arms=(*result.arms, *arms))
            results.put(ladder_key(ladder), result.as_json())
        place_of.end()
    result = _looked_at(scorer, result, place_of.at_row(len(ladder.paths) + 1))
    if climbed != ladder:
        results.put(ladder_key(climbed), result.as_json())  # as which its models are saved
        result = replace(result, sentences=(_left_out(ladder, climbed), *result.sentences))
    results.put(ladder_key(ladder), result.as_json())
    place_of.end()
    return result


def _of_seeds(ladder: Ladder, seeds: set[int]) -> Ladder:
    """Return ``ladder`` with those of its seeds alone, and the paths for which they are enough."""
    recipe = replace(ladder.recipe, seeds=tuple(seed for seed in ladder.recipe.seeds if seed in seeds))
    return replace(ladder, recipe=recipe, paths=tuple(name for name in ladder.paths if name in possible(recipe)))


def _left_out(ladder: Ladder, climbed: Ladder) -> str:
    lost = [str(seed) for seed in ladder.recipe.seeds if seed not in climbed.recipe.seeds]
    many = f"Seeds {', '.join(lost)} are" if len(lost) > 1 else f"Seed {lost[0]} is"
    return f"{many} left out: the numbers of that training were not finite any more. A lower learning rate may help."


def _with_redrawn(ladder: Ladder, result: LadderResult, scorer: Scorer, place_of: _Place) -> LadderResult:
    """Return the result with its named places scored on redrawn windows, stored where more of them than before."""
    place_of.at_row(len(ladder_rows(ladder)) - 1)
    known = [one.designs for one in result.redrawn]
    if not known or min(known) < ladder.designs:
        result = replace(result, redrawn=tuple(_redrawn(ladder, scorer, place_of)))
        result = replace(result, redrawn_sentences=redrawn_told(result))
        scorer.results.put(ladder_key(ladder), result.as_json())
    result = replace(result, redrawn=first_designs(result.redrawn, ladder.designs))
    place_of.end()
    return replace(result, redrawn_sentences=redrawn_told(result))


def _redrawn(ladder: Ladder, scorer: Scorer, place: _Place) -> Iterator[Redrawn]:
    """Yield the scores of each row's named place on redrawn windows; a model that cannot be scored is left out."""
    climbed = replace(scorer.ladder, designs=ladder.designs)
    designs, places, split = redrawn_texts(climbed), named_places(climbed), redrawn_split(climbed.recipe.split)
    done: dict[str, list[tuple[float, ...]]] = {}
    for number, (path, at) in enumerate(places):
        place.at(REDRAW, number, len(places))
        try:
            done.setdefault(path.name, []).append(scorer.on_designs(path, at, designs))
        except _ENDING:
            raise
        except NumembedError:
            _log.info("no redrawn windows for %s at %s", path.id, at, exc_info=True)
    for (name, at), count in Counter((path.name, at) for path, at in places).items():
        if len(done.get(name, ())) == count:  # other seeds' would be another mean
            yield summed_up(name, at, split, done[name])


class _Place:
    """How far a run is, told again whenever work goes on, so that a cancel is heard."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._row, self._stage, self._done, self._total = 0, LOAD, 0, 1

    def at_row(self, row: int) -> _Place:
        self._row = row
        return self

    def at(self, stage: Stage, done: int, total: int) -> None:
        self._stage, self._done, self._total = stage, done, total
        self.tell()

    def tell(self) -> None:
        self._report(self._row, self._stage, self._done, self._total, "")

    def end(self) -> None:
        self.at(DONE, 1, 1)


def _arms(scorer: Scorer, name: str, place: _Place) -> Iterator[tuple[Arm, ...]]:
    """Yield the arms of each path of a row of KINDS."""
    drawn = [path for path in scorer.ladder.drawn if path.name == name]
    done, total = 0, sum(len(path.values) for path in drawn)
    for path in drawn:
        arms = []
        for at in path.values:
            place.at(ENCODE, done, total)
            try:
                arms.append(scorer.arm(path, at))
            except _ENDING:
                raise
            except NumembedError:  # such as a merge that is not finite: the other arms say more than none
                if name == "base":
                    raise
                _log.info("no arm %s at %s", path.id, at, exc_info=True)
            done += 1
        yield tuple(arms)


def _looked_at(scorer: Scorer, result: LadderResult, place: _Place) -> LadderResult:
    """Return the result with what all arms together say."""
    place.at(SCORE, 0, 4)
    result = replace(result, straight=scorer.straight())
    place.at(SCORE, 1, 4)
    result = replace(result, dominance=scorer.dominance(result))
    place.at(PROJECT, 2, 4)
    result = replace(result, maps=tuple(scorer.maps(result)))
    place.at(SCORE, 3, 4)
    result = replace(result, comparisons=comparisons_of(result))
    sentences = (*verdict(result), *_rounding(scorer, result))
    return replace(result, sentences=sentences, complete=True)


def _rounding(scorer: Scorer, result: LadderResult) -> tuple[str, ...]:
    """Return what the number format of the base does to the adapters, where it does anything."""
    last = [(seed, result.ladder.recipe.steps) for seed in result.ladder.recipe.seeds]
    shares = [rounded_away(scorer.weights.adapted[one], scorer.base.dtype) for one in last]
    if not any(shares):
        return ()
    return (
        f"The base is kept in {scorer.base.dtype}, which rounds {percent(max(shares))} of the adapters' update away; "
        "with dtype=float32 behind its name nothing is lost.",
    )


def _still_there(known: LadderResult, place: Folder) -> bool:
    found = {(one.seed, one.step): one.weights.digest for one in adapters_in(place, known.ladder.recipe)}
    return found == {(one.seed, one.step): one.digest for one in known.adapters}


def _described(one: SavedAdapter) -> TrainedAdapter:
    return TrainedAdapter(one.seed, one.step, one.weights.path, one.weights.digest, one.readings)


def _train(
    ladder: Ladder,
    base: ModelSpec,
    place: Folder,
    results: ResultStore,
    loaded: LoadedModel,
    settings: Settings,
    report: Report,
) -> tuple[SavedAdapter, ...]:
    """Return the adapters of all stages, of every seed whose training ended; how it goes is stored while it goes on."""
    recipe = ladder.recipe
    there = adapters_in(place, recipe)
    if _ended(recipe, there) != set(recipe.seeds):
        from numembed.models.training.train import train_adapters

        loaded.free()  # one model in memory
        try:
            there = train_adapters(
                base, recipe, place, settings=settings, listen=_listener(ladder, base, there, results),
                progress=lambda done, total, stage: report(0, stage_called(stage), done, total, _NOTES.get(stage, "")),
            )  # fmt: skip
        except TrainingFailed:
            there = adapters_in(place, recipe)
            if not _ended(recipe, there):
                raise
    report(0, DONE, 1, 1, "")
    return tuple(one for one in there if one.seed in _ended(recipe, there))


def _ended(recipe: Recipe, there: Sequence[SavedAdapter]) -> set[int]:
    """Return the seeds of which every stage is there."""
    found = {(one.seed, one.step) for one in there}
    return {seed for seed in recipe.seeds if all((seed, step) in found for step in recipe.saved_steps)}


def _listener(
    ladder: Ladder, base: ModelSpec, there: Sequence[SavedAdapter], results: ResultStore
) -> Callable[[Reading], None]:
    """Return what hears the readings of a training and stores them, behind those of saved stages, for who watches."""
    present = stored_ladder(ladder, results) or LadderResult(ladder, base.as_dict())
    readings = {(one.seed, one.step): one for adapter in there for one in adapter.readings}
    told = 0.0

    def listen(reading: Reading) -> None:
        nonlocal told, readings
        readings = {at: one for at, one in readings.items() if at[0] != reading.seed or at[1] < reading.step}
        readings[reading.seed, reading.step] = reading
        if time.monotonic() - told > _TOLD_SECONDS:
            results.put(ladder_key(ladder), replace(present, training=tuple(readings.values())).as_json())
            told = time.monotonic()

    return listen
