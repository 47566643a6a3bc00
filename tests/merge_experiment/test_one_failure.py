"""A candidate, a window, a measure or a seed that fails costs a merging experiment only itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from numembed.core.errors import Cancelled, ModelUnavailable, TrainingFailed
from numembed.core.progress import Stage
from numembed.core.settings import Settings
from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment
from numembed.merge_experiment.paths import Path as MergePath
from numembed.merge_experiment.run import run_experiment
from numembed.merge_experiment.scoring import CandidateScorer
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.training import train
from numembed.runs import worker
from numembed.runs.jobs import JobTable
from numembed.runs.worker import run_job
from numembed.storage.vectors import VectorStore
from numembed.studies.results import ResultStore
from tests.merge_experiment.bases import RECIPE, small_experiment

pytestmark = pytest.mark.slow
WORDS = "no slope in /home/me/models/x/layer.py"
REASON = "no slope in layer.py."


@dataclass
class Place:
    """A home with its stores open, and the last stage of each row."""

    settings: Settings
    vectors: VectorStore
    results: ResultStore
    stages: dict[int, str]

    def run(self, experiment: MergeExperiment) -> ExperimentResult:
        def report(row: int, stage: Stage, done: int, total: int, note: str) -> None:
            self.stages[row] = stage

        stores = {"vectors": self.vectors, "results": self.results}
        loaded = LoadedModel(self.settings)
        return run_experiment(experiment, **stores, loaded=loaded, settings=self.settings, report=report)  # type: ignore[arg-type]


@pytest.fixture
def place(settings: Settings) -> Iterator[Place]:
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        yield Place(settings, vectors, results, {})


def _breaks(patch: pytest.MonkeyPatch, verb: str, *names: str, error: BaseException | None = None) -> None:
    """Let ``verb`` of every scorer raise for the paths of these names."""
    real = getattr(CandidateScorer, verb)

    def broken(self: CandidateScorer, path: MergePath, at: float, *more: Any) -> Any:
        if path.name in names and at == 0.5:
            raise error or ArithmeticError(WORDS)
        return real(self, path, at, *more)

    patch.setattr(CandidateScorer, verb, broken)


def test_a_candidate_and_a_measure_that_fail_leave_the_others_and_come_with_the_next_run(
    place: Place, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = small_experiment(tiny_model, paths=("lora", "linear", "slerp"), designs=2)
    with monkeypatch.context() as patch:
        _breaks(patch, "candidate", "slerp")
        _breaks(patch, "on_designs", "linear")
        patch.setattr(CandidateScorer, "straight", lambda self: 1 / 0)
        found = place.run(asked)
    assert found.complete and len(found.candidates) == asked.candidates - 1 and found.maps and found.comparisons
    assert found.straight == () and found.sentences
    assert found.gaps == (
        f"Missing: the scores of SLERP, seeds 0 and 1, t = 0.5. {REASON}",
        "Missing: the angles between the weights. division by zero.",
        f"Missing: the scores on redrawn windows of Linear, seeds 0 and 1, t = 0.5. {REASON}",
    )
    assert [one.name for one in found.redrawn] == ["base", "lora", "slerp"]
    assert set(place.stages.values()) == {"done"}
    again = place.run(asked)
    assert again.gaps == () and len(again.candidates) == asked.candidates and again.straight


def test_a_path_whose_every_candidate_fails_is_said_in_its_row_and_the_base_ends_the_experiment(
    place: Place, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = small_experiment(tiny_model, paths=("lora", "karcher"), recipe=replace(RECIPE, steps=2, stages=1))
    real = CandidateScorer.candidate
    failing: list[str] = ["karcher"]

    def broken(self: CandidateScorer, path: MergePath, at: float) -> Any:
        if path.name in failing:
            raise ArithmeticError(WORDS)
        return real(self, path, at)

    monkeypatch.setattr(CandidateScorer, "candidate", broken)
    found = place.run(asked)
    assert place.stages == {0: "done", 1: "done", 2: "done", 3: "failed", 4: "done"} and len(found.gaps) == 1
    failing.append("base")
    with pytest.raises(ModelUnavailable, match=f"tiny could not run: {REASON} Details are in the log"):
        place.run(asked)
    failing.clear()
    _breaks(monkeypatch, "candidate", "lora", error=Cancelled("Stopped."))
    with pytest.raises(Cancelled):
        place.run(replace(asked, points=5))


@pytest.fixture
def failing_seed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds whose training raises after its first step."""
    seeds, real = [], train.training_batch

    def broken(split: Any, *, seed: int, step: int, **more: Any) -> Any:
        if seed in seeds and step == 2:
            raise ArithmeticError(WORDS)
        return real(split, seed=seed, step=step, **more)

    monkeypatch.setattr(train, "training_batch", broken)
    return seeds


def test_a_seed_whose_training_raises_leaves_the_other_seeds_and_is_trained_with_the_next_run(
    place: Place, tiny_model: Path, failing_seed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_be_polite", lambda: None)
    asked = small_experiment(tiny_model, paths=("lora",))
    failing_seed.append(0)
    with JobTable(place.settings.app_db) as jobs:
        jobs.submit(asked, asked_by="visitor")
        job = jobs.claim()
        assert job is not None
        assert run_job(job, jobs, settings=place.settings, loaded=LoadedModel(place.settings)) == "done"
        ended = jobs.get(job.id)
    assert ended.words == "done, something is missing"
    assert ended.error.startswith(f"Seed 0 is left out. Training tiny failed at seed 0: {REASON} The other seeds")
    failing_seed.clear()
    again = place.run(asked)
    assert again.gaps == () and {one.seed for one in again.adapters} == {0, 1}
    failing_seed.extend((0, 1))
    with pytest.raises(TrainingFailed, match=f"failed at seed 0: {REASON} The same happened to seed 1"):
        place.run(replace(asked, recipe=replace(RECIPE, learning_rate=1e-4)))
