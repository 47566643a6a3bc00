"""Models behind the operator's endpoints, which have no files here."""

from __future__ import annotations

from dataclasses import replace

from numembed.core.errors import BadChoice
from numembed.core.progress import Progress
from numembed.core.settings import Endpoint, Settings
from numembed.models.spec import ModelSpec, RemoteWeights


def endpoint_of(weights: RemoteWeights, settings: Settings) -> Endpoint:
    """Return the endpoint that the operator has set under the name; raises BadChoice where there is none."""
    endpoint = settings.endpoints.get(weights.endpoint)
    if endpoint is None:
        names = ", ".join(sorted(settings.endpoints))
        known = f"Known: {names}." if names else "None is set; the operator sets them in operator.toml."
        raise BadChoice(f"No endpoint is called {weights.endpoint[:40]!r}. {known}")
    return endpoint


def resolved(weights: RemoteWeights, spec: ModelSpec, settings: Settings, progress: Progress) -> ModelSpec:
    """Return ``spec`` with the url and the model that the operator has set."""
    endpoint = endpoint_of(weights, settings)
    return replace(spec, weights=RemoteWeights(endpoint.name, endpoint.url, endpoint.model))
