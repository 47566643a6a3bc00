"""What a model costs before it is run: download, memory, and a time learnt from earlier runs on this machine."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass

from numembed.core.errors import TooLarge
from numembed.core.settings import Settings
from numembed.models.catalogue.names import BUNDLED, facts_of
from numembed.models.encoders.memory import LIBRARIES_BYTES, USABLE, machine_memory, memory_of, parameters_of
from numembed.models.loading.devices import has_bfloat16
from numembed.models.resolve import known_folder
from numembed.models.spec import ModelSpec, origin_of
from numembed.studies.results import ResultStore

_LEARNT_FROM = 50
_TOO_SMALL = 1_000_000  # parameters: what such a model takes tells nothing about others
_MACHINE = "machine"
_BYTES_A_SECOND = 20e6  # of a download, for want of a better guess
_DISTANCES_BYTES = 6  # for each pair of sequences: a float32, and half as much on its way


@dataclass(frozen=True)
class Machine:
    """What the worker runs on."""

    device: str  # "cpu", "cuda" or "mps"
    name: str
    memory_bytes: int  # of the device; of the whole machine for a processor

    @property
    def bfloat16(self) -> bool:
        """Whether it has units that multiply bfloat16; nothing is imported for that."""
        return self.device == "cuda" or has_bfloat16(self.device)


@dataclass(frozen=True)
class Cost:
    """What is to be expected; None where nobody knows."""

    download_bytes: int | None  # 0: it is here already
    memory_bytes: int | None
    fits: bool | None
    seconds: float | None  # to encode, without loading
    training_seconds: float = 0.0  # before that, where the model is made on this machine and is not here yet

    @property
    def expected(self) -> float | None:
        """Seconds until all is encoded, without loading; None where nobody knows, and it may be few."""
        before = self.training_seconds + (self.download_bytes or 0) / _BYTES_A_SECOND
        return before + self.seconds if self.seconds is not None else before or None


def machine(results: ResultStore) -> Machine:
    """Return what the worker last said it runs on; this machine's processor until then."""
    stored = results.get(_MACHINE)
    return Machine(**stored) if stored else this_processor()


def this_processor() -> Machine:
    """Return the processor of this machine and its memory."""
    return Machine("cpu", f"{os.cpu_count() or 1} processor cores", machine_memory())


def remember_machine(results: ResultStore, result: Machine) -> None:
    """Keep what the worker runs on, for pages that never load torch."""
    results.put(_MACHINE, vars(result))


def cost_of(spec: ModelSpec, *, characters: int, settings: Settings, results: ResultStore) -> Cost:
    """Return what ``spec`` costs to fetch, to hold and to encode ``characters`` characters of text with."""
    folder = known_folder(spec.weights, settings)
    facts, parameters = facts_of(spec), parameters_of(spec, folder)
    download, origin = None, origin_of(spec.weights)
    elsewhere = origin.fetched or origin.runner == "endpoint"
    if folder is not None or not elsewhere or origin == BUNDLED:
        download = 0
    elif facts is not None:
        download = round(facts.download_gb * 1e9)
    memory = memory_of(spec, folder)
    there = machine(results).memory_bytes
    fits = None if memory is None or not there else memory <= there * USABLE
    training = facts.training_seconds if facts is not None and folder is None else 0
    return Cost(download, memory, fits, _seconds(spec, parameters, characters, results), training)


def refuse_too_many(sequences: int) -> None:
    """Raise TooLarge where the scores of so many sequences need more memory than this machine has."""
    needed, there = sequences**2 * _DISTANCES_BYTES + LIBRARIES_BYTES, machine_memory()
    if there and needed > there * USABLE:
        raise TooLarge(
            f"The scores of {sequences:,} sequences need about {needed / 1e9:,.1f} GB of memory, and of the "
            f"{there / 1e9:,.1f} GB of this machine {there * USABLE / 1e9:,.1f} GB can be used. The run was not begun. "
            "Choose fewer sequences per family, or fewer families."
        )


def _seconds(spec: ModelSpec, parameters: int | None, characters: int, results: ResultStore) -> float | None:
    """Return what this model took a character, in the median; a new model is judged by the others' size."""
    device = machine(results).device
    own = results.works(spec.stored.key, limit=_LEARNT_FROM) if spec.resolved else ()
    same = [work for work in own if work.device == device or spec.weights.runner == "endpoint"]
    if same:
        return characters * statistics.median(work.seconds / max(work.characters, 1) for work in same)
    works = results.works(limit=_LEARNT_FROM)
    others = [work for work in works if work.device == device and work.parameters > _TOO_SMALL]
    if not others or not parameters or spec.is_baseline:
        return None
    pace = statistics.median(work.seconds / max(work.characters, 1) / work.parameters for work in others)
    return characters * parameters * pace
