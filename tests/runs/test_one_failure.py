"""One failure stays one failure: whatever one model or one part of it raises, the rest is computed and shown."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from numembed.analysis.maps.projections import PROJECTIONS
from numembed.core.arrays import Matrix, Points
from numembed.core.errors import ENDING, AcceleratorLost, Cancelled, StoreUnreadable
from numembed.core.progress import Stage
from numembed.core.settings import Settings
from numembed.examinations.registry import ExaminationContext, Implementation
from numembed.models.catalogue.names import model
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.loaded import LoadedModel
from numembed.runs import model_run, worker
from numembed.runs.job import Job
from numembed.runs.jobs import JobTable
from numembed.runs.outcome import Outcome
from numembed.runs.study_run import run
from numembed.runs.worker import run_job
from numembed.storage.vectors import VectorStore
from numembed.studies.examination import EXAMINATIONS, Examination, register
from numembed.studies.parts import part
from numembed.studies.results import ResultStore
from numembed.studies.stored import missing_projection, stored_results
from numembed.studies.study import Study
from tests import tiny

pytestmark = pytest.mark.slow
SECRET = "hf_" + "a1B2" * 6
WORDS = f"no slope in /home/me/models/x/layer.py with {SECRET}"
REASON = "no slope in layer.py with [secret]"


@dataclass(frozen=True)
class Nothing:
    """What the examination finds."""


class PanicException(BaseException):
    """As a Rust tokenizer raises it: no Exception."""


def _refusing(context: ExaminationContext) -> Nothing:
    if context.spec.name == "tiny":
        raise ArithmeticError(WORDS)
    return Nothing()


IMPLEMENTATION = Implementation(Nothing, _refusing, lambda answer: "Nothing.", lambda answer: [])


def refusing(matrix: Matrix, *, dims: int, seed: int) -> tuple[Points, dict[str, Any]]:
    """Refuses a tiny model's vectors."""
    if matrix.shape[1] == tiny.HIDDEN:
        raise ArithmeticError(WORDS)
    return np.asarray(matrix[:, :dims], dtype=np.float32), {}


@pytest.fixture(autouse=True)
def _quick_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PROJECTIONS, "_entries", {"pca": PROJECTIONS["pca"]})


@pytest.fixture
def refusing_map(monkeypatch: pytest.MonkeyPatch) -> None:
    PROJECTIONS.register("Refusing", linear=True)(refusing)  # it is given the vectors themselves


@pytest.fixture
def refusing_examination() -> Iterator[None]:
    register(Examination("refusing", "refuse", "Refuse.", "Refusal of {}", "pages/maps.py", __name__))
    yield
    del EXAMINATIONS["refusing"]


@pytest.fixture(scope="module")
def middle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model in a folder called "middle"."""
    return tiny.write_model(tmp_path_factory.mktemp("models") / "middle", seed=3)


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What the model "middle" raises whenever it encodes: the last of this list, while there is one."""
    errors: list[BaseException] = []
    real = SentenceEncoder.encode

    def encode(self: SentenceEncoder, texts: Sequence[str]) -> NDArray[np.float32]:
        if errors and self.folder.name == "middle":
            raise errors[-1]
        return real(self, texts)

    monkeypatch.setattr(SentenceEncoder, "encode", encode)
    return errors


@dataclass
class Bench:
    """A place where studies are run, and the stages that each model reached."""

    settings: Settings
    vectors: VectorStore
    results: ResultStore

    def run(self, study: Study, stages: dict[int, str] | None = None) -> Outcome:
        def report(index: int, stage: Stage, done: int, total: int, note: str) -> None:
            if stages is not None:
                stages[index] = stage

        loaded = LoadedModel(self.settings)
        return run(
            study, vectors=self.vectors, results=self.results, loaded=loaded, settings=self.settings, report=report
        )


@pytest.fixture
def bench(settings: Settings) -> Iterator[Bench]:
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        yield Bench(settings, vectors, results)


