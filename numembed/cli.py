"""The same verbs from a terminal: results on standard output, everything else on standard error."""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from numembed.analysis.metrics import METRICS
from numembed.claims import CLAIMS, judged
from numembed.errors import BadChoice, NumembedError
from numembed.jobs import JobTable
from numembed.models.baselines import BASELINES
from numembed.models.catalogue import CATALOGUE, ENDPOINT, model
from numembed.models.encoders import LoadedModel
from numembed.models.hub import code_digests
from numembed.models.spec import HubWeights
from numembed.paper import PAPER_FAMILIES, TABLE_2, paper_study
from numembed.progress import STAGES
from numembed.results import ResultStore
from numembed.run import Report, run
from numembed.sequences.families import FAMILIES, family
from numembed.settings import LIMITS, Settings, read_settings
from numembed.store import VectorStore
from numembed.study import DISTANCES, Study
from numembed.tables import own_line, own_results
from numembed.verdicts import OPEN

Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; return its exit code: 0 all right, 1 something failed, 2 a wrong call."""
    options = _parser().parse_args(arguments)
    try:
        # whoever has this terminal can read every folder anyway; only visitors of pages are held to some
        code: int = options.command(options, dataclasses.replace(read_settings(), folders=()))
        return code
    except NumembedError as error:
        print(f"numembed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("numembed: stopped; what was computed is kept.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone
        sys.stderr.close()
        return 1


def _run(options: argparse.Namespace, settings: Settings) -> int:
    study = _study(options)
    began = time.monotonic()
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        outcome = run(
            study, vectors=vectors, results=results, loaded=LoadedModel(settings),
            settings=settings, report=_progress_bar(study),
        )  # fmt: skip
        if options.out:
            from numembed.export import write_folder

            write_folder(Path(options.out), study, outcome, results)
    error = " ".join(outcome.errors.values())
    state = "failed" if error else "done"
    with JobTable(settings.app_db) as jobs:
        jobs.record(
            study, asked_by=f"command line ({_user()})", seconds=time.monotonic() - began, state=state, error=error
        )
    scores = [score.as_json() for result in outcome.results for score in result.scores]
    if options.json:
        _print_lines(scores)
    else:
        columns = ("model", "metric", "labels", "value", "p")
        _print_table([{name: score.get(name) for name in columns} for score in scores])
    if error:
        print(f"numembed: {error}", file=sys.stderr)
    return 1 if error else 0


def _families(options: argparse.Namespace, settings: Settings) -> int:
    rows = []
    for entry in FAMILIES:
        chosen = family(entry.name)
        first = ", ".join(map(str, chosen.terms(0, 8)))
        rows.append({"name": entry.name, "title": chosen.title, "oeis": chosen.oeis, "first_terms": first})
    return _print_rows(rows, options)


def _models(options: argparse.Namespace, settings: Settings) -> int:
    rows: list[Row] = [
        {
            "name": row.name, "kind": "model", "repo": row.repo, "revision": row.revision,
            "parameters_millions": row.parameters_millions, "dimension": row.dimension, "max_tokens": row.max_tokens,
            "family": row.family, "licence": row.licence, "download_gb": row.download_gb, "note": row.refused,
        }
        for row in CATALOGUE.values()
    ]  # fmt: skip
    rows += [{"name": ENDPOINT + name, "kind": "endpoint", "note": ""} for name in settings.endpoints]
    rows += [{"name": entry.name, "kind": "baseline", "note": entry.summary} for entry in BASELINES]
    return _print_rows(rows, options)


def _code(options: argparse.Namespace, settings: Settings) -> int:
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


def _metrics(options: argparse.Namespace, settings: Settings) -> int:
    facts = ("higher_is_better", "bounds", "chance")
    return _print_rows(
        [
            {"name": entry.name, "title": entry.title}
            | {fact: entry.facts[fact] for fact in facts}
            | {"bounds": [None if math.isinf(bound) else bound for bound in entry.facts["bounds"]]}
            | {"help": entry.summary}
            for entry in METRICS
        ],
        options,
    )


def _runs(options: argparse.Namespace, settings: Settings) -> int:
    with JobTable(settings.app_db) as jobs:
        rows = [
            {
                "id": job.id, "asked_at": time.strftime("%Y-%m-%d %H:%M", time.localtime(job.asked_at)),
                "asked_by": job.asked_by, "state": job.state, "seconds": job.seconds, "error": job.error,
                "study": json.loads(job.study_json),
            }
            for job in jobs.recent()
        ]  # fmt: skip
    if not options.json:
        rows = [{key: value for key, value in row.items() if key != "study"} for row in rows]
    return _print_rows(rows, options)


def _store(options: argparse.Namespace, settings: Settings) -> int:
    with VectorStore(settings.cache_db) as vectors:
        if options.delete:
            keys = [stored.key for stored in vectors.models() if options.delete in (stored.name, stored.key, "all")]
            if not keys:
                raise BadChoice(f"The store holds nothing of {options.delete[:80]!r}. See: numembed store")
            gone = sum(vectors.delete(key) for key in keys)
            print(f"numembed: {gone:,} vectors deleted.", file=sys.stderr)
        return _print_rows([dataclasses.asdict(stored) for stored in vectors.models()], options)


def _paper(options: argparse.Namespace, settings: Settings) -> int:
    """Print the paper's claims with their verdicts on its own table and on what was run here."""
    with ResultStore(settings.app_db) as results:
        ours = judged([own_line(result) for result in own_results(results)])
    for claim, found, here in zip(CLAIMS, judged(TABLE_2), ours, strict=True):
        if options.json:
            facts = {name: getattr(claim, name) for name in ("name", "question", "section", "quotation", "test")}
            _print_lines([facts | {"table_2": dataclasses.asdict(found), "here": dataclasses.asdict(here)}])
        else:
            print(f"{claim.question} The claim {found.word}." if found.word != OPEN else f"{claim.question} It {OPEN}.")
            print(f"  “{claim.quotation}” ({claim.section})\n  {found.sentence} {found.detail}".rstrip())
            print(f"  On the runs here: {here.word}. {here.sentence}\n")
    return 0


