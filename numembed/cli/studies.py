"""The verbs that carry out a study: run, and the further questions about its models."""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from numembed.cli.printing import print_lines, print_table
from numembed.core.errors import BadChoice
from numembed.core.progress import DONE, FAILED, Report, Stage, unreported
from numembed.core.settings import LIMITS, Settings
from numembed.examinations.registry import Answer, answers
from numembed.models.encoders.encoder import LoadedModel
from numembed.paper.protocol import paper_study
from numembed.runs.jobs import JobTable
from numembed.runs.study_run import Outcome, run
from numembed.storage.vectors import VectorStore
from numembed.studies.evidence import evidence_rows, pair_rows
from numembed.studies.results import ResultStore
from numembed.studies.study import Study

_SHOWN = ("model", "metric", "labels", "value", "p", "best_baseline_value", "random_weights")
_REDRAWN = ("redrawn_low", "redrawn_high", "redrawn_sd", "designs")


def run_study(options: argparse.Namespace, settings: Settings) -> int:
    """Carry out a study and print its scores."""
    study = study_of(options)
    outcome, _ = _carried_out(study, options, settings)
    scores, pairs = evidence_rows(study, outcome.results, outcome.references), pair_rows(study, outcome.results)
    if options.json:
        print_lines([*scores, *pairs])
    else:
        redrawn = any(score["designs"] for score in scores)
        print_table([{name: score[name] for name in (*_SHOWN, *(_REDRAWN if redrawn else ()))} for score in scores])
        for pair in pairs:
            print(pair["sentence"])
    return _exit_code(outcome)


def examine(options: argparse.Namespace, settings: Settings) -> int:
    """Ask the verb's further question about every model and print all numbers of the answers."""
    study = replace(study_of(options), examine=(options.examination,), query=getattr(options, "query", ""))
    outcome, answers_given = _carried_out(study, options, settings)
    for answer in answers_given:
        sentence, rows = answer.sentence, answer.rows
        of = {"model": answer.model, "seed": study.seed, "designs": study.designs}
        if options.json:
            print_lines([of | {"sentence": sentence}, *(of | row for row in rows)])
        else:
            print(f"{answer.model} (seed {study.seed}). {sentence}")
            for _, alike in groupby(rows, key=list):  # rows with the same columns
                print_table(list(alike))
                print()
    return _exit_code(outcome)


def _carried_out(study: Study, options: argparse.Namespace, settings: Settings) -> tuple[Outcome, list[Answer[Any]]]:
    """Run ``study`` here, enter it among the runs, and write the files that the call asks for."""
    began = time.monotonic()
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        outcome = run(
            study,
            vectors=vectors,
            results=results,
            loaded=LoadedModel(settings),
            settings=settings,
            report=progress_bar([spec.name for spec in study.models]),
        )
        if options.out:
            from numembed.export import write_folder

            write_folder(Path(options.out), study, outcome, results)
        result = answers(study, outcome.results, results)
    error = " ".join(outcome.errors.values())
    with JobTable(settings.app_db) as jobs:
        jobs.record(
            study,
            asked_by=f"command line ({user_name()})",
            seconds=time.monotonic() - began,
            state="failed" if error else "done",
            error=error,
        )
    return outcome, result


def _exit_code(outcome: Outcome) -> int:
    """Say what failed, if anything; return the exit code."""
    if error := " ".join(outcome.errors.values()):
        print(f"numembed: {error}", file=sys.stderr)
        return 1
    return 0


def study_of(options: argparse.Namespace) -> Study:
    """Return the study of the file or the paper's, with what was named on the command line in its place."""
    if options.study == "paper":
        plain = paper_study().as_dict()
    else:
        try:
            text = Path(options.study).read_text(encoding="utf-8")[: LIMITS.study_chars + 1]
        except (OSError, UnicodeDecodeError):
            raise BadChoice(f"There is no study {options.study[:120]!r}. Give a saved file, or: paper") from None
        plain = Study.from_json(text).as_dict()
    named = (
        "models",
        "families",
        "per_family",
        "length",
        "first_window",
        "separator",
        "distance",
        "seed",
        "despite_checks",
        "designs",
        "matched",
    )
    options_given = {name: getattr(options, name, None) for name in named}
    given = {name: value for name, value in options_given.items() if value is not None}
    return Study.from_dict(plain | given)


def progress_bar(names: Sequence[str]) -> Report:
    """Return a report that draws one bar a model, or whatever ``names`` says, on a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        return unreported
    from tqdm import tqdm

    bars: dict[int, Any] = {}

    def report(index: int, stage: Stage, done: int, total: int, note: str) -> None:
        if index not in bars:
            bars[index] = tqdm(total=1, desc=names[index], file=sys.stderr, position=index)
        bar = bars[index]
        bar.set_postfix_str(note[:60] or stage.name, refresh=False)
        bar.total, bar.n = max(total, 1), done
        bar.refresh()
        if stage in (DONE, FAILED):
            bar.close()

    return report


def user_name() -> str:
    """Return who runs this command."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a number without a name
        return "unknown"
