"""A study is carried out in two lanes: the one that loads models only stores vectors, the other does the rest."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from numembed.core.errors import LIGHT, MODEL, Paused
from numembed.core.progress import SCORE
from numembed.core.settings import Endpoint, Settings
from numembed.merge_experiment.experiment import stored_experiment
from numembed.merge_experiment.run import run_experiment
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel, WithoutModels
from numembed.models.spec import ModelSpec
from numembed.runs import model_run, reporter, study_run
from numembed.runs.job import Job, ModelProgress
from numembed.runs.jobs import JobTable
from numembed.runs.state import Notes
from numembed.runs.study_run import run
from numembed.runs.worker import run_job
from numembed.storage.vectors import VectorStore
from numembed.studies.examination import EXAMINATIONS
from numembed.studies.parts import Gap
from numembed.studies.results import ResultStore
from numembed.studies.stored import pin
from numembed.studies.study import Study
from tests.merge_experiment.bases import small_experiment
from tests.servers.embeddings import EmbeddingServer

pytestmark = pytest.mark.slow


@dataclass
class Lanes:
    """Both lanes of one home, each when it is asked."""

    settings: Settings
    jobs: JobTable

    def turns(self, study: Study) -> tuple[Job, list[str]]:
        """Return the job of a study after both lanes have worked at it, and the lane of each turn."""
        job_id, turns = self.jobs.submit(study, asked_by="visitor"), []
        loaded = {LIGHT: WithoutModels(self.settings), MODEL: LoadedModel(self.settings)}
        while (job := self.jobs.get(job_id)).active:
            turns.append(job.lane)
            claimed = self.jobs.claim(job.lane)
            assert len(turns) < 20 and claimed is not None
            run_job(claimed, self.jobs, settings=self.settings, loaded=loaded[job.lane], lane=job.lane)
        return job, turns


@pytest.fixture
def lanes(settings: Settings) -> Iterator[Lanes]:
    with JobTable(settings.app_db) as jobs:
        yield Lanes(settings, jobs)


def _rows(app_db: Path) -> dict[str, str]:
    with sqlite3.connect(app_db) as file:
        return dict(file.execute("SELECT key, payload FROM results"))


@pytest.fixture
def scored_in(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lane in which scores were computed and maps drawn, each time."""
    seen: list[str] = []
    for name in ("score_all", "plain_scores", "drawn_map", "explain"):
        before: Callable[..., Any] = getattr(model_run, name)

        def watched(*given: Any, before: Callable[..., Any] = before, **more: Any) -> Any:
            seen.extend(job.lane for job in lanes.jobs.active())
            return before(*given, **more)

        monkeypatch.setattr(model_run, name, watched)
    return seen


