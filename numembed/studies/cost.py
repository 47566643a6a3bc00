"""What a model costs before it is run: download, memory, and a time learnt from earlier runs on this machine."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass
from pathlib import Path

from numembed.core.errors import ModelUnavailable
from numembed.core.settings import Settings
from numembed.models.catalogue.names import BUNDLED, facts_of
from numembed.models.files.tensors import read_header
from numembed.models.resolve import known_folder
from numembed.models.spec import ModelSpec, origin_of
from numembed.studies.results import ResultStore

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_LIBRARIES_BYTES = 600_000_000  # torch and what it brings
_SPARE = 1.15  # beside the weights: one batch on its way through the layers
_USABLE = 0.9  # of the machine's memory
_LEARNT_FROM = 50
_TOO_SMALL = 1_000_000  # parameters: what such a model takes tells nothing about others
_MACHINE = "machine"


@dataclass(frozen=True)
class Machine:
    """What the worker runs on."""

    device: str  # "cpu", "cuda" or "mps"
    name: str
    memory_bytes: int  # of the device; of the whole machine for a processor


@dataclass(frozen=True)
class Cost:
    """What is to be expected; None where nobody knows."""

    download_bytes: int | None  # 0: it is here already
    memory_bytes: int | None
    fits: bool | None
    seconds: float | None  # to encode, without loading
    training_seconds: float = 0.0  # before that, where the model is made on this machine and is not here yet


def machine(results: ResultStore) -> Machine:
    """Return what the worker last said it runs on; this machine's processor until then."""
    stored = results.get(_MACHINE)
    return Machine(**stored) if stored else this_processor()


def this_processor() -> Machine:
    """Return the processor of this machine and its memory."""
    return Machine("cpu", f"{os.cpu_count() or 1} processor cores", _memory_bytes())


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
    memory = round(parameters * BYTES[spec.dtype] * _SPARE + _LIBRARIES_BYTES) if parameters else None
    there = machine(results).memory_bytes
    fits = None if memory is None or not there else memory <= there * _USABLE
    training = facts.training_seconds if facts is not None and folder is None else 0
    return Cost(download, memory, fits, _seconds(spec, parameters, characters, results), training)


def parameters_of(spec: ModelSpec, folder: Path | None) -> int | None:
    """Return how many numbers the weights are: the catalogue's, or as the headers of the files say."""
    if facts := facts_of(spec):
        return round(facts.parameters_millions * 1e6)
    if folder is None:
        return None
    try:
        return sum(one.size for file in folder.rglob("*.safetensors") for one in read_header(file).values())
    except ModelUnavailable:  # running it will say what is wrong
        return None


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


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return 0
