"""How much memory a model needs, and how much this machine or its container has: what cannot fit is not begun."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from numembed.core.errors import ModelUnavailable
from numembed.core.settings import Settings
from numembed.models.catalogue.names import facts_of
from numembed.models.files.tensors import read_header
from numembed.models.loading.devices import device_memory
from numembed.models.spec import ModelSpec

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
LIBRARIES_BYTES = 600_000_000  # torch and what it brings
USABLE = 0.9  # of the memory
_SPARE = 1.15  # beside the weights: one batch on its way through the layers


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


def memory_of(spec: ModelSpec, folder: Path | None) -> int | None:
    """Return about how many bytes ``spec`` takes while it encodes; None where nobody knows."""
    parameters = parameters_of(spec, folder)
    return round(parameters * BYTES[spec.dtype] * _SPARE + LIBRARIES_BYTES) if parameters else None


def machine_memory() -> int:
    """Return the bytes of memory of this machine, or of the container that it runs in; 0 where nobody knows."""
    known = []
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not a POSIX system
        known.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit ("max")
            known.append(int(Path(file).read_text(encoding="ascii")))
    return min(known, default=0)


def refuse_too_large(spec: ModelSpec, folder: Path | None, settings: Settings) -> None:
    """Raise ModelUnavailable where a model needs more memory than there is, before any of it is read."""
    needed = memory_of(spec, folder)
    device, name, memory = device_memory(settings.device)
    there = memory or machine_memory()
    if needed is None or not there or needed <= there * USABLE:
        return
    what = "this machine" if device == "cpu" else name
    advice = " or dtype=bfloat16 behind its name" if spec.dtype == "float32" else ""
    raise ModelUnavailable(
        f"{spec.name} needs about {needed / 1e9:,.1f} GB of memory, and of the {there / 1e9:,.1f} GB of {what} "
        f"{there * USABLE / 1e9:,.1f} GB can be used. It was not loaded. Choose a smaller model{advice}."
    )
