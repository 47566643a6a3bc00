"""What earlier runs found about the clusters of a model."""

from __future__ import annotations

from numembed.core.serialization import from_plain
from numembed.examinations.clusters.compute import Explanation
from numembed.models.spec import ModelSpec
from numembed.studies.keys import explain_key
from numembed.studies.results import ResultStore
from numembed.studies.study import Study


def stored_explanation(study: Study, spec: ModelSpec, results: ResultStore) -> Explanation | None:
    """Return what earlier runs found about the clusters of a resolved model, or None."""
    stored = results.get(explain_key(study, spec))
    return from_plain(Explanation, stored) if stored else None
