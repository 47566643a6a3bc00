"""One place of an experiment as a model folder of this installation: what is asked for, and how it is carried out."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from numembed.core.errors import BadChoice, TooLarge
from numembed.core.progress import Progress, silent
from numembed.core.serialization import canonical_json
from numembed.core.settings import LIMITS, Settings
from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment, stored_experiment
from numembed.merge_experiment.results import Candidate
from numembed.models.catalogue.names import reference_of
from numembed.models.spec import LocalWeights
from numembed.studies.results import ResultStore

MOST_NAME = 80  # characters
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_ENTRIES = ("name", "ladder", "path", "at")


@dataclass(frozen=True)
class Saving:
    """What is asked: one place of a scored experiment, and the name that its folder takes. Always valid once made."""

    kind: ClassVar[str] = "saving"  # of job
    name: str  # of the folder below the home's "models"; never a path
    experiment: MergeExperiment
    path: str  # id of its Path
    at: float  # t or the scale

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", model_name(self.name))
        object.__setattr__(self, "at", float(self.at))
        known = {path.id: path.values for path in self.experiment.drawn}
        if self.path not in known or self.at not in known[self.path]:
            raise BadChoice(f"This merging experiment has no place {self.at:g} on a path {str(self.path)[:60]!r}.")

    @property
    def key(self) -> str:
        """The sha256 of what is asked: equal ones share one job."""
        return hashlib.sha256(canonical_json({"saving": self.as_dict()}).encode()).hexdigest()

    @property
    def title(self) -> str:
        """What a list of runs calls it."""
        return f"Saving the model {self.name}"

    def folder(self, settings: Settings) -> Path:
        """Return where the model comes to lie."""
        return saved_models(settings) / self.name

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {"name": self.name, "ladder": self.experiment.as_dict(), "path": self.path, "at": self.at}

    def to_json(self) -> str:
        """Return it as readable JSON: one object with the single entry "saving"."""
        return json.dumps({"saving": self.as_dict()}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Saving:
        """Return what :meth:`as_dict` described."""
        if unknown := sorted(set(plain) - set(_ENTRIES)):
            raise BadChoice(f"A saving has no entry {str(unknown[0])[:40]!r}. Known: {', '.join(_ENTRIES)}.")
        try:
            return cls(plain["name"], MergeExperiment.from_dict(plain["ladder"]), plain["path"], plain["at"])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise BadChoice("This saving cannot be read: one of its entries is of the wrong kind.") from None

    @classmethod
    def from_json(cls, text: str) -> Saving:
        """Return the saving in ``text``; raise BadChoice or TooLarge where it is none."""
        if len(text) > LIMITS.study_chars + 1_000:
            raise TooLarge(f"A saving has at most {LIMITS.study_chars + 1_000:,} characters, got {len(text):,}.")
        try:
            return cls.from_dict(json.loads(text)["saving"])
        except (ValueError, RecursionError, KeyError, TypeError):
            raise BadChoice('This is no saving: it is no JSON object with an entry "saving".') from None


def model_name(name: str) -> str:
    """Return the name of a model folder as it is taken; raises BadChoice for what is none, such as a path.

    >>> model_name(" my-model ")
    'my-model'
    """
    stripped = str(name).strip()
    if not _NAME.fullmatch(stripped) or stripped.endswith("."):
        raise BadChoice(
            f"A model's name has up to {MOST_NAME} letters, digits and - _ . in it, begins with a letter or digit and "
            f"does not end with a dot; got {stripped[:40]!r}."
        )
    return stripped


def saved_models(settings: Settings) -> Path:
    """Return the folder below which saved models lie; they may be read wherever others may not."""
    return settings.home / "models"


def proposed_name(experiment: MergeExperiment, candidate: Candidate) -> str:
    """Return a name for a candidate's folder: the base's and the candidate's place."""
    row = next((path for path in experiment.drawn if path.id == candidate.path), None)
    at = f"-{'t' if row.sweeps == 't' else 'x'}{candidate.at:.3g}" if row is not None and row.sweeps else ""
    base = re.sub(r"[^A-Za-z0-9._-]+", "-", experiment.base.name).strip("-._") or "model"
    end = f"-{candidate.path}{at}".replace("_", "-")
    return base[: MOST_NAME - len(end) - 4] + end  # there is room for a number behind it


def saved_reference(saving: Saving, candidate: Candidate, settings: Settings) -> str:
    """Return the text that names the saved model in studies, links and as a base, with what its base needs."""
    return reference_of(replace(candidate.model, weights=LocalWeights(str(saving.folder(settings)))))


def candidate_of(saving: Saving, result: ExperimentResult | None) -> Candidate:
    """Return the candidate that is to be saved; raises BadChoice where it was not scored."""
    candidates = result.path(saving.path) if result is not None else ()
    chosen = next((candidate for candidate in candidates if candidate.at == saving.at), None)
    if chosen is None:
        raise BadChoice("The results of this experiment are not stored any more. Run it again, then save its model.")
    return chosen


def save_candidate(saving: Saving, *, results: ResultStore, settings: Settings, progress: Progress = silent) -> Path:
    """Write the model with its card below the home's "models" and return its folder, which appears whole.

    One that an interrupted run of the same saving has left whole is kept. Raises BadChoice where another model has the
    name, and what :func:`numembed.models.save.save_model` raises.
    """
    from numembed.merge_experiment.model_card import card_of
    from numembed.models.files.publish import is_whole
    from numembed.models.save import save_model

    result = stored_experiment(saving.experiment, results)
    candidate = candidate_of(saving, result)
    assert result is not None
    card, place = card_of(saving.name, result, candidate, settings), saving.folder(settings)
    if os.path.lexists(place):
        if not (_reads(place / "README.md", card) and is_whole(place)):
            raise BadChoice(f"A model {saving.name!r} is saved already. Choose another name.")
        return place
    save_model(candidate.model, place, settings=settings, card=card, progress=progress)
    return place


def _reads(file: Path, text: str) -> bool:
    try:
        return file.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False
