"""What earlier runs of a study left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from numembed.analysis.maps.families import labels_digest
from numembed.analysis.scores import ScoreKind
from numembed.core.progress import Progress, silent
from numembed.core.settings import Settings
from numembed.models.catalogue.defaults import is_settled
from numembed.models.catalogue.names import facts_of
from numembed.models.files.outlines import keep_outline
from numembed.models.resolve import resolve
from numembed.models.spec import FolderWeights, LoraWeights, ModelSpec, named_folders
from numembed.studies.detail import with_detail
from numembed.studies.examination import EXAMINATIONS
from numembed.studies.keys import design_key, examined_key, made_key, pin_key, projection_key, result_key
from numembed.studies.parts import kept_reason
from numembed.studies.results import ModelResult, Projection, ResultStore, complete
from numembed.studies.study import USUAL_DESIGNS, Study


def stored_results(study: Study, results: ResultStore) -> tuple[ModelResult | None, ...]:
    """Return what earlier runs left for each model of ``study``; None where there is nothing yet."""
    return tuple(stored_result(study, spec, results) for spec in study.models)


def may_be_made(study: Study, results: ResultStore) -> bool:
    """Return whether a page may make the sequences: they are few enough, or somebody has run them."""
    return not study.large or results.get(made_key(study)) is not None


def stored_projection(
    study: Study, spec: ModelSpec, results: ResultStore, *, method: str, dims: int
) -> Projection | None:
    """Return a map that an earlier run left; ``spec`` is resolved.

    Without its silhouette of the families where that run had the same texts in other families.
    """
    key = projection_key(spec, study.sequences, method=method, dims=dims, seed=study.seed)
    with results.alone_with(result_key(study, spec)):
        kept = results.projection(key)
    if kept is None or kept.families is None or kept.families.labels == labels_digest(study.sequences.labels):
        return kept
    return replace(kept, families=None)


def missing_projection(study: Study, spec: ModelSpec, results: ResultStore, *, method: str, dims: int) -> str:
    """Return the sentence that says why there is no such map of a resolved model; "" where none was tried."""
    key = projection_key(spec, study.sequences, method=method, dims=dims, seed=study.seed)
    return kept_reason(results, key)


def stored_warning(study: Study, spec: ModelSpec, results: ResultStore, *, method: str, dims: int) -> str:
    """Return the sentence where a map was found to show groups that the vectors lack; "" also where nobody looked."""
    plain = replace(study, designs=0) if study.designs else study  # another study makes its sequences anew
    values = results.get(examined_key(plain, spec, "maps")) or {"maps": ()}
    return next((str(one["warning"]) for one in values["maps"] if (one["method"], one["dims"]) == (method, dims)), "")


def previously_pinned(spec: ModelSpec, results: ResultStore) -> ModelSpec | None:
    """Return ``spec`` as the latest run pinned it, or None where none has."""
    if is_settled(spec):
        return spec
    known = results.get(pin_key(spec))
    return ModelSpec.from_dict(known) if known else spec if spec.resolved else None


def stored_result(study: Study, spec: ModelSpec, results: ResultStore) -> ModelResult | None:
    """Return what earlier runs left for one model.

    None where a registered score is missing, or where its check is known to fail and that was not allowed.
    """
    pinned = previously_pinned(spec, results)
    if pinned is None:
        return None
    with results.alone_with(result_key(study, pinned)):
        return _stored_result(study, spec, pinned, results)


def _stored_result(study: Study, spec: ModelSpec, pinned: ModelSpec, results: ResultStore) -> ModelResult | None:
    result, check = results.model_result(pinned, result_key(study, pinned)), results.check(pinned)
    if result is None or (check is not None and not check.ok and not study.despite_checks):
        return None
    scores = complete({str(score.kind): replace(score, model=spec.name) for score in result.scores})
    if not scores:
        return None
    designs = stored_designs(study, pinned, results)
    known = replace(result, scores=tuple(scores.values()), check=check, designs=designs)
    return with_detail(study, known, results)


def stored_designs(study: Study, spec: ModelSpec, results: ResultStore) -> Mapping[ScoreKind, tuple[float, ...]]:
    """Return the scores of redrawn windows, those of a usual redrawing where the study asks for none."""
    counts = dict.fromkeys((study.designs, USUAL_DESIGNS))
    stored = (results.designs(design_key(study, spec, count)) for count in counts if count)
    return next(filter(None, stored), {})


def stored_examination(study: Study, spec: ModelSpec, name: str, results: ResultStore) -> dict[str, Any] | None:
    """Return what an examination found about a resolved model, as JSON values; None where there is nothing.

    Also None where something that it lists, such as a map, was registered since: it is then computed again.
    """
    stored = results.get(examined_key(study, spec, name))
    return stored if stored is not None and EXAMINATIONS[name].implementation.is_current(stored) else None


def pin(spec: ModelSpec, results: ResultStore, settings: Settings, *, progress: Progress = silent) -> ModelSpec:
    """Return ``spec`` with its weights pinned, and remember it: a catalogue model stays at the commit of its first use.

    Another hub id means the newest commit, and a folder is looked at again, and its outline kept for pages. Raises what
    ``resolve`` raises.
    """
    if is_settled(spec):
        return spec
    known = previously_pinned(spec, results)
    if known is not None and facts_of(spec) is not None and spec.weights.fetched:
        return known
    if isinstance(spec.weights, LoraWeights):  # its base stays, its adapter is looked at again
        base = pin(replace(spec, weights=spec.weights.base), results, settings, progress=progress)
        assert isinstance(base.weights, FolderWeights)
        pinned = resolve(replace(base, weights=replace(spec.weights, base=base.weights)), settings, progress=progress)
    else:
        pinned = resolve(spec, settings, progress=progress)
    if pinned != known:
        results.put(pin_key(spec), pinned.as_dict())
    for folder, _ in named_folders(pinned.weights):
        keep_outline(Path(folder.path), folder.digest, settings)
    return pinned
