"""The one model in memory: which encoder a model gets, and what of it the next one can share."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from numembed.core.errors import MODEL, ModelUnavailable, Paused
from numembed.core.progress import Progress, silent
from numembed.core.settings import Settings
from numembed.models.catalogue.names import facts_of
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.endpoint import EndpointEncoder
from numembed.models.encoders.interface import Encoder
from numembed.models.encoders.memory import refuse_too_large
from numembed.models.encoders.references import compare
from numembed.models.encoders.weight_swap import WeightSwapper
from numembed.models.loading.devices import give_back_memory
from numembed.models.resolve import folder_of, known_folder
from numembed.models.sources import endpoint_of
from numembed.models.spec import ModelSpec, RemoteWeights, origin_of

_READ_BYTES = 1 << 24


class LoadedModel:
    """At most one model in memory: the old one is freed before the next is loaded."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._encoder: Encoder | None = None
        self._key, self._shared_key = "", ""
        self.load_seconds = 0.0  # what the present encoder took to load; 0 where another prompt's weights were there

    def get(self, spec: ModelSpec, progress: Progress = silent) -> Encoder:
        """Return the encoder of ``spec``, loaded where it is not the present one; ``progress`` counts its files' bytes.

        A model on this machine stays in memory where only the prompt is another, or an adapter or merge made of it.
        """
        stored = spec.stored
        key, shared, began = stored.key, _shared_key(stored), time.monotonic()
        if self._encoder is not None and self._key == key:
            return self._encoder
        if self._shared_key == shared and isinstance(self._encoder, SentenceEncoder):
            same_weights = self._encoder.spec.weights == stored.weights
            self._encoder = self._encoder.of_related(stored, progress)
            self.load_seconds = 0.0 if same_weights else time.monotonic() - began
        else:
            self.free()
            runner = spec.weights.runner
            folder = None if runner == "endpoint" else self._folder(spec, progress)
            progress(0, 1, "load")
            began = time.monotonic()
            self._encoder = ENCODERS[runner](stored, folder, self._settings, progress)
            self.load_seconds = time.monotonic() - began
        self._key, self._shared_key = key, shared
        return self._encoder

    def _folder(self, spec: ModelSpec, progress: Progress) -> Path:
        """Return where the files of ``spec`` are; what cannot fit into memory is refused before it is fetched."""
        if facts_of(spec) is not None and known_folder(spec.weights, self._settings) is None:
            refuse_too_large(spec, None, self._settings)
        return folder_of(spec, self._settings, progress=progress)

    def read_ahead(self, spec: ModelSpec) -> threading.Thread | None:
        """Read the files of ``spec`` into the system's cache beside the present work; loading finds them there."""
        try:
            folder = known_folder(spec.weights, self._settings)
        except ModelUnavailable:  # that model will say so itself when its turn comes
            return None
        if folder is None or self._shared_key == _shared_key(spec.stored):
            return None
        thread = threading.Thread(target=_read_files, args=(folder,), name="numembed-read-ahead", daemon=True)
        thread.start()
        return thread

    def free(self) -> None:
        """Give the memory of the present model back to the system."""
        self._encoder, self._key, self._shared_key = None, "", ""
        gc.collect()  # also of a model that failed its check: its parts hold each other
        give_back_memory()


class WithoutModels(LoadedModel):
    """Encoders of endpoints alone: whoever asks for another model has to go on where models are loaded."""

    def get(self, spec: ModelSpec, progress: Progress = silent) -> Encoder:
        """Return the encoder of an endpoint; raise Paused for any other model."""
        if spec.weights.runner != "endpoint":
            raise Paused(MODEL)
        return super().get(spec, progress)


def _of_files(spec: ModelSpec, folder: Path | None, settings: Settings, progress: Progress) -> Encoder:
    assert folder is not None
    refuse_too_large(spec, folder, settings)
    swapper = WeightSwapper(spec, folder, settings)
    swapper.prepare(spec.weights, progress)  # refuses what does not fit before any weight is read
    device, facts, held = settings.device, facts_of(spec), partial(compare, home=settings.home)
    return SentenceEncoder(spec, folder, device=device, facts=facts, swapper=swapper, progress=progress, compare=held)


def _of_endpoint(spec: ModelSpec, folder: Path | None, settings: Settings, progress: Progress) -> Encoder:
    assert isinstance(spec.weights, RemoteWeights)
    return EndpointEncoder(spec, endpoint_of(spec.weights, settings))  # a sentence where it has been taken away


def _shared_key(spec: ModelSpec) -> str:
    """Return the key of what stays in memory for other prompts, adapters and merges."""
    recipe = replace(spec.loading, unprompted=False)
    return replace(spec, prompt="", weights=origin_of(spec.weights), loading=recipe).key


def _read_files(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for file in folder.rglob("*.safetensors"):
            with file.open("rb", buffering=0) as opened:
                while opened.read(_READ_BYTES):
                    pass


ENCODERS: Mapping[str, Callable[[ModelSpec, Path | None, Settings, Progress], Encoder]] = {
    "files": _of_files,
    "endpoint": _of_endpoint,
}
"""How a model is loaded, by what runs it; a formula needs no encoder."""
