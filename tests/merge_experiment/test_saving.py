from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from numembed.core.errors import BadChoice, ModelUnavailable, StoreFull
from numembed.core.settings import Settings, read_settings
from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment
from numembed.merge_experiment.results import Candidate
from numembed.merge_experiment.save_model import Saving, proposed_name, save_candidate, saved_reference
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.files.publish import is_whole
from numembed.models.resolve import folder_of, resolve
from numembed.runs.job import Job
from numembed.runs.jobs import JobTable
from numembed.runs.worker import run_job
from numembed.studies.results import ResultStore
from numembed.studies.study import Study
from tests.children import killed_writing
from tests.merge_experiment.bases import stored_on

TEXTS = ("2, 4, 6, 8", "1, 4, 9, 16", "two cats", "a dog")


@dataclass
class Place:
    """A home with an experiment on a tiny base, whose adapters are there and whose numbers are made up."""

    settings: Settings
    results: ResultStore
    jobs: JobTable
    found: ExperimentResult

    def candidate(self, path: str, at: float) -> Candidate:
        return next(candidate for candidate in self.found.path(path) if candidate.at == at)

    def saving(self, name: str, path: str = "slerp-0-1", at: float = 0.5) -> Saving:
        return Saving(name, self.found.experiment, path, at)

    def save(self, saving: Saving) -> Path:
        return save_candidate(saving, results=self.results, settings=self.settings)

    def work(self) -> Job:
        """Take the next job as the worker does, and return it closed."""
        job = self.jobs.claim()
        assert job is not None
        run_job(job, self.jobs, settings=self.settings, loaded=LoadedModel(self.settings))
        return self.jobs.get(job.id)


@pytest.fixture
def place(settings: Settings, tiny_model: Path, tmp_path: Path) -> Iterator[Place]:
    found = stored_on(tiny_model, settings, tmp_path / "adapters")
    with ResultStore(settings.app_db) as results, JobTable(settings.app_db) as jobs:
        yield Place(settings, results, jobs, found)


@pytest.mark.parametrize(
    "name",
    ["", "..", "a/b", "../a", "/tmp/a", "a\\b", ".hidden", "a b", "é", "a" * 81, "a\n", "~", "a.", "-a", "a\0b"],
)
def test_a_name_is_never_a_path(name: str) -> None:
    if name == "a\n":  # what is left without it is a name
        assert Saving(name, MergeExperiment(), "base", 1.0).name == "a"
        return
    with pytest.raises(BadChoice, match="A model's name has up to 80 letters"):
        Saving(name, MergeExperiment(), "base", 1.0)


def test_a_request_is_restored_from_its_json_and_equal_requests_share_a_job(place: Place) -> None:
    asked = place.saving("mine")
    assert Saving.from_json(asked.to_json()) == asked and Saving.from_json(asked.to_json()).key == asked.key
    others = [place.saving("other"), place.saving("mine", at=1.0), place.saving("mine", path="lora-0")]
    assert len({asked.key, *(one.key for one in others)}) == 4
    job = place.jobs.submit(asked, asked_by="one")
    assert place.jobs.submit(Saving.from_json(asked.to_json()), asked_by="two") == job
    row = place.jobs.get(job)
    assert row.kind == Saving.kind and row.request == asked and asked.title == "Saving the model mine"
    for wrong in ("{}", "[1]", "no", '{"saving": 1}', '{"saving": {"name": "a"}}', asked.to_json().replace("at", "@")):
        with pytest.raises(BadChoice):
            Saving.from_json(wrong)
    with pytest.raises(BadChoice, match="has no point"):
        place.saving("mine", at=0.123)
    with pytest.raises(BadChoice):
        Study.from_json(asked.to_json())


def test_every_candidate_has_a_proposed_name(place: Place) -> None:
    names = [proposed_name(place.found.experiment, candidate) for candidate in place.found.candidates]
    assert len(set(names)) == len(names) and "tiny-slerp-0-1-t0.5" in names
    assert all(Saving(name, place.found.experiment, "base", 1.0).name == name for name in names)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "at"), [("slerp-0-1", 0.5), ("lora-0", 1.5), ("soup", 1.0), ("karcher", 1.0), ("slerp_task-0-1", 0.5)]
)
def test_the_worker_saves_what_was_scored_and_it_is_loaded_by_its_reference(place: Place, path: str, at: float) -> None:
    asked, candidate = place.saving("kept", path, at), place.candidate(path, at)
    place.jobs.submit(asked, asked_by="test")
    job = place.work()
    assert (job.state, job.error) == ("done", "")
    (step,) = job.progress
    assert step.model == "kept" and step.done == step.total > 0
    assert is_whole(asked.folder(place.settings))
    spec = resolve(model(saved_reference(asked, candidate, place.settings)), place.settings)
    scored, saved = (LoadedModel(place.settings).get(one).encode(TEXTS) for one in (candidate.model, spec))
    np.testing.assert_allclose(saved, scored, atol=2e-6)
    based = LoadedModel(place.settings).get(resolve(place.found.experiment.base, place.settings)).encode(TEXTS)
    assert np.abs(saved - based).max() > 1e-3, "it is the base"
    assert MergeExperiment(model(saved_reference(asked, candidate, place.settings))), "it can be a base"


