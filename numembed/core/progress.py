"""How long tasks report progress, and how they are stopped: one callable for both, and the table of stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, eq=False, repr=False)
class Stage(str):
    """What a run does with one of its rows, such as a model. It is its name, which is what progress stores."""

    name: str
    words: str  # for visitors
    begins: float = 0.0  # its part of the row's bar, from 0 to 1
    ends: float = 1.0
    timed: bool = False  # the page shows how long it still takes
    in_bytes: bool = False  # it counts bytes
    prepares: bool = False  # it comes before the row's own work and is no part of it
    anywhere: bool = False  # a run that stops here goes on from here, whether or not it has stored anything since
    answers: bool = False  # a page that watches has more to show once it is reached

    def __new__(cls, name: str, *_: object, **__: object) -> Stage:
        """Return a text that is equal to the name."""
        return super().__new__(cls, name)


STAGES: dict[str, Stage] = {}


def _stage(name: str, words: str, begins: float = 0.0, ends: float = 1.0, **facts: bool) -> Stage:
    return STAGES.setdefault(name, Stage(name, words, begins, ends, **facts))


WAITING = _stage("waiting", "waiting", 0.0, 0.0, prepares=True)
DOWNLOAD = _stage("download", "downloading", 0.0, 0.5, timed=True, in_bytes=True, prepares=True, anywhere=True)
GET = _stage("get", "downloading, once on this machine", 0.0, 0.6, timed=True, in_bytes=True)  # from its beginning
CONVERT = _stage("convert", "converting, once on this machine", 0.6, 1.0)
TRAIN = _stage("train", "training, once on this machine", 0.0, 0.5, timed=True, anywhere=True)
BUILD = _stage("build", "training, once on this machine", 0.0, 0.5, timed=True)  # from its beginning or not at all
LOAD = _stage("load", "loading", 0.02, 0.1, prepares=True)
ENCODE = _stage("encode", "encoding", 0.1, 0.7, timed=True)
SCORE = _stage("score", "scoring", 0.7, 0.8, timed=True)
PROJECT = _stage("project", "drawing maps", 0.8, 0.9, answers=True)
REDRAW = _stage("redraw", "redrawing windows", 0.9, 0.95)
EXAMINE = _stage("examine", "looking closer", 0.9, 1.0)
RANDOM_INIT = _stage("twin", "reading with random weights", 0.95, 1.0, answers=True)
MERGE = _stage("merge", "writing the model")
LOOKING = _stage("look", "looking into its folder")
DONE = _stage("done", "done", 1.0, 1.0, answers=True)
FAILED = _stage("failed", "could not run", 1.0, 1.0, answers=True)

Progress = Callable[[int, int, str], None]
"""``progress(done, total, note)``; may raise :class:`numembed.core.errors.Cancelled`."""

Report = Callable[[int, Stage, int, int, str], None]
"""``report(row, stage, done, total, note)``; stage FAILED carries its sentence as note. May raise Cancelled."""


def silent(done: int, total: int, note: str) -> None:
    """Report nothing."""


def unreported(row: int, stage: Stage, done: int, total: int, note: str) -> None:
    """Report nothing of any row."""


def stage_called(name: str) -> Stage:
    """Return the stage of this name; one that is not in the table, as of another version, has its name as words.

    >>> stage_called("encode").words, stage_called("another").words
    ('encoding', 'another')
    """
    return STAGES.get(name) or Stage(name, name, 1.0, 1.0)


@dataclass(frozen=True)
class Row:
    """One row of a report: the progress of work that notes the names of its stages."""

    report: Report
    index: int

    def __call__(self, done: int, total: int, note: str) -> None:
        self.report(self.index, stage_called(note), done, total, "")

    def at(self, stage: Stage) -> Progress:
        """Return the progress of work that is this stage, whatever it notes."""
        return lambda done, total, note: self.report(self.index, stage, done, total, "")
