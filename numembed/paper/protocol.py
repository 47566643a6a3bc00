"""The paper's protocol as a Study, and its Tables 1 and 2 as data."""

from __future__ import annotations

import functools

from numembed.models.baselines import BASELINES
from numembed.models.catalogue.names import model
from numembed.studies.study import Study

FIRST_MODELS = ("all-MiniLM-L6-v2", "smollm2")  # that a first visit compares: an encoder and a language model
PAPER_FAMILIES = ("consecutive", "even", "odd", "primes", "recaman", "composites")  # section 4.1


def paper_study(*models: str) -> Study:
    """Return the paper's protocol: six families, four windows of 50 terms; without names, the bundled model
    and the baselines."""
    return _study(models or ("all-MiniLM-L6-v2", *BASELINES.names))


@functools.lru_cache(maxsize=16)
def _study(names: tuple[str, ...]) -> Study:
    return Study(families=PAPER_FAMILIES, models=tuple(model(name) for name in names))
