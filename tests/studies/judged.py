"""Vectors made for a purpose as results of a study, with everything that is computed about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from numembed.analysis.scores import score_all
from numembed.core.arrays import Matrix
from numembed.models.catalogue.names import model
from numembed.models.spec import ModelSpec
from numembed.sequences.families.family import FAMILIES
from numembed.studies.detail import detailed
from numembed.studies.results import ModelResult, ResultStore
from numembed.studies.study import Study


def study_of(families: int = 6, windows: int = 4) -> Study:
    """Return a study with so many families and windows."""
    return Study(FAMILIES.names[:families], (model("last_digits"),), per_family=windows, length=5)


def design(study: Study) -> tuple[np.ndarray, np.ndarray]:
    """Return the family and the window of each sequence, (n,) each."""
    return study.sequences.labels, study.sequences.windows


def judged(study: Study, matrix: Matrix, folder: Path, *, name: str = "it", permutations: int = 1_999) -> ModelResult:
    """Return the result of vectors (n, d), as a run would leave it."""
    sequences, spec = study.sequences, ModelSpec(name, model("all-MiniLM-L6-v2").weights)
    scores, clusters = score_all(
        matrix, sequences.labels, model=name, windows=sequences.windows, permutations=permutations
    )
    with ResultStore(folder / f"{name}.db") as store:
        result = ModelResult(replace(spec, name=name), matrix.shape[1], scores, clusters)
        return detailed(study, result, store, lambda: matrix, lambda: None, _whole)


@contextmanager
def _whole(name: str, key: str) -> Iterator[None]:
    yield
