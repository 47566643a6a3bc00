"""What exactly the name of a model means, and where its files are: the table of all kinds of weights. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from numembed.core.errors import ModelUnavailable
from numembed.core.progress import Progress, silent
from numembed.core.settings import Settings
from numembed.models import sources
from numembed.models.catalogue.defaults import settled, told_settings
from numembed.models.files.settings import OwnSettings, width_of
from numembed.models.merging.tensors import Merge, checked
from numembed.models.spec import (
    AdapterWeights,
    BaselineWeights,
    FolderWeights,
    HubWeights,
    Loading,
    LocalWeights,
    LoraWeights,
    MergedWeights,
    ModelSpec,
    PackagedWeights,
    RemoteWeights,
    ScratchWeights,
    Weights,
    origin_of,
)

W = TypeVar("W")


@dataclass(frozen=True)
class Source(Generic[W]):
    """How weights of one kind are resolved and found; None where they have no files, or no adapter can lie there."""

    resolved: Callable[[W, ModelSpec, Settings, Progress], ModelSpec]
    folder: Callable[[W, ModelSpec, Settings, Progress], Path] | None
    known_folder: Callable[[W, Settings], Path | None] | None
    resolved_adapter: Callable[[W, Settings], AdapterWeights] | None = None
    adapter_folder: Callable[[W, Settings, Progress], Path] | None = None
    own_settings: Callable[[W, Settings], OwnSettings | None] | None = None


def resolve(spec: ModelSpec, settings: Settings, *, progress: Progress = silent) -> ModelSpec:
    """Return ``spec`` with its weights resolved: a hub commit, the digest of a folder, an endpoint's address.

    A model of our own that is not here yet is trained for that; ``progress`` hears of it as the stage "build".

    Raises :class:`ModelUnavailable` for an unknown repository, no network or a folder that is no model.
    """
    return KINDS[type(spec.weights)].resolved(spec.weights, spec, settings, progress)


def folder_of(spec: ModelSpec, settings: Settings, *, progress: Progress = silent) -> Path:
    """Return the folder of a resolved spec, fetched from the hub and verified where that has not been done.

    With program code (``spec.loading.remote_code``) it is a folder of its own, which holds the allowed files. Adapted
    and merged models have the folder of the model that they are made of.
    """
    origin = origin_of(spec.weights)
    find = KINDS[type(origin)].folder
    if find is None:
        raise ValueError(f"{spec.name} has no folder")
    return find(origin, replace(spec, weights=origin), settings, progress)


def known_folder(weights: Weights, settings: Settings) -> Path | None:
    """Return the folder of ``weights`` where it is on this machine already, else None; never the network.

    A page gets the outline of a folder that somebody named.
    """
    origin = origin_of(weights)
    find = KINDS[type(origin)].known_folder
    return find(origin, settings) if find is not None else None


def not_looked_at(spec: ModelSpec, settings: Settings) -> bool:
    """Return True for a page that knows nothing of the folder that ``spec`` names: no run has looked into it yet."""
    own = isinstance(origin_of(spec.weights), LocalWeights)
    return own and not settings.looks_into_folders and known_folder(spec.weights, settings) is None


def known_settings(spec: ModelSpec, settings: Settings) -> OwnSettings:
    """Return what the makers of a model have set for every encoding, as far as this machine knows; never the network.

    For an adapted or merged model it is the settings of the model that it is made of.
    """
    origin = origin_of(spec.weights)
    find = KINDS[type(origin)].own_settings
    try:
        return (find(origin, settings) if find is not None else None) or OwnSettings()
    except ModelUnavailable:  # running it says so
        return OwnSettings()


def as_known(spec: ModelSpec, settings: Settings) -> ModelSpec:
    """Return ``spec`` with the prompt that it will have when it is run, as far as this machine knows its folder."""
    return settled(spec, known_settings(spec, settings)) if not spec.is_baseline else spec


def makers_sentences(spec: ModelSpec, settings: Settings) -> list[str]:
    """Return what the makers of ``spec`` have set for every encoding and what is done about it; never the network."""
    try:
        folder = known_folder(spec.weights, settings)
    except ModelUnavailable:  # running it says so
        return []
    return told_settings(spec, known_settings(spec, settings), None if folder is None else width_of(folder))


def adapter_folder(adapter: AdapterWeights, settings: Settings, *, progress: Progress = silent) -> Path:
    """Return the folder of an adapter, fetched from the hub where it is not here.

    Raises :class:`ModelUnavailable`, also where its files are others than when it was resolved.
    """
    find = KINDS[type(adapter)].adapter_folder
    assert find is not None
    return find(adapter, settings, progress)


def _as_it_is(weights: Weights, spec: ModelSpec, settings: Settings, progress: Progress) -> ModelSpec:
    return spec


def _adapted(weights: LoraWeights, spec: ModelSpec, settings: Settings, progress: Progress) -> ModelSpec:
    base = resolve(replace(spec, weights=weights.base), settings, progress=progress)
    find = KINDS[type(weights.adapter)].resolved_adapter
    assert isinstance(base.weights, FolderWeights) and find is not None
    return replace(base, weights=replace(weights, base=base.weights, adapter=find(weights.adapter, settings)))


def _merged(merged: MergedWeights, spec: ModelSpec, settings: Settings, progress: Progress) -> ModelSpec:
    """Return the merge with its parts resolved and all left open filled in, so that equal ones have one key."""
    opened = [resolve(replace(spec, weights=one), settings, progress=progress) for one in merged.inner]
    parts = tuple(one.weights for one in opened)
    parts, base = (parts[:-1], parts[-1]) if merged.base else (parts, None)
    requests: Any = (merged.method, merged.space, merged.scope, merged.weights, merged.options)
    full = checked(Merge(*requests), parts=len(parts), has_base=base is not None)
    weights = tuple(round(weight / sum(full.weights), 12) for weight in full.weights)
    base = base if full.space == "task_vectors" else None  # of no use otherwise
    filled = replace(merged, parts=parts, base=base, space=full.space, weights=weights, options=full.options)
    first = replace(spec, prompt=opened[0].prompt, loading=_as_settled(spec.loading, opened[0].loading))
    return replace(first, weights=filled)


def _as_settled(recipe: Loading, first: Loading) -> Loading:
    return replace(recipe, unprompted=first.unprompted, full_width=first.full_width)


KINDS: Mapping[type, Source[Any]] = {
    HubWeights: Source(
        sources.hub_resolved,
        sources.hub_folder,
        sources.known_hub_folder,
        sources.hub_adapter_resolved,
        sources.hub_adapter_folder,
        sources.hub_settings,
    ),
    LocalWeights: Source(
        sources.local_resolved,
        sources.local_folder,
        sources.known_local_folder,
        sources.local_adapter_resolved,
        sources.local_adapter_folder,
        sources.local_settings,
    ),
    ScratchWeights: Source(sources.scratch_resolved, sources.scratch_folder, sources.known_scratch_folder),
    PackagedWeights: Source(_as_it_is, sources.packaged_folder, sources.known_packaged_folder),
    RemoteWeights: Source(sources.endpoint_resolved, folder=None, known_folder=None),
    BaselineWeights: Source(_as_it_is, folder=None, known_folder=None),
    LoraWeights: Source(_adapted, folder=None, known_folder=None),  # its base's
    MergedWeights: Source(_merged, folder=None, known_folder=None),  # its first part's
}