def test_both_lanes_find_what_one_would_find(lanes: Lanes, tiny_model: Path, scored_in: list[str]) -> None:
    named = (model(str(tiny_model)), model("last_digits"))
    study = Study(("even", "odd", "primes"), named, per_family=3, length=8, designs=2, examine=("stress",))
    job, turns = lanes.turns(study)
    assert (job.state, job.error, job.attempts) == ("done", "", 1)
    assert [step.stage for step in job.progress] == ["done", "done"]
    assert turns == [LIGHT, MODEL] * (len(turns) // 2) + [LIGHT] and 5 <= len(turns) <= 9
    assert set(scored_in) == {LIGHT} and len(scored_in) > 10
    other = replace(lanes.settings, home=lanes.settings.home / "other")
    other.home.mkdir()
    with ResultStore(other.app_db) as fresh, VectorStore(lanes.settings.cache_db) as vectors:
        run(study, vectors=vectors, results=fresh, loaded=WithoutModels(other), settings=other)
    expected, found = _rows(other.app_db), _rows(lanes.settings.app_db)
    assert {key: found.get(key) for key in expected} == expected and len(expected) > 20


def test_what_another_run_has_stored_meanwhile_is_not_scored_where_models_are_loaded(
    lanes: Lanes, tiny_model: Path, scored_in: list[str]
) -> None:
    asked = Study(("even", "odd", "primes"), (model(str(tiny_model)),), per_family=3, length=8, examine=("stress",))
    first = lanes.jobs.submit(asked, asked_by="visitor")
    claimed = lanes.jobs.claim(LIGHT)
    assert claimed is not None
    run_job(claimed, lanes.jobs, settings=lanes.settings, loaded=WithoutModels(lanes.settings), lane=LIGHT)
    assert lanes.jobs.get(first).lane == MODEL
    with ResultStore(lanes.settings.home / "other.db") as other, VectorStore(lanes.settings.cache_db) as vectors:
        run(asked, vectors=vectors, results=other, loaded=LoadedModel(lanes.settings), settings=lanes.settings)
    scored_in.clear()
    job, turns = lanes.turns(asked)
    assert job.id == first and job.state == "done" and turns == [MODEL, LIGHT]
    assert set(scored_in) == {LIGHT}


def test_every_examination_lists_all_texts_that_it_reads(lanes: Lanes, tiny_model: Path) -> None:
    named = (model(str(tiny_model)), model("last_digits"))
    study = Study(
        ("even", "odd", "primes"), named, per_family=4, length=8, examine=tuple(EXAMINATIONS), query="2, 3, 5"
    )
    job, turns = lanes.turns(study)
    assert (job.state, job.error) == ("done", "") and turns.count(MODEL) > len(EXAMINATIONS) / 2


def test_an_examination_that_does_not_list_its_texts_is_a_gap_and_no_endless_run(
    lanes: Lanes, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module(EXAMINATIONS["stress"].module)
    monkeypatch.setattr(module, "IMPLEMENTATION", replace(module.IMPLEMENTATION, texts=lambda context: ()))
    study = Study(("even", "odd"), (model(str(tiny_model)),), per_family=3, length=8, examine=("stress",))
    job, turns = lanes.turns(study)
    assert job.state == "failed" and "reads texts that it does not list" in job.error and len(turns) < 10


def test_baselines_and_endpoints_never_leave_their_lane(settings: Settings) -> None:
    with EmbeddingServer() as server, JobTable(settings.app_db) as jobs:
        endpoint = Endpoint("lab", server.url, "lab-model")
        lanes = Lanes(replace(settings, endpoints={"lab": endpoint}), jobs)
        named = (model("endpoint:lab"), model("last_digits"))
        job, turns = lanes.turns(Study(("even", "odd"), named, per_family=3, length=8))
    assert (job.state, job.error, turns) == ("done", "", [LIGHT])


def test_what_is_stored_needs_no_model(lanes: Lanes, tiny_model: Path) -> None:
    study = Study(("even", "odd"), (model(str(tiny_model)),), per_family=3, length=8)
    lanes.turns(study)
    assert lanes.turns(replace(study, distance="cosine"))[1] == [LIGHT]


def test_a_model_is_pinned_once_for_all_turns(lanes: Lanes, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def pinned(spec: ModelSpec, *given: Any, **more: Any) -> ModelSpec:
        asked.append(spec.name)
        return pin(spec, *given, **more)

    monkeypatch.setattr(study_run, "pin", pinned)
    named = (model(str(tiny_model)), model(f'{tiny_model} prompt="query: "'))
    job, turns = lanes.turns(Study(("even", "odd"), named, per_family=3, length=8))
    assert job.state == "done" and turns.count(MODEL) >= 2 and asked == [spec.name for spec in named]


def test_what_fails_is_tried_once(lanes: Lanes, tiny_model: Path, nan_model: Path, caplog: Any) -> None:
    caplog.set_level(logging.INFO, logger="numembed.studies.parts")
    named = tuple(
        map(model, (str(nan_model), "nobody/nowhere", str(tiny_model), str(tiny_model) + ' prompt="query: "'))
    )
    job, turns = lanes.turns(Study(("even", "odd"), named, per_family=3, length=8))
    assert job.state == "done" and turns.count(MODEL) >= 2
    assert [step.stage for step in job.progress] == ["failed", "failed", "done", "done"]
    failed = [record.getMessage() for record in caplog.records if record.getMessage().endswith("failed")]
    assert len(failed) == 2, failed
    assert "not finite" in job.error and "nobody/nowhere" in job.error
    assert Notes.from_json(job.notes).errors.keys() == {named[0].name, named[1].name}


def test_damaged_notes_are_none() -> None:
    pinned = {0: model("last_digits"), 2: replace(model('all-MiniLM-L6-v2 prompt="query: "'), dimensions=8)}
    notes = Notes(pinned, {"a": "It failed."}, [Gap("UMAP map", "b", "No room.")])
    assert Notes.from_json(notes.to_json()) == notes
    whole = '{"pinned": {}, "errors": {}, "gaps": []}'
    assert Notes.from_json(whole) == Notes()
    for part, damaged in (
        ('"errors": {}', '"errors": 3'),
        ('"gaps": []', '"gaps": [[1]]'),
        (', "gaps": []', ""),
        ('"pinned": {}', '"pinned": []'),
        ('"pinned": {}', '"pinned": {"x": {}}'),
        ('"pinned": {}', '"pinned": {"0": {"weights": {"kind": "another"}}}'),
    ):
        assert part in whole and Notes.from_json(whole.replace(part, damaged)) == Notes(), damaged
    for text in ("", "{", "[]"):
        assert Notes.from_json(text) == Notes()


def test_the_time_that_a_model_needs_is_estimated_for_the_queue(lanes: Lanes, tiny_model: Path) -> None:
    study = Study(("even", "odd"), (model(str(tiny_model)),), per_family=3, length=8)
    lanes.turns(study)
    job_id = lanes.jobs.submit(replace(study, per_family=100), asked_by="visitor")
    job = lanes.jobs.claim(LIGHT)
    assert job is not None
    run_job(job, lanes.jobs, settings=lanes.settings, loaded=WithoutModels(lanes.settings), lane=LIGHT)
    waiting = lanes.jobs.get(job_id)
    assert waiting.lane == MODEL and waiting.expected is not None and waiting.expected > 0


def test_a_row_never_goes_back_in_a_later_turn(lanes: Lanes, tiny_model: Path, monkeypatch: Any) -> None:
    shown: list[list[float]] = []
    before = JobTable.show

    def show(jobs: JobTable, job_id: str, progress: tuple[ModelProgress, ...]) -> None:
        shown.append([step.stage.begins for step in progress])
        before(jobs, job_id, progress)

    monkeypatch.setattr(JobTable, "show", show)
    monkeypatch.setattr(reporter, "_SHOW_SECONDS", 0.0)
    named = (model(str(tiny_model)), model(str(tiny_model) + ' prompt="query: "'))
    lanes.turns(Study(("even", "odd"), named, per_family=3, length=8, designs=2))
    for row in zip(*shown, strict=True):
        scored = next(at for at, begins in enumerate(row) if begins >= SCORE.begins)
        assert min(row[scored:]) >= SCORE.begins


def test_a_merging_experiment_gives_way_between_steps_and_candidates(lanes: Lanes, tiny_model: Path) -> None:
    asked = small_experiment(tiny_model, paths=("lora", "slerp_base"))
    steps: list[tuple[str, int]] = []
    job_id = lanes.jobs.submit(asked, asked_by="visitor")
    loaded, turns = LoadedModel(lanes.settings), 0
    while (job := lanes.jobs.get(job_id)).active:
        turns, calls = turns + 1, 0

        def give_way(safe: bool, pause_at: int = 1 + turns % 3) -> None:
            nonlocal calls
            calls += safe
            if safe and calls > pause_at:
                raise Paused(MODEL, 60.0)

        claimed = lanes.jobs.claim(MODEL)
        assert claimed is not None and turns < 200
        run_job(claimed, lanes.jobs, settings=lanes.settings, loaded=loaded, lane=MODEL, give_way=give_way)
        steps += [(step.stage, step.done) for step in lanes.jobs.get(job_id).progress[:1]]
    assert (job.state, job.attempts, job.error) == ("done", 1, "") and turns > 8
    trained = [done for stage, done in steps if stage == "train"]
    assert trained == sorted(trained) and len(trained) >= 2
    other = replace(lanes.settings, home=lanes.settings.home / "other")
    other.home.mkdir()
    with ResultStore(other.app_db) as fresh, VectorStore(other.cache_db) as vectors:
        run_experiment(asked, vectors=vectors, results=fresh, loaded=LoadedModel(other), settings=other)
        expected = stored_experiment(asked, fresh)
    with ResultStore(lanes.settings.app_db) as results:
        found = stored_experiment(asked, results)
    assert found is not None and expected is not None and found.complete
    assert [one.digest for one in found.adapters] == [one.digest for one in expected.adapters]
    assert [one.splits for one in found.candidates] == [one.splits for one in expected.candidates]
