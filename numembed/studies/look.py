"""A request to look into the folders that a model's name mentions, for pages, which never do; nothing is loaded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from numembed.core.errors import BadChoice, ModelUnavailable
from numembed.core.progress import silent
from numembed.core.serialization import canonical_json
from numembed.core.settings import Settings
from numembed.models.catalogue.names import model, reference_of
from numembed.models.files.folders import digest_of_folder
from numembed.models.files.outlines import drop_outline, keep_outline
from numembed.models.sources import local_adapter_folder, local_folder
from numembed.models.spec import ModelSpec, named_folders


@dataclass(frozen=True)
class Look:
    """A request to look into the folders of a model. Always valid once made."""

    kind: ClassVar[str] = "look"  # of job
    reference: str  # of the model without its options

    def __post_init__(self) -> None:
        object.__setattr__(self, "reference", reference_of(ModelSpec("", model(self.reference).weights)))
        model(self.reference)  # a whole path may be too long for a name

    @property
    def key(self) -> str:
        """The sha256 of the request: equal requests share one job."""
        return hashlib.sha256(canonical_json({"look": self.reference}).encode()).hexdigest()

    @property
    def name(self) -> str:
        """What people call the model."""
        return model(self.reference).name

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps({"look": self.reference}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Look:
        """Return the request in ``text``; raises BadChoice or ModelUnavailable where it is not valid."""
        try:
            plain: Any = json.loads(text)
            return cls(str(plain["look"]))
        except (ValueError, RecursionError, KeyError, TypeError):
            raise BadChoice('This is no request to look: it needs a JSON object with the entry "look".') from None


def look(asked: Look, settings: Settings) -> None:
    """Look into the folders and keep what pages read of them; raises ModelUnavailable where one is not what it should.

    What was found in it earlier is then forgotten.
    """
    folders = named_folders(model(asked.reference).weights)
    for folder, _ in folders:
        drop_outline(Path(folder.path), settings)
    for folder, adapter in folders:
        if adapter:
            checked = local_adapter_folder(folder, settings, silent)
        else:
            checked = local_folder(folder, ModelSpec("", folder), settings, silent)
        try:
            keep_outline(checked, digest_of_folder(checked), settings)
        except OSError as error:
            reason = f"What was found in {folder.called[:80]!r} cannot be kept ({error.strerror})."
            raise ModelUnavailable(f"{reason} Make room in numembed's home folder.") from None
