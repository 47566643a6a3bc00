"""The verbs that list what there is."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from typing import Any

from numembed.analysis.metrics import METRICS
from numembed.analysis.scores import score_kinds
from numembed.cli.printing import Row, print_lines, print_rows, print_table
from numembed.core.errors import BadChoice
from numembed.core.progress import FAILED
from numembed.core.settings import Settings
from numembed.models.baselines import BASELINES
from numembed.models.catalogue.entries import Row as CatalogueRow
from numembed.models.catalogue.names import CATALOGUE, ENDPOINT, model
from numembed.models.hub.snapshots import code_digests
from numembed.models.packaged.models import packaged_model
from numembed.models.resolve import known_folder
from numembed.models.spec import HubWeights
from numembed.paper.claims import CLAIMS, judged
from numembed.paper.comparison import model_rows, own_line, own_results
from numembed.paper.judging import OPEN
from numembed.paper.published import TABLE_2
from numembed.runs.job import Job
from numembed.runs.jobs import JobTable
from numembed.sequences.families.family import FAMILIES, family
from numembed.studies.results import ResultStore

_FACTS = ("repo", "revision", "parameters_millions", "dimension", "max_tokens", "family", "licence", "download_gb")
_AGREEMENT = (
    *("model", "silhouette_families", "paper_silhouette_families", "difference", "redrawn_low", "redrawn_high"),
    *("inside", "p", "davies_bouldin_families", "paper_davies_bouldin_families"),
)


def families(options: argparse.Namespace, settings: Settings) -> int:
    """List the families of sequences."""
    rows = []
    for entry in FAMILIES:
        chosen = family(entry.name)
        first = ", ".join(map(str, chosen.terms(0, 8)))
        rows.append({"name": entry.name, "title": chosen.title, "oeis": chosen.oeis, "first_terms": first})
    return print_rows(rows, options)


def models(options: argparse.Namespace, settings: Settings) -> int:
    """List the catalogue, the endpoints and the baselines."""
    rows: list[Row] = [
        {"name": row.name, "kind": "model"}
        | {fact: getattr(row, fact) for fact in _FACTS}
        | {"note": _note(row, settings)}
        for row in CATALOGUE.values()
    ]
    rows += [{"name": ENDPOINT + name, "kind": "endpoint", "note": ""} for name in settings.endpoints]
    rows += [{"name": entry.name, "kind": "baseline", "note": entry.summary} for entry in BASELINES]
    return print_rows(rows, options)


def _note(row: CatalogueRow, settings: Settings) -> str:
    """Return why a model is not run, or what it needs first."""
    if row.package is None or known_folder(model(row.name).weights, settings) is not None:
        return row.refused
    return f"not on this machine yet: {packaged_model(row.name).command}"


def code(options: argparse.Namespace, settings: Settings) -> int:
    """Print what the operator would add to operator.toml after reading a model's program code."""
    spec = model(options.model)
    code, _, revision = (options.code or spec.loading.remote_code).partition("@")
    if not isinstance(spec.weights, HubWeights) or not revision:
        raise BadChoice(f"{spec.name} needs no program code of its own. Name another with --code owner/name@commit.")
    files = code_digests(code, revision, settings)
    print(f"# Read these files first: {settings.hub}/{code}/tree/{revision}")
    print(f'[remote_code."{spec.weights.repo}"]\ncode = "{code}@{revision}"')
    print("files = { " + ", ".join(f'"{name}" = "{sha256}"' for name, sha256 in files.items()) + " }")
    return 0


def metrics(options: argparse.Namespace, settings: Settings) -> int:
    """List the metrics and what they mean."""
    facts = ("higher_is_better", "bounds", "chance")
    return print_rows(
        [
            {"name": entry.name, "title": entry.title}
            | {fact: entry.facts[fact] for fact in facts}
            | {"bounds": [None if math.isinf(bound) else bound for bound in entry.facts["bounds"]]}
            | {"help": entry.summary, "labels": ", ".join(kind.labels for kind in score_kinds() if kind.entry is entry)}
            for entry in METRICS
        ],
        options,
    )


def runs(options: argparse.Namespace, settings: Settings) -> int:
    """List the newest runs."""
    with JobTable(settings.app_db) as jobs:
        rows = [
            {"id": job.id, "asked_at": time.strftime("%Y-%m-%d %H:%M", time.localtime(job.asked_at))}
            | {"asked_by": job.asked_by, "state": job.state if options.json else job.words}
            | {"seconds": job.seconds, "error": job.error}
            | {"could_not_run": [step.model for step in job.progress if step.stage == FAILED]}
            | {"study": _request_of(job)}
            for job in jobs.recent()
        ]
    if not options.json:
        rows = [{key: value for key, value in row.items() if key not in ("study", "could_not_run")} for row in rows]
    return print_rows(rows, options)


def _request_of(job: Job) -> Any:
    """Return the stored request as JSON; None where it is not JSON."""
    try:
        return json.loads(job.request_json)
    except (ValueError, RecursionError):
        return None


def paper(options: argparse.Namespace, settings: Settings) -> int:
    """Print the paper's claims with their verdicts, and its scores beside what was run here."""
    with ResultStore(settings.app_db) as results:
        own = own_results(results)
    ours = judged([own_line(result) for result in own])
    for claim, values, here in zip(CLAIMS, judged(TABLE_2), ours, strict=True):
        if options.json:
            names = ("name", "question", "section", "quotation", "test")
            facts = {"part": "claim"} | {name: getattr(claim, name) for name in names}
            print_lines([facts | {"table_2": dataclasses.asdict(values), "here": dataclasses.asdict(here)}])
        else:
            print(claim.question, f"It {OPEN}." if values.word == OPEN else f"The claim {values.word}.")
            print(
                f"  “{claim.quotation}” ({claim.section})\n  {values.sentence} {values.detail} {values.spread}".rstrip()
            )
            print(f"  On the runs here: {here.word}. {here.sentence}\n")
    rows = model_rows(own)
    if options.json:
        print_lines(rows)
    else:
        print_table([{name: row[name] for name in _AGREEMENT} for row in rows])
    return 0


def prime(options: argparse.Namespace, settings: Settings) -> int:
    """Do the slow things of a first run now."""
    from numembed.analysis.maps.projections import compile_maps
    from numembed.models.sources import bundled_is_genuine

    began = time.monotonic()
    bundled_is_genuine()
    compile_maps(settings.compiled)
    return print_rows([{"ready": True, "seconds": round(time.monotonic() - began, 1)}], options)