def _study(*models: object, **more: Any) -> Study:
    return Study(("even", "primes"), tuple(model(str(one)) for one in models), per_family=2, length=5, **more)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ArithmeticError(WORDS), REASON),
        (KeyError("sentence_lengths"), "KeyError: 'sentence_lengths'"),
        (MemoryError(), "does not fit into the memory of this machine"),
        (PanicException("a slice that is out of range"), "a slice that is out of range"),
    ],
)
def test_a_model_that_raises_anything_is_told_with_its_reason_and_the_others_run(
    bench: Bench,
    tiny_model: Path,
    middle: Path,
    raised: list[BaseException],
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
    reason: str,
) -> None:
    raised.append(error)
    caplog.set_level(logging.INFO, "numembed")  # what the worker and the command line keep
    stages: dict[int, str] = {}
    outcome = bench.run(_study(tiny_model, middle, "last_digits"), stages)
    assert [result.model.name for result in outcome.results] == ["tiny", "Last digits"]
    assert set(outcome.errors) == {"middle"} and outcome.gaps == () and not outcome.nothing_ran
    assert reason in outcome.errors["middle"] and SECRET not in outcome.errors["middle"]
    assert stages == {0: "done", 1: "failed", 2: "done"}
    kept = [one.exc_info[1] for one in caplog.records if one.exc_info]
    assert any(error in (one, one and one.__cause__) for one in kept), "no traceback is in the log"


def test_a_run_of_which_nothing_ran_says_so(bench: Bench, middle: Path, raised: list[BaseException]) -> None:
    raised.append(ArithmeticError(WORDS))
    outcome = bench.run(_study(middle))
    assert outcome.nothing_ran and outcome.results == () and "The others" not in outcome.errors["middle"]


@pytest.mark.parametrize("ending", [kind("The end.") for kind in ENDING] + [KeyboardInterrupt(), SystemExit(3)])
def test_what_no_other_model_survives_ends_the_run(
    bench: Bench, middle: Path, raised: list[BaseException], ending: BaseException
) -> None:
    raised.append(ending)
    with pytest.raises(type(ending)):
        bench.run(_study(middle, "last_digits"))


def test_faults_of_the_store_and_of_the_card_are_no_models(settings: Settings) -> None:
    for error, kind in (
        (sqlite3.OperationalError("database is locked"), StoreUnreadable),
        (RuntimeError("CUDA error: unspecified launch failure"), AcceleratorLost),
    ):
        with pytest.raises(kind), part("a model", settings, lambda why: pytest.fail("blamed")):
            raise error


