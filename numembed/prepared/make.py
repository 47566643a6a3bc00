"""Computes all that comes with the program, and writes it."""

from __future__ import annotations

import base64
import datetime
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import numpy as np

import numembed
from numembed.analysis.inference.permuted_scores import distances_of
from numembed.analysis.preparation import Distance
from numembed.cli.studies import workplace
from numembed.core.errors import NumembedError
from numembed.core.settings import Settings
from numembed.core.wording import duration, size
from numembed.merge_experiment.experiment import MergeExperiment
from numembed.merge_experiment.run import experiment_rows, run_experiment
from numembed.models.embedding import embed
from numembed.models.packaged.get import get
from numembed.prepared.contents import Noting, Request, missing, requests
from numembed.runs.kinds import Workplace, kind_called
from numembed.runs.study_run import run
from numembed.storage.bundle import About, write_bundle
from numembed.studies.keys import distances_key, library_versions
from numembed.studies.study import Study

_AT_ONCE = 2


def make(out: Path, settings: Settings) -> None:
    """Compute what the home of ``settings`` lacks, two parts at a time, and write the bundle.

    Raises NumembedError and OSError.
    """
    get("smollm2", settings)
    listed, began = list(requests()), time.monotonic()
    with ProcessPoolExecutor(_AT_ONCE, get_context("spawn")) as pool:
        parts = {pool.submit(_compute, request, settings): request for request in reversed(listed)}  # longest first
        for part in as_completed(parts):
            part.result()
            done = kind_called(parts[part].kind).title(parts[part])
            print(f"{duration(time.monotonic() - began)}: {done}", file=sys.stderr)
    with Noting(settings.app_db) as results:
        if absent := [one for request in listed for one in missing(request, results)]:
            raise NumembedError(f"These results are missing: {'; '.join(absent)}.")
    described = tuple({one.kind: one.as_dict()} for one in listed)
    about = About(str(datetime.date.today()), numembed.__version__, library_versions(), described)
    write_bundle(out, about, {key: _without_home(value, settings) for key, value in results.answers.items()})
    print(f"{out}: {len(results.answers):,} results, {size(out.stat().st_size)}")


def _compute(request: Request, settings: Settings) -> None:
    if isinstance(request, MergeExperiment):
        with workplace(experiment_rows(request), settings) as place:
            run_experiment(request, **place.tools)
        return
    with workplace([spec.name for spec in request.models], settings) as place:
        outcome = run(request, **place.tools)
        if outcome.errors:
            raise NumembedError(" ".join(outcome.errors.values()))
        for result in outcome.results:
            _keep_distances(request, result.model, place)


def _keep_distances(study: Study, spec: Any, place: Workplace) -> None:
    """Store the distances between all sequences, (n, n), in half precision, unless they are stored."""
    if place.results.get(distances_key(study, spec)) is not None:
        return
    matrix = embed(spec, study.sequences, store=place.vectors, loaded=place.loaded).matrix
    half = distances_of(matrix, cast(Distance, study.distance)).astype("<f2")
    plain = {"rows": len(half), "distances": base64.b64encode(np.ascontiguousarray(half).tobytes()).decode()}
    place.results.put(distances_key(study, spec), plain)


def _without_home(value: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Return a result without the place of this home, which is nobody else's."""
    written = json.dumps(value)
    plain: dict[str, Any] = json.loads(written.replace(json.dumps(str(settings.home))[1:-1], ""))
    return plain