def _prime(options: argparse.Namespace, settings: Settings) -> int:
    from numembed.analysis.projections import warm_umap
    from numembed.models.checkpoints import bundled_is_genuine

    began = time.monotonic()
    bundled_is_genuine()
    warm_umap(settings.compiled)
    return _print_rows([{"ready": True, "seconds": round(time.monotonic() - began, 1)}], options)


def _study(options: argparse.Namespace) -> Study:
    """Return the study of the file or the paper's, with what was named on the command line in its place."""
    if options.study == "paper":
        plain = paper_study().as_dict()
    else:
        try:
            text = Path(options.study).read_text(encoding="utf-8")[: LIMITS.study_chars + 1]
        except (OSError, UnicodeDecodeError):
            raise BadChoice(f"There is no study {options.study[:120]!r}. Give a saved file, or: paper") from None
        plain = Study.from_json(text).as_dict()
    named = ("models", "families", "per_family", "length", "first_window", "separator", "distance", "seed",
             "despite_checks")  # fmt: skip
    given = {name: getattr(options, name) for name in named if getattr(options, name) is not None}
    return Study.from_dict(plain | given)


def _progress_bar(study: Study) -> Report:
    """Return a report that draws one bar a model on a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        return lambda index, stage, done, total, note: None
    from tqdm import tqdm

    bars: dict[int, Any] = {}

    def report(index: int, stage: str, done: int, total: int, note: str) -> None:
        if index not in bars:
            bars[index] = tqdm(total=1, desc=study.models[index].name, file=sys.stderr, position=index)
        bar = bars[index]
        bar.set_postfix_str(stage if stage in STAGES else note[:60], refresh=False)
        bar.total, bar.n = max(total, 1), done
        bar.refresh()
        if stage in ("done", "failed"):
            bar.close()

    return report


def _print_rows(rows: Sequence[Row], options: argparse.Namespace) -> int:
    if options.json:
        _print_lines(rows)
    else:
        _print_table(rows)
    return 0


def _print_lines(rows: Sequence[Row]) -> None:
    for row in rows:
        sys.stdout.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")


def _print_table(rows: Sequence[Row]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    shown = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *shown, strict=True)]
    for line in [columns, *shown] if rows else []:
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n")


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return text if len(text) <= 90 else text[:89] + "…"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a number without a name
        return "unknown"


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, as every other error here."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"numembed: {' '.join(message.split())}. See: {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="numembed", description="Compare how text-embedding models represent numbers.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, function: Callable[[argparse.Namespace, Settings], int], text: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument("--json", action="store_true", help="print one JSON object a line")
        added.set_defaults(command=function)
        return added

    asked = command("run", _run, "Run a study and print its scores.")
    asked.add_argument("--study", default="paper", metavar="FILE|paper", help="a saved study, or the paper's (default)")
    asked.add_argument("--models", nargs="+", metavar="NAME", help="catalogue names, baselines, hub ids or folders")
    asked.add_argument("--families", nargs="+", metavar="NAME", help=f"for instance {' '.join(PAPER_FAMILIES[:3])}")
    asked.add_argument("--per-family", type=int, help="sequences per family")
    asked.add_argument("--length", type=int, help="terms per sequence")
    asked.add_argument("--first-window", type=int, help="where the first sequence starts, in sequences")
    asked.add_argument("--separator", help="what stands between two terms")
    asked.add_argument("--distance", choices=DISTANCES, help="distance of the silhouette")
    asked.add_argument("--seed", type=int, help="of KMeans, maps and permutations")
    asked.add_argument("--despite-checks", action="store_true", default=None, help="also run models that fail")
    asked.add_argument("--out", metavar="DIR", help="also write study.json, scores.csv and maps.html there")
    command("families", _families, "List the families of sequences.")
    command("models", _models, "List the catalogue and the baselines.")
    code = command("code", _code, "For operators: print what allows the program code of a model.")
    code.add_argument("model", metavar="MODEL", help="for instance nomic-embed-text-v2-moe")
    code.add_argument("--code", metavar="OWNER/NAME@COMMIT", help="where the code is, if the catalogue does not say")
    command("metrics", _metrics, "List the scores and what they mean.")
    command("runs", _runs, "List the newest runs.")
    stored = command("store", _store, "Show what vectors are stored, or delete some.")
    stored.add_argument("--delete", metavar="MODEL|all", help="delete the vectors of one model, or all")
    command("paper", _paper, "Hold the paper's claims against its own table and what was run here.")
    command("prime", _prime, "Do the slow things of a first run now: check the bundled model, compile UMAP.")
    return parser