@pytest.mark.usefixtures("refusing_map")
def test_a_map_that_fails_costs_only_itself_and_says_why(
    bench: Bench, tiny_model: Path, middle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study = _study(tiny_model, "last_digits", middle)
    outcome = bench.run(study)
    assert outcome.errors == {} and len(outcome.results) == 3 and not outcome.nothing_ran
    assert outcome.sentences == (f"Missing: the Refusing map of tiny and middle. {REASON}.",)
    assert all(stored_results(study, bench.results))
    whys = [missing_projection(study, one.model, bench.results, method="refusing", dims=2) for one in outcome.results]
    assert whys == [f"{REASON}.", "", f"{REASON}."]
    assert sum(bool(one.exc_info) for one in caplog.records if one.levelno == logging.ERROR) == 4  # 2 models, 2 dims


@pytest.mark.usefixtures("refusing_map")
def test_the_next_run_tries_a_missing_map_again(bench: Bench, tiny_model: Path) -> None:
    study = _study(tiny_model)
    assert bench.run(study).gaps
    PROJECTIONS._entries["refusing"] = replace(PROJECTIONS["refusing"], function=PROJECTIONS["pca"].function)
    assert bench.run(study).sentences == ()


def test_windows_an_explanation_and_random_weights_that_fail_leave_the_scores(
    bench: Bench, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ArithmeticError(WORDS)

    for name in ("plain_scores", "explain", "score_random_init"):
        monkeypatch.setattr(model_run, name, broken)
    outcome = bench.run(_study(tiny_model, designs=2))
    assert outcome.errors == {} and len(outcome.results[0].scores) == 6 and outcome.results[0].designs == {}
    what = "the explanation of the clusters and scores on redrawn windows of tiny"
    assert outcome.sentences == (f"Missing: {what}. {REASON}.",)
    assert outcome.references.without_random_weights == {"tiny": f"{REASON}."} and outcome.references.baselines


@pytest.mark.usefixtures("refusing_examination")
def test_an_examination_that_fails_leaves_scores_and_the_other_models_answers(bench: Bench, tiny_model: Path) -> None:
    stages: dict[int, str] = {}
    outcome = bench.run(_study(tiny_model, "last_digits", examine=("refusing",)), stages)
    assert outcome.errors == {"tiny": f"Missing: the answer to “refuse” of tiny. {REASON}."}
    assert len(outcome.results) == 2 and stages == {0: "failed", 1: "done"} and not outcome.nothing_ran
    assert bench.run(_study(tiny_model, examine=("refusing",))).nothing_ran


def test_a_model_that_cannot_be_read_any_more_is_tried_once_not_for_each_part(
    bench: Bench, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = _study(tiny_model, designs=2)
    bench.run(replace(study, designs=0))
    with sqlite3.connect(bench.settings.app_db) as app_db:
        app_db.execute("DELETE FROM results WHERE key LIKE '%projection%' OR key LIKE '%map%'")
    bench.vectors.delete()
    loads: list[str] = []

    def get(self: LoadedModel, spec: Any, *_: object) -> None:
        loads.append(spec.key)
        raise model_run.ModelUnavailable("It has gone.")

    monkeypatch.setattr(LoadedModel, "get", get)
    outcome = bench.run(study)
    assert len(outcome.results) == 1 and "It has gone." in " ".join(outcome.sentences)
    assert loads and len(loads) == len(set(loads))


@pytest.fixture
def job(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Carry out a study as the worker does and return its job."""
    monkeypatch.setattr(worker, "_be_polite", lambda: None)

    def carry_out(study: Study) -> Job:
        with JobTable(settings.app_db) as jobs:
            jobs.submit(study, asked_by="visitor")
            claimed = jobs.claim()
            assert claimed is not None
            run_job(claimed, jobs, settings=settings, loaded=LoadedModel(settings))
            return jobs.get(claimed.id)

    return carry_out


def test_a_job_with_a_broken_model_in_the_middle_is_done_and_says_how_many_could_not_run(
    job: Any, tiny_model: Path, middle: Path, raised: list[BaseException]
) -> None:
    raised.append(ArithmeticError(WORDS))
    ended = job(_study(tiny_model, middle, "last_digits"))
    assert (ended.state, ended.words) == ("done", "done, 1 of 3 could not run")
    assert [step.stage for step in ended.progress] == ["done", "failed", "done"]
    sentence = f"middle was loaded but cannot read texts with the installed libraries: {REASON}."
    assert ended.error == ended.progress[1].note and ended.error.startswith(sentence)
    ended = job(_study(middle))
    assert (ended.state, ended.words) == ("failed", "failed") and REASON in ended.error


@pytest.mark.usefixtures("refusing_map")
def test_a_job_with_a_missing_map_is_done_and_says_what_is_missing(job: Any, tiny_model: Path) -> None:
    ended = job(_study(tiny_model))
    assert (ended.state, ended.words) == ("done", "done, something is missing")
    assert ended.error == f"Missing: the Refusing map of tiny. {REASON}." and ended.progress[0].stage == "done"


def test_a_cancel_in_the_middle_of_a_failing_model_is_a_cancel(
    bench: Bench, middle: Path, raised: list[BaseException]
) -> None:
    raised.append(ArithmeticError(WORDS))

    def report(index: int, stage: Stage, done: int, total: int, note: str) -> None:
        if stage == "failed":
            raise Cancelled("Stopped.")

    place = {name: getattr(bench, name) for name in ("vectors", "results", "settings")}
    with pytest.raises(Cancelled):
        run(_study(middle, "last_digits"), **place, loaded=LoadedModel(bench.settings), report=report)
