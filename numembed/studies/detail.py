"""What stands behind a model's silhouette and is stored beside it: families, sequences left out, texts that are cut."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import cast

import numpy as np

from numembed.analysis.inference.intervals import leave_one_out
from numembed.analysis.inference.permutation_test import FamilyTest, family_tests
from numembed.analysis.preparation import Distance
from numembed.analysis.scores import EVIDENCE_UP_TO, SILHOUETTE
from numembed.core.arrays import Matrix
from numembed.core.progress import Progress, silent
from numembed.core.serialization import as_plain, from_plain
from numembed.core.significance import LEVEL
from numembed.models.encoders.tokens import TokenCount
from numembed.studies.keys import detail_key, reading_key
from numembed.studies.results import FamilySilhouette, ModelResult, Reading, ResultStore, SilhouetteDetail
from numembed.studies.study import Study


def detailed(
    study: Study,
    result: ModelResult,
    results: ResultStore,
    vectors: Callable[[], Matrix],
    counted: Callable[[], TokenCount | None],
    part: Callable[[str, str], AbstractContextManager[None]],
    *,
    progress: Progress = silent,
) -> ModelResult:
    """Return the result with its detail and reading, computed and stored where they are not.

    ``vectors`` and ``counted`` are asked only then; ``part`` is the block of one part of a model, of a name and a key.
    """
    known, small = with_detail(study, result, results), len(study.sequences) <= EVIDENCE_UP_TO
    if known.detail is None and small and not math.isnan(result.score(*SILHOUETTE).value):
        key = detail_key(study, result.model)
        with part("tests of each family", key):
            results.put(key, as_plain(_detail(study, result, vectors(), progress)))
    if known.reading is None and not result.model.is_baseline and (tokens := counted()):
        results.put(reading_key(study, result.model), as_plain(_reading(tokens)))
    return with_detail(study, result, results)


def with_detail(study: Study, result: ModelResult, results: ResultStore) -> ModelResult:
    """Return the result with what is stored of its detail and reading."""
    detail = results.get(detail_key(study, result.model))
    reading = None if result.model.is_baseline else results.get(reading_key(study, result.model))
    return replace(
        result,
        detail=from_plain(SilhouetteDetail, detail) if detail else None,
        reading=from_plain(Reading, reading) if reading else None,
    )


def _detail(study: Study, result: ModelResult, matrix: Matrix, progress: Progress) -> SilhouetteDetail:
    sequences, score, distance = study.sequences, result.score(*SILHOUETTE), cast(Distance, study.distance)
    p = score.p if score.p_within is None else score.p_within
    tests: tuple[FamilyTest, ...] = ()
    if score.value > 0 and p is not None and p <= LEVEL:
        windows = None if score.p_within is None else sequences.windows
        tests = family_tests(
            matrix, sequences.labels, distance=distance, seed=study.seed, within=windows, progress=progress
        )
    pairs = zip(sequences.families, tests, strict=bool(tests))
    families = tuple(FamilySilhouette(name, one.value, one.p, one.least_p, one.within) for name, one in pairs)
    without = np.round(leave_one_out(matrix, sequences.labels, distance=distance), 9)
    return SilhouetteDetail(families, tuple(without.tolist()))


def _reading(counted: TokenCount) -> Reading:
    pairs = list(zip(counted.numbers_read, counted.numbers, strict=True))
    read, numbers = min(pairs, key=lambda pair: pair[0] / max(pair[1], 1), default=(0, 0))
    return Reading(counted.truncated, len(counted.counts), read, numbers)
