"""Which weights a name means from now on: what is asked for is pinned once, and stays so where that is promised."""

from __future__ import annotations

from dataclasses import replace

from numembed.core.progress import Progress, silent
from numembed.core.settings import Settings
from numembed.models.catalogue.names import facts_of
from numembed.models.resolve import resolve
from numembed.models.spec import FolderWeights, LoraWeights, ModelSpec
from numembed.studies.keys import pin_key
from numembed.studies.results import ResultStore
from numembed.studies.stored import previously_pinned


def pin(spec: ModelSpec, results: ResultStore, settings: Settings, *, progress: Progress = silent) -> ModelSpec:
    """Return ``spec`` with its weights pinned, and remember it: a catalogue model stays at the commit of its first use.

    Another hub id means the newest commit, and a folder is looked at anew. Raises what ``resolve`` raises.
    """
    if spec.resolved:
        return spec
    known = previously_pinned(spec, results)
    if known is not None and facts_of(spec) is not None and spec.weights.fetched:
        return known
    if isinstance(spec.weights, LoraWeights):  # its base stays too, its adapter is looked at anew
        base = pin(replace(spec, weights=spec.weights.base), results, settings, progress=progress)
        assert isinstance(base.weights, FolderWeights)
        pinned = resolve(replace(base, weights=replace(spec.weights, base=base.weights)), settings, progress=progress)
    else:
        pinned = resolve(spec, settings, progress=progress)
    results.put(pin_key(spec), pinned.as_dict())
    return pinned
