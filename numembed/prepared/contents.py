"""What is computed beforehand, and all results that pages read of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from numembed.analysis.maps.projections import PROJECTIONS
from numembed.examinations.clusters.compute import stored_explanation
from numembed.merge_experiment.experiment import MergeExperiment, experiment_key, recipe_for
from numembed.merge_experiment.paths import usual_points
from numembed.models.baselines import BASELINES
from numembed.models.catalogue.names import model
from numembed.paper.protocol import FIRST_MODELS, paper_study
from numembed.sequences.splits import split_called
from numembed.storage.bundle import Bundle
from numembed.studies.keys import distances_key, lasting_of
from numembed.studies.reference_scores import stored_references
from numembed.studies.results import ResultStore
from numembed.studies.stored import stored_examination, stored_projection, stored_results, stored_warning
from numembed.studies.study import USUAL_DESIGNS, Study, dimensions

MODELS = (*FIRST_MODELS, "number-encoder", "number-lm")
EXAMINATIONS = ("grouping", "probes", "stress", "maps")
BASES = ("number-lm", "smollm2", "all-MiniLM-L6-v2")
Request = Study | MergeExperiment


def usual_experiment(base: str) -> MergeExperiment:
    """Return the merging experiment that the Merge page offers for a base."""
    spec = model(base)
    recipe = recipe_for(spec, split_called("others"))
    return MergeExperiment(spec, recipe, points=usual_points(recipe))


def requests() -> Iterator[Request]:
    """Yield all that is computed beforehand."""
    yield replace(paper_study(*MODELS, *BASELINES.names), designs=USUAL_DESIGNS)
    for name in FIRST_MODELS:
        yield replace(paper_study(name), examine=EXAMINATIONS)
    yield from map(usual_experiment, BASES)


def missing(request: Request, results: ResultStore) -> list[str]:
    """Read what pages show of a request; return what of it is not stored, in words."""
    if isinstance(request, MergeExperiment):
        return [] if (results.get(experiment_key(request)) or {}).get("complete") else [request.title]
    items = stored_results(request, results)
    absent = [spec.name for spec, one in zip(request.models, items, strict=True) if one is None]
    for result in filter(None, items):
        name, spec = result.model.name, result.model
        parts: dict[str, object] = {"explanation": stored_explanation(request, spec, results)}
        parts |= {one: stored_examination(request, spec, one, results) for one in request.examine}
        parts["distances"] = results.get(distances_key(request, spec))
        for method in PROJECTIONS.names:
            for dims in dimensions(len(request.sequences)):
                of: Any = {"method": method, "dims": dims}
                stored_warning(request, spec, results, **of)
                parts[f"{method} {dims}-D"] = stored_projection(request, spec, results, **of)
        if request.designs:
            parts["redrawn windows"] = result.designs
        absent += [f"{name}, {part}" for part, found in parts.items() if not found]
    references = stored_references(request, [one.model for one in items if one is not None], results)
    return absent if references.best_without else [*absent, "baselines"]


class Noting(ResultStore):
    """A result store that notes what it has answered."""

    def __init__(self, path: Path, *, beside: Bundle | None = None) -> None:
        super().__init__(path, beside=beside)
        self.answers: dict[str, dict[str, Any]] = {}

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what was stored under ``key``, and note it."""
        value = super().get(key)
        if value is not None:
            self.answers[lasting_of(key)] = value
        return value
