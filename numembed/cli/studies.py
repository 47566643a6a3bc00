"""The commands that carry out a study: its scores, further questions, and what its sequences reveal."""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from numembed.cli.printing import print_lines, print_table
from numembed.core.errors import BadChoice, Paused
from numembed.core.progress import DONE, FAILED, Report, Stage, unreported
from numembed.core.settings import LIMITS, Settings
from numembed.examinations.registry import Answer, answers
from numembed.models.catalogue.names import BUNDLED
from numembed.models.encoders.loaded import LoadedModel, WithoutModels
from numembed.models.encoders.tokens import count_tokens
from numembed.models.resolve import makers_sentences
from numembed.models.spec import ModelSpec
from numembed.paper.protocol import paper_study
from numembed.runs.job import ModelProgress
from numembed.runs.jobs import JobTable
from numembed.runs.kinds import Ending, Request, Workplace
from numembed.runs.outcome import Outcome
from numembed.runs.study_run import run
from numembed.sequences.leakage import COUNTED_CHARS, Leakage, leakage
from numembed.sequences.leakage import rows_of as leakage_rows
from numembed.storage.backups import daily
from numembed.storage.failures import can_be_written, require_writable
from numembed.storage.vectors import VectorStore
from numembed.studies.evidence import evidence_rows
from numembed.studies.headline import headline
from numembed.studies.pairs import pair_rows
from numembed.studies.results import ResultStore
from numembed.studies.study import Study, design_of

_SHOWN = ("model", "metric", "labels", "value", "p", "p_within", "word", "best_baseline_value", "random_weights")
_CHANGEABLE = (  # in a study, by options of the command line
    *("models", "families", "per_family", "length", "first_window", "separator", "distance", "seed"),
    *("despite_checks", "designs", "matched"),
)
PARTLY = 3  # exit code
_REDRAWN = ("redrawn_low", "redrawn_high", "redrawn_sd", "designs")


def run_study(options: argparse.Namespace, settings: Settings) -> int:
    """Carry out a study and print its scores."""
    study = study_of(options)
    outcome, _, ending = _carried_out(study, options, settings)
    scores, pairs = evidence_rows(study, outcome.results, outcome.references), pair_rows(study, outcome.results)
    if options.json:
        print_lines([*scores, *pairs])
    else:
        if outcome.results:
            print(headline(outcome.results, outcome.references, families=len(study.families)))
        redrawn = any(score["designs"] for score in scores)
        print_table([{name: score[name] for name in (*_SHOWN, *(_REDRAWN if redrawn else ()))} for score in scores])
        for pair in pairs:
            print(pair["sentence"])
    return exit_code(ending)


def examine(options: argparse.Namespace, settings: Settings) -> int:
    """Ask the verb's further question about every model and print all numbers of the answers."""
    study = replace(study_of(options), examine=(options.examination,), query=getattr(options, "query", ""))
    _, answers_given, ending = _carried_out(study, options, settings)
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
    return exit_code(ending)


def _carried_out(
    study: Study, options: argparse.Namespace, settings: Settings
) -> tuple[Outcome, list[Answer[Any]], Ending]:
    """Run ``study`` here, enter it among the runs, and write the files that the call asks for."""
    _tell_settings(study, settings)
    began = time.monotonic()
    with workplace([spec.name for spec in study.models], settings) as place:
        outcome = run(study, **place.tools)
        if options.out:
            from numembed.export import write_folder

            write_folder(Path(options.out), study, outcome, place.results)
        answers_given = answers(study, outcome.results, place.results)
    for result in outcome.results:
        if result.reading and result.reading.cut:
            print(f"numembed: {result.model.name} {result.reading.sentence}.", file=sys.stderr)
    ending = Ending(" ".join(outcome.sentences), outcome.nothing_ran)
    failed = [outcome.errors.get(spec.name, "") for spec in study.models]
    progress = tuple(
        ModelProgress(spec.name, FAILED if why else DONE, 1, 1, why)
        for spec, why in zip(study.models, failed, strict=True)
    )
    record(study, settings, seconds=time.monotonic() - began, ending=ending, progress=progress)
    return outcome, answers_given, ending


def _tell_settings(study: Study, settings: Settings) -> None:
    """Say what the makers of the models have set for every encoding, beside the progress."""
    for spec in study.models:
        for sentence in makers_sentences(spec, settings) if not spec.is_baseline else ():
            print(f"numembed: {spec.name}: {sentence}", file=sys.stderr)


@contextmanager
def workplace(rows: Sequence[str], settings: Settings) -> Iterator[Workplace]:
    """Open what a run in this process needs; its progress is a bar for each of ``rows``.

    Raises StoreReadOnly where a model would be needed and nothing can be stored.
    """
    loaded = LoadedModel(settings) if can_be_written(settings.app_db) else WithoutModels(settings)
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        try:
            yield Workplace(vectors, results, loaded, settings, progress_bar(rows))
        except Paused:
            require_writable(settings.app_db)
            raise


def record(
    requested: Request, settings: Settings, *, seconds: float, ending: Ending, progress: tuple[ModelProgress, ...] = ()
) -> None:
    """Enter a run that this command carried out among the runs; what was only read is none."""
    if not can_be_written(settings.app_db):
        return
    who = f"command line ({user_name()})"
    with JobTable(settings.app_db) as jobs:
        jobs.record(requested, asked_by=who, seconds=seconds, state=ending.state, error=ending.error, progress=progress)
    daily(settings.app_db)


def exit_code(ending: Ending) -> int:
    """Say what failed, if anything; return 0 where all ran, 3 where a part of it did, 1 where nothing did."""
    if ending.error:
        print(f"numembed: {ending.error}", file=sys.stderr)
    return 1 if ending.nothing_ran else PARTLY if ending.error else 0


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
    named = {name: getattr(options, name, None) for name in _CHANGEABLE}
    return Study.from_dict(plain | {name: value for name, value in named.items() if value is not None})


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


def sequences(options: argparse.Namespace, settings: Settings) -> int:
    """Print what the numbers, sizes, lengths and tokens of the sequences give away."""
    study = study_of(options)
    clues = _clues(study, settings)
    of = {"seed": study.seed, "design": design_of(study)}
    rows = [of | row for row in leakage_rows(clues, study.sequences)]
    text = [*clues.sentences, *(clue.sentence for clue in clues.clues)]
    if options.out:
        from numembed.export import write_leakage

        write_leakage(Path(options.out), study, rows)
    if options.json:
        print_lines([of | {"sentence": " ".join(text)}, *rows])
        return 0
    print(f"{design_of(study)} (seed {study.seed}). {' '.join(text)}")
    for _, alike in groupby(rows, key=list):  # rows with the same columns
        print_table([{name: value for name, value in row.items() if name not in of} for row in alike])
        print()
    return 0


def _clues(study: Study, settings: Settings) -> Leakage:
    texts = study.sequences.texts
    few = sum(map(len, texts)) <= COUNTED_CHARS
    counted = count_tokens(ModelSpec("", BUNDLED), texts, settings) if few else None
    return leakage(study.sequences, token_counts=counted.counts if counted else None, seed=study.seed)
