"""What a run of a study works with, what it has found so far, and what failed in its earlier turns."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from numembed.core.errors import NumembedError
from numembed.core.progress import Report
from numembed.core.settings import Settings
from numembed.models.spec import ModelSpec
from numembed.storage.vectors import VectorStore
from numembed.studies.parts import Failure, Gap
from numembed.studies.results import ModelResult, ResultStore
from numembed.studies.study import Study

if TYPE_CHECKING:
    from numembed.models.encoders.loaded import LoadedModel


@dataclass
class Notes:
    """What a run keeps from turn to turn: which models exactly, and what has failed and is not tried again."""

    pinned: dict[int, ModelSpec] = field(default_factory=dict)  # by the number of the model
    errors: dict[str, str] = field(default_factory=dict)  # of each model that could not run
    gaps: list[Gap] = field(default_factory=list)

    @classmethod
    def from_json(cls, text: str) -> Notes:
        """Read what :meth:`to_json` wrote; from "" and from damaged text, none: all is then found out again."""
        try:
            plain = json.loads(text)
            pinned = {int(index): ModelSpec.from_dict(spec) for index, spec in plain["pinned"].items()}
            return cls(pinned, dict(plain["errors"]), [Gap(*map(str, gap)) for gap in plain["gaps"]])
        except (ValueError, TypeError, LookupError, AttributeError, NumembedError):
            return cls()

    def to_json(self) -> str:
        """Return it as JSON."""
        pinned = {index: spec.as_dict() for index, spec in self.pinned.items()}
        gaps = [[gap.what, gap.model, gap.reason] for gap in self.gaps]
        return json.dumps({"pinned": pinned, "errors": self.errors, "gaps": gaps})


@dataclass(frozen=True)
class RunState:
    """A run, and what it has found so far by the number of the model."""

    study: Study
    vectors: VectorStore
    results: ResultStore
    loaded: LoadedModel
    settings: Settings
    report: Report
    lane: str
    notes: Notes
    failed: frozenset[tuple[str, str]]  # in earlier turns: what, and of which model
    finished: dict[int, ModelResult] = field(default_factory=dict)
    unusable: dict[str, NumembedError] = field(default_factory=dict)  # why a model cannot be read, by its key

    def missing(self, what: str, model: str, why: Failure) -> None:
        """Note what is missing of a model that ran."""
        self.notes.gaps.append(Gap(what, model, why.reason))
