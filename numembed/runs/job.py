"""A job as the table holds it: what was requested, by whom, its state and its progress."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

from numembed.core.errors import LIGHT, BadChoice, NumembedError
from numembed.core.progress import FAILED, WAITING, Stage, stage_called
from numembed.runs.job_rows import ACTIVE, STATES, UNREADABLE, is_whole, number_in
from numembed.runs.kinds import JOB_KINDS, kind_called


@dataclass(frozen=True)
class ModelProgress:
    """How far one model of a running job is; ``seconds_left`` is None while nobody can tell."""

    model: str
    stage: Stage = WAITING
    done: int = 0
    total: int = 0
    note: str = ""
    seconds_left: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "stage", stage_called(self.stage))  # stored as its name


@dataclass(frozen=True)
class Job:
    """One row of the table. Times of day are for showing only; ``seconds`` was measured steadily."""

    id: str
    kind: str  # its row of JOB_KINDS
    request_json: str
    asked_by: str
    asked_at: float
    started_at: float | None
    seconds: float | None
    state: str
    attempts: int
    cancel: bool
    progress: tuple[ModelProgress, ...]
    error: str
    lane: str = LIGHT  # where it runs or waits
    expected: float | None = None  # seconds that its lane needs for it
    notes: str = ""  # what is kept of its failures from lane to lane, as JSON

    @property
    def active(self) -> bool:
        """True while the job waits or runs."""
        return self.state in ACTIVE

    @property
    def words(self) -> str:
        """Its state for people: "done, 1 of 9 could not run"."""
        if self.state != "done" or not self.error:
            return {"queued": "waiting", "cancelled": "stopped"}.get(self.state, self.state)
        failed = sum(step.stage == FAILED for step in self.progress)
        return f"done, {failed} of {len(self.progress)} could not run" if failed else "done, something is missing"

    @property
    def request(self) -> Any:
        """What the run carries out; raises BadChoice where this version cannot read it."""
        read = kind_called(self.kind).read
        if not self.request_json:
            raise BadChoice(UNREADABLE)
        try:
            return read(self.request_json)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise BadChoice(UNREADABLE) from None

    @property
    def title(self) -> str:
        """What the run is called."""
        try:
            return kind_called(self.kind).title(self.request)
        except NumembedError:
            return "a run that cannot be read" if self.kind in JOB_KINDS else "a run of another version"


_FIELDS = tuple(field.name for field in fields(Job))
_STEP = {field.name for field in fields(ModelProgress)}
# the column's name is older than other kinds
COLUMNS = ", ".join((*_FIELDS, "checksum")).replace("request_json", "study")


def job_of(row: tuple[Any, ...]) -> Job:
    """Return the job of a row, whatever damage did to it: an unknown request or state is one that cannot be read."""
    named = dict(zip(_FIELDS, row, strict=False))
    if not is_whole(row[-1], [named[name] for name in ("id", "kind", "request_json", "asked_by", "asked_at")]):
        asked_at = number_in(named["asked_at"]) or 0.0
        named |= {"id": str(named["id"]), "kind": "study", "request_json": "", "asked_at": asked_at}
        named |= {"asked_by": str(named["asked_by"]), "error": UNREADABLE}
    if named["state"] not in STATES:
        named |= {"state": "failed", "error": UNREADABLE}
    return Job(
        **(
            named
            | {"progress": progress_of(named["progress"]), "cancel": bool(named["cancel"])}
            | {name: number_in(named[name]) for name in ("started_at", "seconds", "expected")}
            | {"attempts": int(number_in(named["attempts"]) or 0), "error": str(named["error"])}
            | {"lane": str(named["lane"]), "notes": str(named["notes"])}
        )
    )


def progress_of(text: object) -> tuple[ModelProgress, ...]:
    """Return the steps that were written; () where they are damaged. What a later version adds to them is ignored."""
    try:
        steps = [{name: value for name, value in step.items() if name in _STEP} for step in json.loads(str(text))]
        read = tuple(ModelProgress(**step) for step in steps)
        return read if all(isinstance(step.done + step.total, int) for step in read) else ()
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError, NumembedError):
        return ()


def progress_json(progress: tuple[ModelProgress, ...]) -> str:
    """Return the steps as they are written."""
    return json.dumps([vars(step) for step in progress])