def test_the_card_has_recipe_licences_and_scores_and_no_path_of_this_machine(place: Place, tiny_model: Path) -> None:
    (tiny_model / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n", encoding="utf-8")
    try:
        card = (place.save(place.saving("first")) / "README.md").read_text(encoding="utf-8")
        again = resolve(model(str(place.saving("first").folder(place.settings))), place.settings)
    finally:
        (tiny_model / "README.md").unlink()
    assert card.startswith('---\nlicense: other\nlicense_name: "cc-by-4.0"\n') and "# first" in card
    assert "licence cc-by-4.0" in card and card.count("- LoRA adapter, seed") == 2
    candidate = place.candidate("slerp-0-1", 0.5)
    for split, own in candidate.splits.items():
        assert f"{own.silhouette:.3f}".replace("-", "−") in card, split
    assert (
        f"{candidate.retention.spearman:.3f} ({candidate.retention.low:.3f} to {candidate.retention.high:.3f})" in card
    )
    assert '"method": "slerp"' in card and '"t"' in card and str(tiny_model.parent) not in card
    from numembed.merge_experiment.save_model import licence_of

    assert licence_of(again, place.settings) == "cc-by-4.0", "what is made of a saved model forgets its licence"
    assert licence_of(model(str(tiny_model)), place.settings) == "unknown"
    assert licence_of(model("all-MiniLM-L6-v2"), place.settings) == "Apache-2.0"


def test_a_name_that_is_taken_is_refused_and_the_same_model_is_not_written_twice(place: Place) -> None:
    folder = place.save(place.saving("mine"))
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert place.save(place.saving("mine")) == folder and (folder / "model.safetensors").stat().st_mtime_ns == before
    place.jobs.submit(place.saving("mine", "lora-1", 1.0), asked_by="test")
    job = place.work()
    assert (job.state, job.error) == ("failed", "A model 'mine' is already saved. Choose another name.")
    (folder / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(BadChoice, match="already saved"):
        place.save(place.saving("mine"))


def test_a_saved_model_is_allowed_where_folders_are_restricted(place: Place, tmp_path: Path) -> None:
    folder = place.save(place.saving("mine"))
    narrow = {**os.environ, "NUMEMBED_HOME": str(place.settings.home), "NUMEMBED_MODEL_FOLDERS": str(tmp_path / "no")}
    assert folder_of(model(str(folder)), read_settings(narrow)) == folder
    with pytest.raises(ModelUnavailable, match="is not below a folder"):
        folder_of(place.found.experiment.base, read_settings(narrow))


def test_a_missing_adapter_and_a_missing_experiment_are_reported_in_a_sentence(place: Place) -> None:
    seed = next(one for one in place.found.adapters if (one.seed, one.step) == (1, 4))
    os.rename(seed.path, seed.path + "-gone")
    place.jobs.submit(place.saving("mine"), asked_by="test")
    job = place.work()
    assert job.state == "failed" and job.error.startswith("There is no folder")
    assert not list((place.settings.home / "models").glob("*"))
    other = replace(place.found.experiment, seed=5)
    with pytest.raises(BadChoice, match="Run it again"):
        place.save(Saving("mine", other, "slerp-0-1", 0.5))


def test_a_full_disk_leaves_nothing_and_is_reported(place: Place) -> None:
    if (child := os.fork()) == 0:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
            save_candidate(place.saving("mine"), results=place.results, settings=place.settings)
        except StoreFull:
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0, "no sentence about a full disk"
    assert not [path for path in (place.settings.home / "models").iterdir() if path.is_dir()]


@pytest.mark.slow
def test_kills_while_saving_leave_nothing_that_looks_finished_and_the_next_worker_finishes(place: Place) -> None:
    models, kills, torn = place.settings.home / "models", range(1, 23, 2), 0
    for kill in kills:
        asked = place.saving(f"model-{kill}")
        job = place.jobs.submit(asked, asked_by="test")
        assert killed_writing(kill, models, _work, place.settings), "it ended before it was killed"
        folder = asked.folder(place.settings)
        torn += any(models.glob(".tmp-*/*"))
        assert not folder.exists() or is_whole(folder), "a model that looks finished is torn"
        if place.jobs.get(job).active:  # as the next worker does
            place.jobs.take_over()
            assert place.work().id == job
        assert place.jobs.get(job).state == "done" and is_whole(folder), place.jobs.get(job).error
    assert torn >= 8, f"too few kills left something half written: {torn}"
    assert sorted(path.name for path in models.iterdir() if path.is_dir()) == sorted(f"model-{i}" for i in kills)


def _work(settings: Settings) -> None:
    with JobTable(settings.app_db) as jobs:
        job = jobs.claim()
        assert job is not None
        run_job(job, jobs, settings=settings, loaded=LoadedModel(settings))


def test_reading_a_study_from_the_table_imports_no_merging_experiment() -> None:
    script = """
import sys
from pathlib import Path
from numembed.runs.jobs import JobTable
from numembed.paper.protocol import paper_study
with JobTable(Path(sys.argv[1])) as jobs:
    job = jobs.get(jobs.submit(paper_study(), asked_by="test"))
assert job.request == paper_study() and job.kind == "study"
print([name for name in sys.modules if name.startswith("numembed.merge_experiment")])
"""
    with tempfile.TemporaryDirectory() as folder:
        answer = subprocess.run(
            [sys.executable, "-c", script, f"{folder}/app.db"],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
    assert answer.stdout.strip() == "[]"
