"""The verb that loads a model and says what its check finds, with its reference vectors compared or accepted."""

from __future__ import annotations

import argparse
import dataclasses
import sys

from numembed.cli.printing import print_lines
from numembed.core.errors import BadChoice, reason_of
from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.interface import ModelCheck
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.encoders.references import LARGE, checked_again
from numembed.models.spec import ModelSpec
from numembed.studies.results import ResultStore
from numembed.studies.stored import pin

_MARKS = {True: "✓", False: "✗", None: "–"}


def check(options: argparse.Namespace, settings: Settings) -> int:
    """Print what the check of a model finds, and keep it for the pages; exit code 1 where something is wrong."""
    with ResultStore(settings.app_db) as results:
        spec = pin(model(options.model), results, settings)
        if spec.is_baseline:
            raise BadChoice(f"{spec.name} is a formula: nothing is loaded, so there is nothing to check.")
        found = _found(spec, options.accept, settings)
        results.put_check(spec, found)
    if options.json:
        print_lines([dataclasses.asdict(finding) for finding in found.findings])
    else:
        print("\n".join(f"{_MARKS[finding.ok]} {finding.sentence}" for finding in found.findings))
    if options.accept:
        accepted = "its vectors are now the reference. Those stored earlier may be others"
        print(f"numembed: {accepted}: numembed store --delete {spec.stored.key}", file=sys.stderr)
    return 0 if found.ok else 1


def _found(spec: ModelSpec, accept: bool, settings: Settings) -> ModelCheck:
    encoder = LoadedModel(settings).get(spec)
    if not isinstance(encoder, SentenceEncoder) or spec.loading.random_seed is not None:
        if accept:
            raise BadChoice(f"{spec.name} has no reference vectors. Leave --accept out.")
        return encoder.check
    if not accept and encoder.parameters <= LARGE:  # compared when it was loaded
        return encoder.check
    try:
        return checked_again(encoder, settings.home, accept=accept)
    except OSError as error:
        raise BadChoice(
            f"The reference of {spec.name} cannot be saved ({error.strerror or reason_of(error)})."
        ) from None
